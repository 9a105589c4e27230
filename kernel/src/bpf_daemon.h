/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A daemon beside a backed root, as FUSE's own files see it: how answers with
 * parts of fuse-bpf's are taken, with and without CONFIG_FUSE_BPF.
 */
#ifndef _FS_FUSE_BPF_DAEMON_H
#define _FS_FUSE_BPF_DAEMON_H

#include <linux/path.h>

#include "bpf_abi.h"
#include "bpf_super.h"
#include "fuse_i.h"

/**
 * struct fbpf_reply - how the answer to a request is taken
 * @parse: called once, in the task that answers, when the answer was copied and
 *	is no error. The caller of the request waits meanwhile. An error goes to
 *	whoever answers, and ends the request with -EIO
 */
struct fbpf_reply {
	int (*parse)(struct fuse_args *args, int verdict, bool by_ioctl);
};

static inline int fbpf_parse_reply(struct fuse_args *args, int verdict,
				   bool by_ioctl)
{
	return args->bpf->parse(args, verdict, by_ioctl);
}

enum fbpf_action {
	FBPF_KEEP,
	FBPF_SET,
	FBPF_REMOVE,
};

/**
 * struct fbpf_entries - what the entries of a lookup say
 * @backing: with FBPF_SET, the lower file, referenced
 * @set: with FBPF_SET, the filters, referenced
 * @link: their link, referenced, or NULL
 * @backing_action: what becomes of the lower file
 * @set_action: what becomes of the filters
 */
struct fbpf_entries {
	struct path backing;
	struct fbpf_set *set;
	struct bpf_link *link;
	enum fbpf_action backing_action;
	enum fbpf_action set_action;
};

/**
 * struct fbpf_lookup_reply - room for the entries in the answer to a LOOKUP
 * @reply: how it is taken
 * @fb: mount
 * @used: there are entries, in @entries
 * @entries: parsed
 * @out: as they came
 */
struct fbpf_lookup_reply {
	struct fbpf_reply reply;
	const struct fbpf_mount *fb;
	bool used;
	struct fbpf_entries entries;
	struct fuse_bpf_entry_out out[FUSE_BPF_MAX_ENTRIES];
};

/**
 * struct fbpf_validity - how long a daemon's answer for a name holds
 * @time: until when, in jiffies
 * @epoch: the connection's when it was given, on series that have one
 */
struct fbpf_validity {
	u64 time;
	u64 epoch;
};

#ifdef CONFIG_FUSE_BPF

void fbpf_add_entries(struct fuse_mount *fm, struct fuse_args *args,
		      struct fbpf_lookup_reply *reply);
void fbpf_put_entries(struct fbpf_entries *entries);
int fbpf_take_reply(struct super_block *sb, struct dentry *dentry,
		    struct fuse_entry_out *outarg,
		    struct fbpf_lookup_reply *reply, struct inode **inode);
struct fbpf_validity *fbpf_daemon_validity(const struct dentry *dentry);

/* How long the daemon's answer holds; NULL: as plain FUSE keeps it, in d_fsdata */
static inline struct fbpf_validity *
fbpf_dentry_validity(const struct dentry *dentry)
{
	return unlikely(fbpf_sb(dentry->d_sb)) ? fbpf_daemon_validity(dentry) :
						 NULL;
}

#else

static inline void fbpf_add_entries(struct fuse_mount *fm,
				    struct fuse_args *args,
				    struct fbpf_lookup_reply *reply)
{
}

static inline void fbpf_put_entries(struct fbpf_entries *entries)
{
}

static inline int fbpf_take_reply(struct super_block *sb, struct dentry *dentry,
				  struct fuse_entry_out *outarg,
				  struct fbpf_lookup_reply *reply,
				  struct inode **inode)
{
	return -EIO;
}

static inline struct fbpf_validity *
fbpf_dentry_validity(const struct dentry *dentry)
{
	return NULL;
}

#endif

/* Make room for entries, on a mount of ours */
static inline void fbpf_lookup_args(struct fuse_mount *fm,
				    struct fuse_args *args,
				    struct fbpf_lookup_reply *reply)
{
	reply->used = false;
	if (unlikely(fm->bpf))
		fbpf_add_entries(fm, args, reply);
}

/* The result of such a request: 0 or a negative errno */
static inline int fbpf_lookup_done(struct fbpf_lookup_reply *reply, int ret)
{
	if (ret < 0 && unlikely(reply->used)) {
		fbpf_put_entries(&reply->entries);
		reply->used = false;
	}
	return min(ret, 0);
}

static inline void fbpf_put_reply(struct fbpf_lookup_reply *reply)
{
	if (unlikely(reply->used))
		fbpf_put_entries(&reply->entries);
}

#endif
