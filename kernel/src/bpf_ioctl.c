// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioctl by an allow-list, and what the VFS makes inode operations of ioctls:
 * flags and extended flags of a file (chattr, project ids), extents, blocks.
 *
 * What is not listed is ENOTTY. The list holds what concerns the open file
 * alone: an ioctl that names other files, or acts on the whole file system,
 * would be a way past the filters of the mount.
 *
 * Locking: ->fileattr_set comes with the inode's i_rwsem held. Order as for
 * ->setattr.
 */
#include <linux/fs.h>
#include <linux/fiemap.h>
#include <linux/fileattr.h>
#include <linux/fscrypt.h>
#include <linux/fsverity.h>
#include <linux/mount.h>

#include "bpf_op.h"

static bool fbpf_ioctl_reads(unsigned int cmd)
{
	switch (cmd) {
	case FS_IOC_GETVERSION:
	case FS_IOC32_GETVERSION:
	case FS_IOC_MEASURE_VERITY:
	case FS_IOC_GET_ENCRYPTION_POLICY:
	case FS_IOC_GET_ENCRYPTION_POLICY_EX:
		return true;
	default:
		return false;
	}
}

static bool fbpf_ioctl_writes(unsigned int cmd)
{
	return cmd == FS_IOC_SETVERSION || cmd == FS_IOC32_SETVERSION;
}

typedef long (*fbpf_ioctl_t)(struct file *file, unsigned int cmd,
			     unsigned long arg);

/*
 * As the caller, whom the lower file system asks for what it takes: the mount's
 * credentials would own every file.
 */
static long fbpf_lower_ioctl(struct file *file, unsigned int cmd,
			     unsigned long arg, fbpf_ioctl_t call)
{
	struct fbpf_file *ff = file->private_data;
	long ret;

	if (fbpf_ioctl_reads(cmd))
		return call(ff->lower, cmd, arg);
	if (!fbpf_ioctl_writes(cmd))
		return -ENOTTY;
	ret = mnt_want_write_file(file);
	if (ret)
		return ret;
	ret = call(ff->lower, cmd, arg);
	mnt_drop_write_file(file);
	fbpf_copy_attr(file_inode(file));
	return ret;
}

struct fbpf_ioctl_call {
	struct file *file;
	unsigned int cmd;
	unsigned long arg;
	fbpf_ioctl_t call;
	long ret;
};

static int fbpf_ioctl_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_ioctl_call *call = data;

	call->ret = fbpf_lower_ioctl(call->file, call->cmd, call->arg,
				     call->call);
	return call->ret < 0 ? call->ret : 0;
}

static long fbpf_any_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg, fbpf_ioctl_t call)
{
	struct inode *inode = file_inode(file);
	struct fbpf_ioctl_call ioctl = {
		.file = file,
		.cmd = cmd,
		.arg = arg,
		.call = call,
	};
	int err;

	if (!fbpf_hooked(inode, FBPF_OTHER))
		return fbpf_lower_ioctl(file, cmd, arg, call);
	err = fbpf_filter_other(inode, FUSE_IOCTL, fbpf_ioctl_backing, &ioctl);
	return err ?: ioctl.ret;
}

static long fbpf_lower_native(struct file *lower, unsigned int cmd,
			      unsigned long arg)
{
	long ret = -ENOTTY;

	if (lower->f_op->unlocked_ioctl)
		ret = lower->f_op->unlocked_ioctl(lower, cmd, arg);
	return ret == -ENOIOCTLCMD ? -ENOTTY : ret;
}

long fbpf_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return fbpf_any_ioctl(file, cmd, arg, fbpf_lower_native);
}

#ifdef CONFIG_COMPAT
static long fbpf_lower_compat(struct file *lower, unsigned int cmd,
			      unsigned long arg)
{
	if (!lower->f_op->compat_ioctl)
		return -ENOIOCTLCMD;
	return lower->f_op->compat_ioctl(lower, cmd, arg);
}

long fbpf_compat_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return fbpf_any_ioctl(file, cmd, arg, fbpf_lower_compat);
}
#endif

struct fbpf_fileattr_call {
	struct dentry *dentry;
	struct file_kattr *fa;
};

