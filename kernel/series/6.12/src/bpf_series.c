// SPDX-License-Identifier: GPL-2.0-only
/*
 * What differs as a whole between the series that we are made for; this is 6.12.
 *
 * Locking: of a rename, as in bpf_namei.c.
 */
#include <linux/file.h>

#include "bpf.h"

/* Is the descriptor a device that serves nobody yet? */
int fbpf_check_device(struct fs_context *fsc)
{
	struct fuse_fs_context *ctx = fsc->fs_private;
	struct file *file = fget(ctx->fd);
	bool device, used;

	if (!file)
		return invalfc(fsc, "fd: descriptor %d is not open", ctx->fd);
	device = file->f_op == &fuse_dev_operations;
	used = device && READ_ONCE(file->private_data);
	fput(file);
	if (!device)
		return invalfc(fsc, "fd: descriptor %d is not the device of %s",
			       ctx->fd, fsc->fs_type->name);
	if (used)
		return invalfc(fsc, "fd: descriptor %d serves another mount",
			       ctx->fd);
	return 0;
}

int fbpf_rename_locked(const struct fbpf_mount *fb, struct dentry *old,
		       struct dentry *new, unsigned int flags)
{
	struct dentry *old_lower_dir = fbpf_lower_dentry(old->d_parent);
	struct dentry *new_lower_dir = fbpf_lower_dentry(new->d_parent);
	struct dentry *old_lower, *new_lower, *trap;
	struct renamedata rd = {
		.old_mnt_idmap = fb->idmap,
		.old_dir = d_inode(old_lower_dir),
		.new_mnt_idmap = fb->idmap,
		.new_dir = d_inode(new_lower_dir),
		.flags = flags,
	};
	int err;

	trap = lock_rename(old_lower_dir, new_lower_dir);
	if (IS_ERR(trap))
		return PTR_ERR(trap);
	old_lower = fbpf_get_target(fb, old, false);
	if (IS_ERR(old_lower)) {
		err = PTR_ERR(old_lower);
		goto unlock;
	}
	new_lower = fbpf_get_target(fb, new, d_is_negative(new));
	if (IS_ERR(new_lower)) {
		err = PTR_ERR(new_lower);
		goto put_old;
	}
	if (trap == old_lower) {
		err = -EINVAL;
	} else if (trap == new_lower) {
		err = flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
	} else {
		rd.old_dentry = old_lower;
		rd.new_dentry = new_lower;
		err = vfs_rename(&rd);
	}
	dput(new_lower);
put_old:
	dput(old_lower);
unlock:
	unlock_rename(old_lower_dir, new_lower_dir);
	return err;
}
