// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filters of operations that change a directory: MKNOD, MKDIR, SYMLINK, LINK,
 * UNLINK, RMDIR, RENAME2 and, where struct fuse_ops has room for it, RENAME; in
 * the module a rename without flags is RENAME2 as well.
 *
 * A failure never becomes success: there would be no object, or one
 * that is still there.
 *
 * Locking: the VFS holds the i_rwsem of the directories, also around programs.
 */
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/kdev_t.h>

#include "bpf_hooks.h"
#include "bpf_op.h"

/*
 * The lower file system applies the caller's umask, or does not where there is
 * a default ACL. A filter's can only take more.
 */
umode_t fbpf_apply_umask(umode_t mode, u32 umask)
{
	return mode & ~(umask & 0777 & ~current_umask());
}

struct fbpf_make_call {
	struct inode *dir;
	struct dentry *dentry;
	umode_t mode;
	dev_t rdev;
	const char *target;
};

static int fbpf_mknod_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_make_call *call = data;

	op->in.mknod.mode = call->mode;
	op->in.mknod.rdev = new_encode_dev(call->rdev);
	op->in.mknod.umask = current_umask();
	fbpf_set_name(op, &call->dentry->d_name, false);
	return 0;
}

/* The kind of file is the one that the VFS checked the caller for */
static int fbpf_mknod_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_make_call *call = data;
	umode_t mode = (call->mode & S_IFMT) | (op->in.mknod.mode & S_IALLUGO);

	return fbpf_mknod_lower(call->dir, call->dentry,
				fbpf_apply_umask(mode, op->in.mknod.umask),
				new_decode_dev(op->in.mknod.rdev));
}

FBPF_PRE(mknod, &op->in.mknod, &op->name)
FBPF_POST(mknod, &op->in.mknod, &op->name)

static int fbpf_mknod_user(void *data)
{
	struct fbpf_make_call *call = data;

	return fbpf_mknod_classic(call->dir, call->dentry, call->mode,
				  call->rdev);
}

static const struct fbpf_desc fbpf_mknod_desc = {
	.hook		= FBPF_MKNOD,
	.opcode		= FUSE_MKNOD,
	.prepare	= fbpf_mknod_prepare,
	.user		= fbpf_mknod_user,
	.backing	= fbpf_mknod_backing,
	FBPF_PAIR(mknod),
};

/* Before a filter is asked: a name that was refused is not there to be made */
static int fbpf_filter_make(const struct fbpf_desc *desc,
			    struct fbpf_make_call *call)
{
	if (fbpf_d(call->dentry)->hidden)
		return -ENOENT;
	return fbpf_filter(desc, call->dir, call);
}

int fbpf_filter_mknod(struct inode *dir, struct dentry *dentry, umode_t mode,
		      dev_t rdev)
{
	struct fbpf_make_call call = {
		.dir = dir,
		.dentry = dentry,
		.mode = mode,
		.rdev = rdev,
	};

	return fbpf_filter_make(&fbpf_mknod_desc, &call);
}

static int fbpf_mkdir_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_make_call *call = data;

	op->in.mkdir.mode = call->mode;
	op->in.mkdir.umask = current_umask();
	fbpf_set_name(op, &call->dentry->d_name, false);
	return 0;
}

static int fbpf_mkdir_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_make_call *call = data;
	umode_t mode = op->in.mkdir.mode & S_IALLUGO;

	return fbpf_mkdir_lower(call->dir, call->dentry,
				fbpf_apply_umask(mode, op->in.mkdir.umask));
}

FBPF_PRE(mkdir, &op->in.mkdir, &op->name)
FBPF_POST(mkdir, &op->in.mkdir, &op->name)

static int fbpf_mkdir_user(void *data)
{
	struct fbpf_make_call *call = data;

	return fbpf_mkdir_classic(call->dir, call->dentry, call->mode);
}

static const struct fbpf_desc fbpf_mkdir_desc = {
	.hook		= FBPF_MKDIR,
	.opcode		= FUSE_MKDIR,
	.prepare	= fbpf_mkdir_prepare,
	.user		= fbpf_mkdir_user,
	.backing	= fbpf_mkdir_backing,
	FBPF_PAIR(mkdir),
};

int fbpf_filter_mkdir(struct inode *dir, struct dentry *dentry, umode_t mode)
{
	struct fbpf_make_call call = {
		.dir = dir,
		.dentry = dentry,
		.mode = mode,
	};

	return fbpf_filter_make(&fbpf_mkdir_desc, &call);
}

