// SPDX-License-Identifier: GPL-2.0-only
/*
 * Backed dentries: what lies below a name, and whether it still does.
 *
 * Locking: lower is set before the dentry is hashed and released with it; it is
 * replaced at most once, under the directory's i_rwsem, by a creation. seq and
 * gen and expires are single words, stored after the check that they stand for.
 * hidden is set before the dentry is hashed; moved and, with release, moving
 * before a rename below. The lower dentry's parent and name are compared under
 * its d_lock.
 */
#include <linux/dcache.h>
#include <linux/namei.h>
#include <linux/slab.h>

#include "bpf.h"

static int fbpf_d_init(struct dentry *dentry)
{
	struct fbpf_dentry *fd;

	fd = kzalloc(sizeof(*fd), GFP_KERNEL_ACCOUNT | __GFP_RECLAIMABLE);
	if (!fd)
		return -ENOMEM;
	fd->seq = FBPF_SEQ_NONE;
	fd->quick_seq = FBPF_SEQ_NONE;
	fd->moving = FBPF_SEQ_NONE;
	dentry->d_fsdata = fd;
	return 0;
}

static void fbpf_d_release(struct dentry *dentry)
{
	struct fbpf_dentry *fd = fbpf_d(dentry);

	dput(fd->lower);
	dput(fd->former);
	kfree_rcu(fd, rcu);
}

/* Lower dentries that cannot be looked through, as in overlayfs */
bool fbpf_dentry_weird(const struct dentry *dentry)
{
	return dentry->d_flags & (DCACHE_NEED_AUTOMOUNT | DCACHE_MANAGE_TRANSIT |
				  DCACHE_OP_HASH | DCACHE_OP_COMPARE);
}

/**
 * fbpf_same_lower - does a lower dentry stand for a name?
 * @lower: lower dentry
 * @lower_dir: directory that it should be in
 * @name: name that it should have there
 * @inode: inode that it should have, NULL for none
 * @seq: gets the d_seq that goes with the answer, FBPF_SEQ_NONE with false;
 *	any rename, drop, unlink or instantiate moves it
 */
bool fbpf_same_lower(struct dentry *lower, const struct dentry *lower_dir,
		     const struct qstr *name, const struct inode *inode,
		     u32 *seq)
{
	bool same;

	spin_lock(&lower->d_lock);
	same = !d_unhashed(lower) && lower->d_parent == lower_dir &&
	       lower->d_name.len == name->len &&
	       !memcmp(lower->d_name.name, name->name, name->len) &&
	       d_inode(lower) == inode;
	*seq = same ? raw_read_seqcount(&lower->d_seq) : FBPF_SEQ_NONE;
	spin_unlock(&lower->d_lock);
	return same;
}

/* Nothing happened to the lower dentry since the last check */
static bool fbpf_lower_unchanged(const struct dentry *lower, u32 seq)
{
	return raw_read_seqcount(&lower->d_seq) == seq;
}

/*
 * A name that the filter said is not there. What lies below does not matter; it
 * is looked up afresh when the answer holds no longer.
 */
static int fbpf_hidden_revalidate(const struct fbpf_mount *fb,
				  const struct fbpf_dentry *fd,
				  unsigned int flags)
{
	if (fd->hidden && fbpf_answer_holds(fd) &&
	    READ_ONCE(fd->gen) == fbpf_gen(fb))
		return 1;
	return flags & LOOKUP_RCU ? -ECHILD : 0;
}

/* May the filters of the directory say another thing about the name now? */
static bool fbpf_lookup_hooked(const struct dentry *dentry)
{
	struct inode *dir;
	bool hooked;

	rcu_read_lock();
	dir = d_inode_rcu(READ_ONCE(dentry->d_parent));
	hooked = !dir || fbpf_hooked(dir, FBPF_LOOKUP);
	rcu_read_unlock();
	return hooked;
}

static noinline int fbpf_revalidate_slow(struct dentry *dentry,
					 unsigned int flags)
{
	const struct fbpf_mount *fb = fbpf_sb(dentry->d_sb);
	struct fbpf_dentry *fd = fbpf_d(dentry);
	struct dentry *lower = READ_ONCE(fd->lower);
	struct inode *inode;

	if (unlikely(fb->daemon)) {
		int ret = fbpf_daemon_revalidate(dentry, flags);

		if (ret != -ENODATA)
			return ret;
	}
	if (unlikely(!lower))
		return fbpf_hidden_revalidate(fb, fd, flags);
	/*
	 * Ask again when there is somebody to ask whose answer does not hold any
	 * more, when the tag may be another one, and when the lower file system
	 * has a say.
	 */
	if ((fbpf_lookup_hooked(dentry) && !fbpf_answer_holds(fd)) ||
	    READ_ONCE(fd->gen) != fbpf_gen(fb) ||
	    lower->d_flags & DCACHE_OP_REVALIDATE ||
	    !fbpf_lower_unchanged(lower, READ_ONCE(fd->seq)))
		return flags & LOOKUP_RCU ? -ECHILD :
					    fbpf_relookup(dentry, flags);

	inode = d_inode_rcu(dentry);
	/* Made by the daemon since it was looked at: nothing below is its own */
	if (inode && unlikely(!fuse_is_backed(inode)))
		return flags & LOOKUP_RCU ? -ECHILD :
					    fbpf_relookup(dentry, flags);
	if (inode && unlikely(fbpf_attr_stale(inode))) {
		if (flags & LOOKUP_RCU)
			return -ECHILD;
		fbpf_copy_attr(inode);
	}
	return 1;
}

/*
 * Every component of every path comes through here: what is nearly always so is
 * checked without a call, and nothing is saved and restored for it.
 */
static int fbpf_d_revalidate(FBPF_REVALIDATE_ARGS)
{
	const struct fbpf_dentry *fd = fbpf_d(dentry);
	struct dentry *lower = READ_ONCE(fd->lower);
	struct inode *inode = d_inode_rcu(dentry);

	if (likely(lower &&
		   fbpf_lower_unchanged(lower, READ_ONCE(fd->quick_seq)) &&
		   (unlikely(!inode) || !fbpf_plain_attr_stale(inode))))
		return 1;
	return fbpf_revalidate_slow(dentry, flags);
}

/*
 * A path that ends where it began, as those below /proc/self/fd do: the filters
 * may be others by now. What has no name any more is as it was when opened: the
 * file, as anybody can have the dentry dropped.
 */
static int fbpf_d_weak_revalidate(struct dentry *dentry, unsigned int flags)
{
	struct inode *inode = d_inode(dentry);

	if (fuse_is_backed(inode) &&
	    !READ_ONCE(fbpf_lower_inode(inode)->i_nlink))
		return 1;
	return fbpf_settle(dentry) ?: 1;
}

const struct dentry_operations fbpf_dentry_operations = {
	.d_init			= fbpf_d_init,
	.d_release		= fbpf_d_release,
	.d_revalidate		= fbpf_d_revalidate,
	.d_weak_revalidate	= fbpf_d_weak_revalidate,
};

/* The root has no name that could change */
const struct dentry_operations fbpf_root_dentry_operations = {
	.d_init		= fbpf_d_init,
	.d_release	= fbpf_d_release,
};
