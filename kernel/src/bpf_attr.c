// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attributes and permission.
 *
 * Permission is decided here, once, as the caller against the lower inode;
 * lower calls then run with the mount's credentials. What a lower file system
 * leaves to the call itself is therefore decided by mode and ACL.
 *
 * Locking: ->setattr comes with the inode's i_rwsem held. Order: upper i_rwsem,
 * write access to the lower mount, lower i_rwsem.
 */
#include <linux/namei.h>
#include <linux/posix_acl.h>
#include <linux/stat.h>

#include "bpf_hooks.h"

/*
 * NFS and FUSE say yes, as the server will decide: it would decide for us, not
 * for the caller. Attributes may be old there, those of a root not known yet:
 * they are asked for, which is a request when they are.
 */
static int fbpf_permission_by_mode(struct inode *inode, int mask)
{
	const struct fbpf_mount *fb = fbpf_sb(inode->i_sb);
	/* Some ask by path: rather by one that is there */
	struct dentry *alias = d_find_alias(inode) ?: d_find_any_alias(inode);
	const struct cred *old;
	struct path path;
	struct kstat stat;
	int err;

	if (alias) {
		path = fbpf_lower_path(alias);
		old = fbpf_enter(fb);
		err = vfs_getattr_nosec(&path, &stat,
					STATX_MODE | STATX_UID | STATX_GID,
					AT_STATX_SYNC_AS_STAT);
		fbpf_leave(old);
		dput(alias);
		if (err)
			return err;
		fbpf_refresh(inode);
	}
	return generic_permission(fb->idmap, fbpf_lower_inode(inode), mask);
}

int fbpf_permission_lower(struct inode *inode, int mask)
{
	const struct fbpf_mount *fb = fbpf_sb(inode->i_sb);
	int err;

	/* Checks of the VFS that follow look at the copy, as for sticky */
	if (!(mask & MAY_NOT_BLOCK))
		fbpf_refresh(inode);
	else if (fb->by_mode)
		return -ECHILD;
	err = inode_permission(fb->idmap, fbpf_lower_inode(inode), mask);
	if (!err && fb->by_mode)
		err = fbpf_permission_by_mode(inode, mask);
	return err;
}

static noinline int fbpf_permission_slow(struct inode *inode, int mask)
{
	int err;

	if (fbpf_hooked(inode, FBPF_ACCESS))
		return fbpf_filter_permission(inode, mask);
	/* Held since before its filters were replaced, it may be refused now */
	if (fbpf_i(inode)->set &&
	    unlikely(fbpf_tag_stale(inode, fbpf_gen(fbpf_sb(inode->i_sb))))) {
		if (mask & MAY_NOT_BLOCK)
			return -ECHILD;
		err = fbpf_settle_inode(inode);
		if (err)
			return err;
	}
	return fbpf_permission_lower(inode, mask);
}

/* Of each directory on a path: nothing but a jump when it is a walk under RCU */
int fbpf_permission(struct mnt_idmap *idmap, struct inode *inode, int mask)
{
	const struct fbpf_mount *fb = fbpf_sb(inode->i_sb);

	if (likely(fb->quick && mask & MAY_NOT_BLOCK))
		return inode_permission(fb->idmap, fbpf_lower_inode(inode),
					mask);
	return fbpf_permission_slow(inode, mask);
}

/* In place: with a call more, fstat(2) is one per cent slower */
static __always_inline int fbpf_getattr_below(const struct path *path,
					      struct kstat *stat,
					      u32 request_mask,
					      unsigned int flags)
{
	struct super_block *sb = path->dentry->d_sb;
	struct path lower = fbpf_lower_path(path->dentry);
	const struct cred *old = fbpf_enter(fbpf_sb(sb));
	int err;

	err = vfs_getattr_nosec(&lower, stat, request_mask, flags);
	fbpf_leave(old);
	stat->dev = sb->s_dev;
	return err;
}

