// SPDX-License-Identifier: GPL-2.0-only
/*
 * LOOKUP: finding a name, and asking again whether an old answer still holds.
 *
 * Locking: the VFS holds the directory's i_rwsem at least shared for a first
 * lookup, nothing for a repeated one. Neither holds a lock across a program.
 */
#include <linux/namei.h>
#include <linux/stat.h>

#include "bpf_op.h"

/**
 * struct fbpf_lookup_call - arguments and results of a lookup
 * @dir: directory
 * @lower_dir: lower dentry of the directory
 * @dentry: name that is looked up, or checked again
 * @name: that name, stable
 * @again: check the dentry that is there
 * @lower: what lies below; referenced on a first lookup
 * @lower_inode: its inode, or the one that the checked dentry stands for
 * @seq: its d_seq
 * @nodeid: number that the filter gave the entry
 * @tag: policy tag decided for it
 * @expires: until when the filter's answer holds, in jiffies
 * @user: it was left to the daemon
 * @given: an entry gave @lower
 * @set: filters of the entry
 * @link: their link, or NULL; as long as the directory or @entries hold it
 * @entries: what entries hold
 */
struct fbpf_lookup_call {
	struct inode *dir;
	struct dentry *lower_dir;
	struct dentry *dentry;
	const struct qstr *name;
	bool again;
	struct dentry *lower;
	struct inode *lower_inode;
	u32 seq;
	u64 nodeid;
	u64 tag;
	u64 expires;
	bool user;
	bool given;
	struct fbpf_set *set;
	struct bpf_link *link;
	struct fbpf_entries entries;
};

/* The dentry cannot stay: look the name up afresh */
#define FBPF_STALE	1

static int fbpf_lookup_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_lookup_call *call = data;

	op->is_lookup = true;
	fbpf_set_name(op, call->name, true);
	op->entries = (struct fuse_buffer) {
		.data = op->entries_data,
		.alloc_size = sizeof(op->entries_data),
		.max_size = sizeof(op->entries_data),
		.flags = BPF_FUSE_VARIABLE_SIZE,
	};
	memset(op->entries_data, 0, sizeof(op->entries_data));
	return 0;
}

FBPF_PRE(lookup, &op->name)

FBPF_POST(lookup, &op->name, &op->out.entry, &op->entries)

/* The name to use below: up to the first NUL of what the filter left */
static struct qstr fbpf_lookup_name(struct fbpf_op *op,
				    const struct qstr *name)
{
	if (!op || !(op->name.flags & BPF_FUSE_MODIFIED))
		return *name;
	return (struct qstr)QSTR_INIT(op->name_data,
				      strnlen(op->name_data,
					      min_t(u32, op->name.size,
						    NAME_MAX + 1)));
}

/* Attributes for a postfilter to look at */
static int fbpf_fill_entry(const struct fbpf_mount *fb, struct dentry *lower,
			   struct fuse_attr *attr)
{
	struct path path = { .mnt = fb->mnt, .dentry = lower };
	struct kstat stat;
	int err;

	err = vfs_getattr_nosec(&path, &stat, STATX_BASIC_STATS,
				AT_STATX_SYNC_AS_STAT);
	if (err)
		return err;
	fbpf_fill_attr(attr, &stat);
	return 0;
}

static int fbpf_lookup_lower(struct fbpf_lookup_call *call,
			     const struct qstr *name)
{
	const struct fbpf_mount *fb = fbpf_sb(call->dir->i_sb);
	struct dentry *lower;

	if (!name->len)
		return -ENOENT;
	if (name->len > NAME_MAX)
		return -ENAMETOOLONG;
	lower = fbpf_lookup_one_unlocked(fb->idmap, name, call->lower_dir);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	if (fbpf_dentry_weird(lower)) {
		dput(lower);
		return -EREMOTE;
	}
	call->lower = lower;
	call->lower_inode = d_inode(lower);
	/* Without a count it is checked in full next time */
	fbpf_same_lower(lower, call->lower_dir, name, call->lower_inode,
			&call->seq);
	return 0;
}

/*
 * Moved below, and by the VFS in a moment? Not to hold then would drop all that
 * is in a directory, and detach what is mounted there.
 */
static bool fbpf_being_moved(const struct dentry *dentry)
{
	/* Pairs with fbpf_mark_moving() */
	return smp_load_acquire(&fbpf_d(dentry)->moving) ==
	       raw_read_seqcount(&dentry->d_seq);
}

