// SPDX-License-Identifier: GPL-2.0-only
/*
 * Operations that change a directory.
 *
 * The VFS has checked the caller's permission on our inodes. Each operation
 * then checks, with the lower directory locked, that the lower dentry is still
 * what was looked up; else -ESTALE, after which the VFS looks it up again.
 *
 * Locking: the VFS holds the i_rwsem of the upper directories. Order: those,
 * write access to the lower mount, i_rwsem of the lower directories.
 */
#include <linux/cred.h>
#include <linux/namei.h>

#include "bpf_hooks.h"

/* The credentials of the last creation, referenced, when they are the caller's */
static const struct cred *fbpf_last_creator(const struct fbpf_mount *fb)
{
	const struct cred *cred;

	rcu_read_lock();
	cred = rcu_dereference(fb->creator);
	if (cred && (!uid_eq(cred->fsuid, current_fsuid()) ||
		     !gid_eq(cred->fsgid, current_fsgid())))
		cred = NULL;
	cred = get_cred_rcu(cred);
	rcu_read_unlock();
	return cred;
}

/* New ones, referenced, which the next creation finds; NULL without memory */
static const struct cred *fbpf_new_creator(struct fbpf_mount *fb)
{
	const struct cred *old = fbpf_override(fb->cred);
	struct cred *cred = prepare_creds();

	fbpf_revert(old);
	if (!cred)
		return NULL;
	cred->fsuid = current_fsuid();
	cred->fsgid = current_fsgid();
	get_cred(cred);
	put_cred(unrcu_pointer(xchg(&fb->creator, RCU_INITIALIZER(cred))));
	return cred;
}

/*
 * Lower credentials for a new file: its owner is the caller. They are in effect,
 * and held, until fbpf_leave_create(): the next creator replaces them.
 */
const struct cred *fbpf_enter_create(struct super_block *sb)
{
	struct fbpf_mount *fb = fbpf_sb(sb);
	const struct cred *cred;

	if (fb->cred)
		cred = fbpf_last_creator(fb) ?: fbpf_new_creator(fb);
	else
		cred = get_current_cred();
	return cred ? fbpf_override(cred) : ERR_PTR(-ENOMEM);
}

void fbpf_leave_create(const struct cred *old)
{
	put_cred(fbpf_revert(old));
}

static void fbpf_change_leave(const struct fbpf_change *change)
{
	if (change->create)
		fbpf_leave_create(change->old);
	else
		fbpf_leave(change->old);
}

static bool fbpf_still_there(const struct dentry *lower,
			     const struct dentry *lower_dir)
{
	return !d_unhashed(lower) && lower->d_parent == lower_dir;
}

/*
 * Some file systems do not keep names that do not exist. Look such a one up
 * again under the lock.
 */
static struct dentry *fbpf_renew_negative(const struct fbpf_mount *fb,
					  struct fbpf_dentry *fd,
					  struct dentry *lower_dir)
{
	struct name_snapshot name;
	struct dentry *lower;

	if (fd->former)
		return ERR_PTR(-ESTALE);
	take_dentry_name_snapshot(&name, fd->lower);
	lower = fbpf_lookup_one(fb->idmap, &name.name, lower_dir);
	release_dentry_name_snapshot(&name);
	if (IS_ERR(lower))
		return lower;
	if (d_is_positive(lower)) {
		dput(lower);
		return ERR_PTR(-ESTALE);
	}
	fd->former = fd->lower;
	fbpf_set_seq(fb, fd, FBPF_SEQ_NONE);
	WRITE_ONCE(fd->lower, lower);
	return dget(lower);
}

/*
 * The VFS has just checked the name; now the lower directory is locked. What was
 * renamed in between, in it, is not what the caller named.
 */
static bool fbpf_renamed_below(const struct fbpf_dentry *fd)
{
	u32 seq = READ_ONCE(fd->seq);

	return seq != FBPF_SEQ_NONE &&
	       raw_read_seqcount(&fd->lower->d_seq) != seq;
}

