// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a mount with a lower directory leaves something to its daemon, as plain
 * FUSE would do it: super block, names, files.
 *
 * A name belongs to the daemon when LOOKUP was left to it, or when its directory
 * has nothing below. What is done to such a name is done by the daemon. A file
 * that was opened by the daemon stays with it; one that was opened below gets a
 * second open, at the first operation that is left to the daemon.
 *
 * Locking: a dentry's classic is set before it is hashed, or under its
 * directory's i_rwsem. A second file is set once and lives as long as its file.
 */
#include <linux/file.h>
#include <linux/namei.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "bpf.h"

/* In f_flags of the second file while it is being opened; no flag of open(2) */
#define FBPF_O_CLASSIC	BIT(29)
static_assert(!(FBPF_O_CLASSIC & (VALID_OPEN_FLAGS | __FMODE_EXEC)));

static void fbpf_daemon_evict(struct inode *inode)
{
	struct fuse_inode *fi = get_fuse_inode(inode);

	if (!fuse_is_backed(inode)) {
		fuse_super_operations.evict_inode(inode);
		return;
	}
	/* FUSE_NOTIFY_STORE goes by nodeids, and may come upon this inode */
	truncate_inode_pages_final(&inode->i_data);
	fbpf_evict_inode(inode);
	if (inode->i_sb->s_flags & SB_ACTIVE && fi->nlookup) {
		fbpf_queue_forget(get_fuse_conn(inode), fi->forget, fi->nodeid,
				  fi->nlookup);
		fi->forget = NULL;
	}
}

static int fbpf_daemon_write_inode(struct inode *inode,
				   struct writeback_control *wbc)
{
	if (fuse_is_backed(inode))
		return 0;
	return fuse_super_operations.write_inode(inode, wbc);
}

static int fbpf_daemon_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	if (fuse_is_backed(d_inode(dentry)))
		return fbpf_statfs(dentry, buf);
	return fuse_super_operations.statfs(dentry, buf);
}

static void fbpf_daemon_umount_begin(struct super_block *sb)
{
	fuse_super_operations.umount_begin(sb);
}

static int fbpf_daemon_sync_fs(struct super_block *sb, int wait)
{
	int err = fuse_super_operations.sync_fs(sb, wait);

	return fbpf_sync_fs(sb, wait) ?: err;
}

static int fbpf_daemon_show_options(struct seq_file *m, struct dentry *root)
{
	fuse_super_operations.show_options(m, root);
	return fbpf_show_options(m, root);
}

const struct super_operations fbpf_daemon_operations = {
	.alloc_inode	= fuse_alloc_inode,
	.free_inode	= fuse_free_inode,
	.destroy_inode	= fbpf_destroy_inode,
	.evict_inode	= fbpf_daemon_evict,
	.write_inode	= fbpf_daemon_write_inode,
	.drop_inode	= inode_just_drop,
	.umount_begin	= fbpf_daemon_umount_begin,
	.statfs		= fbpf_daemon_statfs,
	.sync_fs	= fbpf_daemon_sync_fs,
	.show_options	= fbpf_daemon_show_options,
};

/* What the classic operations expect of a new inode; ours are set afterwards */
void fbpf_init_classic(struct inode *inode)
{
	switch (inode->i_mode & S_IFMT) {
	case S_IFREG:
		fuse_init_common(inode);
		fuse_init_file_inode(inode, 0);
		break;
	case S_IFDIR:
		fuse_init_dir(inode);
		break;
	case S_IFLNK:
		fuse_init_symlink(inode);
		break;
	default:
		fuse_init_common(inode);
		break;
	}
}

/*
 * The daemon has answered with attributes, which plain FUSE leaves in the inode.
 * That follows the lower one, and is no worse for an answer of another kind.
 */
void fbpf_restore_attr(struct inode *inode)
{
	const struct inode *lower = fbpf_lower_inode(inode);

	/* Nothing of the answer is there for as long as it said */
	fuse_invalidate_attr(inode);
	inode->i_ino = lower->i_ino;
	inode->i_blkbits = lower->i_blkbits;
	clear_bit(FUSE_I_BAD, &get_fuse_inode(inode)->state);
	fbpf_copy_attr(inode);
}

/* A lookup was answered with the inode's nodeid, so one more is to be forgotten */
void fbpf_count_lookup(struct inode *inode)
{
	struct fuse_inode *fi = get_fuse_inode(inode);

	spin_lock(&fi->lock);
	fi->nlookup++;
	spin_unlock(&fi->lock);
}

/* A lookup was answered with a nodeid that no inode has taken */
void fbpf_forget(struct super_block *sb, u64 nodeid)
{
	struct fuse_forget_link *forget;

	/* The root's is no filter's to give */
	if (!nodeid || nodeid == FUSE_ROOT_ID || !fbpf_sb(sb)->daemon)
		return;
	forget = fuse_alloc_forget();
	if (forget)
		fbpf_queue_forget(get_fuse_conn_super(sb), forget, nodeid, 1);
}

/* From here on the name is the daemon's */
void fbpf_set_classic(struct dentry *dentry)
{
	WRITE_ONCE(fbpf_d(dentry)->classic, true);
}

bool fbpf_is_classic(const struct dentry *dentry)
{
	const struct fbpf_dentry *fd = fbpf_d(dentry);

	return READ_ONCE(fd->classic) && !fd->given;
}

/* Is there nothing below the directory that the name is in? Under RCU. */
static bool fbpf_in_classic_dir(const struct dentry *dentry)
{
	struct inode *dir = d_inode_rcu(READ_ONCE(dentry->d_parent));

	return dir && !fuse_is_backed(dir);
}

