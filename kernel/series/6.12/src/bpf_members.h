/* SPDX-License-Identifier: GPL-2.0-only */
/* Members of struct fuse_ops that the kernel takes programs for: here all */
#ifndef _FS_FUSE_BPF_MEMBERS_H
#define _FS_FUSE_BPF_MEMBERS_H

/* The pair that members that take none stand before: no such are here */
#define FBPF_AFTER_HOLE	FBPF_NR_HOOKS

#endif
