# SPDX-License-Identifier: GPL-2.0-only
# Our files in both forms: the module and the kernel's own FUSE
fbpf-files := bpf_dispatch.o bpf_register.o bpf_verify.o bpf_kfunc.o
fbpf-files += bpf_super.o bpf_inode.o bpf_dentry.o bpf_lookup.o bpf_namei.o
fbpf-files += bpf_open.o bpf_io.o bpf_readdir.o bpf_attr.o bpf_xattr.o
fbpf-files += bpf_tmpfile.o bpf_splice.o bpf_ioctl.o bpf_lock.o
fbpf-files += bpf_attr_hooks.o bpf_copy_hooks.o bpf_io_hooks.o
fbpf-files += bpf_namei_hooks.o bpf_rw_hooks.o bpf_xattr_hooks.o
fbpf-files += bpf_user.o bpf_entries.o bpf_classic.o bpf_series.o
