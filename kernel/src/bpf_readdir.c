// SPDX-License-Identifier: GPL-2.0-only
/*
 * READDIR. Where no filter looks at the entries or says how many they may be, the
 * caller's context goes straight to the lower directory. Else they are collected,
 * filtered and then handed on; the position of each is the lower one, so that
 * seeking works as below.
 *
 * Locking: the VFS holds the directory's i_rwsem shared and, for descriptors,
 * the file's position lock. The collected entries belong to the call.
 */
#include <linux/file.h>
#include <linux/filelock.h>
#include <linux/slab.h>

#include "bpf_op.h"

/* Put together by the lower directory's actor */
struct fbpf_collect {
	struct dir_context ctx;
	struct fbpf_dirbuf *dir;
	u32 count;
	u32 room;
};

/**
 * struct fbpf_readdir_call - one pass over the lower directory
 * @file: upper directory
 * @lower: lower directory
 * @pos: where the pass begins, and then where it ended
 * @count: entries found below
 * @again: a filter asked for another pass
 * @jumped: a filter set where to begin: there is no next pass
 * @ctx: where entries go in the end
 * @full: it took no more
 * @through: they are there: nobody looks at them, or the daemon put them there
 */
struct fbpf_readdir_call {
	struct file *file;
	struct file *lower;
	loff_t pos;
	u32 count;
	bool again;
	bool jumped;
	struct dir_context *ctx;
	bool full;
	bool through;
};

/* Room for one entry of any name; less would look like the end */
#define FBPF_DIR_LEAST	FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + NAME_MAX)

/**
 * fbpf_next_dirent - parse packed directory entries
 * @buf: entries; a program may have written anything to it
 * @pos: offset of an entry
 * @dirent: gets it
 *
 * Return: its size; 0 at the end and for what is not an entry
 */
u32 fbpf_next_dirent(const struct fuse_buffer *buf, u32 pos,
		     struct fuse_dirent **dirent)
{
	struct fuse_dirent *d;
	size_t size;

	if (pos > buf->size || buf->size - pos < FUSE_NAME_OFFSET)
		return 0;
	d = buf->data + pos;
	if (!d->namelen || d->namelen > NAME_MAX)
		return 0;
	size = FUSE_DIRENT_SIZE(d);
	if (size > buf->size - pos)
		return 0;
	*dirent = d;
	return size;
}

static bool fbpf_collect(struct dir_context *ctx, const char *name, int namelen,
			 loff_t offset, u64 ino, unsigned int type)
{
	struct fbpf_collect *collect = container_of(ctx, struct fbpf_collect,
						    ctx);
	struct fbpf_dirbuf *dir = collect->dir;
	struct fuse_dirent *d = (void *)(dir->data + dir->buf.size);
	size_t size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + namelen);

	if (namelen > NAME_MAX || collect->count == FBPF_DIR_MAX ||
	    size > collect->room - dir->buf.size)
		return false;

	d->ino = ino;
	d->off = offset;
	d->namelen = namelen;
	d->type = type;
	memcpy(d->name, name, namelen);
	memset(d->name + namelen, 0, size - FUSE_NAME_OFFSET - namelen);
	dir->entries[collect->count++].flags = 0;
	dir->buf.size += size;
	return true;
}

/* iterate_dir() below, from a given position */
static int fbpf_iterate_lower(struct file *file, struct file *lower,
			      struct dir_context *ctx)
{
	const struct cred *old = fbpf_enter(fbpf_sb(file_inode(file)->i_sb));
	loff_t pos = ctx->pos;
	int err = 0;

	/* Some file systems keep a cursor that only llseek moves */
	if (lower->f_pos != pos) {
		loff_t ret = vfs_llseek(lower, pos, SEEK_SET);

		if (ret < 0)
			err = ret;
	}
	if (!err)
		err = iterate_dir(lower, ctx);
	fbpf_leave(old);
	return err;
}

static int fbpf_readdir_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_readdir_call *call = data;
	struct fbpf_file *ff = call->file->private_data;

	op->in.read.fh = ff->fh;
	op->in.read.offset = call->pos;
	op->in.read.size = FBPF_DIR_BYTES;
	return 0;
}

/* Room for entries, which stays with the operation's memory */
static int fbpf_readdir_room(struct fbpf_op *op)
{
	if (!op->dir)
		op->dir = kvmalloc(sizeof(*op->dir), GFP_KERNEL);
	if (!op->dir)
		return -ENOMEM;
	/* Whatever a program reads or makes of it; in words, as for names */
	memset(op->dir->data, 0, sizeof(op->dir->data));
	memset(op->dir->entries, 0, sizeof(op->dir->entries));
	op->dir->buf = (struct fuse_buffer) {
		.data = op->dir->data,
		.alloc_size = FBPF_DIR_BYTES,
		.max_size = FBPF_DIR_BYTES,
		.flags = BPF_FUSE_VARIABLE_SIZE | BPF_FUSE_DIRENTS,
	};
	return 0;
}

static int fbpf_readdir_through(struct fbpf_readdir_call *call)
{
	if (call->pos < 0)
		return -EINVAL;
	call->through = true;
	call->ctx->pos = call->pos;
	return fbpf_iterate_lower(call->file, call->lower, call->ctx);
}

