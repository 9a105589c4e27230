// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entries of a lookup: which file lies below a name, and which filters run for
 * it. A daemon sends them by FUSE_DEV_IOC_BPF_RESPONSE; they are parsed once, in
 * its context, where its descriptors mean what it says. A program may name
 * filters, never a descriptor.
 *
 * Locking: what an entry refers to is held by a reference. A dentry's lower is
 * set while the dentry is in lookup.
 */
#include <linux/bpf.h>
#include <linux/file.h>
#include <linux/namei.h>
#include <linux/slab.h>

#include "bpf.h"
#include "bpf_daemon.h"

static int fbpf_parse_backing(const struct fbpf_mount *fb,
			      struct fbpf_entries *entries,
			      const struct fuse_bpf_entry_out *out)
{
	struct file *file;
	const struct path *path;
	int err = 0;

	if (entries->backing_action != FBPF_KEEP)
		return -EINVAL;
	/* Not one of O_PATH, as in v4 */
	file = out->fd <= INT_MAX ? fget(out->fd) : NULL;
	if (!file)
		return -EBADF;
	path = &file->f_path;
	if (path->dentry->d_sb != fb->mnt->mnt_sb)
		err = -EXDEV;
	else if (__mnt_is_readonly(path->mnt) && !__mnt_is_readonly(fb->mnt))
		err = -EROFS;
	else if (d_unlinked(path->dentry))
		err = -ESTALE;
	else if (fbpf_dentry_weird(path->dentry))
		err = -EREMOTE;
	if (!err) {
		path_get(path);
		entries->backing = *path;
		entries->backing_action = FBPF_SET;
	}
	fput(file);
	return err;
}

static int fbpf_parse_set(struct fbpf_entries *entries,
			  const struct fuse_bpf_entry_out *out)
{
	if (entries->set_action != FBPF_KEEP ||
	    strnlen(out->name, sizeof(out->name)) == sizeof(out->name))
		return -EINVAL;
	entries->set = fbpf_set_by_name(out->name, &entries->link);
	if (!entries->set)
		return -EINVAL;
	entries->set_action = FBPF_SET;
	return 0;
}

static int fbpf_parse_entry(const struct fbpf_mount *fb,
			    struct fbpf_entries *entries,
			    const struct fuse_bpf_entry_out *out)
{
	if (out->unused)
		return -EINVAL;
	switch (out->entry_type) {
	case FUSE_ENTRY_BACKING:
		return fbpf_parse_backing(fb, entries, out);
	case FUSE_ENTRY_BPF:
		return fbpf_parse_set(entries, out);
	case FUSE_ENTRY_REMOVE_BACKING:
		if (entries->backing_action != FBPF_KEEP)
			return -EINVAL;
		entries->backing_action = FBPF_REMOVE;
		return 0;
	case FUSE_ENTRY_REMOVE_BPF:
		if (entries->set_action != FBPF_KEEP)
			return -EINVAL;
		entries->set_action = FBPF_REMOVE;
		return 0;
	default:
		return -EINVAL;
	}
}

/**
 * fbpf_parse_entries - see what entries say
 * @fb: mount
 * @entries: gets it; holds nothing after an error
 * @out: entries
 * @size: bytes at @out
 *
 * Return: 0; -EINVAL for what is no entry, a second one of its kind and unknown
 * filters; -EBADF, -EXDEV, -EROFS, -ESTALE or -EREMOTE for a descriptor that is
 * not open, on another file system, on a read-only mount, of a file without a
 * name, or in a place that cannot be looked through
 */
int fbpf_parse_entries(const struct fbpf_mount *fb,
		       struct fbpf_entries *entries,
		       const struct fuse_bpf_entry_out *out, size_t size)
{
	int err = 0;

	*entries = (struct fbpf_entries) {};
	if (size % sizeof(*out) || size > FUSE_BPF_MAX_ENTRIES * sizeof(*out))
		return -EINVAL;
	for (; !err && size; size -= sizeof(*out))
		err = fbpf_parse_entry(fb, entries, out++);
	if (err)
		fbpf_put_entries(entries);
	return err;
}

