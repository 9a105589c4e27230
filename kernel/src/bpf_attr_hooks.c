// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filters of attributes, permission, totals and links: GETATTR, SETATTR, ACCESS,
 * STATFS and READLINK.
 *
 * Locking: as of the operations without filters; the VFS holds the inode's
 * i_rwsem around SETATTR.
 */
#include <linux/cred.h>
#include <linux/namei.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/statfs.h>

#include "bpf_hooks.h"
#include "bpf_op.h"

/* Attributes as filters see them; ids are the initial user namespace's */
void fbpf_fill_attr(struct fuse_attr *attr, const struct kstat *stat)
{
	*attr = (struct fuse_attr) {
		.ino = stat->ino,
		.size = stat->size,
		.blocks = stat->blocks,
		.atime = stat->atime.tv_sec,
		.mtime = stat->mtime.tv_sec,
		.ctime = stat->ctime.tv_sec,
		.atimensec = stat->atime.tv_nsec,
		.mtimensec = stat->mtime.tv_nsec,
		.ctimensec = stat->ctime.tv_nsec,
		.mode = stat->mode,
		.nlink = stat->nlink,
		.uid = from_kuid(&init_user_ns, stat->uid),
		.gid = from_kgid(&init_user_ns, stat->gid),
		.rdev = new_encode_dev(stat->rdev),
		.blksize = stat->blksize,
	};
}

static struct timespec64 fbpf_time(u64 sec, u32 nsec)
{
	return (struct timespec64) {
		.tv_sec = sec,
		.tv_nsec = min_t(u32, nsec, NSEC_PER_SEC - 1),
	};
}

struct fbpf_getattr_call {
	const struct path *path;
	struct kstat *stat;
	u32 request_mask;
	unsigned int flags;
	struct fuse_attr found;
};

static int fbpf_getattr_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_getattr_call *call = data;

	op->in.getattr.getattr_flags = call->flags;
	op->in.getattr.fh = U64_MAX;
	return 0;
}

/* How hard to ask is the filter's choice; AT_GETATTR_NOSEC is the VFS's */
static int fbpf_getattr_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_getattr_call *call = data;
	unsigned int flags = (call->flags & ~AT_STATX_SYNC_TYPE) |
			     (op->in.getattr.getattr_flags & AT_STATX_SYNC_TYPE);
	int err;

	err = fbpf_getattr_lower(call->path, call->stat, call->request_mask,
				 flags);
	if (err || !op->post)
		return err;
	fbpf_fill_attr(&call->found, call->stat);
	op->out.attr.attr = call->found;
	return 0;
}

/* Only what was changed: the rest of kstat has more than struct fuse_attr */
static int fbpf_getattr_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_getattr_call *call = data;
	const struct fuse_attr *old = &call->found;
	const struct fuse_attr *new = &op->out.attr.attr;
	struct kstat *stat = call->stat;

	if (err || !op->post || !memcmp(old, new, sizeof(*new)))
		return err;

	if (new->uid != old->uid)
		stat->uid = make_kuid(&init_user_ns, new->uid);
	if (new->gid != old->gid)
		stat->gid = make_kgid(&init_user_ns, new->gid);
	if (!uid_valid(stat->uid) || !gid_valid(stat->gid) ||
	    (s64)new->size < 0)
		return -EIO;
	if (new->rdev != old->rdev)
		stat->rdev = new_decode_dev(new->rdev);
	if (new->atime != old->atime || new->atimensec != old->atimensec)
		stat->atime = fbpf_time(new->atime, new->atimensec);
	if (new->mtime != old->mtime || new->mtimensec != old->mtimensec)
		stat->mtime = fbpf_time(new->mtime, new->mtimensec);
	if (new->ctime != old->ctime || new->ctimensec != old->ctimensec)
		stat->ctime = fbpf_time(new->ctime, new->ctimensec);
	stat->ino = new->ino;
	stat->size = new->size;
	stat->blocks = new->blocks;
	stat->nlink = new->nlink;
	stat->blksize = new->blksize;
	/* The kind of file is what the inode is */
	stat->mode = (stat->mode & S_IFMT) | (new->mode & S_IALLUGO);
	return 0;
}

FBPF_PRE(getattr, &op->in.getattr)
FBPF_POST(getattr, &op->in.getattr, &op->out.attr)

