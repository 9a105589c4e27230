// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filters of open files but for their data: LSEEK, FLUSH, FSYNC, FSYNCDIR and
 * FALLOCATE.
 *
 * Locking: none around programs, but for the position lock of a descriptor, which
 * is all that a position needs.
 */
#include <linux/fs.h>

#include "bpf_hooks.h"
#include "bpf_op.h"

struct fbpf_lseek_call {
	struct file *file;
	loff_t offset;
	int whence;
	loff_t ret;
};

static int fbpf_lseek_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_lseek_call *call = data;

	op->in.lseek.fh = fbpf_fh(call->file);
	op->in.lseek.offset = call->offset;
	op->in.lseek.whence = call->whence;
	return 0;
}

static int fbpf_lseek_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_lseek_call *call = data;
	loff_t pos = call->file->f_pos;
	loff_t ret = -EINVAL;

	if (op->in.lseek.whence <= SEEK_MAX)
		ret = fbpf_llseek_lower(call->file, op->in.lseek.offset,
					op->in.lseek.whence);
	/* It moves when the filters have agreed */
	call->file->f_pos = pos;
	op->out.lseek.offset = ret < 0 ? pos : ret;
	return ret < 0 ? ret : 0;
}

static int fbpf_lseek_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_lseek_call *call = data;

	if (err)
		return err;
	call->ret = vfs_setpos(call->file, op->out.lseek.offset,
			       file_inode(call->file)->i_sb->s_maxbytes);
	return call->ret < 0 ? call->ret : 0;
}

FBPF_PRE(lseek, &op->in.lseek)
FBPF_POST(lseek, &op->in.lseek, &op->out.lseek)

static int fbpf_lseek_user(void *data)
{
	struct fbpf_lseek_call *call = data;
	struct file *classic = fbpf_classic_file(call->file);

	if (IS_ERR(classic))
		return PTR_ERR(classic);
	classic->f_pos = call->file->f_pos;
	call->ret = classic->f_op->llseek(classic, call->offset, call->whence);
	fbpf_restore_attr(file_inode(call->file));
	if (call->ret >= 0)
		call->file->f_pos = call->ret;
	return min_t(loff_t, call->ret, 0);
}

static const struct fbpf_desc fbpf_lseek_desc = {
	.hook		= FBPF_LSEEK,
	.opcode		= FUSE_LSEEK,
	.may_clear	= true,
	.prepare	= fbpf_lseek_prepare,
	.user		= fbpf_lseek_user,
	.backing	= fbpf_lseek_backing,
	FBPF_PAIR(lseek),
	.finish		= fbpf_lseek_finish,
};

loff_t fbpf_filter_llseek(struct file *file, loff_t offset, int whence)
{
	struct fbpf_lseek_call call = {
		.file = file,
		.offset = offset,
		.whence = whence,
	};
	int err;

	err = fbpf_filter(&fbpf_lseek_desc, file_inode(file), &call);
	return err ?: call.ret;
}

struct fbpf_fsync_call {
	struct file *file;
	loff_t start;
	loff_t end;
	int datasync;
};

static int fbpf_fsync_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_fsync_call *call = data;

	op->in.fsync.fh = fbpf_fh(call->file);
	op->in.fsync.fsync_flags = call->datasync ? FUSE_FSYNC_FDATASYNC : 0;
	return 0;
}

static int fbpf_fsync_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_fsync_call *call = data;

	return fbpf_fsync_lower(call->file, call->start, call->end,
				op->in.fsync.fsync_flags & FUSE_FSYNC_FDATASYNC);
}

FBPF_PRE(fsync, &op->in.fsync)
FBPF_POST(fsync, &op->in.fsync)

static int fbpf_fsync_user(void *data)
{
	struct fbpf_fsync_call *call = data;
	struct file *classic = fbpf_classic_file(call->file);

	if (IS_ERR(classic))
		return PTR_ERR(classic);
	return classic->f_op->fsync(classic, call->start, call->end,
				    call->datasync);
}

static const struct fbpf_desc fbpf_fsync_desc = {
	.hook		= FBPF_FSYNC,
	.opcode		= FUSE_FSYNC,
	.may_clear	= true,
	.prepare	= fbpf_fsync_prepare,
	.user		= fbpf_fsync_user,
	.backing	= fbpf_fsync_backing,
	FBPF_PAIR(fsync),
};

#ifndef FBPF_NO_FSYNCDIR
FBPF_PRE(dir_fsync, &op->in.fsync)
FBPF_POST(dir_fsync, &op->in.fsync)