/* The lower dentry with a reference, if it can still be created or removed */
struct dentry *fbpf_get_target(const struct fbpf_mount *fb,
			       struct dentry *dentry, bool create)
{
	struct dentry *lower_dir = fbpf_lower_dentry(dentry->d_parent);
	struct fbpf_dentry *fd = fbpf_d(dentry);
	struct dentry *lower = fd->lower;

	if (!lower)
		return ERR_PTR(-ESTALE);
	if (create) {
		if (d_is_positive(lower))
			return ERR_PTR(-ESTALE);
		if (d_unhashed(lower))
			return fbpf_renew_negative(fb, fd, lower_dir);
	} else if (d_inode(lower) != fbpf_lower_inode(d_inode(dentry)) ||
		   fbpf_renamed_below(fd)) {
		return ERR_PTR(-ESTALE);
	}
	if (!fbpf_still_there(lower, lower_dir))
		return ERR_PTR(-ESTALE);
	/* With a second reference d_delete() leaves the inode to open files */
	return dget(lower);
}

/**
 * fbpf_change_begin - prepare to change one name below
 * @change: to be given to fbpf_change_end()
 * @dir: upper directory, locked by the VFS
 * @dentry: upper dentry
 * @create: the name is to come into being; else it is there
 *
 * Return: lower dentry with a reference, its directory locked and the lower
 * credentials in effect; or an error pointer and nothing to end
 */
struct dentry *fbpf_change_begin(struct fbpf_change *change, struct inode *dir,
				 struct dentry *dentry, bool create)
{
	const struct fbpf_mount *fb = fbpf_sb(dir->i_sb);
	struct dentry *lower;
	int err;

	if (fbpf_d(dentry)->hidden)
		return ERR_PTR(-ENOENT);
	err = mnt_want_write(fb->mnt);
	if (err)
		return ERR_PTR(err);
	change->lower_dir = fbpf_lower_inode(dir);
	inode_lock_nested(change->lower_dir, I_MUTEX_PARENT);
	change->create = create;
	change->old = create ? fbpf_enter_create(dir->i_sb) : fbpf_enter(fb);
	if (IS_ERR(change->old)) {
		err = PTR_ERR(change->old);
		goto unlock;
	}
	lower = fbpf_get_target(fb, dentry, create);
	if (!IS_ERR(lower))
		return lower;
	err = PTR_ERR(lower);
	fbpf_change_leave(change);
unlock:
	inode_unlock(change->lower_dir);
	mnt_drop_write(fb->mnt);
	return ERR_PTR(err);
}

/* End what fbpf_change_begin() began; @lower is what it returned */
void fbpf_change_end(struct fbpf_change *change, struct inode *dir,
		     struct dentry *lower)
{
	fbpf_change_leave(change);
	inode_unlock(change->lower_dir);
	mnt_drop_write(fbpf_sb(dir->i_sb)->mnt);
	dput(lower);
	fbpf_copy_attr(dir);
}

/**
 * fbpf_instantiate - make a dentry positive after creating below
 * @dir: upper directory, locked by the VFS
 * @dentry: negative dentry
 * @nodeid: number that a filter gave the new inode, or 0
 *
 * Return: 0, also when the lower file system wants the name to be looked up
 * first: then the dentry is dropped
 */
int fbpf_instantiate(struct inode *dir, struct dentry *dentry, u64 nodeid)
{
	struct fbpf_dentry *fd = fbpf_d(dentry);
	struct inode *lower_inode = d_inode(fd->lower);
	struct inode *inode;
	u32 seq;

	if (!lower_inode || d_unhashed(fd->lower)) {
		d_drop(dentry);
		return 0;
	}
	inode = fbpf_iget(dir->i_sb, lower_inode, nodeid, fd->tag, fd->gen,
			  fbpf_i(dir)->set, fbpf_i(dir)->link);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	if (d_unhashed(dentry))
		d_add(dentry, inode);
	else
		d_instantiate(dentry, inode);

	/* The answer that holds was for a name that is free */
	WRITE_ONCE(fd->expires, 0);
	/* A name that a filter rewrote is compared in full next time */
	fbpf_same_lower(fd->lower, fbpf_lower_dentry(dentry->d_parent),
			&dentry->d_name, lower_inode, &seq);
	fbpf_set_seq(fbpf_sb(dir->i_sb), fd, seq);
	return 0;
}

