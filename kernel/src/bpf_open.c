// SPDX-License-Identifier: GPL-2.0-only
/*
 * OPEN, OPENDIR, CREATE, RELEASE and RELEASEDIR.
 *
 * Locking: CREATE comes with the directory's i_rwsem held. An open file's
 * fbpf_file does not change between open and release.
 */
#include <linux/backing-file.h>
#include <linux/file.h>
#include <linux/namei.h>
#include <linux/slab.h>

#include "bpf_op.h"

struct fbpf_open_call {
	struct inode *inode;
	struct file *file;
};

/* What a filter may change of the caller's flags */
#define FBPF_OPEN_FLAGS	(O_ACCMODE | O_APPEND | O_NONBLOCK | O_DSYNC | \
			 __O_SYNC | O_DIRECT | O_NOATIME | O_TRUNC)
/* Never for the lower open: creation and truncation are steps of their own */
#define FBPF_NOT_LOWER	(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC)

/*
 * Take rights from a file that is being opened. The VFS has counted it as a
 * reader or a writer already and will uncount it by its mode.
 */
static void fbpf_drop_mode(struct file *file, fmode_t drop)
{
	const fmode_t rw = FMODE_READ | FMODE_WRITE;
	bool was_reader = (file->f_mode & rw) == FMODE_READ;
	bool is_reader;

	if (drop & FMODE_WRITE && file->f_mode & FMODE_WRITER) {
		put_write_access(file_inode(file));
		mnt_put_write_access(file->f_path.mnt);
		if (file->f_mode & FMODE_BACKING)
			mnt_put_write_access(backing_file_user_path(file)->mnt);
		drop |= FMODE_WRITER;
	}
	file->f_mode &= ~drop;
	is_reader = (file->f_mode & rw) == FMODE_READ;
	if (is_reader && !was_reader)
		i_readcount_inc(file_inode(file));
	else if (was_reader && !is_reader)
		i_readcount_dec(file_inode(file));
}

/*
 * Apply the flags that a filter left. The result never has more rights than the
 * caller asked for, nor less of what may_open() has demanded: O_NOATIME is the
 * owner's, and what writes an append-only file appends.
 *
 * Return: flags for the lower open, or a negative errno
 */
static int fbpf_merge_flags(struct file *file, unsigned int wanted)
{
	unsigned int flags;

	wanted &= file->f_flags | ~O_NOATIME;
	flags = (file->f_flags & ~FBPF_OPEN_FLAGS) | (wanted & FBPF_OPEN_FLAGS);
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if ((flags & O_ACCMODE) == O_RDONLY)
		fbpf_drop_mode(file, FMODE_WRITE);
	else if ((flags & O_ACCMODE) == O_WRONLY)
		fbpf_drop_mode(file, FMODE_READ);
	if (!(file->f_mode & FMODE_WRITE))
		flags &= ~O_ACCMODE;
	else if (!(file->f_mode & FMODE_READ))
		flags = (flags & ~O_ACCMODE) | O_WRONLY;
	if (IS_APPEND(file_inode(file)) && file->f_mode & FMODE_WRITE)
		flags |= O_APPEND;

	/* O_TRUNC is out when the VFS has cleared it; it acts after the open */
	file->f_flags = flags | (file->f_flags & O_TRUNC);
	return flags;
}

static struct file *fbpf_open_lower(struct file *file, int flags)
{
	struct dentry *dentry = file_dentry(file);
	const struct fbpf_mount *fb = fbpf_sb(dentry->d_sb);
	struct path lower = fbpf_lower_path(dentry);
	const struct cred *old;
	struct file *lower_file;

	flags &= ~FBPF_NOT_LOWER;
	old = fbpf_enter(fb);
	if (d_is_dir(lower.dentry))
		lower_file = dentry_open(&lower, flags, current_cred());
	else
		lower_file = backing_file_open(file, flags, &lower,
					       current_cred());
	fbpf_leave(old);
	return lower_file;
}