/* A descriptor in the entries of a program would be one of whoever is asked */
bool fbpf_names_backing(const struct fuse_buffer *buf)
{
	const struct fuse_bpf_entry_out *out = buf->data;
	size_t count = buf->size / sizeof(*out);

	for (; count; count--, out++)
		if (out->entry_type == FUSE_ENTRY_BACKING)
			return true;
	return false;
}

/**
 * fbpf_parse_bpf_entries - see what entries of a program say
 * @fb: mount
 * @entries: gets it; holds nothing after an error
 * @buf: entries
 *
 * Return: as fbpf_parse_entries(); -EINVAL for a descriptor
 */
int fbpf_parse_bpf_entries(const struct fbpf_mount *fb,
			   struct fbpf_entries *entries,
			   const struct fuse_buffer *buf)
{
	*entries = (struct fbpf_entries) {};
	if (fbpf_names_backing(buf))
		return -EINVAL;
	return fbpf_parse_entries(fb, entries, buf->data, buf->size);
}

void fbpf_put_entries(struct fbpf_entries *entries)
{
	path_put(&entries->backing);
	if (entries->link)
		bpf_link_put(entries->link);
	fbpf_set_put(entries->set);
	*entries = (struct fbpf_entries) {};
}

static int fbpf_parse_lookup(struct fuse_args *args, int verdict, bool by_ioctl)
{
	struct fbpf_lookup_reply *reply = container_of(args->bpf,
						       struct fbpf_lookup_reply,
						       reply);
	size_t size = args->out_args[1].size;
	int err;

	if (verdict)
		return -EINVAL;
	if (!size)
		return 0;
	if (!by_ioctl)
		return -EINVAL;
	err = fbpf_parse_entries(reply->fb, &reply->entries, reply->out, size);
	reply->used = !err;
	return err;
}

/* Have a LOOKUP take entries */
void fbpf_add_entries(struct fuse_mount *fm, struct fuse_args *args,
		      struct fbpf_lookup_reply *reply)
{
	reply->reply.parse = fbpf_parse_lookup;
	reply->fb = fm->bpf;
	args->bpf = &reply->reply;
	args->out_numargs = 2;
	args->out_argvar = true;
	args->out_args[1].size = sizeof(reply->out);
	args->out_args[1].value = reply->out;
}

/**
 * fbpf_take_reply - make the inode that a daemon's entries describe
 * @sb: super block
 * @dentry: dentry in lookup, or NULL when there is none
 * @outarg: the rest of the answer; its nodeid is 0 where it must not be forgotten
 * @reply: entries; released
 * @inode: gets the inode with a reference
 *
 * The parent has nothing below, so there is no backing to keep and there are no
 * filters to inherit.
 *
 * Return: 0; -ENOENT without a dentry; -EINVAL without a backing; -EIO for the
 * root's nodeid
 */
int fbpf_take_reply(struct super_block *sb, struct dentry *dentry,
		    struct fuse_entry_out *outarg,
		    struct fbpf_lookup_reply *reply, struct inode **inode)
{
	struct fbpf_entries *entries = &reply->entries;
	struct dentry *lower = entries->backing.dentry;
	struct fbpf_dentry *fd;
	int err = 0;

	if (!dentry) {
		err = -ENOENT;
	} else if (entries->backing_action != FBPF_SET) {
		err = -EINVAL;
	} else if (outarg->nodeid == FUSE_ROOT_ID) {
		outarg->nodeid = 0;
		err = -EIO;
	} else {
		*inode = fbpf_iget(sb, d_inode(lower), outarg->nodeid, 0,
				   fbpf_gen(fbpf_sb(sb)), entries->set,
				   entries->link);
		if (IS_ERR(*inode)) {
			err = PTR_ERR(*inode);
			*inode = NULL;
		}
	}
	if (!err) {
		fd = fbpf_d(dentry);
		fd->given = true;
		fbpf_count_lookup(*inode);
		WRITE_ONCE(fd->lower, dget(lower));
	}
	fbpf_put_entries(entries);
	return err;
}

