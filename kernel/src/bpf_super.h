/* SPDX-License-Identifier: GPL-2.0-only */
/* What FUSE's own files call of backed mounts, with and without CONFIG_FUSE_BPF */
#ifndef _FS_FUSE_BPF_SUPER_H
#define _FS_FUSE_BPF_SUPER_H

#include <linux/fs_context.h>
#include <linux/fs_parser.h>

#include "fuse_i.h"

#ifdef CONFIG_FUSE_BPF

/* NULL on a classic super block */
static inline struct fbpf_mount *fbpf_sb(struct super_block *sb)
{
	return get_fuse_mount_super(sb)->bpf;
}

int fbpf_parse_param(struct fs_context *fsc, struct fs_parameter *param,
		     struct fbpf_opts **opts);
void fbpf_free_opts(struct fbpf_opts *opts);
int fbpf_check_options(struct fs_context *fsc);
int fbpf_get_tree(struct fs_context *fsc);
struct dentry *fbpf_fill_daemon(struct super_block *sb, struct fbpf_opts *opts);
int fbpf_reconfigure(struct fs_context *fsc);
void fbpf_mount_free(struct fbpf_mount *fb);
int fbpf_init(void);
void fbpf_exit(void);

#else

static inline struct fbpf_mount *fbpf_sb(struct super_block *sb)
{
	return NULL;
}

static inline int fbpf_parse_param(struct fs_context *fsc,
				   struct fs_parameter *param,
				   struct fbpf_opts **opts)
{
	return -ENOPARAM;
}

static inline void fbpf_free_opts(struct fbpf_opts *opts)
{
}

static inline int fbpf_check_options(struct fs_context *fsc)
{
	return -EINVAL;
}

static inline int fbpf_get_tree(struct fs_context *fsc)
{
	return -EINVAL;
}

static inline struct dentry *fbpf_fill_daemon(struct super_block *sb,
					      struct fbpf_opts *opts)
{
	return ERR_PTR(-EINVAL);
}

static inline int fbpf_reconfigure(struct fs_context *fsc)
{
	return -EINVAL;
}

static inline void fbpf_mount_free(struct fbpf_mount *fb)
{
}

static inline int fbpf_init(void)
{
	return 0;
}

static inline void fbpf_exit(void)
{
}

#endif

#endif
