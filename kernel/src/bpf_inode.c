// SPDX-License-Identifier: GPL-2.0-only
/*
 * Backed inodes: one per lower inode, nodeid and policy tag, with a copy of the
 * lower attributes that the VFS looks at.
 *
 * Locking: lower and tag never change. The copy is made under i_lock; readers
 * take fields as they are, as for any inode.
 */
#include <linux/bpf.h>
#include <linux/hash.h>
#include <linux/slab.h>

#include "bpf.h"

struct fbpf_key {
	struct inode *lower;
	u64 nodeid;
	u64 tag;
	struct fbpf_set *set;
	struct bpf_link *link;
};

static umode_t fbpf_mode(const struct fbpf_mount *fb, const struct inode *lower)
{
	umode_t mode = READ_ONCE(lower->i_mode);

	/* What the lower mount ignores on execution must not act through us */
	if (fb->nosuid && S_ISREG(mode))
		mode &= ~(S_ISUID | S_ISGID);
	return mode;
}

static kuid_t fbpf_uid(const struct fbpf_mount *fb, const struct inode *lower)
{
	if (likely(fb->idmap == &nop_mnt_idmap))
		return lower->i_uid;
	return vfsuid_into_kuid(i_uid_into_vfsuid(fb->idmap, lower));
}

static kgid_t fbpf_gid(const struct fbpf_mount *fb, const struct inode *lower)
{
	if (likely(fb->idmap == &nop_mnt_idmap))
		return lower->i_gid;
	return vfsgid_into_kgid(i_gid_into_vfsgid(fb->idmap, lower));
}

/* Of fbpf_attr_stale() where ids are mapped or bits are hidden */
bool fbpf_mapped_attr_stale(struct inode *inode)
{
	const struct fbpf_mount *fb = fbpf_sb(inode->i_sb);
	const struct inode *lower = fbpf_lower_inode(inode);

	return inode->i_mode != fbpf_mode(fb, lower) ||
	       !uid_eq(inode->i_uid, fbpf_uid(fb, lower)) ||
	       !gid_eq(inode->i_gid, fbpf_gid(fb, lower)) ||
	       ((inode->i_flags ^ lower->i_flags) & FBPF_I_FLAGS);
}

/* Take the attributes of the lower inode */
void fbpf_copy_attr(struct inode *inode)
{
	const struct fbpf_mount *fb = fbpf_sb(inode->i_sb);
	struct inode *lower = fbpf_lower_inode(inode);
	umode_t mode;

	if ((inode->i_flags ^ lower->i_flags) & FBPF_I_FLAGS)
		inode_set_flags(inode, lower->i_flags & FBPF_I_FLAGS,
				FBPF_I_FLAGS);
	spin_lock(&inode->i_lock);
	mode = fbpf_mode(fb, lower);
	inode->i_mode = mode;
	inode->i_uid = fbpf_uid(fb, lower);
	inode->i_gid = fbpf_gid(fb, lower);
	if (inode->i_nlink != lower->i_nlink)
		set_nlink(inode, lower->i_nlink);
	inode_set_atime_to_ts(inode, inode_get_atime(lower));
	inode_set_mtime_to_ts(inode, inode_get_mtime(lower));
	inode_set_ctime_to_ts(inode, inode_get_ctime(lower));
	i_size_write(inode, i_size_read(lower));
	fbpf_copy_blocks(inode);
	spin_unlock(&inode->i_lock);
	/*
	 * A set-id bit that came from below has to be dropped by writes again. A
	 * write that did not see it yet may set the flag after us: fbpf_seen_sxid().
	 */
	if (is_sxid(mode))
		inode_set_flags(inode, 0, S_NOSEC);
}

static int fbpf_inode_test(struct inode *inode, void *data)
{
	const struct fbpf_key *key = data;
	struct fuse_inode *fi = get_fuse_inode(inode);

	return fi->bpf.lower == key->lower && fi->nodeid == key->nodeid &&
	       fi->bpf.tag == key->tag && fi->bpf.set == key->set;
}

static int fbpf_inode_set(struct inode *inode, void *data)
{
	const struct fbpf_key *key = data;
	struct fuse_inode *fi = get_fuse_inode(inode);

	ihold(key->lower);
	fi->bpf.lower = key->lower;
	fi->bpf.tag = key->tag;
	fi->bpf.set = key->set;
	fi->nodeid = key->nodeid;
	/* The mount holds its own */
	if (key->set && key->set != fbpf_sb(inode->i_sb)->set)
		fi->bpf.link = fbpf_set_get(key->set, key->link);
	return 0;
}

