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

#include "bpf.h"

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

long fbpf_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return fbpf_lower_ioctl(file, cmd, arg, vfs_ioctl);
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
	return fbpf_lower_ioctl(file, cmd, arg, fbpf_lower_compat);
}
#endif

int fbpf_fileattr_get(struct dentry *dentry, struct fileattr *fa)
{
	const struct cred *old = fbpf_enter(fbpf_sb(dentry->d_sb));
	int err;

	err = vfs_fileattr_get(fbpf_lower_dentry(dentry), fa);
	fbpf_leave(old);
	return err;
}

int fbpf_fileattr_set(struct mnt_idmap *idmap, struct dentry *dentry,
		      struct fileattr *fa)
{
	const struct fbpf_mount *fb = fbpf_sb(dentry->d_sb);
	struct path lower = fbpf_lower_path(dentry);
	const struct cred *old;
	int err;

	err = mnt_want_write(lower.mnt);
	if (err)
		return err;
	old = fbpf_enter(fb);
	err = vfs_fileattr_set(fb->idmap, lower.dentry, fa);
	fbpf_leave(old);
	mnt_drop_write(lower.mnt);
	fbpf_copy_attr(d_inode(dentry));
	return err;
}

int fbpf_fiemap(struct inode *inode, struct fiemap_extent_info *info, u64 start,
		u64 len)
{
	struct inode *lower = fbpf_lower_inode(inode);
	const struct cred *old;
	int err;

	if (!lower->i_op->fiemap)
		return -EOPNOTSUPP;
	old = fbpf_enter(fbpf_sb(inode->i_sb));
	err = lower->i_op->fiemap(lower, info, start, len);
	fbpf_leave(old);
	return err;
}

/* FIBMAP; 0 stands for "no block" and for an error */
static sector_t fbpf_bmap(struct address_space *mapping, sector_t block)
{
	struct inode *lower = fbpf_lower_inode(mapping->host);

	return bmap(lower, &block) ? 0 : block;
}

static const struct address_space_operations fbpf_bmap_aops = {
	.bmap = fbpf_bmap,
};

/* Only where the lower file system has it: without, FIBMAP is EINVAL */
void fbpf_init_bmap(struct inode *inode)
{
	if (fbpf_lower_inode(inode)->i_mapping->a_ops->bmap)
		inode->i_mapping->a_ops = &fbpf_bmap_aops;
}