static const struct fbpf_desc fbpf_fsyncdir_desc = {
	.hook		= FBPF_FSYNCDIR,
	.opcode		= FUSE_FSYNCDIR,
	.may_clear	= true,
	.prepare	= fbpf_fsync_prepare,
	.user		= fbpf_fsync_user,
	.backing	= fbpf_fsync_backing,
	FBPF_PAIR(dir_fsync),
};

static int fbpf_filter_fsyncdir(struct inode *dir, struct fbpf_fsync_call *call)
{
	return fbpf_filter(&fbpf_fsyncdir_desc, dir, call);
}
#else
static int fbpf_fsyncdir_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_fsync_call *call = data;

	return fbpf_fsync_lower(call->file, call->start, call->end,
				call->datasync);
}

static int fbpf_filter_fsyncdir(struct inode *dir, struct fbpf_fsync_call *call)
{
	return fbpf_filter_other(dir, FUSE_FSYNCDIR, fbpf_fsyncdir_backing,
				 call);
}
#endif

int fbpf_filter_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	struct fbpf_fsync_call call = {
		.file = file,
		.start = start,
		.end = end,
		.datasync = datasync,
	};
	struct inode *inode = file_inode(file);

	return S_ISDIR(inode->i_mode) ?
		       fbpf_filter_fsyncdir(inode, &call) :
		       fbpf_filter(&fbpf_fsync_desc, inode, &call);
}

struct fbpf_flush_call {
	struct file *file;
	fl_owner_t id;
};

static int fbpf_flush_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_flush_call *call = data;

	op->in.flush.fh = fbpf_fh(call->file);
	return 0;
}

static int fbpf_flush_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_flush_call *call = data;

	return fbpf_flush_lower(call->file, call->id);
}

FBPF_PRE(flush, &op->in.flush)
FBPF_POST(flush, &op->in.flush)

static int fbpf_flush_user(void *data)
{
	struct fbpf_flush_call *call = data;
	struct file *classic = fbpf_classic_file(call->file);

	if (IS_ERR(classic))
		return PTR_ERR(classic);
	return classic->f_op->flush(classic, call->id);
}

static const struct fbpf_desc fbpf_flush_desc = {
	.hook		= FBPF_FLUSH,
	.opcode		= FUSE_FLUSH,
	.may_clear	= true,
	.prepare	= fbpf_flush_prepare,
	.user		= fbpf_flush_user,
	.backing	= fbpf_flush_backing,
	FBPF_PAIR(flush),
};

int fbpf_filter_flush(struct file *file, fl_owner_t id)
{
	struct fbpf_flush_call call = { .file = file, .id = id };

	return fbpf_filter(&fbpf_flush_desc, file_inode(file), &call);
}

struct fbpf_fallocate_call {
	struct file *file;
	int mode;
	loff_t offset;
	loff_t len;
};

static int fbpf_fallocate_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_fallocate_call *call = data;

	op->in.fallocate.fh = fbpf_fh(call->file);
	op->in.fallocate.offset = call->offset;
	op->in.fallocate.length = call->len;
	op->in.fallocate.mode = call->mode;
	return 0;
}

static int fbpf_fallocate_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_fallocate_call *call = data;
	const struct fuse_fallocate_in *in = &op->in.fallocate;

	return fbpf_fallocate_lower(call->file, in->mode, in->offset,
				    in->length);
}

FBPF_PRE(file_fallocate, &op->in.fallocate)
FBPF_POST(file_fallocate, &op->in.fallocate)

static int fbpf_fallocate_user(void *data)
{
	struct fbpf_fallocate_call *call = data;
	struct file *classic = fbpf_classic_file(call->file);
	int err;

	if (IS_ERR(classic))
		return PTR_ERR(classic);
	err = classic->f_op->fallocate(classic, call->mode, call->offset,
				       call->len);
	fbpf_copy_attr(file_inode(call->file));
	return err;
}

static const struct fbpf_desc fbpf_fallocate_desc = {
	.hook		= FBPF_FALLOCATE,
	.opcode		= FUSE_FALLOCATE,
	.prepare	= fbpf_fallocate_prepare,
	.user		= fbpf_fallocate_user,
	.backing	= fbpf_fallocate_backing,
	FBPF_PAIR(file_fallocate),
};

long fbpf_filter_fallocate(struct file *file, int mode, loff_t offset,
			   loff_t len)
{
	struct fbpf_fallocate_call call = {
		.file = file,
		.mode = mode,
		.offset = offset,
		.len = len,
	};

	return fbpf_filter(&fbpf_fallocate_desc, file_inode(file), &call);
}