/* Give @file its lower file, or close that one */
int fbpf_adopt_file(struct file *file, struct file *lower, bool keep_data)
{
	const fmode_t can = FMODE_CAN_ODIRECT | FMODE_NOWAIT;
	struct fbpf_file *ff;

	/* As small as it is, not worth charging beside the file itself */
	ff = kmalloc(sizeof(*ff), GFP_KERNEL);
	if (!ff) {
		fput(lower);
		return -ENOMEM;
	}
	/* Who writes below is not counted on our inode */
	if (file->f_flags & __FMODE_EXEC) {
		int err = deny_write_access(lower);

		if (err) {
			fput(lower);
			kfree(ff);
			return err;
		}
	}
	*ff = (struct fbpf_file) { .lower = lower, .keep_data = keep_data };
	file->private_data = ff;
	file->f_mode |= lower->f_mode & can;
	return 0;
}

/* Open below and give @file what it needs */
static int fbpf_open_file(struct inode *inode, struct file *file, int flags,
			  bool keep_data)
{
	struct file *lower = fbpf_open_lower(file, flags);
	int err;

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	err = fbpf_adopt_file(file, lower, keep_data);
	if (!err)
		fbpf_refresh(inode);
	return err;
}

/*
 * What a postfilter's result means for the open file. An empty one cannot be
 * opened for writing.
 */
int fbpf_open_result(struct file *file, const struct fuse_open_out *out)
{
	struct fbpf_file *ff = file->private_data;

	ff->fh = out->fh;
	if (!(out->open_flags & FUSE_BPF_OPEN_EMPTY))
		return 0;
	if (file->f_mode & FMODE_WRITE)
		return -EACCES;
	ff->empty = true;
	return 0;
}

/* Take the lower file, or NULL, away from @file; the caller puts it */
static struct file *fbpf_part_file(struct file *file)
{
	struct fbpf_file *ff = file->private_data;
	struct file *lower;

	if (!ff)
		return NULL;
	lower = ff->lower;
	file->private_data = NULL;
	if (file->f_flags & __FMODE_EXEC)
		allow_write_access(lower);
	if (ff->classic)
		fput(ff->classic);
	kfree(ff);
	return lower;
}

void fbpf_close_file(struct file *file)
{
	struct file *lower = fbpf_part_file(file);

	if (lower)
		fput(lower);
}

static int fbpf_open_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_open_call *call = data;

	op->in.open.flags = call->file->f_flags & ~(O_CREAT | O_EXCL | O_NOCTTY);
	return 0;
}

static int fbpf_open_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_open_call *call = data;
	struct file *file = call->file;
	int flags = file->f_flags;
	bool keep = false;

	if (op) {
		keep = flags & O_TRUNC && !(op->in.open.flags & O_TRUNC);
		flags = fbpf_merge_flags(file, op->in.open.flags);
		if (flags < 0)
			return flags;
	}
	return fbpf_open_file(call->inode, file, flags, keep);
}

static int fbpf_open_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_open_call *call = data;

	if (!err && op)
		err = fbpf_open_result(call->file, &op->out.open);
	if (err)
		fbpf_close_file(call->file);
	return err;
}

FBPF_PRE(open, &op->in.open)

FBPF_POST(open, &op->in.open, &op->out.open)

FBPF_PRE(opendir, &op->in.open)

FBPF_POST(opendir, &op->in.open, &op->out.open)

static int fbpf_open_user(void *data)
{
	struct fbpf_open_call *call = data;

	return fbpf_open_classic(call->inode, call->file);
}

static const struct fbpf_desc fbpf_open_desc = {
	.hook		= FBPF_OPEN,
	.opcode		= FUSE_OPEN,
	.prepare	= fbpf_open_prepare,
	.user		= fbpf_open_user,
	.backing	= fbpf_open_backing,
	FBPF_PAIR(open),
	.finish		= fbpf_open_finish,
};

