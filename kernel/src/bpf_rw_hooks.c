// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filters of the data of open files: READ and WRITE.
 *
 * Filters see where and how much, not the data. With a filter a read or write is
 * synchronous, whatever the caller asked for.
 *
 * Locking: none around programs, but for the position lock of a descriptor.
 */
#include <linux/fs.h>
#include <linux/uio.h>

#include "bpf_hooks.h"
#include "bpf_op.h"

/* What both filters see and set has one place, whichever of the two it is */
static_assert(offsetof(struct fuse_read_in, fh) ==
	      offsetof(struct fuse_write_in, fh));
static_assert(offsetof(struct fuse_read_in, offset) ==
	      offsetof(struct fuse_write_in, offset));
static_assert(offsetof(struct fuse_read_in, size) ==
	      offsetof(struct fuse_write_in, size));
static_assert(offsetof(struct fuse_read_iter_out, ret) ==
	      offsetof(struct fuse_write_iter_out, ret));

/**
 * struct fbpf_rw_call - a read or write
 * @write: which of the two
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
	bool write;
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

static int fbpf_rw_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_rw_call *call = data;

	op->in.read.fh = fbpf_fh(call->file);
	op->in.read.offset = call->pos;
	op->in.read.size = call->count;
	return 0;
}

/* The caller's call, which waits, of one of the files behind its own */
static void fbpf_rw_iocb(struct kiocb *iocb, const struct fbpf_rw_call *call,
			 struct file *file, loff_t pos)
{
	init_sync_kiocb(iocb, file);
	iocb->ki_flags = call->iocb->ki_flags &
			 ~(IOCB_DIO_CALLER_COMP | IOCB_ALLOC_CACHE | IOCB_WAITQ);
	iocb->ki_ioprio = call->iocb->ki_ioprio;
	iocb->ki_pos = pos;
}

/* The lower call at another place, with a part of the memory */
static ssize_t fbpf_rw_lower(struct fbpf_rw_call *call, loff_t pos, size_t size)
{
	struct kiocb iocb;
	size_t left;
	ssize_t ret;

	fbpf_rw_iocb(&iocb, call, call->file, pos);
	left = call->count - size;
	iov_iter_truncate(call->iter, size);
	ret = call->write ? fbpf_write_lower(&iocb, call->iter) :
			    fbpf_read_lower(&iocb, call->iter);
	iov_iter_reexpand(call->iter, iov_iter_count(call->iter) + left);
	call->next = iocb.ki_pos;
	return ret;
}

static int fbpf_rw_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_rw_call *call = data;
	loff_t pos = op->in.read.offset;
	size_t size = min_t(size_t, op->in.read.size, call->count);
	ssize_t ret = -EINVAL;

	if (pos < 0) {
		;
	} else if (call->pipe) {
		call->next = pos;
		ret = fbpf_splice_write_lower(call->pipe, call->file,
					      &call->next, size, call->flags);
	} else {
		ret = fbpf_rw_lower(call, pos, size);
	}
	op->out.read_iter.ret = max(ret, 0);
	if (ret < 0) {
		/* Nothing is done, and the caller stays where it is */
		call->next = call->pos;
		return ret;
	}
	call->done = ret;
	return 0;
}

/*
 * The most that a postfilter can make the result. Never more than was read: the
 * rest of the memory has other contents. It can say that all was written, but
 * not of a pipe, which has then to be read as far.
 */
static ssize_t fbpf_rw_max(const struct fbpf_rw_call *call)
{
	return call->write && !call->pipe ? call->count : call->done;
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

static int fbpf_rw_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_rw_call *call = data;
	s64 ret = op->out.read_iter.ret;

	if (err)
		return err;
	if (ret < 0)
		return ret < FBPF_MIN_ERRNO ? -EIO : ret;
	call->ret = min_t(s64, ret, fbpf_rw_max(call));
	fbpf_rw_advance(call, op->in.read.offset);
	return 0;
}

/* The whole of it by the file that the daemon opened */
static ssize_t fbpf_rw_classic(struct fbpf_rw_call *call, struct file *classic)
{
	struct kiocb iocb;
	ssize_t ret;

	if (call->pipe)
		return classic->f_op->splice_write(call->pipe, classic,
						   &call->pos, call->count,
						   call->flags);
	fbpf_rw_iocb(&iocb, call, classic, call->pos);
	ret = call->write ? classic->f_op->write_iter(&iocb, call->iter) :
			    classic->f_op->read_iter(&iocb, call->iter);
	call->pos = iocb.ki_pos;
	return ret;
}

static int fbpf_rw_user(void *data)
{
	struct fbpf_rw_call *call = data;
	struct file *classic = fbpf_classic_file(call->file);

	if (IS_ERR(classic))
		return PTR_ERR(classic);
	/* What appends does so at the end below */
	if (call->write)
		fbpf_refresh(file_inode(call->file));
	call->ret = fbpf_rw_classic(call, classic);
	if (call->write)
		fbpf_copy_attr(file_inode(call->file));
	return min_t(ssize_t, call->ret, 0);
}

FBPF_PRE(read_iter, &op->in.read)
FBPF_POST(read_iter, &op->in.read, &op->out.read_iter)
FBPF_PRE(write_iter, &op->in.write)
FBPF_POST(write_iter, &op->in.write, &op->out.write_iter)

static const struct fbpf_desc fbpf_read_desc = {
	.hook		= FBPF_READ,
	.opcode		= FUSE_READ,
	.may_clear	= true,
	.prepare	= fbpf_rw_prepare,
	.user		= fbpf_rw_user,
	.backing	= fbpf_rw_backing,
	FBPF_PAIR(read_iter),
	.finish		= fbpf_rw_finish,
};

static const struct fbpf_desc fbpf_write_desc = {
	.hook		= FBPF_WRITE,
	.opcode		= FUSE_WRITE,
	.may_clear	= true,
	.prepare	= fbpf_rw_prepare,
	.user		= fbpf_rw_user,
	.backing	= fbpf_rw_backing,
	FBPF_PAIR(write_iter),
	.finish		= fbpf_rw_finish,
};

static ssize_t fbpf_filter_rw(bool write, struct kiocb *iocb,
			      struct iov_iter *iter)
{
	struct fbpf_rw_call call = {
		.write = write,
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
	err = fbpf_filter(write ? &fbpf_write_desc : &fbpf_read_desc,
			  file_inode(call.file), &call);
	if (err)
		return err;
	iocb->ki_pos = call.pos;
	return call.ret;
}

ssize_t fbpf_filter_read(struct kiocb *iocb, struct iov_iter *iter)
{
	return fbpf_filter_rw(false, iocb, iter);
}

ssize_t fbpf_filter_write(struct kiocb *iocb, struct iov_iter *iter)
{
	return fbpf_filter_rw(true, iocb, iter);
}

ssize_t fbpf_filter_splice_write(struct pipe_inode_info *pipe,
				 struct file *file, loff_t *ppos, size_t len,
				 unsigned int flags)
{
	struct fbpf_rw_call call = {
		.write = true,
		.pipe = pipe,
		.file = file,
		.flags = flags,
		.pos = *ppos,
		/* The rest is for another call, as of every write */
		.count = min_t(size_t, len, MAX_RW_COUNT),
	};
	int err;

	err = fbpf_filter(&fbpf_write_desc, file_inode(file), &call);
	if (err)
		return err;
	*ppos = call.pos;
	return call.ret;
}
