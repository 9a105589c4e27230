// SPDX-License-Identifier: GPL-2.0-only
/*
 * Data of open files, passed to the lower file.
 *
 * Locking: what changes size or times holds the upper i_rwsem, so that the copy
 * of the attributes that follows is not overtaken. The lower f_pos is used by
 * llseek only, under the same lock.
 */
#include <linux/backing-file.h>
#include <linux/fadvise.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/splice.h>

#include "bpf.h"

#define FBPF_SETFL_MASK	(O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)

/* Follow fcntl(F_SETFL); other flags are fixed by open */
static int fbpf_follow_flags(const struct file *file, struct file *lower)
{
	unsigned int flags = file->f_flags & FBPF_SETFL_MASK;

	if ((flags ^ lower->f_flags) & O_APPEND && IS_APPEND(file_inode(lower)))
		return -EPERM;
	if (flags & O_DIRECT && !(lower->f_mode & FMODE_CAN_ODIRECT))
		return -EINVAL;

	spin_lock(&lower->f_lock);
	lower->f_flags = (lower->f_flags & ~FBPF_SETFL_MASK) | flags;
	lower->f_iocb_flags = iocb_flags(lower);
	spin_unlock(&lower->f_lock);
	return 0;
}

/**
 * fbpf_lower_file - the lower file, with the flags that its file has now
 * @file: open file or directory
 *
 * Return: the lower file, which lives as long as @file, or an error pointer
 */
struct file *fbpf_lower_file(const struct file *file)
{
	struct fbpf_file *ff = file->private_data;
	struct file *lower = ff->lower;
	int err;

	if (likely(!((file->f_flags ^ lower->f_flags) & FBPF_SETFL_MASK)))
		return lower;
	err = fbpf_follow_flags(file, lower);
	return err ? ERR_PTR(err) : lower;
}

static void fbpf_end_write(struct file *file, loff_t pos, ssize_t ret)
{
	fbpf_copy_attr(file_inode(file));
}

static ssize_t fbpf_read_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	struct file *file = iocb->ki_filp;
	struct file *lower = fbpf_lower_file(file);
	struct backing_file_ctx ctx = {
		.cred = fbpf_cred(fbpf_sb(file_inode(file)->i_sb)),
		.user_file = file,
	};

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	return backing_file_read_iter(lower, iter, iocb, iocb->ki_flags, &ctx);
}

/* RWF_NOAPPEND: a flag of the call that backing_file_write_iter() does not know */
static ssize_t fbpf_write_noappend(struct file *lower, struct iov_iter *iter,
				   struct kiocb *iocb,
				   struct backing_file_ctx *ctx)
{
	const rwf_t mask = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT;
	rwf_t flags = ((__force rwf_t)iocb->ki_flags & mask) | RWF_NOAPPEND;
	const struct cred *old;
	ssize_t ret;

	ret = file_remove_privs(ctx->user_file);
	if (ret)
		return ret;
	old = override_creds(ctx->cred);
	ret = vfs_iter_write(lower, iter, &iocb->ki_pos, flags);
	revert_creds(old);
	ctx->end_write(ctx->user_file, iocb->ki_pos, ret);
	return ret;
}

static ssize_t fbpf_write_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	struct file *file = iocb->ki_filp;
	struct inode *inode = file_inode(file);
	struct backing_file_ctx ctx = {
		.cred = fbpf_cred(fbpf_sb(inode->i_sb)),
		.user_file = file,
		.end_write = fbpf_end_write,
	};
	struct file *lower;
	ssize_t ret;

	if (!iov_iter_count(iter))
		return 0;
	if (iocb->ki_flags & IOCB_NOWAIT) {
		if (!inode_trylock(inode))
			return -EAGAIN;
	} else {
		inode_lock(inode);
	}
	/* Set-id bits that appeared below have to go too */
	fbpf_refresh(inode);
	lower = fbpf_lower_file(file);
	if (IS_ERR(lower))
		ret = PTR_ERR(lower);
	else if (lower->f_flags & O_APPEND && is_sync_kiocb(iocb) &&
		 !(iocb->ki_flags & IOCB_APPEND))
		ret = fbpf_write_noappend(lower, iter, iocb, &ctx);
	else
		ret = backing_file_write_iter(lower, iter, iocb,
					      iocb->ki_flags &
					      ~IOCB_DIO_CALLER_COMP, &ctx);
	inode_unlock(inode);
	return ret;
}