int fbpf_getattr_lower(const struct path *path, struct kstat *stat,
		       u32 request_mask, unsigned int flags)
{
	return fbpf_getattr_below(path, stat, request_mask, flags);
}

int fbpf_getattr(struct mnt_idmap *idmap, const struct path *path,
		 struct kstat *stat, u32 request_mask, unsigned int flags)
{
	if (unlikely(fbpf_hooked(d_inode(path->dentry), FBPF_GETATTR)))
		return fbpf_filter_getattr(path, stat, request_mask, flags);
	return fbpf_getattr_below(path, stat, request_mask, flags);
}

static int fbpf_notify_change(struct inode *inode, struct path *lower,
			      struct iattr *attr)
{
	struct inode *lower_inode = d_inode(lower->dentry);
	const struct cred *old;
	int err;

	err = mnt_want_write(lower->mnt);
	if (err)
		return err;
	inode_lock(lower_inode);
	old = fbpf_enter(fbpf_sb(inode->i_sb));
	err = notify_change(mnt_idmap(lower->mnt), lower->dentry, attr, NULL);
	fbpf_leave(old);
	fbpf_copy_attr(inode);
	inode_unlock(lower_inode);
	mnt_drop_write(lower->mnt);
	return err;
}

/*
 * Set-id bits that our inode does not show, the lower mount being nosuid, go
 * with a change of the owner only for whom they would if it did: the VFS asks
 * for a new mode then. With the size they go for everybody.
 */
static void fbpf_ask_for_hidden(struct inode *inode, struct iattr *attr)
{
	umode_t hidden;

	if (likely(!fbpf_sb(inode->i_sb)->nosuid) ||
	    attr->ia_valid & (ATTR_MODE | ATTR_SIZE) || !S_ISREG(inode->i_mode))
		return;
	hidden = READ_ONCE(fbpf_lower_inode(inode)->i_mode);
	if ((attr->ia_valid & ATTR_KILL_SUID && hidden & S_ISUID) ||
	    (attr->ia_valid & ATTR_KILL_SGID && hidden & S_ISGID)) {
		attr->ia_valid |= ATTR_MODE;
		attr->ia_mode = inode->i_mode;
	}
}

int fbpf_setattr_lower(struct dentry *dentry, struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	struct path lower = fbpf_lower_path(dentry);
	struct inode *lower_inode = d_inode(lower.dentry);
	const unsigned int kill_for = ATTR_SIZE | ATTR_UID | ATTR_GID;
	bool size = attr->ia_valid & ATTR_SIZE;
	int err;

	fbpf_refresh(inode);
	/* The VFS looked at the copy, and the lower file system leaves it to the VFS */
	if (size && IS_APPEND(inode))
		return -EPERM;
	fbpf_ask_for_hidden(inode, attr);
	err = setattr_prepare(&nop_mnt_idmap, dentry, attr);
	if (err)
		return err;

	/* Capabilities may be there that our inode does not show */
	if (attr->ia_valid & kill_for && S_ISREG(inode->i_mode))
		attr->ia_valid |= ATTR_KILL_PRIV;
	if (size) {
		err = get_write_access(lower_inode);
		if (err)
			return err;
	}
	/* notify_change() works the mode out from these by itself */
	if (attr->ia_valid & (ATTR_KILL_SUID | ATTR_KILL_SGID))
		attr->ia_valid &= ~ATTR_MODE;
	/* The file is not the lower one, and that was opened without O_TRUNC */
	attr->ia_valid &= ~(ATTR_FILE | ATTR_OPEN);

	err = fbpf_notify_change(inode, &lower, attr);
	/* Below, ATTR_SIZE may have been taken out */
	if (size)
		put_write_access(lower_inode);
	return err;
}

/*
 * Set-id bits that our inode does not show, the lower mount being nosuid, and
 * that the VFS therefore does not know to go with a change.
 */
