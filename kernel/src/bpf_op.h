/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An operation with filters: what it carries, and how it is described to the
 * one path that all take, in bpf_dispatch.c.
 */
#ifndef _FS_FUSE_BPF_OP_H
#define _FS_FUSE_BPF_OP_H

#include "bpf.h"

/* Smallest error that user space may see; what is below restarts system calls */
#define FBPF_MIN_ERRNO	(-511)

/* Room for one pass over a directory: at most this many 32-byte entries */
#define FBPF_DIR_BYTES	4096
#define FBPF_DIR_MAX	(FBPF_DIR_BYTES / 32)
#define FBPF_NAME_BYTES	256
static_assert(FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + NAME_MAX) <=
	      FUSE_NAME_OFFSET + FBPF_NAME_BYTES);

/**
 * struct fbpf_dirbuf - directory entries on their way through a filter
 * @buf: what the program gets; @data
 * @data: packed struct fuse_dirent, then room to read a name in full
 * @entries: what the iterator hands out, by position in @data
 */
struct fbpf_dirbuf {
	struct fuse_buffer buf;
	u8 data[FBPF_DIR_BYTES + FBPF_NAME_BYTES] __aligned(8);
	struct bpf_fuse_dirent entries[FBPF_DIR_MAX];
};

#define FBPF_SCRATCH_BYTES	2048

/**
 * struct fbpf_op - one filtered operation
 * @meta: what every program and kfunc gets; the rest is found from it
 * @set: filters
 * @inode: deciding inode
 * @tag: of it
 * @tag2: of the other directory or file of a rename, link or copy
 * @new_tag: of the entry, once @tag_set
 * @valid_ns: how long the answer holds
 * @tag_set: a lookup filter set @new_tag
 * @is_lookup: tags and validity can be set
 * @post: the postfilter will run
 * @user_post: it is the daemon's
 * @may_clear: a postfilter may turn a failure into success
 * @cleared: it did
 * @in: input, read-only for the postfilter
 * @out: result, for the postfilter
 * @name: name the operation is about
 * @name2: new name of a rename
 * @value: other bytes, in @value_data unless they are the caller's
 * @entries: of a lookup
 * @daemon: entries that the daemon gave instead
 * @value_data: allocated for this operation
 * @dir: of a readdir; NULL until there was one with this memory
 * @serial: of the set whose programs wrote @scratch, 0 for none
 *
 * There only when a filter is attached to the operation, and used by one task.
 */
struct fbpf_op {
	struct bpf_fuse_meta_info meta;
	struct fbpf_set *set;
	struct inode *inode;
	u64 tag;
	u64 tag2;
	u64 new_tag;
	u64 valid_ns;
	bool tag_set;
	bool is_lookup;
	bool post;
	bool user_post;
	bool may_clear;
	bool cleared;
	union {
		struct fuse_open_in open;
		struct fuse_create_in create;
		struct fuse_release_in release;
		struct fuse_flush_in flush;
		struct fuse_lseek_in lseek;
		struct fuse_copy_file_range_in copy;
		struct fuse_fsync_in fsync;
		struct fuse_getxattr_in getxattr;
		struct fuse_setxattr_in setxattr;
		struct fuse_read_in read;
		struct fuse_write_in write;
		struct fuse_fallocate_in fallocate;
		struct fuse_mknod_in mknod;
		struct fuse_mkdir_in mkdir;
		struct fuse_rename_in rename;
		struct fuse_rename2_in rename2;
		struct fuse_link_in link;
		struct fuse_getattr_in getattr;
		struct fuse_setattr_in setattr;
		struct fuse_access_in access;
	} in;
	union {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
		struct {
			struct fuse_entry_out entry;
			struct fuse_open_out open;
		} create;
		struct fuse_attr_out attr;
		struct fuse_statfs_out statfs;
		struct fuse_lseek_out lseek;
		struct fuse_write_out write;
		struct fuse_getxattr_out getxattr;
		struct fuse_read_out read;
		struct fuse_read_iter_out read_iter;
		struct fuse_write_iter_out write_iter;
	} out;
	struct fuse_buffer name;
	struct fuse_buffer name2;
	struct fuse_buffer value;
	struct fuse_buffer entries;
	struct fbpf_entries daemon;
	void *value_data;
	/* From here on it is not cleared for each operation */
	struct fbpf_dirbuf *dir;
	u64 serial;
	u8 name_data[FBPF_NAME_BYTES];
	u8 name2_data[FBPF_NAME_BYTES];
	u64 entries_data[6];
	u8 scratch[FBPF_SCRATCH_BYTES] __aligned(8);
};

