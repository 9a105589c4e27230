// SPDX-License-Identifier: GPL-2.0-only
/*
 * Data of open files, passed to the lower file.
 *
 * Locking: what changes size or times holds the upper i_rwsem, so that the copy
 * of the attributes that follows is not overtaken. What waits for a disk after a
 * write does not. The lower f_pos is used by llseek only, under the lower
 * f_pos_lock.
 *
 * Each operation has a form without filters, *_lower(), which bpf_io_hooks.c
 * calls between them. An empty file (FUSE_BPF_OPEN_EMPTY) is not open for
 * writing.
 */
#include <linux/backing-file.h>
#include <linux/fadvise.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/splice.h>

#include "bpf_hooks.h"

#define FBPF_SETFL_MASK	(O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)
#define FBPF_MNT_NOATIME (MNT_NOATIME | MNT_NODIRATIME | MNT_READONLY)

/* Below is another mount: what ours says of access times goes as O_NOATIME */
static bool fbpf_mnt_noatime(const struct file *file)
{
	int flags = file->f_path.mnt->mnt_flags;

	return flags & (MNT_NOATIME | MNT_READONLY) ||
	       (flags & MNT_NODIRATIME && S_ISDIR(file_inode(file)->i_mode));
}

static __always_inline unsigned int fbpf_wanted_flags(const struct file *file)
{
	unsigned int flags = file->f_flags & FBPF_SETFL_MASK;

	if (unlikely(file->f_path.mnt->mnt_flags & FBPF_MNT_NOATIME) &&
	    fbpf_mnt_noatime(file))
		flags |= O_NOATIME;
	return flags;
}

/* Follow fcntl(F_SETFL) and remounts; other flags are fixed by open */
static int fbpf_follow_flags(const struct file *file, struct file *lower)
{
	unsigned int flags = fbpf_wanted_flags(file);

	/*
	 * Append-only by now: what appends goes on so.  fbpf_lower_to_write()
	 * refuses, others need not.
	 */
	if (IS_APPEND(file_inode(lower)))
		flags |= lower->f_flags & O_APPEND;
	if (flags & O_DIRECT && !(lower->f_mode & FMODE_CAN_ODIRECT))
		return -EINVAL;

	spin_lock(&lower->f_lock);
	lower->f_flags = (lower->f_flags & ~FBPF_SETFL_MASK) | flags;
	lower->f_iocb_flags = iocb_flags(lower);
	spin_unlock(&lower->f_lock);
	return 0;
}

/**
 * fbpf_following - a file behind another one, with the flags that has now
 * @file: open file or directory
 * @behind: the lower file, or the daemon's
 *
 * Return: @behind or an error pointer
 */
struct file *fbpf_following(const struct file *file, struct file *behind)
{
	int err;

	if (likely(!((fbpf_wanted_flags(file) ^ behind->f_flags) &
		     FBPF_SETFL_MASK)))
		return behind;
	err = fbpf_follow_flags(file, behind);
	return err ? ERR_PTR(err) : behind;
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

	return fbpf_following(file, ff->lower);
}

static struct file *fbpf_lower_to_write(const struct file *file)
{
	struct file *lower = fbpf_lower_file(file);

	if (!IS_ERR(lower) && lower->f_flags & ~file->f_flags & O_APPEND)
		return ERR_PTR(-EPERM);
	return lower;
}

static bool fbpf_empty(const struct file *file)
{
	return unlikely(((struct fbpf_file *)file->private_data)->empty);
}

static bool fbpf_file_hooked(const struct file *file, enum fbpf_hook hook)
{
	return unlikely(fbpf_hooked(file_inode(file), hook));
}

/* Drop set-id bits that file_remove_privs() cannot see, before data changes */
static int fbpf_remove_hidden(struct file *file)
{
	if (likely(!fbpf_sb(file_inode(file)->i_sb)->nosuid))
		return 0;
	return fbpf_remove_hidden_slow(file);
}

/* Set-id bits and room change with or without the size; also when it ends later */
void fbpf_end_write(struct file *file)
{
	struct inode *inode = file_inode(file);

	fbpf_refresh(inode);
	fbpf_copy_blocks(inode);
}