static int fbpf_lookup_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_lookup_call *call = data;
	struct qstr name = fbpf_lookup_name(op, call->name);
	const struct fbpf_mount *fb = fbpf_sb(call->dir->i_sb);
	const struct cred *old = fbpf_enter(fb);
	bool same;
	int err = 0;

	if (!call->again) {
		err = fbpf_lookup_lower(call, &name);
	} else if (!call->lower || (call->given && d_unhashed(call->lower))) {
		err = FBPF_STALE;
	} else if (call->given) {
		call->seq = FBPF_SEQ_NONE;
	} else {
		same = fbpf_same_lower(call->lower, call->lower_dir, &name,
				       call->lower_inode, &call->seq);
		/* Until it has its new name, nothing is noted of the old one */
		if (fbpf_being_moved(call->dentry))
			call->seq = FBPF_SEQ_NONE;
		else if (!same)
			err = FBPF_STALE;
	}
	if (!err && op && op->post) {
		if (!call->lower_inode)
			op->meta.error_in = -ENOENT;
		else
			err = fbpf_fill_entry(fb, call->lower,
					      &op->out.entry.attr);
	}
	fbpf_leave(old);
	return err;
}

/* Never longer than a filter said, at a tick's grain */
static u64 fbpf_expires(const struct fbpf_op *op)
{
	const struct fuse_entry_out *entry = &op->out.entry;
	u64 ns = op->valid_ns;

	if (entry->entry_valid || entry->entry_valid_nsec)
		ns = min_t(u64, entry->entry_valid, U64_MAX / NSEC_PER_SEC - 1) *
		     NSEC_PER_SEC +
		     min_t(u32, entry->entry_valid_nsec, NSEC_PER_SEC - 1);
	return ns ? get_jiffies_64() + nsecs_to_jiffies64(ns) : 0;
}

static void fbpf_lookup_refused(const struct fbpf_op *op, void *data)
{
	struct fbpf_lookup_call *call = data;

	call->expires = fbpf_expires(op);
}

/* The whole lookup is the daemon's; see fbpf_lookup() and fbpf_check_again() */
static int fbpf_lookup_user(void *data)
{
	struct fbpf_lookup_call *call = data;

	call->user = true;
	return 0;
}

/* Another lower file, as an entry says */
static int fbpf_give_lower(struct fbpf_lookup_call *call, struct dentry *lower)
{
	if (call->again)
		return lower == call->lower ? 0 : FBPF_STALE;
	dput(call->lower);
	call->lower = dget(lower);
	call->lower_inode = d_inode(lower);
	call->seq = FBPF_SEQ_NONE;
	call->given = true;
	return 0;
}

/* Do what entries say; the daemon's stand for the program's */
static int fbpf_use_entries(struct fbpf_op *op, struct fbpf_lookup_call *call)
{
	struct fbpf_entries *entries = &call->entries;
	bool none = op->daemon.backing_action == FBPF_KEEP &&
		    op->daemon.set_action == FBPF_KEEP;
	bool was_given = call->given;

	swap(*entries, op->daemon);
	if (none && op->entries.size &&
	    fbpf_parse_bpf_entries(fbpf_sb(call->dir->i_sb), entries,
				   &op->entries))
		return -EIO;

	if (entries->set_action == FBPF_SET) {
		call->set = entries->set;
		call->link = entries->link;
	} else if (entries->set_action == FBPF_REMOVE) {
		call->set = NULL;
		call->link = NULL;
	}
	if (entries->backing_action == FBPF_REMOVE)
		return -ENOENT;
	if (entries->backing_action == FBPF_SET)
		return fbpf_give_lower(call, entries->backing.dentry);
	/* The lower file is that of the name again */
	return call->again && was_given ? FBPF_STALE : 0;
}

static int fbpf_lookup_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_lookup_call *call = data;

	call->set = fbpf_i(call->dir)->set;
	call->link = fbpf_i(call->dir)->link;
	if (op && err < 0)
		fbpf_forget(call->dir->i_sb, op->out.entry.nodeid);
	if (op && !err) {
		if (op->out.entry.nodeid == FUSE_ROOT_ID) {
			op->out.entry.nodeid = 0;
			return -EIO;
		}
		err = fbpf_use_entries(op, call);
		if (err)
			fbpf_forget(call->dir->i_sb, op->out.entry.nodeid);
	}
	call->tag = op && op->tag_set ? op->new_tag : fbpf_i(call->dir)->tag;
	call->nodeid = op ? op->out.entry.nodeid : 0;
	call->expires = op ? fbpf_expires(op) : 0;
	return err;
}