static unsigned int fbpf_hidden_kill(struct inode *inode, unsigned int valid)
{
	const struct fbpf_mount *fb = fbpf_sb(inode->i_sb);
	struct inode *lower = fbpf_lower_inode(inode);

	if (likely(!fb->nosuid))
		return 0;
	if (valid & ATTR_SIZE)
		return setattr_should_drop_suidgid(fb->idmap, lower);
	/* chown: says so of the set-user-id bit in any case */
	if (valid & ATTR_KILL_SUID)
		return setattr_should_drop_sgid(fb->idmap, lower);
	return 0;
}

/**
 * fbpf_remove_hidden_slow - fbpf_remove_hidden() where the lower mount is nosuid
 * @file: open file, whose inode is locked
 *
 * As the caller, whose capabilities decide.
 *
 * Return: 0 or a negative errno
 */
int fbpf_remove_hidden_slow(struct file *file)
{
	struct iattr attr = {
		.ia_valid = fbpf_hidden_kill(file_inode(file), ATTR_SIZE),
	};

	if (likely(!attr.ia_valid))
		return 0;
	attr.ia_valid |= ATTR_FORCE;
	return fbpf_setattr(&nop_mnt_idmap, file->f_path.dentry, &attr);
}

int fbpf_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
		 struct iattr *attr)
{
	/* A filter took O_TRUNC out of this open */
	if (attr->ia_valid & ATTR_OPEN && attr->ia_valid & ATTR_FILE &&
	    fbpf_is_backed(attr->ia_file)) {
		struct fbpf_file *ff = attr->ia_file->private_data;

		if (ff->keep_data)
			return 0;
	}
	attr->ia_valid |= fbpf_hidden_kill(d_inode(dentry), attr->ia_valid);
	if (unlikely(fbpf_hooked(d_inode(dentry), FBPF_SETATTR)))
		return fbpf_filter_setattr(dentry, attr);
	return fbpf_setattr_lower(dentry, attr);
}

const char *fbpf_get_link_lower(struct dentry *dentry, struct inode *inode,
				struct delayed_call *done)
{
	const struct cred *old;
	struct path lower;
	const char *link;

	lower = fbpf_lower_path(dentry);
	/* It leads somewhere without a text, from a walk below that there is not */
	if (d_inode(lower.dentry)->i_op->readlink)
		return ERR_PTR(-EINVAL);
	old = fbpf_enter(fbpf_sb(inode->i_sb));
	touch_atime(&lower);
	link = vfs_get_link(lower.dentry, done);
	fbpf_leave(old);
	return link;
}

static const char *fbpf_get_link(struct dentry *dentry, struct inode *inode,
				 struct delayed_call *done)
{
	if (!dentry)
		return ERR_PTR(-ECHILD);
	if (unlikely(fbpf_hooked(inode, FBPF_READLINK)))
		return fbpf_filter_get_link(dentry, inode, done);
	return fbpf_get_link_lower(dentry, inode, done);
}

const struct inode_operations fbpf_file_inode_operations = {
	.permission	= fbpf_permission,
	.getattr	= fbpf_getattr,
	.setattr	= fbpf_setattr,
	.listxattr	= fbpf_listxattr,
	.get_acl	= fbpf_get_acl,
	.set_acl	= fbpf_set_acl,
	.fileattr_get	= fbpf_fileattr_get,
	.fileattr_set	= fbpf_fileattr_set,
	.fiemap		= fbpf_fiemap,
};

const struct inode_operations fbpf_special_inode_operations = {
	.permission	= fbpf_permission,
	.getattr	= fbpf_getattr,
	.setattr	= fbpf_setattr,
	.listxattr	= fbpf_listxattr,
	.get_acl	= fbpf_get_acl,
	.set_acl	= fbpf_set_acl,
	.fileattr_get	= fbpf_fileattr_get,
	.fileattr_set	= fbpf_fileattr_set,
};

const struct inode_operations fbpf_symlink_inode_operations = {
	.permission	= fbpf_permission,
	.getattr	= fbpf_getattr,
	.setattr	= fbpf_setattr,
	.get_link	= fbpf_get_link,
	.listxattr	= fbpf_listxattr,
};