static struct backing_file_ctx fbpf_lower_ctx(struct file *file)
{
	return fbpf_backing_ctx(file,
				fbpf_cred(fbpf_sb(file_inode(file)->i_sb)));
}

ssize_t fbpf_read_lower(struct kiocb *iocb, struct iov_iter *iter)
{
	struct file *file = iocb->ki_filp;
	struct file *lower = fbpf_lower_file(file);
	struct backing_file_ctx ctx = fbpf_lower_ctx(file);

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	if (fbpf_empty(file))
		return 0;
	return backing_file_read_iter(lower, iter, iocb, iocb->ki_flags, &ctx);
}

static ssize_t fbpf_read_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	if (fbpf_file_hooked(iocb->ki_filp, FBPF_READ))
		return fbpf_filter_read(iocb, iter);
	return fbpf_read_lower(iocb, iter);
}

/*
 * Does a synchronous write below end with a sync of what it wrote and no more,
 * which those that came meanwhile share? exFAT syncs more than that, FUSE may
 * send one request for both.
 */
static bool fbpf_commits(const struct inode *lower)
{
	switch (lower->i_sb->s_magic) {
	case BTRFS_SUPER_MAGIC:
	case EXT4_SUPER_MAGIC:
	case F2FS_SUPER_MAGIC:
	case XFS_SUPER_MAGIC:
		return !IS_SYNC(lower);
	default:
		return false;
	}
}

/*
 * What backing_file_write_iter() does of a call that waits, by a shorter way,
 * and with RWF_NOAPPEND, which that does not know. What is in the page cache is
 * left to fbpf_write_out(), without the inode's lock: writers of one file share
 * the commits of a journal then, as they do below. @out is IOCB_DSYNC and
 * IOCB_SYNC of it.
 */
static ssize_t fbpf_write_sync(struct file *lower, struct kiocb *iocb,
			       struct iov_iter *iter, int *out)
{
	const int mask = IOCB_HIPRI | IOCB_DSYNC | IOCB_SYNC | IOCB_NOWAIT |
			 IOCB_APPEND;
	struct file *file = iocb->ki_filp;
	const struct cred *old;
	struct kiocb kiocb;
	ssize_t ret;

	ret = file_remove_privs(file);
	if (ret)
		return ret;
	init_sync_kiocb(&kiocb, lower);
	kiocb.ki_pos = iocb->ki_pos;
	if (unlikely(kiocb.ki_flags & ~iocb->ki_flags & IOCB_APPEND)) {
		if (IS_APPEND(file_inode(lower)))
			return -EPERM;
		kiocb.ki_flags &= ~IOCB_APPEND;
	}
	kiocb.ki_flags |= iocb->ki_flags & mask;
	if (unlikely(kiocb.ki_flags & IOCB_DSYNC) &&
	    !(kiocb.ki_flags & IOCB_DIRECT) &&
	    fbpf_commits(file_inode(lower))) {
		*out = kiocb.ki_flags & (IOCB_DSYNC | IOCB_SYNC);
		kiocb.ki_flags &= ~*out;
	}

	old = fbpf_enter(fbpf_sb(file_inode(file)->i_sb));
	ret = vfs_iocb_iter_write(lower, &kiocb, iter);
	fbpf_leave(old);
	iocb->ki_pos = kiocb.ki_pos;
	fbpf_end_write(file);
	return ret;
}

/* The end of a write that has to be on the disk, as generic_write_sync() */
static ssize_t fbpf_write_out(struct kiocb *iocb, ssize_t done, int flags)
{
	int err;

	if (done <= 0 || !flags)
		return done;
	err = fbpf_fsync_lower(iocb->ki_filp, iocb->ki_pos - done,
			       iocb->ki_pos - 1, !(flags & IOCB_SYNC));
	return err ?: done;
}

