/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _FS_FUSE_BPF_INODE_H
#define _FS_FUSE_BPF_INODE_H

#include <linux/types.h>

struct inode;
struct fbpf_opts;
struct fbpf_mount;

/**
 * struct fbpf_inode - what a FUSE inode knows about the file below it
 * @lower: lower inode, referenced; NULL on a classic inode
 * @tag: policy tag, part of the inode's identity, fixed for its life
 * @gen: generation of the filter set that @tag was last checked under
 */
struct fbpf_inode {
#ifdef CONFIG_FUSE_BPF
	struct inode *lower;
	u64 tag;
	u32 gen;
#endif
};

#endif