struct fbpf_validity *fbpf_daemon_validity(const struct dentry *dentry)
{
	return &fbpf_d(dentry)->valid;
}

/* Ask the daemon for a name under a directory that has nothing below */
static int fbpf_ask_lookup(struct dentry *parent, const struct qstr *name,
			   struct fuse_entry_out *outarg,
			   struct fbpf_lookup_reply *reply)
{
	struct fuse_mount *fm = get_fuse_mount_super(parent->d_sb);
	struct fuse_args args = {};

	memset(outarg, 0, sizeof(*outarg));
	args.opcode = FUSE_LOOKUP;
	args.nodeid = get_node_id(d_inode(parent));
	args.in_numargs = 1;
	args.in_args[0].size = name->len + 1;
	args.in_args[0].value = name->name;
	args.out_numargs = 1;
	args.out_args[0].size = sizeof(*outarg);
	args.out_args[0].value = outarg;
	fbpf_lookup_args(fm, &args, reply);
	return fbpf_lookup_done(reply, fuse_simple_request(fm, &args));
}

static bool fbpf_same_entries(struct dentry *dentry,
			      const struct fuse_entry_out *outarg,
			      const struct fbpf_lookup_reply *reply)
{
	const struct fbpf_entries *entries = &reply->entries;
	struct inode *inode = d_inode(dentry);

	return reply->used && entries->backing_action == FBPF_SET &&
	       entries->backing.dentry == fbpf_lower_dentry(dentry) &&
	       entries->set == fbpf_i(inode)->set &&
	       outarg->nodeid == get_node_id(inode);
}

/**
 * fbpf_again_given - check a dentry whose lower file a daemon gave
 * @dentry: dentry
 * @flags: LOOKUP_*
 *
 * Return: 1 when it holds, 0 when not, or what ->d_revalidate() may return
 */
int fbpf_again_given(struct dentry *dentry, unsigned int flags)
{
	struct inode *inode = d_inode_rcu(dentry);
	struct fbpf_dentry *fd = fbpf_d(dentry);
	struct fuse_forget_link *forget;
	struct fbpf_lookup_reply reply;
	struct fuse_entry_out outarg;
	struct name_snapshot name;
	struct dentry *parent;
	u64 epoch;
	bool same;
	int err;

	if (!inode || d_unhashed(READ_ONCE(fd->lower)))
		return 0;
	epoch = fbpf_epoch(inode);
	if (time_before64(get_jiffies_64(), READ_ONCE(fd->valid.time)) &&
	    READ_ONCE(fd->valid.epoch) >= epoch &&
	    !(flags & (LOOKUP_EXCL | LOOKUP_REVAL | LOOKUP_RENAME_TARGET)) &&
	    !fbpf_attr_stale(inode))
		return 1;
	if (flags & LOOKUP_RCU)
		return -ECHILD;

	forget = fuse_alloc_forget();
	if (!forget)
		return -ENOMEM;
	parent = dget_parent(dentry);
	take_dentry_name_snapshot(&name, dentry);
	err = fbpf_ask_lookup(parent, &name.name, &outarg, &reply);
	release_dentry_name_snapshot(&name);
	dput(parent);
	if (err) {
		kfree(forget);
		return err == -ENOMEM || err == -EINTR ? err : 0;
	}

	same = fbpf_same_entries(dentry, &outarg, &reply);
	fbpf_put_reply(&reply);
	if (!same) {
		fbpf_queue_forget(get_fuse_conn(inode), forget, outarg.nodeid, 1);
		return 0;
	}
	kfree(forget);
	fbpf_count_lookup(inode);
	fbpf_refresh(inode);
	fuse_change_entry_timeout(dentry, &outarg);
	WRITE_ONCE(fd->valid.epoch, epoch);
	return 1;
}
