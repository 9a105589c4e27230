/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _FS_FUSE_BPF_INODE_H
#define _FS_FUSE_BPF_INODE_H

#include <linux/types.h>

struct inode;
struct bpf_link;
struct fbpf_opts;
struct fbpf_mount;
struct fbpf_reply;
struct fbpf_set;

/**
 * struct fbpf_inode - what a FUSE inode knows about the file below it
 * @lower: lower inode, referenced; NULL on a classic inode
 * @tag: policy tag, part of the inode's identity, fixed for its life
 * @set: filters, NULL without; referenced unless they are the mount's
 * @link: their link, referenced, or NULL; not when they are the mount's
 * @gen: generation of the filter set that @tag was last checked under
 */
struct fbpf_inode {
#ifdef CONFIG_FUSE_BPF
	struct inode *lower;
	u64 tag;
	struct fbpf_set *set;
	struct bpf_link *link;
	u32 gen;
#endif
};

#endif
