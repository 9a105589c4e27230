// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filters of data and positions of open files: READ, WRITE, LSEEK, FLUSH, FSYNC,
 * FSYNCDIR, FALLOCATE and COPY_FILE_RANGE.
 *
 * Filters see where and how much, not the data. With a filter a read or write is
 * synchronous, whatever the caller asked for.
 *
 * Locking: none around programs, but for the position lock of a descriptor. What
 * changes a position takes it as the operation without filters does.
 */
#include <linux/fs.h>
#include <linux/uio.h>

#include "bpf.h"

static u64 fbpf_fh(const struct file *file)
{
	return ((struct fbpf_file *)file->private_data)->fh;
}

/*
 * What a postfilter left as the result.
 *
 * Return: at most @max, or an errno that may go to user space
 */
static ssize_t fbpf_result(u64 wanted, ssize_t max)
{
	s64 ret = wanted;

	if (ret < 0)
		return ret < -511 ? -EIO : ret;
	return min_t(s64, ret, max);
}

/**
 * struct fbpf_rw_call - a read or write
 * @iocb: what the caller gave
 * @iter: memory; NULL for a splice
 * @pipe: of a splice
 * @file: open file
 * @flags: of a splice
 * @pos: where the caller is
 * @count: bytes that the caller asked for
 * @next: where the lower call ended
 * @done: bytes of it
 * @ret: result
 */
struct fbpf_rw_call {
	struct kiocb *iocb;
	struct iov_iter *iter;
	struct pipe_inode_info *pipe;
	struct file *file;
	unsigned int flags;
	loff_t pos;
	size_t count;
	loff_t next;
	ssize_t done;
	ssize_t ret;
};

static int fbpf_read_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_rw_call *call = data;

	op->in.read.fh = fbpf_fh(call->file);
	op->in.read.offset = call->pos;
	op->in.read.size = call->count;
	return 0;
}

static int fbpf_write_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_rw_call *call = data;

	op->in.write.fh = fbpf_fh(call->file);
	op->in.write.offset = call->pos;
	op->in.write.size = call->count;
	return 0;
}

/* The lower call at another place, with a part of the memory */
static ssize_t fbpf_rw_lower(struct fbpf_rw_call *call, loff_t pos, size_t size,
			     ssize_t (*lower)(struct kiocb *, struct iov_iter *))
{
	struct kiocb iocb;
	size_t left;
	ssize_t ret;

	init_sync_kiocb(&iocb, call->file);
	iocb.ki_flags = call->iocb->ki_flags &
			~(IOCB_DIO_CALLER_COMP | IOCB_ALLOC_CACHE | IOCB_WAITQ);
	iocb.ki_ioprio = call->iocb->ki_ioprio;
	iocb.ki_pos = pos;

	left = call->count - size;
	iov_iter_truncate(call->iter, size);
	ret = lower(&iocb, call->iter);
	iov_iter_reexpand(call->iter, iov_iter_count(call->iter) + left);
	call->next = iocb.ki_pos;
	return ret;
}

/* With an error nothing is done, and the caller stays where it is */
static int fbpf_rw_done(struct fbpf_rw_call *call, ssize_t ret)
{
	if (ret >= 0) {
		call->done = ret;
		return 0;
	}
	call->next = call->pos;
	return ret;
}

static int fbpf_read_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_rw_call *call = data;
	loff_t pos = op->in.read.offset;
	size_t size = min_t(size_t, op->in.read.size, call->count);
	ssize_t ret = -EINVAL;

	if (pos >= 0)
		ret = fbpf_rw_lower(call, pos, size, fbpf_read_lower);
	op->out.read_iter.ret = max(ret, 0);
	return fbpf_rw_done(call, ret);
}