static const struct fbpf_desc fbpf_lookup_desc = {
	.hook		= FBPF_LOOKUP,
	.opcode		= FUSE_LOOKUP,
	.prepare	= fbpf_lookup_prepare,
	.refused	= fbpf_lookup_refused,
	.user		= fbpf_lookup_user,
	.backing	= fbpf_lookup_backing,
	FBPF_PAIR(lookup),
	.finish		= fbpf_lookup_finish,
};

/* Ask the lower file system about its own dentry */
static int fbpf_revalidate_lower(const struct fbpf_mount *fb,
				 struct dentry *lower, unsigned int flags)
{
	const struct cred *old;
	int ret;

	if (!(lower->d_flags & DCACHE_OP_REVALIDATE))
		return 1;
	old = fbpf_enter(fb);
	ret = fbpf_call_revalidate(lower->d_op, lower, flags);
	if (!ret)
		d_invalidate(lower);
	fbpf_leave(old);
	return ret;
}

/* A lookup that is left to the daemon: was the former one, too? */
static int fbpf_again_user(struct dentry *dentry, unsigned int flags)
{
	const struct fbpf_dentry *fd = fbpf_d(dentry);

	if (!fd->classic)
		return 0;
	return fd->given ? fbpf_again_given(dentry, flags) :
			   fbpf_again_classic(dentry, flags);
}

/**
 * fbpf_check_again - check a dentry in full, outside of RCU walk
 * @dentry: dentry with a lower dentry
 * @parent: its parent, referenced, whose tag is settled
 * @flags: LOOKUP_*
 *
 * A refusal is returned as the error that it is: 0 would drop the subtree and
 * detach what is mounted in it.
 *
 * Return: 1 when it holds, 0 when not, or what ->d_revalidate() may return
 */
static int fbpf_check_again(struct dentry *dentry, struct dentry *parent,
			    unsigned int flags)
{
	const struct fbpf_mount *fb = fbpf_sb(dentry->d_sb);
	u32 gen = fbpf_gen(fb);
	struct fbpf_dentry *fd = fbpf_d(dentry);
	struct inode *inode = d_inode(dentry);
	struct name_snapshot name;
	struct fbpf_lookup_call call = {
		.dir = d_inode(parent),
		.lower_dir = fbpf_lower_dentry(parent),
		.dentry = dentry,
		.name = &name.name,
		.again = true,
		.lower = fd->lower,
		.lower_inode = inode ? fbpf_lower_inode(inode) : NULL,
		.given = fd->given,
	};
	int ret;

	/* What a daemon gave under a directory of its own has no tag to settle */
	if (!fuse_is_backed(call.dir)) {
		WRITE_ONCE(fbpf_i(inode)->gen, gen);
		return 1;
	}

	take_dentry_name_snapshot(&name, dentry);
	ret = fd->lower ? fbpf_revalidate_lower(fb, fd->lower, flags) : 1;
	if (ret <= 0)
		goto out;
	ret = fbpf_dispatch(&fbpf_lookup_desc, call.dir, &call);
	if (!ret && call.user) {
		ret = fbpf_again_user(dentry, flags);
		/* No tag comes with it: it is settled */
		if (ret > 0 && inode) {
			WRITE_ONCE(fbpf_i(inode)->gen, gen);
			WRITE_ONCE(fd->gen, gen);
		}
		goto out;
	}
	if (!ret && fd->classic)
		ret = FBPF_STALE;
	if (ret) {
		/* Looked up afresh, a refusal that holds is remembered */
		if (ret == FBPF_STALE ||
		    (ret == -ENOENT && call.expires && !d_is_dir(dentry) &&
		     !d_mountpoint(dentry)))
			ret = 0;
		goto out;
	}
	if (inode) {
		/* Another identity is another inode */
		if (fbpf_i(inode)->tag != call.tag ||
		    fbpf_i(inode)->set != call.set ||
		    (call.nodeid && call.nodeid != get_node_id(inode))) {
			fbpf_forget(dentry->d_sb, call.nodeid);
			goto out;
		}
		if (call.nodeid)
			fbpf_count_lookup(inode);
		WRITE_ONCE(fbpf_i(inode)->gen, gen);
		fbpf_refresh(inode);
	} else {
		fbpf_forget(dentry->d_sb, call.nodeid);
	}
	fd->tag = call.tag;
	WRITE_ONCE(fd->expires, call.expires);
	fbpf_set_seq(fb, fd, call.seq);
	WRITE_ONCE(fd->gen, gen);
	ret = 1;
out:
	fbpf_put_entries(&call.entries);
	release_dentry_name_snapshot(&name);
	return ret;
}