static int fbpf_getattr_user(void *data)
{
	struct fbpf_getattr_call *call = data;
	struct inode *inode = d_inode(call->path->dentry);
	int err;

	err = fuse_common_inode_operations.getattr(&nop_mnt_idmap, call->path,
						   call->stat,
						   call->request_mask,
						   call->flags);
	fbpf_restore_attr(inode);
	return err;
}

static const struct fbpf_desc fbpf_getattr_desc = {
	.hook		= FBPF_GETATTR,
	.opcode		= FUSE_GETATTR,
	.prepare	= fbpf_getattr_prepare,
	.user		= fbpf_getattr_user,
	.backing	= fbpf_getattr_backing,
	FBPF_PAIR(getattr),
	.finish		= fbpf_getattr_finish,
};

int fbpf_filter_getattr(const struct path *path, struct kstat *stat,
			u32 request_mask, unsigned int flags)
{
	struct fbpf_getattr_call call;

	/* But for what was found, which a postfilter alone has use for */
	call.path = path;
	call.stat = stat;
	call.request_mask = request_mask;
	call.flags = flags;
	return fbpf_filter(&fbpf_getattr_desc, d_inode(path->dentry), &call);
}

struct fbpf_setattr_call {
	struct dentry *dentry;
	struct iattr *attr;
};

/* What both sides name with one bit each */
static const struct {
	u32 fattr;
	u32 attr;
} fbpf_attr_bits[] = {
	{ FATTR_MODE,		ATTR_MODE },
	{ FATTR_UID,		ATTR_UID },
	{ FATTR_GID,		ATTR_GID },
	{ FATTR_SIZE,		ATTR_SIZE },
	{ FATTR_ATIME,		ATTR_ATIME },
	{ FATTR_MTIME,		ATTR_MTIME },
};

/* The daemon's handle of an open file, which may be one of plain FUSE's */
static u64 fbpf_any_fh(const struct file *file)
{
	const struct fuse_file *classic = file->private_data;

	if (fbpf_is_backed(file))
		return file->private_data ? fbpf_fh(file) : 0;
	return classic ? classic->fh : 0;
}

static int fbpf_setattr_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_setattr_call *call = data;
	const struct iattr *attr = call->attr;
	struct fuse_setattr_in *in = &op->in.setattr;
	int i;

	/* Set-id bits that stay are no success */
	if (attr->ia_valid & (ATTR_KILL_SUID | ATTR_KILL_SGID | ATTR_KILL_PRIV))
		op->may_clear = false;
	for (i = 0; i < ARRAY_SIZE(fbpf_attr_bits); i++)
		if (attr->ia_valid & fbpf_attr_bits[i].attr)
			in->valid |= fbpf_attr_bits[i].fattr;
	if (in->valid & FATTR_ATIME && !(attr->ia_valid & ATTR_ATIME_SET))
		in->valid |= FATTR_ATIME_NOW;
	if (in->valid & FATTR_MTIME && !(attr->ia_valid & ATTR_MTIME_SET))
		in->valid |= FATTR_MTIME_NOW;
	if (attr->ia_valid & ATTR_CTIME)
		in->valid |= FATTR_CTIME;
	if (attr->ia_valid & (ATTR_KILL_SUID | ATTR_KILL_SGID))
		in->valid |= FATTR_KILL_SUIDGID;
	if (attr->ia_valid & ATTR_FILE) {
		in->valid |= FATTR_FH;
		in->fh = fbpf_any_fh(attr->ia_file);
	}
	if (attr->ia_valid & ATTR_MODE)
		in->mode = attr->ia_mode;
	if (attr->ia_valid & ATTR_UID)
		in->uid = from_kuid(&init_user_ns,
				    vfsuid_into_kuid(attr->ia_vfsuid));
	if (attr->ia_valid & ATTR_GID)
		in->gid = from_kgid(&init_user_ns,
				    vfsgid_into_kgid(attr->ia_vfsgid));
	if (attr->ia_valid & ATTR_SIZE)
		in->size = attr->ia_size;
	if (attr->ia_valid & ATTR_ATIME) {
		in->atime = attr->ia_atime.tv_sec;
		in->atimensec = attr->ia_atime.tv_nsec;
	}
	if (attr->ia_valid & ATTR_MTIME) {
		in->mtime = attr->ia_mtime.tv_sec;
		in->mtimensec = attr->ia_mtime.tv_nsec;
	}
	if (attr->ia_valid & ATTR_CTIME) {
		in->ctime = attr->ia_ctime.tv_sec;
		in->ctimensec = attr->ia_ctime.tv_nsec;
	}
	return 0;
}