static int fbpf_write_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_rw_call *call = data;
	loff_t pos = op->in.write.offset;
	size_t size = min_t(size_t, op->in.write.size, call->count);
	ssize_t ret = -EINVAL;

	if (pos < 0) {
		;
	} else if (call->pipe) {
		call->next = pos;
		ret = fbpf_splice_write_lower(call->pipe, call->file,
					      &call->next, size, call->flags);
	} else {
		ret = fbpf_rw_lower(call, pos, size, fbpf_write_lower);
	}
	op->out.write_iter.ret = max(ret, 0);
	return fbpf_rw_done(call, ret);
}

/* The position follows the result; at another place it follows that alone */
static void fbpf_rw_advance(struct fbpf_rw_call *call, loff_t began)
{
	ssize_t more = call->ret - call->done;

	if (began == call->pos)
		call->pos = call->next + more;
	else
		call->pos += call->ret;
	if (!call->iter)
		return;
	if (more > 0)
		iov_iter_advance(call->iter, more);
	else
		iov_iter_revert(call->iter, -more);
}

/* Never more than was read: the rest of the memory has other contents */
static int fbpf_read_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_rw_call *call = data;

	if (err)
		return err;
	call->ret = fbpf_result(op->out.read_iter.ret, call->done);
	if (call->ret < 0)
		return call->ret;
	fbpf_rw_advance(call, op->in.read.offset);
	return 0;
}

/*
 * A filter can say that all was written. Not to a pipe's end, which has then to
 * be read as far.
 */
static int fbpf_write_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_rw_call *call = data;

	if (err)
		return err;
	call->ret = fbpf_result(op->out.write_iter.ret,
				call->pipe ? call->done : call->count);
	if (call->ret < 0)
		return call->ret;
	fbpf_rw_advance(call, op->in.write.offset);
	return 0;
}

FBPF_PRE(read_iter, &op->in.read)
FBPF_POST(read_iter, &op->in.read, &op->out.read_iter)
FBPF_PRE(write_iter, &op->in.write)
FBPF_POST(write_iter, &op->in.write, &op->out.write_iter)

/* The whole of it by the file that the daemon opened */
static int fbpf_rw_classic(struct fbpf_rw_call *call, struct file *classic,
			   ssize_t (*rw)(struct kiocb *, struct iov_iter *))
{
	struct kiocb iocb;

	init_sync_kiocb(&iocb, classic);
	iocb.ki_pos = call->pos;
	call->ret = rw(&iocb, call->iter);
	call->pos = iocb.ki_pos;
	return min_t(ssize_t, call->ret, 0);
}

static int fbpf_read_user(void *data)
{
	struct fbpf_rw_call *call = data;
	struct file *classic = fbpf_classic_file(call->file);

	if (IS_ERR(classic))
		return PTR_ERR(classic);
	return fbpf_rw_classic(call, classic, classic->f_op->read_iter);
}

static const struct fbpf_desc fbpf_read_desc = {
	.hook		= FBPF_READ,
	.opcode		= FUSE_READ,
	.may_clear	= true,
	.prepare	= fbpf_read_prepare,
	.user		= fbpf_read_user,
	.backing	= fbpf_read_backing,
	FBPF_PAIR(read_iter),
	.finish		= fbpf_read_finish,
};

static int fbpf_write_user(void *data)
{
	struct fbpf_rw_call *call = data;
	struct file *classic = fbpf_classic_file(call->file);
	int err;

	if (IS_ERR(classic))
		return PTR_ERR(classic);
	if (call->pipe) {
		call->ret = classic->f_op->splice_write(call->pipe, classic,
							&call->pos, call->count,
							call->flags);
		err = min_t(ssize_t, call->ret, 0);
	} else {
		err = fbpf_rw_classic(call, classic, classic->f_op->write_iter);
	}
	fbpf_copy_attr(file_inode(call->file));
	return err;
}

static const struct fbpf_desc fbpf_write_desc = {
	.hook		= FBPF_WRITE,
	.opcode		= FUSE_WRITE,
	.may_clear	= true,
	.prepare	= fbpf_write_prepare,
	.user		= fbpf_write_user,
	.backing	= fbpf_write_backing,
	FBPF_PAIR(write_iter),
	.finish		= fbpf_write_finish,
};

