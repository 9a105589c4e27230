// SPDX-License-Identifier: GPL-2.0-only
/*
 * O_TMPFILE: a file without a name, which linkat() may give one later.
 *
 * It is a CREATE without a name: the filters of that operation run for it, and
 * the file gets its directory's tag.
 *
 * Locking: the VFS holds no lock; the dentry is nobody else's before it is
 * opened.
 */
#include <linux/backing-file.h>
#include <linux/mount.h>

#include "bpf_op.h"

struct fbpf_tmpfile_call {
	struct inode *dir;
	struct file *file;
	umode_t mode;
	u32 gen;
};

static int fbpf_tmpfile_prepare(struct fbpf_op *op, void *data)
{
	static const struct qstr none = QSTR_INIT("", 0);
	struct fbpf_tmpfile_call *call = data;

	op->in.create.flags = call->file->f_flags & ~(O_EXCL | O_NOCTTY);
	op->in.create.mode = call->mode;
	op->in.create.umask = current_umask();
	fbpf_set_name(op, &none, false);
	return 0;
}

/* It is made to be written: rights are not a filter's to take here */
#define FBPF_TMPFILE_FLAGS	(O_APPEND | O_NONBLOCK | O_DSYNC | __O_SYNC | \
				 O_DIRECT | O_NOATIME)

static int fbpf_tmpfile_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_tmpfile_call *call = data;
	const struct fbpf_mount *fb = fbpf_sb(call->dir->i_sb);
	struct dentry *dentry = call->file->f_path.dentry;
	struct path lower_dir = fbpf_lower_path(dentry->d_parent);
	struct file *file = call->file;
	umode_t mode = call->mode;
	const struct cred *old;
	struct file *lower;
	int flags, err;

	if (op) {
		mode = fbpf_apply_umask((op->in.create.mode & S_IALLUGO) |
					S_IFREG, op->in.create.umask);
		file->f_flags = (file->f_flags & ~FBPF_TMPFILE_FLAGS) |
				(op->in.create.flags & FBPF_TMPFILE_FLAGS);
	}
	/* O_EXCL says below too that it can never be linked */
	flags = file->f_flags & ~(O_NOCTTY | O_TRUNC);

	err = mnt_want_write(fb->mnt);
	if (err)
		return err;
	old = fbpf_enter_create(call->dir->i_sb);
	if (IS_ERR(old)) {
		err = PTR_ERR(old);
		goto drop;
	}
	lower = backing_tmpfile_open(call->file, flags, &lower_dir, mode,
				     current_cred());
	fbpf_leave_create(old);
	if (IS_ERR(lower))
		err = PTR_ERR(lower);
	else
		err = fbpf_adopt_file(call->file, lower, false);
drop:
	mnt_drop_write(fb->mnt);
	return err;
}

static int fbpf_tmpfile_instantiate(struct fbpf_op *op,
				    struct fbpf_tmpfile_call *call)
{
	struct fbpf_file *ff = call->file->private_data;
	struct dentry *dentry = call->file->f_path.dentry;
	struct fbpf_dentry *fd = fbpf_d(dentry);
	struct inode *inode;
	u64 nodeid = 0;

	fd->tag = fbpf_i(call->dir)->tag;
	fd->gen = call->gen;
	if (op && op->out.create.entry.nodeid != FUSE_ROOT_ID)
		nodeid = op->out.create.entry.nodeid;
	inode = fbpf_iget(call->dir->i_sb, file_inode(ff->lower), nodeid,
			  fd->tag, fd->gen, fbpf_i(call->dir)->set,
			  fbpf_i(call->dir)->link);
	if (IS_ERR(inode)) {
		fbpf_forget(call->dir->i_sb, nodeid);
		return PTR_ERR(inode);
	}
	if (nodeid)
		fbpf_count_lookup(inode);
	WRITE_ONCE(fd->lower, dget(ff->lower->f_path.dentry));
	d_mark_tmpfile(call->file, inode);
	d_instantiate(dentry, inode);
	return 0;
}

/* Called back by finish_open(): the lower file is there already */
static int fbpf_tmpfile_opened(struct inode *inode, struct file *file)
{
	return 0;
}

static int fbpf_tmpfile_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_tmpfile_call *call = data;
	struct file *file = call->file;

	if (!err)
		err = fbpf_tmpfile_instantiate(op, call);
	if (!err) {
		if (op)
			err = fbpf_open_result(file, &op->out.create.open);
		if (!err)
			err = finish_open(file, file->f_path.dentry,
					  fbpf_tmpfile_opened);
	}
	/* Otherwise the VFS calls ->release() */
	if (err && !(file->f_mode & FMODE_OPENED))
		fbpf_close_file(file);
	return err;
}

static int fbpf_tmpfile_user(void *data)
{
	struct fbpf_tmpfile_call *call = data;

	fbpf_set_classic(call->file->f_path.dentry);
	return fuse_dir_inode_operations.tmpfile(&nop_mnt_idmap, call->dir,
						 call->file, call->mode);
}

static const struct fbpf_desc fbpf_tmpfile_desc = {
	.hook		= FBPF_CREATE,
	.opcode		= FUSE_TMPFILE,
	.prepare	= fbpf_tmpfile_prepare,
	.user		= fbpf_tmpfile_user,
	.backing	= fbpf_tmpfile_backing,
	FBPF_PAIR(create_open),
	.finish		= fbpf_tmpfile_finish,
};

/* Create and open a file without a name in a directory */
int fbpf_tmpfile(struct mnt_idmap *idmap, struct inode *dir, struct file *file,
		 umode_t mode)
{
	struct fbpf_tmpfile_call call = {
		.dir = dir,
		.file = file,
		.mode = mode,
		.gen = fbpf_gen(fbpf_sb(dir->i_sb)),
	};
	int err = fbpf_settle(file->f_path.dentry->d_parent);

	return err ?: fbpf_dispatch(&fbpf_tmpfile_desc, dir, &call);
}