/* Below, without filters */
int fbpf_mknod_lower(struct inode *dir, struct dentry *dentry, umode_t mode,
		     dev_t rdev)
{
	const struct fbpf_mount *fb = fbpf_sb(dir->i_sb);
	struct fbpf_change change;
	struct dentry *lower;
	int err;

	if (unlikely(fbpf_is_classic(dentry)))
		return fbpf_mknod_classic(dir, dentry, mode, rdev);
	lower = fbpf_change_begin(&change, dir, dentry, true);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	if (S_ISREG(mode))
		err = fbpf_vfs_create(fb->idmap, change.lower_dir, lower, mode);
	else
		err = fbpf_vfs_mknod(fb->idmap, change.lower_dir, lower, mode,
				     rdev);
	if (!err)
		err = fbpf_instantiate(dir, dentry, 0);
	fbpf_change_end(&change, dir, lower);
	return err;
}

int fbpf_mkdir_lower(struct inode *dir, struct dentry *dentry, umode_t mode)
{
	struct fbpf_change change;
	struct dentry *lower;
	int err;

	if (unlikely(fbpf_is_classic(dentry)))
		return fbpf_mkdir_classic(dir, dentry, mode);
	lower = fbpf_change_begin(&change, dir, dentry, true);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	err = fbpf_vfs_mkdir(fbpf_sb(dir->i_sb)->idmap, change.lower_dir, lower,
			     mode);
	if (!err)
		err = fbpf_instantiate(dir, dentry, 0);
	fbpf_change_end(&change, dir, lower);
	return err;
}

int fbpf_symlink_lower(struct inode *dir, struct dentry *dentry,
		       const char *target)
{
	struct fbpf_change change;
	struct dentry *lower;
	int err;

	if (unlikely(fbpf_is_classic(dentry)))
		return fbpf_symlink_classic(dir, dentry, target);
	lower = fbpf_change_begin(&change, dir, dentry, true);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	err = fbpf_vfs_symlink(fbpf_sb(dir->i_sb)->idmap, change.lower_dir,
			       lower, target);
	if (!err)
		err = fbpf_instantiate(dir, dentry, 0);
	fbpf_change_end(&change, dir, lower);
	return err;
}

/* The lower directory is locked */
static struct dentry *fbpf_free_name(const struct fbpf_mount *fb,
				     struct dentry *lower_dir,
				     const struct qstr *name)
{
	struct dentry *lower;

	if (!name->len)
		return ERR_PTR(-ENOENT);
	lower = fbpf_lookup_one(fb->idmap, name, lower_dir);
	if (!IS_ERR(lower) && d_is_positive(lower)) {
		dput(lower);
		return ERR_PTR(-EEXIST);
	}
	return lower;
}

/**
 * fbpf_link_lower - make a hard link below
 * @old: upper dentry of the file
 * @dir: upper directory, locked by the VFS
 * @dentry: upper dentry of the new name
 * @name: name to use instead of @dentry's, or NULL
 *
 * Return: 0 or a negative errno
 */
int fbpf_link_lower(struct dentry *old, struct inode *dir,
		    struct dentry *dentry, const struct qstr *name)
{
	const struct fbpf_mount *fb = fbpf_sb(dir->i_sb);
	struct dentry *lower, *other = NULL;
	struct inode *inode = d_inode(old);
	struct fbpf_change change;
	int err = 0;

	if (fuse_is_backed(inode) == fbpf_is_classic(dentry))
		return -EXDEV;
	if (unlikely(fbpf_is_classic(dentry)))
		return fbpf_link_classic(old, dir, dentry);
	lower = fbpf_change_begin(&change, dir, dentry, true);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	if (name) {
		other = fbpf_free_name(fb, fbpf_lower_dentry(dentry->d_parent),
				       name);
		err = PTR_ERR_OR_ZERO(other);
	}
	if (!err)
		err = vfs_link(fbpf_lower_dentry(old), fb->idmap,
			       change.lower_dir, other ?: lower, NULL);
	/* Under a name with another tag it is another inode: look it up */
	if (!err && (other || fbpf_i(inode)->tag != fbpf_d(dentry)->tag))
		d_drop(dentry);
	else if (!err)
		err = fbpf_instantiate(dir, dentry, get_node_id(inode));
	if (!IS_ERR(other))
		dput(other);
	fbpf_change_end(&change, dir, lower);
	fbpf_copy_attr(inode);
	return err;
}

