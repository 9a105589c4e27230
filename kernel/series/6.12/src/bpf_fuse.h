/* SPDX-License-Identifier: GPL-2.0-only */
/* What of FUSE itself differs between the series, as bpf_kernel.h for the rest: 6.12 */
#ifndef _FS_FUSE_BPF_FUSE_H
#define _FS_FUSE_BPF_FUSE_H

#include "fuse_i.h"

/* Arguments of struct fuse_args' @end */
#define FBPF_ARGS_END	struct fuse_mount *fm, struct fuse_args *args, int error

static inline void fbpf_queue_forget(struct fuse_conn *fc,
				     struct fuse_forget_link *forget,
				     u64 nodeid, u64 nlookup)
{
	fuse_queue_forget(fc, forget, nodeid, nlookup);
}

/* Answers to lookups of an earlier epoch hold no more: there is but one */
static inline u64 fbpf_epoch(struct inode *inode)
{
	return 0;
}

/* A connection that nobody answers; else -ENOMEM and @fc is not touched */
static inline int fbpf_dead_conn(struct fuse_conn *fc, struct fuse_mount *fm,
				 struct user_namespace *user_ns)
{
	fuse_conn_init(fc, fm, user_ns, &fuse_dev_fiq_ops, NULL);
	fc->connected = 0;
	/* Who asks nevertheless does not wait for INIT */
	fuse_set_initialized(fc);
	return 0;
}

static inline bool fbpf_has_device(const struct fuse_fs_context *ctx)
{
	return ctx->fd_present;
}

#endif