static int fbpf_readdir_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_readdir_call *call = data;
	struct fbpf_collect collect = { .ctx.actor = fbpf_collect };
	int err;

	if (op && op->in.read.offset != call->pos) {
		call->jumped = true;
		call->pos = op->in.read.offset;
	}
	if (!op || (!op->post && op->in.read.size == FBPF_DIR_BYTES))
		return fbpf_readdir_through(call);

	err = fbpf_readdir_room(op);
	if (err) {
		/* There is nothing to show it */
		op->post = false;
		return err;
	}
	if (call->pos < 0)
		return -EINVAL;
	collect.ctx.pos = call->pos;
	collect.dir = op->dir;
	collect.room = clamp_t(u32, op->in.read.size, FBPF_DIR_LEAST,
			       FBPF_DIR_BYTES);
	err = fbpf_iterate_lower(call->file, call->lower, &collect.ctx);
	/* What was found is given first; the error comes back with the next pass */
	if (err && !collect.count)
		return err;
	call->pos = collect.ctx.pos;
	call->count = collect.count;
	op->out.read.offset = call->pos;
	return 0;
}

FBPF_PRE(readdir, &op->in.read)

FBPF_POST(readdir, &op->in.read, &op->out.read, &op->dir->buf)

/* What a program wrote as a name must not reach user space as a path */
static bool fbpf_bad_name(const char *name, u32 len)
{
	return memchr(name, '/', len) || memchr(name, 0, len);
}

/*
 * Hand the entries on that were not dropped. The position goes with them: of
 * one that did not fit, its own.
 */
static int fbpf_emit(struct fbpf_readdir_call *call, struct fbpf_dirbuf *dir)
{
	struct dir_context *ctx = call->ctx;
	struct fuse_dirent *d;
	u32 pos = 0, index, len;

	for (index = 0; index < FBPF_DIR_MAX; index++, pos += len) {
		len = fbpf_next_dirent(&dir->buf, pos, &d);
		if (!len)
			break;
		const struct bpf_fuse_dirent *entry = &dir->entries[index];
		u32 namelen = d->namelen;

		if (entry->flags & BPF_FUSE_DIRENT_DROPPED)
			continue;
		if (entry->flags & BPF_FUSE_DIRENT_RENAMED)
			namelen = entry->name.size - 1;
		if (fbpf_bad_name(d->name, namelen))
			return -EIO;
		ctx->pos = d->off;
		call->full = !dir_emit(ctx, d->name, namelen, d->ino, d->type);
		if (call->full)
			return 0;
	}
	ctx->pos = call->pos;
	return 0;
}

static int fbpf_readdir_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_readdir_call *call = data;

	if (err || call->through)
		return err;
	call->pos = op->out.read.offset;
	call->again = op->out.read.again;
	/* It would never end */
	if (call->again && !call->count)
		return -EINVAL;
	return fbpf_emit(call, op->dir);
}

static int fbpf_readdir_user(void *data)
{
	struct fbpf_readdir_call *call = data;
	struct file *classic = fbpf_classic_file(call->file);

	if (IS_ERR(classic))
		return PTR_ERR(classic);
	call->through = true;
	return classic->f_op->iterate_shared(classic, call->ctx);
}

static const struct fbpf_desc fbpf_readdir_desc = {
	.hook		= FBPF_READDIR,
	.opcode		= FUSE_READDIR,
	.prepare	= fbpf_readdir_prepare,
	.user		= fbpf_readdir_user,
	.backing	= fbpf_readdir_backing,
	FBPF_PAIR(readdir),
	.finish		= fbpf_readdir_finish,
};

/*
 * Pass after pass until the caller's buffer is full or the directory ends. An
 * empty result means the end to user space, so a pass that a filter emptied
 * must not stop here.
 */
static int fbpf_iterate_filtered(struct file *file, struct file *lower,
				 struct dir_context *ctx)
{
	struct fbpf_readdir_call call = {
		.file = file,
		.lower = lower,
		.ctx = ctx,
	};
	int ret;

	do {
		loff_t start = ctx->pos;

		call.pos = start;
		call.count = 0;
		call.again = false;
		ret = fbpf_dispatch(&fbpf_readdir_desc, file_inode(file), &call);
		if (ret || call.through || call.full)
			break;
		/* A pass that does not move forward is the last one */
		if (!call.count || call.jumped || (call.pos == start && !call.again))
			break;
		cond_resched();
		if (fatal_signal_pending(current))
			ret = -EINTR;
	} while (!ret);
	return ret;
}

static int fbpf_iterate(struct file *file, struct dir_context *ctx)
{
	struct file *lower = fbpf_lower_file(file);
	int err;

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	if (((struct fbpf_file *)file->private_data)->empty)
		return 0;
	if (fbpf_hooked(file_inode(file), FBPF_READDIR)) {
		err = fbpf_settle(file_dentry(file));
		return err ?: fbpf_iterate_filtered(file, lower, ctx);
	}
	return fbpf_iterate_lower(file, lower, ctx);
}

static loff_t fbpf_dir_llseek(struct file *file, loff_t offset, int whence)
{
	struct fbpf_file *ff = file->private_data;
	const struct cred *old;
	loff_t ret;

	/* The lower position may be ahead of what was handed on */
	if (whence == SEEK_CUR) {
		if (!offset)
			return file->f_pos;
		offset += file->f_pos;
		whence = SEEK_SET;
	}
	old = fbpf_enter(fbpf_sb(file_inode(file)->i_sb));
	ret = vfs_llseek(ff->lower, offset, whence);
	fbpf_leave(old);
	if (ret >= 0)
		file->f_pos = ret;
	return ret;
}

const struct file_operations fbpf_dir_operations = {
	.owner		= THIS_MODULE,
	.open		= fbpf_open,
	.release	= fbpf_release,
	.setlease	= generic_setlease,
	.llseek		= fbpf_dir_llseek,
	.read		= generic_read_dir,
	.iterate_shared	= fbpf_iterate,
	.fsync		= fbpf_fsync,
	.flock		= fbpf_flock,
	.lock		= fbpf_lock,
	.unlocked_ioctl	= fbpf_ioctl,
	.compat_ioctl	= fbpf_compat_ioctl,
};
