/* SPDX-License-Identifier: GPL-2.0-only */
/* Functions that filters call, as the kernel declares them */
#ifndef _FS_FUSE_BPF_KFUNC_H
#define _FS_FUSE_BPF_KFUNC_H

#include "bpf_abi.h"

u32 bpf_fuse_return_len(struct fuse_buffer *buf);
const u8 *bpf_fuse_get_ro(struct fuse_buffer *buf,
			  const size_t rdonly_buf_size);
u8 *bpf_fuse_get_rw(struct fuse_buffer *buf, const size_t rdwr_buf_size);
int bpf_fuse_set_len(struct fuse_buffer *buf, u32 size);
u32 bpf_fuse_fsuid(void);
u32 bpf_fuse_fsgid(void);
u32 bpf_fuse_euid(void);
u32 bpf_fuse_egid(void);
int bpf_fuse_comm(u8 *dst, u32 dst__sz);
u64 bpf_fuse_tag(const struct bpf_fuse_meta_info *meta);
int bpf_fuse_set_tag(const struct bpf_fuse_meta_info *meta, u64 tag);
u64 bpf_fuse_tag2(const struct bpf_fuse_meta_info *meta);
int bpf_fuse_entry_valid(const struct bpf_fuse_meta_info *meta, u64 ns);
int bpf_fuse_clear_error(const struct bpf_fuse_meta_info *meta);
s64 bpf_fuse_name_walk(struct fuse_buffer *name, void *dfa__map, u64 state);
u8 *bpf_fuse_scratch(const struct bpf_fuse_meta_info *meta,
		     const size_t rdwr_buf_size);
int bpf_iter_fuse_dirent_new(struct bpf_iter_fuse_dirent *it,
			     struct fuse_buffer *buf);
struct bpf_fuse_dirent *bpf_iter_fuse_dirent_next(struct bpf_iter_fuse_dirent *it);
void bpf_iter_fuse_dirent_destroy(struct bpf_iter_fuse_dirent *it);
int bpf_fuse_dirent_drop(struct bpf_fuse_dirent *entry);
int bpf_fuse_dirent_set_name(struct bpf_fuse_dirent *entry, const u8 *name,
			     u32 name__sz);
int bpf_fuse_dirent_set_type(struct bpf_fuse_dirent *entry, u32 type);

#ifndef FUSEBPF_MODULE
void bpf_fuse_get_rw_dynptr(struct fuse_buffer *buffer,
			    struct bpf_dynptr *dynptr__uninit, u64 size,
			    bool copy);
void bpf_fuse_get_ro_dynptr(const struct fuse_buffer *buffer,
			    struct bpf_dynptr *dynptr__uninit);
#endif

#endif
