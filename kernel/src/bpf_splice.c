// SPDX-License-Identifier: GPL-2.0-only
/*
 * Data from a pipe into a file.
 *
 * iter_file_splice_write() on our file would lock the pipe before the inode. What
 * goes below has to do it the other way, as the lower file system's freezing comes
 * before the pipe: one of each, between the same pipe and file, would wait for the
 * other. So what goes to the daemon does it that way too, also for files of the
 * daemon's own: a rename locks one of those and one from below.
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

/* As many as a pipe has when it is made (PIPE_DEF_BUFFERS) */
#define FBPF_SPLICE_BUFS	16

/* A splice to the daemon: what was written of buffers that are not taken yet */
struct fbpf_splice {
	struct file *file;
	size_t ahead;
	struct bio_vec bvecs[FBPF_SPLICE_BUFS];
};

static bool fbpf_pipe_empty(const struct pipe_inode_info *pipe)
{
	return pipe_empty(READ_ONCE(pipe->head), READ_ONCE(pipe->tail));
}

/* Would a splice wait for somebody to write? */
static bool fbpf_pipe_waits(const struct pipe_inode_info *pipe)
{
	return fbpf_pipe_empty(pipe) && READ_ONCE(pipe->writers);
}

/* One try, with the inode locked and without waiting for the pipe */
static ssize_t fbpf_splice_once(struct pipe_inode_info *pipe, struct file *file,
				loff_t *ppos, size_t len, unsigned int flags,
				fbpf_splice_fn *splice)
{
	struct inode *inode = file_inode(file);
	bool writers;
	ssize_t ret;

	inode_lock(inode);
	writers = READ_ONCE(pipe->writers);
	/* Pairs with the pipe's lock: who is gone had written all before */
	smp_rmb();
	/* Set-id bits go for something that is written */
	if (!fbpf_pipe_empty(pipe))
		ret = splice(pipe, file, ppos, len, flags | SPLICE_F_NONBLOCK);
	else
		ret = writers ? -EAGAIN : 0;
	inode_unlock(inode);
	return ret;
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
	unsigned int head, tail;
	ssize_t ret;

	if (!len)
		return 0;
	if (flags & SPLICE_F_NONBLOCK)
		return fbpf_splice_once(pipe, file, ppos, len, flags, splice);
	/* -EAGAIN while others use the pipe: one of them was faster */
	do {
		ret = wait_event_interruptible(pipe->rd_wait,
					       !fbpf_pipe_waits(pipe));
		if (ret)
			return ret;
		head = READ_ONCE(pipe->head);
		tail = READ_ONCE(pipe->tail);
		ret = fbpf_splice_once(pipe, file, ppos, len, flags, splice);
	} while (ret == -EAGAIN &&
		 (fbpf_pipe_empty(pipe) || head != READ_ONCE(pipe->head) ||
		  tail != READ_ONCE(pipe->tail)));
	return ret;
}

static bool fbpf_cached(const struct file *file)
{
	const struct fuse_file *ff = file->private_data;

	return !(ff->open_flags & FOPEN_DIRECT_IO);
}

/*
 * Through the page cache, as fuse_cache_write_iter() without write-back. What is
 * dirty there goes first: a write that fails leaves its pages not up to date.
 */
static ssize_t fbpf_write_cached(struct kiocb *iocb, struct iov_iter *from)
{
	struct file *file = iocb->ki_filp;
	loff_t pos = iocb->ki_pos;

	return file_modified(file) ?:
	       filemap_write_and_wait_range(file->f_mapping, pos,
					    pos + iov_iter_count(from) - 1) ?:
	       fuse_perform_write(iocb, from);
}

/* Send the daemon what an iterator has */
static ssize_t fbpf_write_classic(struct file *file, loff_t pos,
				  struct iov_iter *from)
{
	struct address_space *mapping = file->f_mapping;
	struct fuse_io_priv io;
	struct kiocb iocb;
	ssize_t ret;