static const struct fbpf_desc fbpf_opendir_desc = {
	.hook		= FBPF_OPENDIR,
	.opcode		= FUSE_OPENDIR,
	.prepare	= fbpf_open_prepare,
	.user		= fbpf_open_user,
	.backing	= fbpf_open_backing,
	FBPF_PAIR(opendir),
	.finish		= fbpf_open_finish,
};

int fbpf_open(struct inode *inode, struct file *file)
{
	struct fbpf_open_call call = { .inode = inode, .file = file };
	int err;

	if (fbpf_opens_classic(file))
		return fbpf_open_classic(inode, file);
	/* Not every open comes from a path walk */
	err = fbpf_settle(file_dentry(file));
	if (err)
		return err;
	return fbpf_dispatch(S_ISDIR(inode->i_mode) ? &fbpf_opendir_desc :
						      &fbpf_open_desc,
			     inode, &call);
}

static int fbpf_release_prepare(struct fbpf_op *op, void *data)
{
	struct file *file = data;
	struct fbpf_file *ff = file->private_data;

	op->in.release.fh = ff->fh;
	op->in.release.flags = file->f_flags;
	return 0;
}

/* The lower file goes whatever a filter says */
static int fbpf_release_backing(struct fbpf_op *op, void *data)
{
	return 0;
}

FBPF_PRE(release, &op->in.release)

FBPF_POST(release, &op->in.release)

FBPF_PRE(releasedir, &op->in.release)

FBPF_POST(releasedir, &op->in.release)

/* A second file of the daemon's is released with ours */
static int fbpf_release_user(void *data)
{
	return 0;
}

static const struct fbpf_desc fbpf_release_desc = {
	.hook		= FBPF_RELEASE,
	.opcode		= FUSE_RELEASE,
	.must		= true,
	.prepare	= fbpf_release_prepare,
	.user		= fbpf_release_user,
	.backing	= fbpf_release_backing,
	FBPF_PAIR(release),
};

static const struct fbpf_desc fbpf_releasedir_desc = {
	.hook		= FBPF_RELEASEDIR,
	.opcode		= FUSE_RELEASEDIR,
	.must		= true,
	.prepare	= fbpf_release_prepare,
	.user		= fbpf_release_user,
	.backing	= fbpf_release_backing,
	FBPF_PAIR(releasedir),
};

int fbpf_release(struct inode *inode, struct file *file)
{
	struct file *lower;

	fbpf_dispatch(S_ISDIR(inode->i_mode) ? &fbpf_releasedir_desc :
					       &fbpf_release_desc,
		      inode, file);
	lower = fbpf_part_file(file);
	/* As the last reference to ours went: nothing is held, nothing to defer */
	if (lower)
		__fput_sync(lower);
	return 0;
}

struct fbpf_create_call {
	struct inode *dir;
	struct dentry *dentry;
	struct file *file;
	umode_t mode;
	const struct fbpf_op *op;
};

static int fbpf_create_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_create_call *call = data;

	op->in.create.flags = call->file->f_flags &
			      ~(O_CREAT | O_EXCL | O_NOCTTY);
	op->in.create.mode = call->mode;
	op->in.create.umask = current_umask();
	fbpf_set_name(op, &call->dentry->d_name, false);
	return 0;
}

/* Called back by finish_open(); the call is where the file's state will be */
static int fbpf_created_open(struct inode *inode, struct file *file)
{
	const struct fbpf_create_call *call = file->private_data;
	int flags = file->f_flags;
	int err;

	file->private_data = NULL;
	if (call->op) {
		flags = fbpf_merge_flags(file, call->op->in.create.flags);
		if (flags < 0)
			return flags;
	}
	err = fbpf_open_file(inode, file, flags, false);
	if (!err && call->op)
		err = fbpf_open_result(file, &call->op->out.create.open);
	if (err)
		fbpf_close_file(file);
	return err;
}