/*
 * The first stale dentry on the way from the root to @dentry, with a reference,
 * and its parent
 */
static struct dentry *fbpf_first_stale(struct dentry *dentry, u32 gen,
				       struct dentry **parentp)
{
	struct dentry *parent;

	dget(dentry);
	for (;;) {
		parent = dget_parent(dentry);
		if (IS_ROOT(parent) || !fuse_is_backed(d_inode(parent)) ||
		    !fbpf_tag_stale(d_inode(parent), gen))
			break;
		dput(dentry);
		dentry = parent;
	}
	*parentp = parent;
	return dentry;
}

/* A file of O_TMPFILE never had a name: it has the tag of its directory */
static int fbpf_settle_nameless(struct dentry *dentry)
{
	u32 gen = fbpf_gen(fbpf_sb(dentry->d_sb));
	struct dentry *parent = dget_parent(dentry);
	int err = fbpf_settle(parent);

	if (!err && fbpf_i(d_inode(parent))->tag != fbpf_i(d_inode(dentry))->tag)
		err = -ESTALE;
	dput(parent);
	if (!err)
		WRITE_ONCE(fbpf_i(d_inode(dentry))->gen, gen);
	return err;
}

/**
 * fbpf_settle_slow - make a tag hold under the current set of filters
 * @dentry: positive dentry, held by the caller
 *
 * A working directory, an open descriptor or the root of a bind mount can be
 * kept while the filters are replaced. The tag depends on the names from the
 * root on, so those are asked again from the top.
 *
 * Return: 0; -ESTALE when it would have another tag now or is no longer where
 * it was; -EINTR; or what a filter refused with
 */
int fbpf_settle_slow(struct dentry *dentry)
{
	const struct fbpf_mount *fb = fbpf_sb(dentry->d_sb);
	struct dentry *stale, *parent;
	int ret = 1;

	/* What is the daemon's own has no tag */
	if (!fuse_is_backed(d_inode(dentry)))
		return 0;
	if (d_unlinked(dentry) &&
	    inode_state_read_once(d_inode(dentry)) & I_LINKABLE)
		return fbpf_settle_nameless(dentry);
	/* Nobody is asked about the root: its tag is no filter's */
	if (IS_ROOT(dentry))
		WRITE_ONCE(fbpf_i(d_inode(dentry))->gen, fbpf_gen(fb));
	while (ret > 0 && !IS_ROOT(dentry) &&
	       fbpf_tag_stale(d_inode(dentry), fbpf_gen(fb))) {
		if (fatal_signal_pending(current))
			return -EINTR;
		stale = fbpf_first_stale(dentry, fbpf_gen(fb), &parent);
		ret = fbpf_check_again(stale, parent, 0);
		dput(stale);
		dput(parent);
	}
	return ret > 0 ? 0 : ret ?: -ESTALE;
}

/*
 * fbpf_settle() where there is only an inode. A path walk has settled it, but
 * for the one it began at.
 */
int fbpf_settle_inode(struct inode *inode)
{
	struct dentry *alias;
	int err = 0;

	if (likely(!fbpf_tag_stale(inode, fbpf_gen(fbpf_sb(inode->i_sb)))))
		return 0;
	alias = d_find_any_alias(inode);
	if (alias)
		err = fbpf_settle_slow(alias);
	dput(alias);
	return err;
}

/*
 * fbpf_check_again() for ->d_revalidate(). A dentry that was moved meanwhile was
 * asked about a name that it has no more: to drop it under its new one would
 * detach what is mounted there. One that nobody finds any more can be dropped.
 * Of a name where a file was made meanwhile, filters said that it may be free.
 */
int fbpf_relookup(struct dentry *dentry, unsigned int flags)
{
	struct dentry *parent;
	struct inode *inode;
	unsigned int seq;
	int ret;

	do {
		if (fatal_signal_pending(current))
			return -EINTR;
		seq = raw_read_seqcount(&dentry->d_seq);
		inode = READ_ONCE(dentry->d_inode);
		parent = dget_parent(dentry);
		ret = fbpf_settle(parent);
		if (!ret)
			ret = fbpf_check_again(dentry, parent, flags);
		dput(parent);
	} while ((ret > 0 && READ_ONCE(dentry->d_inode) != inode) ||
		 (!ret && !d_unhashed(dentry) &&
		  (seq & 1 || read_seqcount_retry(&dentry->d_seq, seq))));
	return ret;
}