int fbpf_remove_lower(struct inode *dir, struct dentry *dentry)
{
	const struct fbpf_mount *fb = fbpf_sb(dir->i_sb);
	struct fbpf_change change;
	struct dentry *lower;
	int err;

	if (unlikely(fbpf_is_classic(dentry)))
		return fbpf_remove_classic(dir, dentry);
	lower = fbpf_change_begin(&change, dir, dentry, false);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	if (d_is_dir(dentry))
		err = fbpf_vfs_rmdir(fb->idmap, change.lower_dir, lower);
	else
		err = vfs_unlink(fb->idmap, change.lower_dir, lower, NULL);
	fbpf_change_end(&change, dir, lower);
	fbpf_copy_attr(d_inode(dentry));
	/* The lower dentry may serve the next file of that name: not this one */
	if (!err)
		d_drop(dentry);
	return err;
}

/* A directory keeps its tag, and with it the policy of all that is in it */
static bool fbpf_retagged_dir(struct dentry *dentry, const struct dentry *to)
{
	return d_is_dir(dentry) &&
	       fbpf_i(d_inode(dentry))->tag != fbpf_d(to)->tag;
}

/*
 * From before a rename below until the VFS has moved the dentry, too, which
 * moves its count: who walks by meanwhile finds the old name, as it was.
 */
static void fbpf_mark_moving(struct dentry *dentry, u32 seq)
{
	/* Pairs with fbpf_being_moved(): who sees the rename below sees this */
	smp_store_release(&fbpf_d(dentry)->moving, seq);
}

/* The VFS will not move them */
void fbpf_rename_failed(struct dentry *old, struct dentry *new)
{
	fbpf_mark_moving(old, FBPF_SEQ_NONE);
	fbpf_mark_moving(new, FBPF_SEQ_NONE);
}

int fbpf_rename_lower(struct inode *old_dir, struct dentry *old,
		      struct inode *new_dir, struct dentry *new,
		      unsigned int flags)
{
	const struct fbpf_mount *fb = fbpf_sb(old_dir->i_sb);
	const struct cred *cred;
	bool whiteout;
	int err;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return -EINVAL;
	if (fbpf_d(new)->hidden)
		return -ENOENT;
	if (fbpf_is_classic(old) != fbpf_is_classic(new))
		return -EXDEV;
	if (unlikely(fbpf_is_classic(old)))
		return fbpf_rename_classic(old_dir, old, new_dir, new, flags);
	if (fbpf_retagged_dir(old, new) ||
	    (flags & RENAME_EXCHANGE && fbpf_retagged_dir(new, old)))
		return -EXDEV;

	err = mnt_want_write(fb->mnt);
	if (err)
		return err;
	/* What a filter answered was for the old name */
	WRITE_ONCE(fbpf_d(old)->moved, true);
	WRITE_ONCE(fbpf_d(new)->moved, true);
	fbpf_mark_moving(old, raw_read_seqcount(&old->d_seq));
	fbpf_mark_moving(new, raw_read_seqcount(&new->d_seq));
	/* A whiteout is a new file */
	whiteout = flags & RENAME_WHITEOUT;
	cred = whiteout ? fbpf_enter_create(old->d_sb) : fbpf_enter(fb);
	if (IS_ERR(cred)) {
		err = PTR_ERR(cred);
	} else {
		err = fbpf_rename_locked(fb, old, new, flags);
		if (whiteout)
			fbpf_leave_create(cred);
		else
			fbpf_leave(cred);
	}
	/* Of two links of one file nothing moves below, and no count says so */
	if (err)
		fbpf_rename_failed(old, new);
	else
		fbpf_set_seq(fb, fbpf_d(old), FBPF_SEQ_NONE);
	if (!err && flags & RENAME_EXCHANGE)
		fbpf_set_seq(fb, fbpf_d(new), FBPF_SEQ_NONE);
	mnt_drop_write(fb->mnt);

	fbpf_copy_attr(old_dir);
	if (new_dir != old_dir)
		fbpf_copy_attr(new_dir);
	fbpf_copy_attr(d_inode(old));
	if (d_is_positive(new))
		fbpf_copy_attr(d_inode(new));
	return err;
}