static ssize_t fbpf_splice_read(struct file *file, loff_t *ppos,
				struct pipe_inode_info *pipe, size_t len,
				unsigned int flags)
{
	struct file *lower = fbpf_lower_file(file);
	struct backing_file_ctx ctx = {
		.cred = fbpf_cred(fbpf_sb(file_inode(file)->i_sb)),
		.user_file = file,
	};

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	return backing_file_splice_read(lower, ppos, pipe, len, flags, &ctx);
}

/* iter_file_splice_write() on our file would lock pipe and freezing in the wrong order */
static ssize_t fbpf_splice_write(struct pipe_inode_info *pipe,
				 struct file *file, loff_t *ppos, size_t len,
				 unsigned int flags)
{
	struct inode *inode = file_inode(file);
	struct backing_file_ctx ctx = {
		.cred = fbpf_cred(fbpf_sb(inode->i_sb)),
		.user_file = file,
		.end_write = fbpf_end_write,
	};
	struct file *lower;
	ssize_t ret;

	inode_lock(inode);
	fbpf_refresh(inode);
	lower = fbpf_lower_file(file);
	if (IS_ERR(lower))
		ret = PTR_ERR(lower);
	else
		ret = backing_file_splice_write(pipe, lower, ppos, len, flags,
						&ctx);
	inode_unlock(inode);
	return ret;
}

static int fbpf_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct file *lower = fbpf_lower_file(file);
	struct backing_file_ctx ctx = {
		.cred = fbpf_cred(fbpf_sb(file_inode(file)->i_sb)),
		.user_file = file,
	};

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	/* The rights of the open, also where a filter took some */
	if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) ==
	    (VM_SHARED | VM_MAYWRITE) && !(lower->f_mode & FMODE_WRITE))
		return -EACCES;
	return backing_file_mmap(lower, vma, &ctx);
}

static loff_t fbpf_llseek(struct file *file, loff_t offset, int whence)
{
	struct fbpf_file *ff = file->private_data;
	struct inode *inode = file_inode(file);
	const struct cred *old;
	loff_t ret;

	if (!offset && whence == SEEK_CUR)
		return file->f_pos;
	if (!offset && whence == SEEK_SET)
		return vfs_setpos(file, 0, 0);

	inode_lock(inode);
	ff->lower->f_pos = file->f_pos;
	old = fbpf_enter(fbpf_sb(inode->i_sb));
	ret = vfs_llseek(ff->lower, offset, whence);
	fbpf_leave(old);
	if (ret >= 0)
		file->f_pos = ff->lower->f_pos;
	inode_unlock(inode);
	return ret;
}

int fbpf_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	struct fbpf_file *ff = file->private_data;
	const struct cred *old = fbpf_enter(fbpf_sb(file_inode(file)->i_sb));
	int err;

	err = vfs_fsync_range(ff->lower, start, end, datasync);
	fbpf_leave(old);
	/* Blocks were allocated; FIOQSIZE looks at the copy */
	fbpf_copy_attr(file_inode(file));
	return err;
}

static int fbpf_flush(struct file *file, fl_owner_t id)
{
	struct fbpf_file *ff = file->private_data;
	const struct cred *old;
	int err;

	if (!ff->lower->f_op->flush)
		return 0;
	old = fbpf_enter(fbpf_sb(file_inode(file)->i_sb));
	err = ff->lower->f_op->flush(ff->lower, id);
	fbpf_leave(old);
	return err;
}

/*
 * Set-id bits go when data may have changed, as below: the lower call, with the
 * mount's credentials, may not drop them. Nobody executes the file before that:
 * it is open for writing. The errors are those of a call that changed nothing;
 * after any other one a part may be done.
 */
static loff_t fbpf_end_change(struct file *file, loff_t ret)
{
	int err;

	fbpf_copy_attr(file_inode(file));
	if (ret == -EOPNOTSUPP || ret == -EINVAL || ret == -EXDEV)
		return ret;
	err = file_remove_privs(file);
	fbpf_copy_attr(file_inode(file));
	return ret < 0 ? ret : err ?: ret;
}

