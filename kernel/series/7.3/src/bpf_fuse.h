/* SPDX-License-Identifier: GPL-2.0-only */
/* What of FUSE itself differs between the series, as bpf_kernel.h for the rest: 7.3 */
#ifndef _FS_FUSE_BPF_FUSE_H
#define _FS_FUSE_BPF_FUSE_H

#include "dev.h"
#include "fuse_dev_i.h"
#include "fuse_i.h"

/* Arguments of struct fuse_args' @end */
#define FBPF_ARGS_END	struct fuse_args *args, int error

static inline void fbpf_queue_forget(struct fuse_conn *fc,
				     struct fuse_forget_link *forget,
				     u64 nodeid, u64 nlookup)
{
	fuse_chan_queue_forget(fc->chan, forget, nodeid, nlookup);
}

/* Answers to lookups of an earlier epoch hold no more */
static inline u64 fbpf_epoch(struct inode *inode)
{
	return atomic_read(&get_fuse_conn(inode)->epoch);
}

/* A connection that nobody answers; else -ENOMEM and @fc is not touched */
static inline int fbpf_dead_conn(struct fuse_conn *fc, struct fuse_mount *fm,
				 struct user_namespace *user_ns)
{
	struct fuse_chan *fch = fuse_dev_chan_new();

	if (!fch)
		return -ENOMEM;
	fuse_conn_init(fc, fm, user_ns, fch);
	fch->connected = 0;
	/* Who asks nevertheless does not wait for INIT */
	fuse_chan_set_initialized(fch, NULL);
	return 0;
}

static inline bool fbpf_has_device(const struct fuse_fs_context *ctx)
{
	return ctx->fud;
}

#endif