static int fbpf_fileattr_get_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_fileattr_call *call = data;
	struct dentry *dentry = call->dentry;
	const struct cred *old = fbpf_enter(fbpf_sb(dentry->d_sb));
	int err;

	err = vfs_fileattr_get(fbpf_lower_dentry(dentry), call->fa);
	fbpf_leave(old);
	return err;
}

static int fbpf_fileattr(struct dentry *dentry, struct file_kattr *fa,
			 int (*backing)(struct fbpf_op *op, void *call))
{
	struct fbpf_fileattr_call call = { .dentry = dentry, .fa = fa };

	if (!fbpf_hooked(d_inode(dentry), FBPF_OTHER))
		return backing(NULL, &call);
	return fbpf_filter_other(d_inode(dentry), FUSE_IOCTL, backing, &call);
}

int fbpf_fileattr_get(struct dentry *dentry, struct file_kattr *fa)
{
	return fbpf_fileattr(dentry, fa, fbpf_fileattr_get_backing);
}

static int fbpf_fileattr_set_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_fileattr_call *call = data;
	struct dentry *dentry = call->dentry;
	const struct fbpf_mount *fb = fbpf_sb(dentry->d_sb);
	struct path lower = fbpf_lower_path(dentry);
	const struct cred *old;
	int err;

	err = mnt_want_write(lower.mnt);
	if (err)
		return err;
	old = fbpf_enter(fb);
	err = vfs_fileattr_set(fb->idmap, lower.dentry, call->fa);
	fbpf_leave(old);
	mnt_drop_write(lower.mnt);
	fbpf_copy_attr(d_inode(dentry));
	return err;
}

int fbpf_fileattr_set(struct mnt_idmap *idmap, struct dentry *dentry,
		      struct file_kattr *fa)
{
	/* As of ACLs: the VFS has asked the copy */
	if (!fbpf_is_owner(d_inode(dentry)))
		return -EPERM;
	return fbpf_fileattr(dentry, fa, fbpf_fileattr_set_backing);
}

struct fbpf_fiemap_call {
	struct inode *inode;
	struct fiemap_extent_info *info;
	u64 start;
	u64 len;
};

static int fbpf_fiemap_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_fiemap_call *call = data;
	struct inode *lower = fbpf_lower_inode(call->inode);
	const struct cred *old;
	int err;

	if (!lower->i_op->fiemap)
		return -EOPNOTSUPP;
	old = fbpf_enter(fbpf_sb(call->inode->i_sb));
	err = lower->i_op->fiemap(lower, call->info, call->start, call->len);
	fbpf_leave(old);
	return err;
}

int fbpf_fiemap(struct inode *inode, struct fiemap_extent_info *info, u64 start,
		u64 len)
{
	struct fbpf_fiemap_call call = {
		.inode = inode,
		.info = info,
		.start = start,
		.len = len,
	};

	if (!fbpf_hooked(inode, FBPF_OTHER))
		return fbpf_fiemap_backing(NULL, &call);
	return fbpf_filter_other(inode, FUSE_IOCTL, fbpf_fiemap_backing, &call);
}

/* FIBMAP; 0 stands for "no block" and for an error */
static int fbpf_bmap_backing(struct fbpf_op *op, void *data)
{
	return 0;
}

sector_t fbpf_bmap(struct address_space *mapping, sector_t block)
{
	struct inode *inode = mapping->host;

	if (fbpf_hooked(inode, FBPF_OTHER) &&
	    fbpf_filter_other(inode, FUSE_BMAP, fbpf_bmap_backing, NULL))
		return 0;
	return bmap(fbpf_lower_inode(inode), &block) ? 0 : block;
}

static const struct address_space_operations fbpf_bmap_aops = {
	.bmap = fbpf_bmap,
};

/* The kernel would write past the mount, to the blocks that are told */
int fbpf_no_swap(struct swap_info_struct *sis, struct file *file,
		 sector_t *span)
{
	return -EINVAL;
}

/*
 * Only where the lower file system has it: without, FIBMAP is EINVAL. Where a
 * daemon may open the file, plain FUSE has pages for it.
 */
void fbpf_init_aops(struct inode *inode)
{
	if (fbpf_sb(inode->i_sb)->daemon)
		inode->i_mapping->a_ops = &fbpf_daemon_aops;
	else if (fbpf_lower_inode(inode)->i_mapping->a_ops->bmap)
		inode->i_mapping->a_ops = &fbpf_bmap_aops;
}