static void fbpf_setattr_bits(struct iattr *attr, u32 valid)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(fbpf_attr_bits); i++) {
		attr->ia_valid &= ~fbpf_attr_bits[i].attr;
		if (valid & fbpf_attr_bits[i].fattr)
			attr->ia_valid |= fbpf_attr_bits[i].attr;
	}
	attr->ia_valid &= ~(ATTR_ATIME_SET | ATTR_MTIME_SET);
	if (valid & FATTR_ATIME && !(valid & FATTR_ATIME_NOW))
		attr->ia_valid |= ATTR_ATIME_SET;
	if (valid & FATTR_MTIME && !(valid & FATTR_MTIME_NOW))
		attr->ia_valid |= ATTR_MTIME_SET;
}

/*
 * What the filter left. Set-id bits that have to go are not its business, and
 * the change time is the lower file system's. Whether the caller may do it is
 * checked afterwards.
 */
static int fbpf_setattr_merge(const struct inode *inode, struct iattr *attr,
			      const struct fuse_setattr_in *in)
{
	kuid_t uid = make_kuid(&init_user_ns, in->uid);
	kgid_t gid = make_kgid(&init_user_ns, in->gid);

	if ((in->valid & FATTR_UID && !uid_valid(uid)) ||
	    (in->valid & FATTR_GID && !gid_valid(gid)) ||
	    (in->valid & FATTR_SIZE && (s64)in->size < 0))
		return -EINVAL;
	fbpf_setattr_bits(attr, in->valid);
	/* The kind of file stays: file systems store what they are given */
	if (in->valid & FATTR_MODE)
		attr->ia_mode = (inode->i_mode & S_IFMT) |
				(in->mode & S_IALLUGO);
	if (in->valid & FATTR_UID)
		attr->ia_vfsuid = VFSUIDT_INIT(uid);
	if (in->valid & FATTR_GID)
		attr->ia_vfsgid = VFSGIDT_INIT(gid);
	if (in->valid & FATTR_SIZE)
		attr->ia_size = in->size;
	if (in->valid & FATTR_ATIME)
		attr->ia_atime = fbpf_time(in->atime, in->atimensec);
	if (in->valid & FATTR_MTIME)
		attr->ia_mtime = fbpf_time(in->mtime, in->mtimensec);
	return 0;
}

/*
 * What takes set-id bits and capabilities is forced, with a write or truncation
 * by who may do no more. There the VFS asks for no owner, for a mode but by those
 * bits, or for other times than now: all that is the filter's.
 */
static int fbpf_setattr_check(struct dentry *dentry, struct iattr *attr)
{
	struct iattr added = *attr;
	int err;

	if (likely(!(attr->ia_valid & ATTR_FORCE)))
		return 0;
	added.ia_valid &= ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_ATIME_SET |
			  ATTR_MTIME_SET;
	/* It follows from the bits, see fbpf_setattr_lower() */
	if (attr->ia_valid & (ATTR_KILL_SUID | ATTR_KILL_SGID))
		added.ia_valid &= ~ATTR_MODE;
	fbpf_refresh(d_inode(dentry));
	err = setattr_prepare(&nop_mnt_idmap, dentry, &added);
	attr->ia_mode = added.ia_mode;
	return err;
}

static int fbpf_setattr_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_setattr_call *call = data;
	struct inode *inode = d_inode(call->dentry);
	const struct fuse_setattr_in *in = &op->in.setattr;
	int err;

	if (in->valid & FATTR_SIZE && !S_ISREG(inode->i_mode))
		return -EINVAL;
	err = fbpf_setattr_merge(inode, call->attr, in);
	if (!err)
		err = fbpf_setattr_check(call->dentry, call->attr);
	if (!err)
		err = fbpf_setattr_lower(call->dentry, call->attr);
	if (!err && op->post) {
		struct path path = { .dentry = call->dentry };
		struct kstat stat;

		if (!fbpf_getattr_lower(&path, &stat, STATX_BASIC_STATS,
					AT_STATX_DONT_SYNC))
			fbpf_fill_attr(&op->out.attr.attr, &stat);
	}
	return err;
}

FBPF_PRE(setattr, &op->in.setattr)
FBPF_POST(setattr, &op->in.setattr, &op->out.attr)