static int fbpf_symlink_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_make_call *call = data;

	fbpf_set_name(op, &call->dentry->d_name, false);
	return fbpf_set_value(op, call->target, strlen(call->target) + 1,
			      PATH_MAX);
}

static int fbpf_symlink_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_make_call *call = data;
	const char *target = op->value.data;
	u32 len = strnlen(target, op->value.size);

	if (!len)
		return -ENOENT;
	if (len == PATH_MAX)
		return -ENAMETOOLONG;
	/* A shorter length ends it; past the length all is ours */
	((char *)op->value.data)[len] = 0;
	return fbpf_symlink_lower(call->dir, call->dentry, target);
}

FBPF_PRE(symlink, &op->name, &op->value)
FBPF_POST(symlink, &op->name, &op->value)

static int fbpf_symlink_user(void *data)
{
	struct fbpf_make_call *call = data;

	return fbpf_symlink_classic(call->dir, call->dentry, call->target);
}

static const struct fbpf_desc fbpf_symlink_desc = {
	.hook		= FBPF_SYMLINK,
	.opcode		= FUSE_SYMLINK,
	.prepare	= fbpf_symlink_prepare,
	.user		= fbpf_symlink_user,
	.backing	= fbpf_symlink_backing,
	FBPF_PAIR(symlink),
};

int fbpf_filter_symlink(struct inode *dir, struct dentry *dentry,
			const char *target)
{
	struct fbpf_make_call call = {
		.dir = dir,
		.dentry = dentry,
		.target = target,
	};

	return fbpf_filter_make(&fbpf_symlink_desc, &call);
}

struct fbpf_link_call {
	struct dentry *old;
	struct inode *dir;
	struct dentry *dentry;
};

static int fbpf_link_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_link_call *call = data;

	op->tag2 = fbpf_i(call->dir)->tag;
	op->in.link.oldnodeid = get_node_id(d_inode(call->old));
	fbpf_set_name(op, &call->dentry->d_name, true);
	return 0;
}

static int fbpf_link_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_link_call *call = data;
	const struct qstr *asked = &call->dentry->d_name;
	struct qstr name;

	if (!(op->name.flags & BPF_FUSE_MODIFIED))
		return fbpf_link_lower(call->old, call->dir, call->dentry, NULL);
	name = fbpf_get_name(op);
	if (name.len == asked->len && !memcmp(name.name, asked->name, name.len))
		return fbpf_link_lower(call->old, call->dir, call->dentry, NULL);
	return fbpf_link_lower(call->old, call->dir, call->dentry, &name);
}

FBPF_PRE(link, &op->in.link, &op->name)
FBPF_POST(link, &op->in.link, &op->name)

static int fbpf_link_user(void *data)
{
	struct fbpf_link_call *call = data;

	return fbpf_link_classic(call->old, call->dir, call->dentry);
}

static const struct fbpf_desc fbpf_link_desc = {
	.hook		= FBPF_LINK,
	.opcode		= FUSE_LINK,
	.prepare	= fbpf_link_prepare,
	.user		= fbpf_link_user,
	.backing	= fbpf_link_backing,
	FBPF_PAIR(link),
};

int fbpf_filter_link(struct dentry *old, struct inode *dir,
		     struct dentry *dentry)
{
	struct fbpf_link_call call = {
		.old = old,
		.dir = dir,
		.dentry = dentry,
	};

	if (fbpf_d(dentry)->hidden)
		return -ENOENT;
	return fbpf_filter(&fbpf_link_desc, d_inode(old), &call);
}

struct fbpf_remove_call {
	struct inode *dir;
	struct dentry *dentry;
};

static int fbpf_remove_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_remove_call *call = data;

	fbpf_set_name(op, &call->dentry->d_name, false);
	return 0;
}

static int fbpf_remove_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_remove_call *call = data;

	return fbpf_remove_lower(call->dir, call->dentry);
}

FBPF_PRE(unlink, &op->name)
FBPF_POST(unlink, &op->name)
FBPF_PRE(rmdir, &op->name)
FBPF_POST(rmdir, &op->name)

static int fbpf_remove_user(void *data)
{
	struct fbpf_remove_call *call = data;

	return fbpf_remove_classic(call->dir, call->dentry);
}