/*
 * As for the super block: ours is taken before that of a FUSE inode below, and
 * that of one depth of stacking before that of the depth below.
 */
void fbpf_lock_class(struct inode *inode)
{
	static struct lock_class_key file_keys[FILESYSTEM_MAX_STACK_DEPTH];
	static struct lock_class_key dir_keys[FILESYSTEM_MAX_STACK_DEPTH];
	int depth = inode->i_sb->s_stack_depth - 1;

	if (S_ISDIR(inode->i_mode))
		lockdep_set_class_and_name(&inode->i_rwsem, &dir_keys[depth],
					   "fbpf_i_rwsem_dir");
	else
		lockdep_set_class_and_name(&inode->i_rwsem, &file_keys[depth],
					   "fbpf_i_rwsem");
}

static void fbpf_init_inode(struct inode *inode, struct inode *lower)
{
	inode->i_ino = lower->i_ino;
	/* In handles without a way back, as fanotify reports them */
	inode->i_generation = lower->i_generation;
	inode->i_blkbits = lower->i_blkbits;
	/* Times are the lower file system's business */
	inode->i_flags |= S_NOATIME | S_NOCMTIME;
#ifdef CONFIG_FS_POSIX_ACL
	inode->i_acl = ACL_DONT_CACHE;
	inode->i_default_acl = ACL_DONT_CACHE;
#endif
	fbpf_copy_attr(inode);
	if (fbpf_sb(inode->i_sb)->daemon)
		fbpf_init_classic(inode);
	fbpf_lock_class(inode);

	switch (inode->i_mode & S_IFMT) {
	case S_IFREG:
		inode->i_op = &fbpf_file_inode_operations;
		inode->i_fop = &fbpf_file_operations;
		fbpf_init_aops(inode);
		break;
	case S_IFDIR:
		inode->i_op = &fbpf_dir_inode_operations;
		inode->i_fop = &fbpf_dir_operations;
		break;
	case S_IFLNK:
		inode->i_op = &fbpf_symlink_inode_operations;
		break;
	default:
		inode->i_op = &fbpf_special_inode_operations;
		init_special_inode(inode, inode->i_mode, lower->i_rdev);
		break;
	}
}

/**
 * fbpf_iget - get the inode for a lower inode
 * @sb: backed super block
 * @lower: lower inode, which the caller holds
 * @nodeid: number that a lookup filter gave it, or 0
 * @tag: its policy tag
 * @gen: generation of the filter set that decided @tag
 * @set: its filters, or NULL
 * @link: their link, held by the caller, or NULL
 *
 * Return: the inode with a reference, or an error pointer
 */
struct inode *fbpf_iget(struct super_block *sb, struct inode *lower, u64 nodeid,
			u64 tag, u32 gen, struct fbpf_set *set,
			struct bpf_link *link)
{
	struct fbpf_key key = {
		.lower = lower,
		.nodeid = nodeid,
		.tag = tag,
		.set = set,
		.link = link,
	};
	struct inode *inode;

	inode = iget5_locked(sb, hash_ptr(lower, 32), fbpf_inode_test,
			     fbpf_inode_set, &key);
	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (inode_state_read_once(inode) & I_NEW) {
		fbpf_init_inode(inode, lower);
		WRITE_ONCE(fbpf_i(inode)->gen, gen);
		unlock_new_inode(inode);
	} else {
		WRITE_ONCE(fbpf_i(inode)->gen, gen);
		fbpf_copy_attr(inode);
	}
	return inode;
}

void fbpf_evict_inode(struct inode *inode)
{
	/* Without a daemon nothing puts pages into it: its data are the lower file's */
	clear_inode(inode);
}

/*
 * The pointer stays for path walks that are under RCU: both inodes' memory
 * outlives them.
 */
void fbpf_destroy_inode(struct inode *inode)
{
	const struct fbpf_inode *fi = fbpf_i(inode);

	iput(fi->lower);
	if (fi->set && fi->set != fbpf_sb(inode->i_sb)->set) {
		if (fi->link)
			bpf_link_put(fi->link);
		fbpf_set_put(fi->set);
	}
}
