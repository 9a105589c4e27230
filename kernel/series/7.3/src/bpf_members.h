/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Members of struct fuse_ops that the kernel takes programs for. Here not those
 * with the numbers 59 to 61: bpf_prog_load() in kernel/bpf/syscall.c takes the
 * number of a member for an attach type, and BPF_TRACE_FENTRY_MULTI and the two
 * after it for those of tracing programs, whatever the program's type. The name
 * and two words stand there. That leaves one pair too little: FSYNCDIR has none.
 */
#ifndef _FS_FUSE_BPF_MEMBERS_H
#define _FS_FUSE_BPF_MEMBERS_H

#define FBPF_HAS_HOLE
#define FBPF_NO_FSYNCDIR

/* The pair that the three stand before */
#define FBPF_AFTER_HOLE	FBPF_ACCESS

#endif