	init_sync_kiocb(&iocb, file);
	iocb.ki_pos = pos;
	ret = generic_write_checks(&iocb, from);
	if (ret <= 0)
		return ret;
	task_io_account_write(ret);
	if (fbpf_cached(file))
		return fbpf_write_cached(&iocb, from);
	pos = iocb.ki_pos;
	io = (struct fuse_io_priv)FUSE_IO_PRIV_SYNC(&iocb);
	ret = fuse_direct_io(&io, from, &iocb.ki_pos, FUSE_DIO_WRITE);
	fuse_write_update_attr(mapping->host, iocb.ki_pos, ret);
	/* What a private mapping has read meanwhile */
	if (ret > 0 && mapping->nrpages)
		invalidate_inode_pages2_range(mapping, pos >> PAGE_SHIFT,
					      (pos + ret - 1) >> PAGE_SHIFT);
	return ret;
}

/* The pages of a pipe's buffers up to an empty one, @len bytes at the most */
static unsigned int fbpf_gather(struct pipe_inode_info *pipe,
				struct bio_vec *bvecs, size_t len)
{
	unsigned int most = min_t(unsigned int, FBPF_SPLICE_BUFS,
				  pipe_occupancy(pipe->head, pipe->tail));
	struct pipe_buffer *buf;
	unsigned int n;
	size_t part;

	for (n = 0; n < most && len; n++) {
		buf = &pipe->bufs[(pipe->tail + n) & (pipe->ring_size - 1)];
		if (!buf->len || pipe_buf_confirm(pipe, buf))
			break;
		part = min_t(size_t, buf->len, len);
		bvec_set_page(&bvecs[n], buf->page, part, buf->offset);
		len -= part;
	}
	return n;
}

/*
 * Called for each buffer of the pipe, under the pipe's lock: the first call
 * writes what the next ones have too.
 */
static int fbpf_splice_buffer(struct pipe_inode_info *pipe,
			      struct pipe_buffer *buf, struct splice_desc *sd)
{
	struct fbpf_splice *splice = sd->u.data;
	struct iov_iter from;
	unsigned int n, i;
	size_t len = 0;
	ssize_t ret;

	if (!splice->ahead) {
		n = fbpf_gather(pipe, splice->bvecs, sd->total_len);
		for (i = 0; i < n; i++)
			len += splice->bvecs[i].bv_len;
		iov_iter_bvec(&from, ITER_SOURCE, splice->bvecs, n, len);
		ret = fbpf_write_classic(splice->file, sd->pos, &from);
		if (ret <= 0)
			return ret;
		splice->ahead = ret;
	}
	ret = min_t(size_t, splice->ahead, sd->len);
	splice->ahead -= ret;
	return ret;
}

static ssize_t fbpf_splice_buffers(struct pipe_inode_info *pipe,
				   struct file *file, loff_t *ppos, size_t len,
				   unsigned int flags)
{
	struct fbpf_splice splice = { .file = file };
	struct splice_desc sd = {
		.total_len = len,
		.flags = flags,
		.pos = *ppos,
		.u.data = &splice,
	};
	ssize_t ret;

	pipe_lock(pipe);
	ret = __splice_from_pipe(pipe, &sd, fbpf_splice_buffer);
	pipe_unlock(pipe);
	if (ret > 0)
		*ppos = sd.pos;
	return ret;
}

/* Splice into a file that the daemon has opened: its own, or one that is below */
ssize_t fbpf_splice_classic(struct pipe_inode_info *pipe, struct file *file,
			    loff_t *ppos, size_t len, unsigned int flags)
{
	struct inode *inode = file_inode(file);
	struct kiocb iocb;
	ssize_t ret;

	if (fuse_is_bad(inode))
		return -EIO;
	/* As in fuse_cache_write_iter(): the size and the mode may be old */
	if (fbpf_cached(file) && get_fuse_conn(inode)->writeback_cache) {
		ret = fuse_update_attributes(inode, file,
					     STATX_SIZE | STATX_MODE);
		if (ret)
			return ret;
	}
	ret = fbpf_splice_to(pipe, file, ppos, len, flags,
			     fbpf_splice_buffers);
	if (ret <= 0 || !fbpf_cached(file))
		return ret;
	init_sync_kiocb(&iocb, file);
	iocb.ki_pos = *ppos;
	return generic_write_sync(&iocb, ret);
}