/* Also of no bytes may the lower file system say that they cannot be written */
static ssize_t fbpf_write_nothing(struct kiocb *iocb, struct iov_iter *iter)
{
	struct file *file = iocb->ki_filp;
	struct file *lower = fbpf_lower_to_write(file);
	const struct cred *old;
	struct kiocb kiocb;
	ssize_t ret;

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	if (!lower->f_op->write_iter)
		return 0;
	init_sync_kiocb(&kiocb, lower);
	kiocb.ki_pos = iocb->ki_pos;
	old = fbpf_enter(fbpf_sb(file_inode(file)->i_sb));
	ret = lower->f_op->write_iter(&kiocb, iter);
	fbpf_leave(old);
	return min(ret, 0);
}

static ssize_t fbpf_write_async(struct file *lower, struct kiocb *iocb,
				struct iov_iter *iter)
{
	struct file *file = iocb->ki_filp;
	struct backing_file_ctx ctx = fbpf_lower_ctx(file);

	return backing_file_write_iter(lower, iter, iocb,
				       iocb->ki_flags & ~IOCB_DIO_CALLER_COMP,
				       &ctx);
}

ssize_t fbpf_write_lower(struct kiocb *iocb, struct iov_iter *iter)
{
	struct file *file = iocb->ki_filp;
	struct inode *inode = file_inode(file);
	struct file *lower;
	int out = 0;
	ssize_t ret;

	if (!iov_iter_count(iter))
		return fbpf_write_nothing(iocb, iter);
	if (iocb->ki_flags & IOCB_NOWAIT) {
		if (!inode_trylock(inode))
			return -EAGAIN;
	} else {
		inode_lock(inode);
	}
	/* Set-id bits that appeared below have to go too */
	fbpf_refresh(inode);
	fbpf_seen_sxid(inode);
	lower = fbpf_lower_to_write(file);
	ret = IS_ERR(lower) ? PTR_ERR(lower) : fbpf_remove_hidden(file);
	/* Only a direct one may end later than its call */
	if (!ret)
		ret = is_sync_kiocb(iocb) || !(iocb->ki_flags & IOCB_DIRECT) ?
			      fbpf_write_sync(lower, iocb, iter, &out) :
			      fbpf_write_async(lower, iocb, iter);
	inode_unlock(inode);
	return fbpf_write_out(iocb, ret, out);
}

static ssize_t fbpf_write_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	if (fbpf_file_hooked(iocb->ki_filp, FBPF_WRITE))
		return fbpf_filter_write(iocb, iter);
	return fbpf_write_lower(iocb, iter);
}

static ssize_t fbpf_splice_read(struct file *file, loff_t *ppos,
				struct pipe_inode_info *pipe, size_t len,
				unsigned int flags)
{
	struct file *lower = fbpf_lower_file(file);
	struct backing_file_ctx ctx = fbpf_lower_ctx(file);

	/* By way of ->read_iter(), whose filters can shorten what was read */
	if (fbpf_file_hooked(file, FBPF_READ))
		return copy_splice_read(file, ppos, pipe, len, flags);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	if (fbpf_empty(file))
		return 0;
	return fbpf_backing_splice_read(lower, file, ppos, pipe, len, flags, &ctx);
}

static ssize_t fbpf_splice_below(struct pipe_inode_info *pipe,
				 struct file *file, loff_t *ppos, size_t len,
				 unsigned int flags)
{
	struct backing_file_ctx ctx = fbpf_lower_ctx(file);
	struct file *lower;
	int err;

	fbpf_refresh(file_inode(file));
	fbpf_seen_sxid(file_inode(file));
	lower = fbpf_lower_to_write(file);
	err = IS_ERR(lower) ? PTR_ERR(lower) : fbpf_remove_hidden(file);
	if (err)
		return err;
	return fbpf_backing_splice_write(pipe, lower, file, ppos, len, flags,
					 &ctx);
}

ssize_t fbpf_splice_write_lower(struct pipe_inode_info *pipe, struct file *file,
				loff_t *ppos, size_t len, unsigned int flags)
{
	return fbpf_splice_to(pipe, file, ppos, len, flags, fbpf_splice_below);
}