static int fbpf_setattr_user(void *data)
{
	struct fbpf_setattr_call *call = data;
	struct iattr *attr = call->attr;
	int err;

	/*
	 * Of the daemon's files only it knows the handle. An open below has cut
	 * nothing.
	 */
	if (attr->ia_valid & ATTR_FILE && fbpf_is_backed(attr->ia_file))
		attr->ia_valid &= ~(ATTR_FILE | ATTR_OPEN);
	err = fuse_common_inode_operations.setattr(&nop_mnt_idmap, call->dentry,
						   attr);
	fbpf_restore_attr(d_inode(call->dentry));
	return err;
}

static const struct fbpf_desc fbpf_setattr_desc = {
	.hook		= FBPF_SETATTR,
	.opcode		= FUSE_SETATTR,
	.may_clear	= true,
	.prepare	= fbpf_setattr_prepare,
	.user		= fbpf_setattr_user,
	.backing	= fbpf_setattr_backing,
	FBPF_PAIR(setattr),
};

int fbpf_filter_setattr(struct dentry *dentry, struct iattr *attr)
{
	struct fbpf_setattr_call call = { .dentry = dentry, .attr = attr };

	return fbpf_filter(&fbpf_setattr_desc, d_inode(dentry), &call);
}

#define FBPF_MAY_RWX	(MAY_READ | MAY_WRITE | MAY_EXEC)

struct fbpf_access_call {
	struct inode *inode;
	int mask;
};

static int fbpf_access_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_access_call *call = data;

	op->in.access.mask = call->mask;
	return 0;
}

static int fbpf_access_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_access_call *call = data;

	return fbpf_permission_lower(call->inode,
				     (call->mask & ~FBPF_MAY_RWX) |
				     (op->in.access.mask & FBPF_MAY_RWX));
}

FBPF_PRE(access, &op->in.access)
FBPF_POST(access, &op->in.access)

static int fbpf_access_user(void *data)
{
	struct fbpf_access_call *call = data;
	int err;

	/* A daemon hears of access() and chdir() alone; of what else is done,
	 * it would be nobody's to say who may.
	 */
	if (!(call->mask & (MAY_ACCESS | MAY_CHDIR)))
		return fbpf_permission_lower(call->inode, call->mask);
	err = fuse_common_inode_operations.permission(&nop_mnt_idmap,
						      call->inode, call->mask);
	fbpf_restore_attr(call->inode);
	return err;
}

static const struct fbpf_desc fbpf_access_desc = {
	.hook		= FBPF_ACCESS,
	.opcode		= FUSE_ACCESS,
	.may_clear	= true,
	.prepare	= fbpf_access_prepare,
	.user		= fbpf_access_user,
	.backing	= fbpf_access_backing,
	FBPF_PAIR(access),
};

int fbpf_filter_permission(struct inode *inode, int mask)
{
	struct fbpf_access_call call = { .inode = inode, .mask = mask };
	int err;

	/* The operation's memory cannot be had inside RCU walk */
	if (mask & MAY_NOT_BLOCK)
		return -ECHILD;
	err = fbpf_settle_inode(inode);
	return err ?: fbpf_filter(&fbpf_access_desc, inode, &call);
}

struct fbpf_statfs_call {
	struct dentry *dentry;
	struct kstatfs *buf;
};

static int fbpf_statfs_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_statfs_call *call = data;
	struct kstatfs *buf = call->buf;
	int err;

	err = fbpf_statfs_lower(call->dentry, buf);
	if (err)
		return err;
	op->out.statfs.st = (struct fuse_kstatfs) {
		.blocks = buf->f_blocks,
		.bfree = buf->f_bfree,
		.bavail = buf->f_bavail,
		.files = buf->f_files,
		.ffree = buf->f_ffree,
		.bsize = buf->f_bsize,
		.namelen = buf->f_namelen,
		.frsize = buf->f_frsize,
	};
	return 0;
}

static int fbpf_statfs_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_statfs_call *call = data;
	const struct fuse_kstatfs *st = &op->out.statfs.st;
	struct kstatfs *buf = call->buf;

	if (err)
		return err;
	buf->f_blocks = st->blocks;
	buf->f_bfree = st->bfree;
	buf->f_bavail = st->bavail;
	buf->f_files = st->files;
	buf->f_ffree = st->ffree;
	buf->f_bsize = st->bsize;
	buf->f_namelen = st->namelen;
	buf->f_frsize = st->frsize;
	return 0;
}

FBPF_PRE(statfs)
FBPF_POST(statfs, &op->out.statfs)