static const struct fbpf_desc fbpf_unlink_desc = {
	.hook		= FBPF_UNLINK,
	.opcode		= FUSE_UNLINK,
	.prepare	= fbpf_remove_prepare,
	.user		= fbpf_remove_user,
	.backing	= fbpf_remove_backing,
	FBPF_PAIR(unlink),
};

static const struct fbpf_desc fbpf_rmdir_desc = {
	.hook		= FBPF_RMDIR,
	.opcode		= FUSE_RMDIR,
	.prepare	= fbpf_remove_prepare,
	.user		= fbpf_remove_user,
	.backing	= fbpf_remove_backing,
	FBPF_PAIR(rmdir),
};

int fbpf_filter_unlink(struct inode *dir, struct dentry *dentry)
{
	struct fbpf_remove_call call = { .dir = dir, .dentry = dentry };

	return fbpf_filter(&fbpf_unlink_desc, dir, &call);
}

int fbpf_filter_rmdir(struct inode *dir, struct dentry *dentry)
{
	struct fbpf_remove_call call = { .dir = dir, .dentry = dentry };

	return fbpf_filter(&fbpf_rmdir_desc, dir, &call);
}

struct fbpf_rename_call {
	struct inode *old_dir;
	struct dentry *old;
	struct inode *new_dir;
	struct dentry *new;
	unsigned int flags;
};

static int fbpf_rename_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_rename_call *call = data;

	op->tag2 = fbpf_i(call->new_dir)->tag;
	op->in.rename2.newdir = get_node_id(call->new_dir);
	op->in.rename2.flags = call->flags;
	fbpf_set_name(op, &call->old->d_name, false);
	fbpf_set_name2(op, &call->new->d_name);
	return 0;
}

/*
 * What the VFS does to the dentries afterwards depends on the other flags, so
 * only RENAME_NOREPLACE can change.
 */
static int fbpf_rename_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_rename_call *call = data;
	u32 flags = op->in.rename2.flags;

	if ((flags ^ call->flags) & ~RENAME_NOREPLACE)
		return -EINVAL;
	if (flags & RENAME_NOREPLACE && d_is_positive(call->new))
		return -EEXIST;
	return fbpf_rename_lower(call->old_dir, call->old, call->new_dir,
				 call->new, flags);
}

static int fbpf_rename_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_rename_call *call = data;

	if (err)
		fbpf_rename_failed(call->old, call->new);
	return err;
}

FBPF_PRE(rename2, &op->in.rename2, &op->name, &op->name2)
FBPF_POST(rename2, &op->in.rename2, &op->name, &op->name2)

static int fbpf_rename_user(void *data)
{
	struct fbpf_rename_call *call = data;

	return fbpf_rename_classic(call->old_dir, call->old, call->new_dir,
				   call->new, call->flags);
}

static const struct fbpf_desc fbpf_rename2_desc = {
	.hook		= FBPF_RENAME2,
	.opcode		= FUSE_RENAME2,
	.prepare	= fbpf_rename_prepare,
	.user		= fbpf_rename_user,
	.backing	= fbpf_rename_backing,
	FBPF_PAIR(rename2),
	.finish		= fbpf_rename_finish,
};

#ifndef FUSEBPF_MODULE
/* As rename2_in, whose flags stay 0, but for its length */
FBPF_PRE(rename, &op->in.rename, &op->name, &op->name2)
FBPF_POST(rename, &op->in.rename, &op->name, &op->name2)

static const struct fbpf_desc fbpf_rename_desc = {
	.hook		= FBPF_RENAME,
	.opcode		= FUSE_RENAME,
	.prepare	= fbpf_rename_prepare,
	.user		= fbpf_rename_user,
	.backing	= fbpf_rename_backing,
	FBPF_PAIR(rename),
	.finish		= fbpf_rename_finish,
};
#else
#define fbpf_rename_desc fbpf_rename2_desc
#endif

int fbpf_filter_rename(struct inode *old_dir, struct dentry *old,
		       struct inode *new_dir, struct dentry *new,
		       unsigned int flags)
{
	struct fbpf_rename_call call = {
		.old_dir = old_dir,
		.old = old,
		.new_dir = new_dir,
		.new = new,
		.flags = flags,
	};

	if (fbpf_d(new)->hidden)
		return -ENOENT;
	return fbpf_filter(flags ? &fbpf_rename2_desc : &fbpf_rename_desc,
			   old_dir, &call);
}