static ssize_t fbpf_filter_rw(const struct fbpf_desc *desc, struct kiocb *iocb,
			      struct iov_iter *iter)
{
	struct fbpf_rw_call call = {
		.iocb = iocb,
		.iter = iter,
		.file = iocb->ki_filp,
		.pos = iocb->ki_pos,
		.count = iov_iter_count(iter),
	};
	int err;

	if (!call.count)
		return 0;
	/* The operation's memory cannot be had without waiting */
	if (iocb->ki_flags & IOCB_NOWAIT)
		return -EAGAIN;
	err = fbpf_filter(desc, file_inode(call.file), &call);
	if (err)
		return err;
	iocb->ki_pos = call.pos;
	return call.ret;
}

ssize_t fbpf_filter_read(struct kiocb *iocb, struct iov_iter *iter)
{
	return fbpf_filter_rw(&fbpf_read_desc, iocb, iter);
}

ssize_t fbpf_filter_write(struct kiocb *iocb, struct iov_iter *iter)
{
	return fbpf_filter_rw(&fbpf_write_desc, iocb, iter);
}

ssize_t fbpf_filter_splice_write(struct pipe_inode_info *pipe,
				 struct file *file, loff_t *ppos, size_t len,
				 unsigned int flags)
{
	struct fbpf_rw_call call = {
		.pipe = pipe,
		.file = file,
		.flags = flags,
		.pos = *ppos,
		.count = len,
	};
	int err;

	err = fbpf_filter(&fbpf_write_desc, file_inode(file), &call);
	if (err)
		return err;
	*ppos = call.pos;
	return call.ret;
}

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
	struct inode *inode = file_inode(call->file);

	if (err)
		return err;
	inode_lock(inode);
	call->ret = vfs_setpos(call->file, op->out.lseek.offset,
			       inode->i_sb->s_maxbytes);
	inode_unlock(inode);
	return call->ret < 0 ? call->ret : 0;
}

FBPF_PRE(lseek, &op->in.lseek)
FBPF_POST(lseek, &op->in.lseek, &op->out.lseek)

static int fbpf_lseek_user(void *data)
{
	struct fbpf_lseek_call *call = data;
	struct file *classic = fbpf_classic_file(call->file);
	struct inode *inode = file_inode(call->file);

	if (IS_ERR(classic))
		return PTR_ERR(classic);
	classic->f_pos = call->file->f_pos;
	call->ret = classic->f_op->llseek(classic, call->offset, call->whence);
	if (call->ret >= 0) {
		inode_lock(inode);
		call->file->f_pos = call->ret;
		inode_unlock(inode);
	}
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
FBPF_PRE(dir_fsync, &op->in.fsync)
FBPF_POST(dir_fsync, &op->in.fsync)

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

static const struct fbpf_desc fbpf_fsyncdir_desc = {
	.hook		= FBPF_FSYNCDIR,
	.opcode		= FUSE_FSYNCDIR,
	.may_clear	= true,
	.prepare	= fbpf_fsync_prepare,
	.user		= fbpf_fsync_user,
	.backing	= fbpf_fsync_backing,
	FBPF_PAIR(dir_fsync),
};

int fbpf_filter_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	struct fbpf_fsync_call call = {
		.file = file,
		.start = start,
		.end = end,
		.datasync = datasync,
	};
	struct inode *inode = file_inode(file);

	return fbpf_filter(S_ISDIR(inode->i_mode) ? &fbpf_fsyncdir_desc :
						    &fbpf_fsync_desc,
			   inode, &call);
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

/**
 * struct fbpf_copy_call - a copy or the sharing of blocks
 * @in: file to read from, whose filters are asked
 * @pos_in: position there
 * @out: file to write to
 * @pos_out: position there
 * @len: bytes; 0 is all the rest of a shared file
 * @flags: REMAP_FILE_*, or those of copy_file_range(2)
 * @remap: share blocks
 * @ret: bytes copied
 */
struct fbpf_copy_call {
	struct file *in;
	loff_t pos_in;
	struct file *out;
	loff_t pos_out;
	u64 len;
	unsigned int flags;
	bool remap;
	loff_t ret;
};

static int fbpf_copy_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_copy_call *call = data;
	struct fuse_copy_file_range_in *in = &op->in.copy;

	op->tag2 = fbpf_i(file_inode(call->out))->tag;
	in->fh_in = fbpf_fh(call->in);
	in->off_in = call->pos_in;
	in->nodeid_out = get_node_id(file_inode(call->out));
	in->fh_out = fbpf_fh(call->out);
	in->off_out = call->pos_out;
	in->len = call->len;
	in->flags = call->remap ? 0 : call->flags;
	return 0;
}