static bool fbpf_name_hooked(struct inode *inode, enum fbpf_hook hook)
{
	return unlikely(fbpf_hooked(inode, hook));
}

static int fbpf_mknod(struct mnt_idmap *idmap, struct inode *dir,
		      struct dentry *dentry, umode_t mode, dev_t rdev)
{
	if (fbpf_name_hooked(dir, FBPF_MKNOD))
		return fbpf_filter_mknod(dir, dentry, mode, rdev);
	return fbpf_mknod_lower(dir, dentry, mode, rdev);
}

/* Not of open(2), which makes files by ->atomic_open() */
static int fbpf_create(FBPF_CREATE_ARGS)
{
	return fbpf_mknod(idmap, dir, dentry, (mode & S_IALLUGO) | S_IFREG, 0);
}

static FBPF_MKDIR_TYPE fbpf_mkdir(struct mnt_idmap *idmap, struct inode *dir,
				  struct dentry *dentry, umode_t mode)
{
	if (fbpf_name_hooked(dir, FBPF_MKDIR))
		return fbpf_mkdir_result(fbpf_filter_mkdir(dir, dentry, mode));
	return fbpf_mkdir_result(fbpf_mkdir_lower(dir, dentry, mode));
}

static int fbpf_symlink(struct mnt_idmap *idmap, struct inode *dir,
			struct dentry *dentry, const char *target)
{
	if (fbpf_name_hooked(dir, FBPF_SYMLINK))
		return fbpf_filter_symlink(dir, dentry, target);
	return fbpf_symlink_lower(dir, dentry, target);
}

static int fbpf_link(struct dentry *old, struct inode *dir,
		     struct dentry *dentry)
{
	/* By a descriptor, no path walk has settled it */
	int err = fbpf_settle(old);

	if (err)
		return err;
	/* The filters of the file decide, which a daemon's does not have */
	if (fbpf_name_hooked(d_inode(old), FBPF_LINK))
		return fbpf_filter_link(old, dir, dentry);
	return fbpf_link_lower(old, dir, dentry, NULL);
}

static int fbpf_unlink(struct inode *dir, struct dentry *dentry)
{
	if (fbpf_name_hooked(dir, FBPF_UNLINK))
		return fbpf_filter_unlink(dir, dentry);
	return fbpf_remove_lower(dir, dentry);
}

static int fbpf_rmdir(struct inode *dir, struct dentry *dentry)
{
	if (fbpf_name_hooked(dir, FBPF_RMDIR))
		return fbpf_filter_rmdir(dir, dentry);
	return fbpf_remove_lower(dir, dentry);
}

static int fbpf_rename(struct mnt_idmap *idmap, struct inode *old_dir,
		       struct dentry *old, struct inode *new_dir,
		       struct dentry *new, unsigned int flags)
{
	if (unlikely(!fuse_is_backed(new_dir)))
		return -EXDEV;
	if (fbpf_name_hooked(old_dir, fbpf_rename_hook(flags)))
		return fbpf_filter_rename(old_dir, old, new_dir, new, flags);
	return fbpf_rename_lower(old_dir, old, new_dir, new, flags);
}

const struct inode_operations fbpf_dir_inode_operations = {
	.lookup		= fbpf_lookup,
	.atomic_open	= fbpf_atomic_open,
	.create		= fbpf_create,
	.mknod		= fbpf_mknod,
	.mkdir		= fbpf_mkdir,
	.symlink	= fbpf_symlink,
	.link		= fbpf_link,
	.unlink		= fbpf_unlink,
	.rmdir		= fbpf_rmdir,
	.rename		= fbpf_rename,
	.tmpfile	= fbpf_tmpfile,
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