static struct dentry *fbpf_lookup_classic(struct inode *dir,
					  struct dentry *dentry,
					  unsigned int flags)
{
	struct dentry *alias;

	fbpf_set_classic(dentry);
	alias = fuse_dir_inode_operations.lookup(dir, dentry, flags);
	if (!IS_ERR_OR_NULL(alias)) {
		/* Nobody may take a given one for the daemon's own */
		WRITE_ONCE(fbpf_d(alias)->given, fbpf_d(dentry)->given);
		fbpf_set_classic(alias);
	}
	return alias;
}

/*
 * Make @inode what @dentry stands for; consumes @inode.
 *
 * A directory that was moved below has its dentry still where it was.  Moving
 * it needs locks that a rename has already when it looks up its names: ESTALE,
 * also when the VFS tries once more.  But a dentry that nobody uses can go.
 */
static struct dentry *fbpf_splice(struct inode *inode, struct dentry *dentry)
{
	struct dentry *alias, *moved;

	if (IS_ERR_OR_NULL(inode) || !S_ISDIR(inode->i_mode))
		return d_splice_alias(inode, dentry);

	ihold(inode);
	alias = d_splice_alias(inode, dentry);
	if (alias != ERR_PTR(-ESTALE)) {
		iput(inode);
		return alias;
	}

	moved = d_find_any_alias(inode);
	if (moved) {
		shrink_dcache_parent(moved);
		dput(moved);
		d_prune_aliases(inode);
	}
	return d_splice_alias(inode, dentry);
}

/* A directory's dentry has moved to another name: what was told of that holds */
static void fbpf_rename_alias(const struct fbpf_mount *fb, struct dentry *alias,
			      const struct fbpf_dentry *told)
{
	struct fbpf_dentry *fd = fbpf_d(alias);
	u32 seq = told->lower == fd->lower ? told->seq : FBPF_SEQ_NONE;

	fd->tag = told->tag;
	WRITE_ONCE(fd->classic, false);
	WRITE_ONCE(fd->given, told->given);
	WRITE_ONCE(fd->gen, told->gen);
	WRITE_ONCE(fd->expires, told->expires);
	if (fd->lower)
		fbpf_set_seq(fb, fd, seq);
}

struct dentry *fbpf_lookup(struct inode *dir, struct dentry *dentry,
			   unsigned int flags)
{
	const struct fbpf_mount *fb = fbpf_sb(dir->i_sb);
	u32 gen = fbpf_gen(fb);
	struct fbpf_dentry *fd = fbpf_d(dentry);
	struct fbpf_lookup_call call = {
		.dir = dir,
		.lower_dir = fbpf_lower_dentry(dentry->d_parent),
		.dentry = dentry,
		.name = &dentry->d_name,
	};
	struct inode *inode = NULL;
	struct dentry *alias;
	int err;

	if (dentry->d_name.len > NAME_MAX)
		return ERR_PTR(-ENAMETOOLONG);

	err = fbpf_settle(dentry->d_parent);
	if (!err)
		err = fbpf_dispatch(&fbpf_lookup_desc, dir, &call);
	fd->gen = gen;
	fd->expires = call.expires;
	if (!err && call.user)
		return fbpf_lookup_classic(dir, dentry, flags);
	if (err) {
		dput(call.lower);
		fbpf_put_entries(&call.entries);
		if (err != -ENOENT || !call.expires)
			return ERR_PTR(err);
		/* The refusal is remembered as a name that cannot be made */
		fd->hidden = true;
		return d_splice_alias(NULL, dentry);
	}

	fd->tag = call.tag;
	fd->given = call.given;
	WRITE_ONCE(fd->lower, call.lower);
	fbpf_set_seq(fb, fd, call.seq);
	if (call.lower_inode)
		inode = fbpf_iget(dir->i_sb, call.lower_inode, call.nodeid,
				  call.tag, gen, call.set, call.link);
	if (IS_ERR_OR_NULL(inode))
		fbpf_forget(dir->i_sb, call.nodeid);
	else if (call.nodeid)
		fbpf_count_lookup(inode);
	fbpf_put_entries(&call.entries);
	alias = fbpf_splice(inode, dentry);
	if (!IS_ERR_OR_NULL(alias))
		fbpf_rename_alias(fb, alias, fd);
	return alias;
}