static int fbpf_copy_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_copy_call *call = data;
	const struct fuse_copy_file_range_in *in = &op->in.copy;

	if ((s64)in->off_in < 0 || (s64)in->off_out < 0 || (s64)in->len < 0)
		call->ret = -EINVAL;
	else if (in->flags != (call->remap ? 0 : call->flags))
		call->ret = -EINVAL;
	else if (call->remap)
		call->ret = fbpf_remap_lower(call->in, in->off_in, call->out,
					     in->off_out, in->len, call->flags);
	else
		call->ret = fbpf_copy_lower(call->in, in->off_in, call->out,
					    in->off_out, in->len, call->flags);
	op->out.write.size = clamp_t(loff_t, call->ret, 0, U32_MAX);
	return call->ret < 0 ? call->ret : 0;
}

/* Sharing is all or nothing, so only a copy's result can change */
static int fbpf_copy_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_copy_call *call = data;
	u32 before = clamp_t(loff_t, call->ret, 0, U32_MAX);

	if (!err && !call->remap && op->out.write.size != before)
		call->ret = min_t(u64, op->out.write.size, call->len);
	return err;
}

FBPF_PRE(copy_file_range, &op->in.copy)
FBPF_POST(copy_file_range, &op->in.copy, &op->out.write)

static int fbpf_copy_user(void *data)
{
	struct fbpf_copy_call *call = data;
	struct file *in, *out;

	if (call->remap)
		return -EOPNOTSUPP;
	in = fbpf_classic_file(call->in);
	if (IS_ERR(in))
		return PTR_ERR(in);
	out = fbpf_classic_file(call->out);
	if (IS_ERR(out))
		return PTR_ERR(out);
	call->ret = out->f_op->copy_file_range(in, call->pos_in, out,
					       call->pos_out, call->len,
					       call->flags);
	fbpf_copy_attr(file_inode(call->out));
	return min_t(loff_t, call->ret, 0);
}

static const struct fbpf_desc fbpf_copy_desc = {
	.hook		= FBPF_COPY,
	.opcode		= FUSE_COPY_FILE_RANGE,
	.prepare	= fbpf_copy_prepare,
	.user		= fbpf_copy_user,
	.backing	= fbpf_copy_backing,
	FBPF_PAIR(copy_file_range),
	.finish		= fbpf_copy_finish,
};

static loff_t fbpf_filter_copy_call(struct fbpf_copy_call *call)
{
	int err = fbpf_filter(&fbpf_copy_desc, file_inode(call->in), call);

	return err ?: call->ret;
}

ssize_t fbpf_filter_copy(struct file *in, loff_t pos_in, struct file *out,
			 loff_t pos_out, size_t len, unsigned int flags)
{
	struct fbpf_copy_call call = {
		.in = in,
		.pos_in = pos_in,
		.out = out,
		.pos_out = pos_out,
		.len = len,
		.flags = flags,
	};

	return fbpf_filter_copy_call(&call);
}

loff_t fbpf_filter_remap(struct file *in, loff_t pos_in, struct file *out,
			 loff_t pos_out, loff_t len, unsigned int flags)
{
	struct fbpf_copy_call call = {
		.in = in,
		.pos_in = pos_in,
		.out = out,
		.pos_out = pos_out,
		.len = len,
		.flags = flags,
		.remap = true,
	};

	return fbpf_filter_copy_call(&call);
}