static ssize_t fbpf_splice_write(struct pipe_inode_info *pipe,
				 struct file *file, loff_t *ppos, size_t len,
				 unsigned int flags)
{
	if (fbpf_file_hooked(file, FBPF_WRITE))
		return fbpf_filter_splice_write(pipe, file, ppos, len, flags);
	return fbpf_splice_write_lower(pipe, file, ppos, len, flags);
}

/* A mapping of an empty file: every access is past its end */
static int fbpf_mmap_empty(struct vm_area_struct *vma)
{
	struct file *none = fbpf_empty_file();
	int err;

	if (IS_ERR(none))
		return PTR_ERR(none);
	vma_set_file(vma, none);
	err = vfs_mmap(none, vma);
	fput(none);
	return err;
}

/* No filter sees what is read and written through a mapping */
static int fbpf_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct file *lower = fbpf_lower_file(file);
	struct backing_file_ctx ctx = fbpf_lower_ctx(file);

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	/* The rights of the open, also where a filter took some */
	if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) ==
	    (VM_SHARED | VM_MAYWRITE) && !(lower->f_mode & FMODE_WRITE))
		return -EACCES;
	if (fbpf_empty(file))
		return fbpf_mmap_empty(vma);
	return backing_file_mmap(lower, vma, &ctx);
}

loff_t fbpf_llseek_lower(struct file *file, loff_t offset, int whence)
{
	struct fbpf_file *ff = file->private_data;
	struct inode *inode = file_inode(file);
	const struct cred *old;
	loff_t ret;

	if (!offset && whence == SEEK_CUR)
		return file->f_pos;
	if (!offset && whence == SEEK_SET)
		return vfs_setpos(file, 0, 0);
	if (fbpf_empty(file))
		return generic_file_llseek_size(file, offset, whence,
						inode->i_sb->s_maxbytes, 0);

	/* The caller holds ours, and below another mount may be one of these */
	mutex_lock_nested(&ff->lower->f_pos_lock, inode->i_sb->s_stack_depth);
	ff->lower->f_pos = file->f_pos;
	old = fbpf_enter(fbpf_sb(inode->i_sb));
	ret = vfs_llseek(ff->lower, offset, whence);
	fbpf_leave(old);
	if (ret >= 0)
		file->f_pos = ff->lower->f_pos;
	mutex_unlock(&ff->lower->f_pos_lock);
	return ret;
}

static loff_t fbpf_llseek(struct file *file, loff_t offset, int whence)
{
	if (fbpf_file_hooked(file, FBPF_LSEEK))
		return fbpf_filter_llseek(file, offset, whence);
	return fbpf_llseek_lower(file, offset, whence);
}

int fbpf_fsync_lower(struct file *file, loff_t start, loff_t end, int datasync)
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

int fbpf_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	if (fbpf_file_hooked(file, S_ISDIR(file_inode(file)->i_mode) ?
				   FBPF_FSYNCDIR : FBPF_FSYNC))
		return fbpf_filter_fsync(file, start, end, datasync);
	return fbpf_fsync_lower(file, start, end, datasync);
}

int fbpf_flush_lower(struct file *file, fl_owner_t id)
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

static int fbpf_flush(struct file *file, fl_owner_t id)
{
	if (fbpf_file_hooked(file, FBPF_FLUSH))
		return fbpf_filter_flush(file, id);
	return fbpf_flush_lower(file, id);
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
	err = fbpf_remove_hidden(file) ?: file_remove_privs(file);
	fbpf_copy_attr(file_inode(file));
	return ret < 0 ? ret : err ?: ret;
}

