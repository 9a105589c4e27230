// SPDX-License-Identifier: GPL-2.0-only
/*
 * Data from a pipe into a file.
 *
 * iter_file_splice_write() on our file would lock the pipe before the inode. What
 * goes below has to do it the other way, as the lower file system's freezing comes
 * before the pipe: one of each, between the same pipe and file, would wait for the
 * other. So what goes to the daemon does it that way too.
 *
 * Locking: the inode's i_rwsem, then the pipe's lock. Neither is held while the
 * pipe is empty: whoever has such a pipe would keep all others from the file, and
 * who removes it, from its directory.
 */
#include <linux/bvec.h>
#include <linux/fs.h>
#include <linux/pipe_fs_i.h>
#include <linux/splice.h>
#include <linux/task_io_accounting_ops.h>
#include <linux/uio.h>
#include <linux/wait.h>

#include "bpf.h"

/* Would a splice wait for somebody to write? */
static bool fbpf_pipe_waits(const struct pipe_inode_info *pipe)
{
	return pipe_empty(READ_ONCE(pipe->head), READ_ONCE(pipe->tail)) &&
	       READ_ONCE(pipe->writers);
}

/**
 * fbpf_splice_to - splice from a pipe with the inode locked
 * @pipe: pipe
 * @file: file on the mount
 * @ppos: position in it
 * @len: how many bytes
 * @flags: SPLICE_F_*
 * @splice: does it, without waiting for the pipe
 *
 * Return: bytes, or an errno
 */
ssize_t fbpf_splice_to(struct pipe_inode_info *pipe, struct file *file,
		       loff_t *ppos, size_t len, unsigned int flags,
		       fbpf_splice_fn *splice)
{
	bool wait = !(flags & SPLICE_F_NONBLOCK);
	struct inode *inode = file_inode(file);
	ssize_t ret;

	do {
		ret = wait ? wait_event_interruptible(pipe->rd_wait,
						      !fbpf_pipe_waits(pipe)) :
			     0;
		if (ret)
			return ret;
		inode_lock(inode);
		ret = splice(pipe, file, ppos, len, flags | SPLICE_F_NONBLOCK);
		inode_unlock(inode);
		/* Another reader was faster; else the errno is the file's */
	} while (wait && ret == -EAGAIN && fbpf_pipe_waits(pipe));
	return ret;
}

/* Send the daemon what one buffer of a pipe has */
static int fbpf_splice_buffer(struct pipe_inode_info *pipe,
			      struct pipe_buffer *buf, struct splice_desc *sd)
{
	struct file *file = sd->u.file;
	struct iov_iter from;
	struct fuse_io_priv io;
	struct kiocb iocb;
	struct bio_vec bv;
	ssize_t ret;

	bvec_set_page(&bv, buf->page, sd->len, buf->offset);
	iov_iter_bvec(&from, ITER_SOURCE, &bv, 1, sd->len);
	init_sync_kiocb(&iocb, file);
	iocb.ki_pos = sd->pos;
	ret = generic_write_checks(&iocb, &from);
	if (ret <= 0)
		return ret;
	task_io_account_write(ret);
	io = (struct fuse_io_priv)FUSE_IO_PRIV_SYNC(&iocb);
	ret = fuse_direct_io(&io, &from, &iocb.ki_pos, FUSE_DIO_WRITE);
	fuse_write_update_attr(file_inode(file), iocb.ki_pos, ret);
	return ret;
}

static ssize_t fbpf_splice_buffers(struct pipe_inode_info *pipe,
				   struct file *file, loff_t *ppos, size_t len,
				   unsigned int flags)
{
	struct splice_desc sd = {
		.total_len = len,
		.flags = flags,
		.pos = *ppos,
		.u.file = file,
	};
	ssize_t ret;

	pipe_lock(pipe);
	ret = __splice_from_pipe(pipe, &sd, fbpf_splice_buffer);
	pipe_unlock(pipe);
	if (ret > 0)
		*ppos = sd.pos;
	return ret;
}

/* Splice into a file that the daemon has opened */
ssize_t fbpf_splice_classic(struct pipe_inode_info *pipe, struct file *file,
			    loff_t *ppos, size_t len, unsigned int flags)
{
	if (fuse_is_bad(file_inode(file)))
		return -EIO;
	return fbpf_splice_to(pipe, file, ppos, len, flags,
			      fbpf_splice_buffers);
}