/**
 * fbpf_daemon_revalidate - check a name on a mount with a daemon
 * @dentry: dentry
 * @flags: LOOKUP_*
 *
 * Return: what ->d_revalidate() returns; -ENODATA for a name that is neither in
 * a directory of the daemon's nor left to it
 */
int fbpf_daemon_revalidate(struct dentry *dentry, unsigned int flags)
{
	const struct fbpf_dentry *fd = fbpf_d(dentry);
	bool in_classic_dir;
	struct inode *inode;

	rcu_read_lock();
	in_classic_dir = fbpf_in_classic_dir(dentry);
	rcu_read_unlock();
	if (in_classic_dir) {
		inode = d_inode_rcu(dentry);
		return inode && fuse_is_backed(inode) ?
			       fbpf_again_given(dentry, flags) :
			       fbpf_again_classic(dentry, flags);
	}
	if (!READ_ONCE(fd->classic) && !fd->given)
		return -ENODATA;
	return flags & LOOKUP_RCU ? -ECHILD : fbpf_relookup(dentry, flags);
}

int fbpf_again_classic(struct dentry *dentry, unsigned int flags)
{
	return fbpf_call_revalidate(&fuse_dentry_operations, dentry, flags);
}

static const struct file_operations *fbpf_classic_fops(struct inode *inode)
{
	return S_ISDIR(inode->i_mode) ? &fuse_dir_operations :
					&fuse_file_operations;
}

/* Have the daemon open a file: from here on the file is a classic one */
int fbpf_open_classic(struct inode *inode, struct file *file)
{
	const struct file_operations *fops = fbpf_classic_fops(inode);
	int err = fops->open(inode, file);
	struct fuse_file *ff;

	if (err)
		return err;
	/* A listing changes below, where no daemon tells */
	ff = file->private_data;
	if (S_ISDIR(inode->i_mode))
		ff->open_flags &= ~(FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE);
	else
		file->f_mode |= FMODE_CAN_ODIRECT;
	replace_fops(file, fops_get(fops));
	return 0;
}

/* Is it the second file that fbpf_classic_file() opens? */
bool fbpf_opens_classic(struct file *file)
{
	if (likely(!(file->f_flags & FBPF_O_CLASSIC)))
		return false;
	file->f_flags &= ~FBPF_O_CLASSIC;
	return true;
}

/**
 * fbpf_classic_file - the file as the daemon has opened it
 * @file: file that was opened below
 *
 * Return: an open file that lives as long as @file, or an error pointer
 */
struct file *fbpf_classic_file(struct file *file)
{
	const int not_again = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC;
	struct fbpf_file *ff = file->private_data;
	struct file *classic = READ_ONCE(ff->classic);
	struct file *old;

	if (classic)
		return fbpf_following(file, classic);
	classic = dentry_open(&file->f_path, (file->f_flags & ~not_again) |
					     FBPF_O_CLASSIC, file->f_cred);
	if (IS_ERR(classic))
		return classic;
	old = cmpxchg(&ff->classic, NULL, classic);
	if (!old)
		return classic;
	fput(classic);
	return old;
}

/*
 * Operations on names. What the daemon made is its own, under a name that is left
 * to it from here on.
 */
int fbpf_mknod_classic(struct inode *dir, struct dentry *dentry, umode_t mode,
		       dev_t rdev)
{
	fbpf_set_classic(dentry);
	return fuse_dir_inode_operations.mknod(&nop_mnt_idmap, dir, dentry,
					       mode, rdev);
}

int fbpf_mkdir_classic(struct inode *dir, struct dentry *dentry, umode_t mode)
{
	fbpf_set_classic(dentry);
	return fbpf_call_mkdir(&fuse_dir_inode_operations, dir, dentry, mode);
}

int fbpf_symlink_classic(struct inode *dir, struct dentry *dentry,
			 const char *target)
{
	fbpf_set_classic(dentry);
	return fuse_dir_inode_operations.symlink(&nop_mnt_idmap, dir, dentry,
						 target);
}

int fbpf_link_classic(struct dentry *old, struct inode *dir,
		      struct dentry *dentry)
{
	fbpf_set_classic(dentry);
	return fuse_dir_inode_operations.link(old, dir, dentry);
}

int fbpf_create_classic(struct inode *dir, struct dentry *dentry,
			struct file *file, umode_t mode)
{
	fbpf_set_classic(dentry);
	return fuse_dir_inode_operations.atomic_open(dir, dentry, file,
						     file->f_flags, mode);
}

int fbpf_remove_classic(struct inode *dir, struct dentry *dentry)
{
	const struct inode_operations *ops = &fuse_dir_inode_operations;
	struct inode *inode = d_inode(dentry);
	int err;

	if (d_is_dir(dentry))
		err = ops->rmdir(dir, dentry);
	else
		err = ops->unlink(dir, dentry);
	/* It may have done that below */
	if (fuse_is_backed(inode))
		fbpf_copy_attr(inode);
	if (!err)
		d_drop(dentry);
	return err;
}

int fbpf_rename_classic(struct inode *old_dir, struct dentry *old,
			struct inode *new_dir, struct dentry *new,
			unsigned int flags)
{
	WRITE_ONCE(fbpf_d(old)->moved, true);
	WRITE_ONCE(fbpf_d(new)->moved, true);
	return fuse_dir_inode_operations.rename(&nop_mnt_idmap, old_dir, old,
						new_dir, new, flags);
}