static long fbpf_fallocate(struct file *file, int mode, loff_t offset,
			   loff_t len)
{
	struct fbpf_file *ff = file->private_data;
	struct inode *inode = file_inode(file);
	const struct cred *old;
	int err;

	inode_lock(inode);
	old = fbpf_enter(fbpf_sb(inode->i_sb));
	err = vfs_fallocate(ff->lower, mode, offset, len);
	fbpf_leave(old);
	err = fbpf_end_change(file, err);
	inode_unlock(inode);
	return err;
}

static int fbpf_fadvise(struct file *file, loff_t offset, loff_t len, int advice)
{
	struct fbpf_file *ff = file->private_data;
	const struct cred *old = fbpf_enter(fbpf_sb(file_inode(file)->i_sb));
	int err;

	err = vfs_fadvise(ff->lower, offset, len, advice);
	fbpf_leave(old);
	return err;
}

/* Both ends are backed files of this module, on the same mount or not */
static bool fbpf_is_backed(const struct file *file)
{
	return file->f_op == &fbpf_file_operations;
}

static ssize_t fbpf_copy_file_range(struct file *in, loff_t pos_in,
				    struct file *out, loff_t pos_out,
				    size_t len, unsigned int flags)
{
	struct inode *inode = file_inode(out);
	struct file *lower_in, *lower_out;
	const struct cred *old;
	ssize_t ret;

	/* The VFS then copies through the page cache */
	if (!fbpf_is_backed(in))
		return -EOPNOTSUPP;

	lower_in = fbpf_lower_file(in);
	lower_out = fbpf_lower_file(out);
	if (IS_ERR(lower_in))
		return PTR_ERR(lower_in);
	if (IS_ERR(lower_out))
		return PTR_ERR(lower_out);

	inode_lock(inode);
	old = fbpf_enter(fbpf_sb(inode->i_sb));
	ret = vfs_copy_file_range(lower_in, pos_in, lower_out, pos_out, len,
				  flags);
	fbpf_leave(old);
	if (ret)
		ret = fbpf_end_change(out, ret);
	inode_unlock(inode);
	return ret;
}

static loff_t fbpf_remap_file_range(struct file *in, loff_t pos_in,
				    struct file *out, loff_t pos_out,
				    loff_t len, unsigned int flags)
{
	struct fbpf_file *ff_in = in->private_data;
	struct fbpf_file *ff_out = out->private_data;
	struct inode *inode = file_inode(out);
	const struct cred *old;
	loff_t ret;

	if (flags & ~(REMAP_FILE_DEDUP | REMAP_FILE_ADVISORY))
		return -EINVAL;
	if (!fbpf_is_backed(in))
		return -EXDEV;

	inode_lock(inode);
	old = fbpf_enter(fbpf_sb(inode->i_sb));
	if (flags & REMAP_FILE_DEDUP)
		ret = vfs_dedupe_file_range_one(ff_in->lower, pos_in,
						ff_out->lower, pos_out, len,
						flags);
	else
		ret = vfs_clone_file_range(ff_in->lower, pos_in, ff_out->lower,
					   pos_out, len, flags);
	fbpf_leave(old);
	if (ret && !(flags & REMAP_FILE_DEDUP))
		ret = fbpf_end_change(out, ret);
	inode_unlock(inode);
	return ret;
}

const struct file_operations fbpf_file_operations = {
	.owner			= THIS_MODULE,
	.open			= fbpf_open,
	.release		= fbpf_release,
	.llseek			= fbpf_llseek,
	.read_iter		= fbpf_read_iter,
	.write_iter		= fbpf_write_iter,
	.mmap			= fbpf_mmap,
	.fsync			= fbpf_fsync,
	.flush			= fbpf_flush,
	.fallocate		= fbpf_fallocate,
	.fadvise		= fbpf_fadvise,
	.flock			= fbpf_flock,
	.unlocked_ioctl		= fbpf_ioctl,
	.compat_ioctl		= fbpf_compat_ioctl,
	.splice_read		= fbpf_splice_read,
	.splice_write		= fbpf_splice_write,
	.copy_file_range	= fbpf_copy_file_range,
	.remap_file_range	= fbpf_remap_file_range,
};