static int fbpf_create_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_create_call *call = data;
	umode_t mode = call->mode;
	struct fbpf_change change;
	struct dentry *lower;
	int err;

	if (op)
		mode = fbpf_apply_umask((op->in.create.mode & S_IALLUGO) |
					S_IFREG, op->in.create.umask);

	lower = fbpf_change_begin(&change, call->dir, call->dentry, true);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	err = fbpf_vfs_create(fbpf_sb(call->dir->i_sb)->idmap, change.lower_dir,
			      lower, mode);
	fbpf_change_end(&change, call->dir, lower);
	if (!err)
		call->file->f_mode |= FMODE_CREATED;
	return err;
}

static int fbpf_create_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_create_call *call = data;
	u64 nodeid = op ? op->out.create.entry.nodeid : 0;

	if (nodeid == FUSE_ROOT_ID)
		nodeid = 0;
	if (!err)
		err = fbpf_instantiate(call->dir, call->dentry, nodeid);
	if (!err && nodeid && d_is_positive(call->dentry))
		fbpf_count_lookup(d_inode(call->dentry));
	else
		fbpf_forget(call->dir->i_sb, nodeid);
	/* Taken away below in the meantime */
	if (!err && d_is_negative(call->dentry))
		err = -ESTALE;
	if (err)
		return err;
	/* Open last: the VFS would release the file of a refused one */
	call->op = op;
	call->file->private_data = call;
	err = finish_open(call->file, call->dentry, fbpf_created_open);
	/* Otherwise the VFS calls ->release() */
	if (err && !(call->file->f_mode & FMODE_OPENED))
		call->file->private_data = NULL;
	return err;
}

/* Of O_TMPFILE, too: who sets a probe names a function that is there once */
int fbpf_create_open_pre(const struct fuse_ops *ops, struct fbpf_op *op)
{
	return ops->create_open_prefilter(&op->meta, &op->in.create, &op->name);
}

int fbpf_create_open_post(const struct fuse_ops *ops, struct fbpf_op *op)
{
	return ops->create_open_postfilter(&op->meta, &op->in.create, &op->name,
					   &op->out.create.entry,
					   &op->out.create.open);
}

static int fbpf_create_user(void *data)
{
	struct fbpf_create_call *call = data;

	return fbpf_create_classic(call->dir, call->dentry, call->file,
				   call->mode);
}

static const struct fbpf_desc fbpf_create_desc = {
	.hook		= FBPF_CREATE,
	.opcode		= FUSE_CREATE,
	.prepare	= fbpf_create_prepare,
	.user		= fbpf_create_user,
	.backing	= fbpf_create_backing,
	FBPF_PAIR(create_open),
	.finish		= fbpf_create_finish,
};

/* Look up, and when the name is free and O_CREAT was given, create and open */
int fbpf_atomic_open(struct inode *dir, struct dentry *dentry,
		     struct file *file, unsigned int flags, umode_t mode)
{
	struct fbpf_create_call call = {
		.dir = dir,
		.dentry = dentry,
		.file = file,
		.mode = mode,
	};
	struct dentry *found = NULL;
	int err;

	if (d_in_lookup(dentry)) {
		found = fbpf_lookup(dir, dentry, 0);
		if (IS_ERR(found))
			return PTR_ERR(found);
		if (found)
			call.dentry = found;
	}
	if (!(flags & O_CREAT) || d_really_is_positive(call.dentry))
		return finish_no_open(file, found);
	if (fbpf_d(call.dentry)->hidden) {
		dput(found);
		return -ENOENT;
	}

	if (unlikely(fbpf_is_classic(call.dentry)))
		err = fbpf_create_user(&call);
	else
		err = fbpf_dispatch(&fbpf_create_desc, dir, &call);
	dput(found);
	return err;
}
