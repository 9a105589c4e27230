/* SPDX-License-Identifier: MIT */
/* The kernel's interface as the tests' hand-written and generated filters use it. */
#ifndef KERNEL_FILTERS_H
#define KERNEL_FILTERS_H

#include "fusebpf_abi.h"

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __ksym __attribute__((section(".ksyms")))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define NULL ((void *)0)

struct bpf_iter_fuse_dirent {
	__u64 state[4];
} __attribute__((aligned(8)));

struct bpf_fuse_dirent {
	__u64 ino;
	__u64 off;
	__u32 type;
	__u32 flags;
	struct fuse_buffer name;
};

extern __u32 bpf_fuse_return_len(struct fuse_buffer *buf) __ksym;
extern const __u8 *bpf_fuse_get_ro(struct fuse_buffer *buf, const unsigned long size) __ksym;
extern __u8 *bpf_fuse_get_rw(struct fuse_buffer *buf, const unsigned long size) __ksym;
extern int bpf_fuse_set_len(struct fuse_buffer *buf, __u32 size) __ksym;
extern __u32 bpf_fuse_fsuid(void) __ksym;
extern __u32 bpf_fuse_fsgid(void) __ksym;
extern __u32 bpf_fuse_euid(void) __ksym;
extern __u32 bpf_fuse_egid(void) __ksym;
extern int bpf_fuse_comm(__u8 *dst, __u32 dst__sz) __ksym;
extern __u64 bpf_fuse_tag(const struct bpf_fuse_meta_info *meta) __ksym;
extern int bpf_fuse_set_tag(const struct bpf_fuse_meta_info *meta, __u64 tag) __ksym;
extern __u64 bpf_fuse_tag2(const struct bpf_fuse_meta_info *meta) __ksym;
extern int bpf_fuse_entry_valid(const struct bpf_fuse_meta_info *meta, __u64 ns) __ksym;
extern int bpf_fuse_clear_error(const struct bpf_fuse_meta_info *meta) __ksym;
extern __s64 bpf_fuse_name_walk(struct fuse_buffer *name, void *dfa, __u64 state) __ksym;
extern __u8 *bpf_fuse_scratch(const struct bpf_fuse_meta_info *meta,
			      const unsigned long size) __ksym;
extern int bpf_iter_fuse_dirent_new(struct bpf_iter_fuse_dirent *it,
				    struct fuse_buffer *buf) __ksym;
extern struct bpf_fuse_dirent *
bpf_iter_fuse_dirent_next(struct bpf_iter_fuse_dirent *it) __ksym;
extern void bpf_iter_fuse_dirent_destroy(struct bpf_iter_fuse_dirent *it) __ksym;
extern int bpf_fuse_dirent_drop(struct bpf_fuse_dirent *entry) __ksym;
extern int bpf_fuse_dirent_set_name(struct bpf_fuse_dirent *entry, const __u8 *name,
				    __u32 name__sz) __ksym;
extern int bpf_fuse_dirent_set_type(struct bpf_fuse_dirent *entry, __u32 type) __ksym;

char _license[] SEC("license") = "Dual MIT/GPL";

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;

#endif