static int fbpf_statfs_user(void *data)
{
	struct fbpf_statfs_call *call = data;

	return fuse_super_operations.statfs(call->dentry, call->buf);
}

static const struct fbpf_desc fbpf_statfs_desc = {
	.hook		= FBPF_STATFS,
	.opcode		= FUSE_STATFS,
	.user		= fbpf_statfs_user,
	.backing	= fbpf_statfs_backing,
	FBPF_PAIR(statfs),
	.finish		= fbpf_statfs_finish,
};

int fbpf_filter_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	struct fbpf_statfs_call call = { .dentry = dentry, .buf = buf };

	return fbpf_filter(&fbpf_statfs_desc, d_inode(dentry), &call);
}

struct fbpf_link_text_call {
	struct dentry *dentry;
	struct inode *inode;
	struct delayed_call *done;
	const char *text;
};

static int fbpf_get_link_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_link_text_call *call = data;
	struct name_snapshot name;

	take_dentry_name_snapshot(&name, call->dentry);
	fbpf_set_name(op, &name.name, true);
	release_dentry_name_snapshot(&name);
	return 0;
}

/* A copy, as nothing holds the other link until the caller is done with it */
static const char *fbpf_copy_link(struct dentry *lower,
				  struct delayed_call *done)
{
	DEFINE_DELAYED_CALL(lower_done);
	const char *text;
	char *copy;

	if (d_is_negative(lower))
		return ERR_PTR(-ENOENT);
	/* As in fbpf_get_link_lower() */
	if (!d_is_symlink(lower) || d_inode(lower)->i_op->readlink)
		return ERR_PTR(-EINVAL);
	text = vfs_get_link(lower, &lower_done);
	if (IS_ERR(text))
		return text;
	copy = kstrdup(text, GFP_KERNEL);
	do_delayed_call(&lower_done);
	if (!copy)
		return ERR_PTR(-ENOMEM);
	set_delayed_call(done, kfree_link, copy);
	return copy;
}

/* The link of that name in the same directory */
static const char *fbpf_other_link(struct fbpf_link_text_call *call,
				   const struct qstr *name)
{
	const struct fbpf_mount *fb = fbpf_sb(call->inode->i_sb);
	struct dentry *parent = dget_parent(call->dentry);
	const struct cred *old = fbpf_enter(fb);
	struct dentry *lower;
	const char *text;

	lower = name->len ? fbpf_lookup_one_unlocked(fb->idmap, name,
						     fbpf_lower_dentry(parent)) :
			    ERR_PTR(-ENOENT);
	if (IS_ERR(lower)) {
		text = ERR_CAST(lower);
	} else {
		text = fbpf_copy_link(lower, call->done);
		dput(lower);
	}
	fbpf_leave(old);
	dput(parent);
	return text;
}

static int fbpf_get_link_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_link_text_call *call = data;
	struct qstr name = fbpf_get_name(op);

	if (op->name.flags & BPF_FUSE_MODIFIED)
		call->text = fbpf_other_link(call, &name);
	else
		call->text = fbpf_get_link_lower(call->dentry, call->inode,
						 call->done);
	return IS_ERR(call->text) ? PTR_ERR(call->text) : 0;
}

FBPF_PRE(get_link, &op->name)
FBPF_POST(get_link, &op->name)

static int fbpf_get_link_user(void *data)
{
	struct fbpf_link_text_call *call = data;

	call->text = fuse_symlink_inode_operations.get_link(call->dentry,
							    call->inode,
							    call->done);
	return PTR_ERR_OR_ZERO(call->text);
}

static const struct fbpf_desc fbpf_get_link_desc = {
	.hook		= FBPF_READLINK,
	.opcode		= FUSE_READLINK,
	.prepare	= fbpf_get_link_prepare,
	.user		= fbpf_get_link_user,
	.backing	= fbpf_get_link_backing,
	FBPF_PAIR(get_link),
};

const char *fbpf_filter_get_link(struct dentry *dentry, struct inode *inode,
				 struct delayed_call *done)
{
	struct fbpf_link_text_call call = {
		.dentry = dentry,
		.inode = inode,
		.done = done,
	};
	int err;

	err = fbpf_filter(&fbpf_get_link_desc, inode, &call);
	if (!err)
		return call.text;
	/* With an error not every caller does */
	do_delayed_call(done);
	clear_delayed_call(done);
	return ERR_PTR(err);
}