long fbpf_fallocate_lower(struct file *file, int mode, loff_t offset,
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

static long fbpf_fallocate(struct file *file, int mode, loff_t offset,
			   loff_t len)
{
	if (fbpf_file_hooked(file, FBPF_FALLOCATE))
		return fbpf_filter_fallocate(file, mode, offset, len);
	return fbpf_fallocate_lower(file, mode, offset, len);
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

/* What filters of reads and writes must see does not take a short cut below */
static bool fbpf_copy_watched(const struct file *in, const struct file *out)
{
	return fbpf_file_hooked(in, FBPF_READ) ||
	       fbpf_file_hooked(out, FBPF_WRITE);
}

ssize_t fbpf_copy_lower(struct file *in, loff_t pos_in, struct file *out,
			loff_t pos_out, size_t len, unsigned int flags)
{
	struct inode *inode = file_inode(out);
	struct file *lower_in, *lower_out;
	const struct cred *old;
	ssize_t ret;

	if (fbpf_empty(in))
		return 0;
	if (fbpf_copy_watched(in, out))
		return splice_copy_file_range(in, pos_in, out, pos_out, len);

	lower_in = fbpf_lower_file(in);
	lower_out = fbpf_lower_to_write(out);
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

static ssize_t fbpf_copy_file_range(struct file *in, loff_t pos_in,
				    struct file *out, loff_t pos_out,
				    size_t len, unsigned int flags)
{
	/* The VFS then copies through the page cache */
	if (!fbpf_is_backed(in))
		return -EOPNOTSUPP;
	if (fbpf_file_hooked(in, FBPF_COPY))
		return fbpf_filter_copy(in, pos_in, out, pos_out, len, flags);
	return fbpf_copy_lower(in, pos_in, out, pos_out, len, flags);
}

loff_t fbpf_remap_lower(struct file *in, loff_t pos_in, struct file *out,
			loff_t pos_out, loff_t len, unsigned int flags)
{
	struct inode *inode = file_inode(out);
	struct file *lower_in, *lower_out;
	const struct cred *old;
	loff_t ret;

	if (fbpf_empty(in) || fbpf_empty(out) || fbpf_copy_watched(in, out))
		return -EOPNOTSUPP;

	lower_in = fbpf_lower_file(in);
	lower_out = fbpf_lower_to_write(out);
	if (IS_ERR(lower_in))
		return PTR_ERR(lower_in);
	if (IS_ERR(lower_out))
		return PTR_ERR(lower_out);

	inode_lock(inode);
	old = fbpf_enter(fbpf_sb(inode->i_sb));
	if (flags & REMAP_FILE_DEDUP)
		ret = vfs_dedupe_file_range_one(lower_in, pos_in, lower_out,
						pos_out, len, flags);
	else
		ret = vfs_clone_file_range(lower_in, pos_in, lower_out, pos_out,
					   len, flags);
	fbpf_leave(old);
	if (ret && !(flags & REMAP_FILE_DEDUP))
		ret = fbpf_end_change(out, ret);
	inode_unlock(inode);
	return ret;
}

static loff_t fbpf_remap_file_range(struct file *in, loff_t pos_in,
				    struct file *out, loff_t pos_out,
				    loff_t len, unsigned int flags)
{
	if (flags & ~(REMAP_FILE_DEDUP | REMAP_FILE_ADVISORY))
		return -EINVAL;
	/* To clone is asked of the one file whatever the other is */
	if (!fbpf_is_backed(in) || !fbpf_is_backed(out))
		return -EXDEV;
	if (fbpf_file_hooked(in, FBPF_COPY))
		return fbpf_filter_remap(in, pos_in, out, pos_out, len, flags);
	return fbpf_remap_lower(in, pos_in, out, pos_out, len, flags);
}

const struct file_operations fbpf_file_operations = {
	.owner			= THIS_MODULE,
	.open			= fbpf_open,
	.release		= fbpf_release,
	.setlease		= generic_setlease,
	.llseek			= fbpf_llseek,
	.read_iter		= fbpf_read_iter,
	.write_iter		= fbpf_write_iter,
	.mmap			= fbpf_mmap,
	.fsync			= fbpf_fsync,
	.flush			= fbpf_flush,
	.fallocate		= fbpf_fallocate,
	.fadvise		= fbpf_fadvise,
	.flock			= fbpf_flock,
	.lock			= fbpf_lock,
	.unlocked_ioctl		= fbpf_ioctl,
	.compat_ioctl		= fbpf_compat_ioctl,
	.splice_read		= fbpf_splice_read,
	.splice_write		= fbpf_splice_write,
	.copy_file_range	= fbpf_copy_file_range,
	.remap_file_range	= fbpf_remap_file_range,
};
