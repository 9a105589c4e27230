// SPDX-License-Identifier: GPL-2.0-only
/*
 * What differs as a whole between the series that we are made for; this is 7.3.
 *
 * Locking: of a rename, as in bpf_namei.c.
 */
#include "bpf.h"

/* The device serves nobody yet? That it is one was seen when it was given. */
int fbpf_check_device(struct fs_context *fsc)
{
	struct fuse_fs_context *ctx = fsc->fs_private;

	if (fuse_dev_is_installed(ctx->fud))
		return invalfc(fsc, "fd: the descriptor serves another mount");
	return 0;
}

/* Are the locked names still what was looked up? */
static int fbpf_check_renaming(const struct fbpf_mount *fb,
			       const struct renamedata *rd, struct dentry *old,
			       struct dentry *new)
{
	struct dentry *lower;
	bool same;

	lower = fbpf_get_target(fb, old, false);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	dput(lower);
	/* A name that does not exist need not be kept by its file system */
	if (d_is_negative(new))
		return d_is_negative(rd->new_dentry) ? 0 : -ESTALE;
	lower = fbpf_get_target(fb, new, false);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	same = lower == rd->new_dentry;
	dput(lower);
	return same ? 0 : -ESTALE;
}

int fbpf_rename_locked(const struct fbpf_mount *fb, struct dentry *old,
		       struct dentry *new, unsigned int flags)
{
	struct dentry *old_lower = fbpf_lower_dentry(old);
	struct dentry *new_lower = fbpf_lower_dentry(new);
	struct renamedata rd = {
		.mnt_idmap = fb->idmap,
		.old_parent = fbpf_lower_dentry(old->d_parent),
		.new_parent = fbpf_lower_dentry(new->d_parent),
		.flags = flags,
	};
	struct name_snapshot name;
	int err;

	if (!old_lower || !new_lower)
		return -ESTALE;
	take_dentry_name_snapshot(&name, new_lower);
	err = start_renaming_dentry(&rd, 0, old_lower,
				    &QSTR_LEN(name.name.name, name.name.len));
	release_dentry_name_snapshot(&name);
	/* It says -EINVAL of a name that is gone, too */
	if (err == -EINVAL && (d_unhashed(old_lower) ||
			       READ_ONCE(old_lower->d_parent) != rd.old_parent))
		return -ESTALE;
	if (err)
		return err;
	err = fbpf_check_renaming(fb, &rd, old, new);
	if (!err)
		err = vfs_rename(&rd);
	end_renaming(&rd);
	return err;
}