/**
 * struct fbpf_desc - how one operation is carried out
 * @hook: which filters
 * @opcode: FUSE opcode that they see
 * @must: the filters run even when memory is short
 * @may_clear: nothing is missing when a failure is called success
 * @prepare: fill the input for the prefilter; may fail. NULL: no input
 * @pre: call the prefilter; NULL: there is no pair
 * @refused: the prefilter said no
 * @user: leave it to the daemon, as plain FUSE does it; NULL: it cannot be.
 *	Nothing but @prepare runs then
 * @backing: do it below; op is NULL without filters. A positive result ends
 *	the operation without postfilter
 * @post: call the postfilter
 * @finish: make the result, or undo; gets the error so far
 */
struct fbpf_desc {
	enum fbpf_hook hook;
	u32 opcode;
	bool must;
	bool may_clear;
	int (*prepare)(struct fbpf_op *op, void *call);
	int (*pre)(const struct fuse_ops *ops, struct fbpf_op *op);
	void (*refused)(const struct fbpf_op *op, void *call);
	int (*user)(void *call);
	int (*backing)(struct fbpf_op *op, void *call);
	int (*post)(const struct fuse_ops *ops, struct fbpf_op *op);
	int (*finish)(struct fbpf_op *op, void *call, int err);
};

/* How the two filters of an operation are called, after meta */
#define FBPF_PRE(member, ...)						\
static int fbpf_##member##_pre(const struct fuse_ops *ops, struct fbpf_op *op) \
{									\
	return ops->member##_prefilter(&op->meta, ##__VA_ARGS__);	\
}

#define FBPF_POST(member, ...)						\
static int fbpf_##member##_post(const struct fuse_ops *ops, struct fbpf_op *op) \
{									\
	return ops->member##_postfilter(&op->meta, ##__VA_ARGS__);	\
}

#define FBPF_PAIR(member)						\
	.pre = fbpf_##member##_pre,					\
	.post = fbpf_##member##_post

/* What a daemon's requests about an open file carry */
static inline u64 fbpf_fh(const struct file *file)
{
	return ((struct fbpf_file *)file->private_data)->fh;
}

/* bpf_dispatch.c */
int fbpf_dispatch(const struct fbpf_desc *desc, struct inode *inode, void *call);
int fbpf_filter(const struct fbpf_desc *desc, struct inode *inode, void *call);
int fbpf_filter_other(struct inode *inode, u32 opcode,
		      int (*backing)(struct fbpf_op *op, void *call), void *call);
void fbpf_set_name(struct fbpf_op *op, const struct qstr *name, bool rewrite);
void fbpf_set_name2(struct fbpf_op *op, const struct qstr *name);
struct qstr fbpf_get_name(struct fbpf_op *op);
int fbpf_set_value(struct fbpf_op *op, const void *data, size_t size,
		   size_t max);

/* bpf_open.c */
int fbpf_create_open_pre(const struct fuse_ops *ops, struct fbpf_op *op);
int fbpf_create_open_post(const struct fuse_ops *ops, struct fbpf_op *op);

/* bpf_user.c */
int fbpf_user_filter(const struct fbpf_desc *desc, struct fbpf_op *op,
		     bool post);

/* bpf_attr_hooks.c */
void fbpf_fill_attr(struct fuse_attr *attr, const struct kstat *stat);

/* bpf_namei_hooks.c */
umode_t fbpf_apply_umask(umode_t mode, u32 umask);

#endif
