// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mounting a lower directory: options, super block, module set-up.
 *
 * Locking: options belong to their mount context; a struct fbpf_mount does not
 * change once its super block is visible.
 */
#include <linux/bpf.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>

#include "bpf_hooks.h"
#include "bpf_op.h"

/**
 * struct fbpf_opts - options of a backed mount
 * @root: lower directory; mnt is NULL until root_dir was given
 * @set: filters, with a reference
 * @link: their link, with a reference
 * @no_daemon: given
 * @creds: creds= was given
 * @caller: it was creds=caller
 * @fsc: whose log errors go to; set when the mount is made
 */
struct fbpf_opts {
	struct path root;
	struct fbpf_set *set;
	struct bpf_link *link;
	bool no_daemon;
	bool creds;
	bool caller;
	struct fs_context *fsc;
};

enum {
	FBPF_OPT_ROOT_DIR,
	FBPF_OPT_ROOT_BPF,
	FBPF_OPT_ROOT_BPF_LINK,
	FBPF_OPT_NO_DAEMON,
	FBPF_OPT_CREDS,
};

static const struct constant_table fbpf_creds[] = {
	{ "mounter",	0 },
	{ "caller",	1 },
	{}
};

static const struct fs_parameter_spec fbpf_parameters[] = {
	fsparam_fd("root_dir", FBPF_OPT_ROOT_DIR),
	fsparam_string("root_bpf", FBPF_OPT_ROOT_BPF),
	fsparam_fd("root_bpf_link", FBPF_OPT_ROOT_BPF_LINK),
	fsparam_flag("no_daemon", FBPF_OPT_NO_DAEMON),
	fsparam_enum("creds", FBPF_OPT_CREDS, fbpf_creds),
	{}
};

static int fbpf_parse_root_dir(struct fs_context *fsc, struct fbpf_opts *opts,
			       int fd)
{
	struct file *file;
	int err = 0;

	if (opts->root.mnt)
		return invalfc(fsc, "root_dir given twice");
	file = fget_raw(fd);
	if (!file)
		return invalfc(fsc, "root_dir: descriptor %d is not open", fd);
	if (!d_can_lookup(file->f_path.dentry)) {
		errorfc(fsc, "root_dir: descriptor %d is not a directory", fd);
		err = -ENOTDIR;
	} else {
		opts->root = file->f_path;
		path_get(&opts->root);
	}
	fput(file);
	return err;
}

static int fbpf_parse_name(struct fs_context *fsc, struct fbpf_opts *opts,
			   const char *name)
{
	if (opts->set)
		return invalfc(fsc, "root_bpf: filters given twice");
	if (strlen(name) >= BPF_FUSE_NAME_MAX)
		return invalfc(fsc, "root_bpf: name is longer than %d characters",
			       BPF_FUSE_NAME_MAX - 1);
	opts->set = fbpf_set_by_name(name, &opts->link);
	if (!opts->set)
		return invalfc(fsc, "root_bpf: no filters are attached under the name '%s'",
			       name);
	return 0;
}

static int fbpf_parse_link(struct fs_context *fsc, struct fbpf_opts *opts,
			   int fd)
{
	struct file *file;

	if (opts->set)
		return invalfc(fsc, "root_bpf_link: filters given twice");
	file = fget(fd);
	if (!file)
		return invalfc(fsc, "root_bpf_link: descriptor %d is not open",
			       fd);
	opts->set = fbpf_set_by_file(file, &opts->link);
	fput(file);
	if (!opts->set)
		return invalfc(fsc, "root_bpf_link: descriptor %d is not an attached fuse_ops link",
			       fd);
	return 0;
}

/**
 * fbpf_parse_param - look at one mount option
 * @fsc: mount context
 * @param: option
 * @optsp: options so far; allocated with the first one
 *
 * Return: 0, a negative errno with a message in @fsc's log, -ENOPARAM when the
 * option is not one of ours
 */
int fbpf_parse_param(struct fs_context *fsc, struct fs_parameter *param,
		     struct fbpf_opts **optsp)
{
	struct fs_parse_result result;
	struct fbpf_opts *opts;
	int opt;

	opt = fs_parse(fsc, fbpf_parameters, param, &result);
	if (opt < 0)
		return opt;
	if (!capable(CAP_SYS_ADMIN) || fsc->user_ns != &init_user_ns) {
		errorfc(fsc, "%s needs CAP_SYS_ADMIN in the initial user namespace",
			param->key);
		return -EPERM;
	}
	if (!*optsp)
		*optsp = kzalloc(sizeof(**optsp), GFP_KERNEL);
	opts = *optsp;
	if (!opts)
		return -ENOMEM;

	switch (opt) {
	case FBPF_OPT_ROOT_DIR:
		return fbpf_parse_root_dir(fsc, opts, result.uint_32);
	case FBPF_OPT_ROOT_BPF:
		return fbpf_parse_name(fsc, opts, param->string);
	case FBPF_OPT_ROOT_BPF_LINK:
		return fbpf_parse_link(fsc, opts, result.uint_32);
	case FBPF_OPT_NO_DAEMON:
		opts->no_daemon = true;
		return 0;
	case FBPF_OPT_CREDS:
		if (opts->creds)
			return invalfc(fsc, "creds given twice");
		opts->creds = true;
		opts->caller = result.uint_32;
		return 0;
	default:
		return -EINVAL;
	}
}

static void fbpf_put_link(struct bpf_link *link)
{
	if (link)
		bpf_link_put(link);
}

void fbpf_free_opts(struct fbpf_opts *opts)
{
	if (!opts)
		return;
	path_put(&opts->root);
	fbpf_put_link(opts->link);
	fbpf_set_put(opts->set);
	kfree(opts);
}

/* Called when the last user of the super block is gone */
void fbpf_mount_free(struct fbpf_mount *fb)
{
	if (!fb)
		return;
	kern_unmount(fb->mnt);
	put_cred(fb->cred);
	put_cred(rcu_dereference_protected(fb->creator, true));
	fbpf_put_link(fb->link);
	fbpf_set_put(fb->set);
	kfree_rcu(fb, rcu);
}

int fbpf_statfs_lower(struct dentry *dentry, struct kstatfs *buf)
{
	struct path lower = fbpf_lower_path(dentry->d_sb->s_root);
	const struct cred *old = fbpf_enter(fbpf_sb(dentry->d_sb));
	int err;

	err = vfs_statfs(&lower, buf);
	fbpf_leave(old);
	if (!err)
		buf->f_type = FUSE_SUPER_MAGIC;
	return err;
}

int fbpf_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	if (unlikely(fbpf_hooked(d_inode(dentry), FBPF_STATFS)))
		return fbpf_filter_statfs(dentry, buf);
	return fbpf_statfs_lower(dentry, buf);
}

/*
 * Failed write-back below, for syncfs(2) on files of ours. Two at once may both
 * see one failure, which is then told once more.
 */
static void fbpf_take_wb_err(struct super_block *sb,
			     struct super_block *lower_sb)
{
	struct fbpf_mount *fb = fbpf_sb(sb);
	errseq_t since = READ_ONCE(fb->wb_err);
	int err = errseq_check_and_advance(&lower_sb->s_wb_err, &since);

	if (likely(!err))
		return;
	WRITE_ONCE(fb->wb_err, since);
	errseq_set(&sb->s_wb_err, err);
}

static int fbpf_sync_lower(struct fbpf_op *op, void *data)
{
	struct super_block *sb = data;
	struct super_block *lower_sb = fbpf_sb(sb)->mnt->mnt_sb;
	int err;

	/* Ours is held; below a plain FUSE the class is the same */
	down_read_nested(&lower_sb->s_umount, SINGLE_DEPTH_NESTING);
	err = sync_filesystem(lower_sb);
	up_read(&lower_sb->s_umount);
	fbpf_take_wb_err(sb, lower_sb);
	return err;
}

int fbpf_sync_fs(struct super_block *sb, int wait)
{
	if (!wait)
		return 0;
	/* The last unmount, which nobody can refuse, has no root any more */
	if (sb->s_root && fbpf_hooked(d_inode(sb->s_root), FBPF_OTHER))
		return fbpf_filter_other(d_inode(sb->s_root), FUSE_SYNCFS,
					 fbpf_sync_lower, sb);
	return fbpf_sync_lower(NULL, sb);
}

int fbpf_show_options(struct seq_file *m, struct dentry *root)
{
	const struct fbpf_mount *fb = fbpf_sb(root->d_sb);
	const struct fbpf_set *set = fb->set;

	if (!fb->daemon)
		seq_puts(m, ",no_daemon");
	if (!fb->cred)
		seq_puts(m, ",creds=caller");
	if (!set)
		return 0;
	seq_printf(m, ",root_bpf=%s", set->name);
	if (fb->link)
		seq_printf(m, ",link_id=%u", fbpf_link_id(fb->link));
	if (!rcu_access_pointer(set->ops))
		seq_puts(m, ",dead");
	return 0;
}

static const struct super_operations fbpf_super_operations = {
	.alloc_inode	= fuse_alloc_inode,
	.free_inode	= fuse_free_inode,
	.destroy_inode	= fbpf_destroy_inode,
	.evict_inode	= fbpf_evict_inode,
	.drop_inode	= inode_just_drop,
	.statfs		= fbpf_statfs,
	.sync_fs	= fbpf_sync_fs,
	.show_options	= fbpf_show_options,
};

int fbpf_reconfigure(struct fs_context *fsc)
{
	struct super_block *sb = fsc->root->d_sb;
	struct vfsmount *mnt = fbpf_sb(sb)->mnt;

	if (!(fsc->sb_flags & SB_RDONLY) && __mnt_is_readonly(mnt)) {
		errorfc(fsc, "the lower mount is read-only");
		return -EROFS;
	}
	return 0;
}

/*
 * Does the lower file system leave to a server who may do something? Some that
 * have a ->permission decide here as others do. Of ecryptfs, the VFS would find
 * no ACL, and remember that.
 */
static bool fbpf_leaves_permission(const struct dentry *root)
{
	switch (root->d_sb->s_magic) {
	case BTRFS_SUPER_MAGIC:
	case ECRYPTFS_SUPER_MAGIC:
	case OVERLAYFS_SUPER_MAGIC:
		return false;
	default:
		return d_inode(root)->i_op->permission;
	}
}

/* What the lower mount forbids stays forbidden */
static void fbpf_inherit_flags(struct super_block *sb, struct fbpf_mount *fb)
{
	int flags = fb->mnt->mnt_flags;

	if (__mnt_is_readonly(fb->mnt))
		sb->s_flags |= SB_RDONLY;
	if (flags & MNT_NOEXEC || fb->mnt->mnt_sb->s_iflags & SB_I_NOEXEC)
		sb->s_iflags |= SB_I_NOEXEC;
	if (flags & MNT_NODEV || fb->mnt->mnt_sb->s_iflags & SB_I_NODEV)
		sb->s_iflags |= SB_I_NODEV;
	fb->nosuid = flags & MNT_NOSUID;
	fb->plain = !fb->nosuid && fb->idmap == &nop_mnt_idmap;
	/* See fbpf_permission_lower() */
	fb->by_mode = fb->cred && fbpf_leaves_permission(fb->mnt->mnt_root);
	fb->quick = fb->plain && !fbpf_may_filter(fb) && !fb->by_mode;
}

static int fbpf_check_root(struct fs_context *fsc, const struct path *root)
{
	struct super_block *lower_sb = root->dentry->d_sb;

	if (lower_sb->s_type == fsc->fs_type && fbpf_sb(lower_sb)) {
		errorfc(fsc, "root_dir is on a %s mount already: they do not stack",
			fsc->fs_type->name);
		return -ELOOP;
	}
	if (sb_has_encoding(lower_sb) || fbpf_dentry_weird(root->dentry))
		return invalfc(fsc, "root_dir: %s is case-insensitive or automounts: not supported",
			       lower_sb->s_type->name);
	if (lower_sb->s_stack_depth >= FILESYSTEM_MAX_STACK_DEPTH)
		return invalfc(fsc, "root_dir: too many stacked file systems below");
	return 0;
}

/* Move what the options hold to the super block's state */
static int fbpf_fill_mount(struct fs_context *fsc, struct fbpf_mount *fb,
			   struct fbpf_opts *opts)
{
	struct vfsmount *mnt;
	struct cred *cred;

	mnt = clone_private_mount(&opts->root);
	if (IS_ERR(mnt)) {
		errorfc(fsc, "root_dir: its mount is unbindable, detached or has locked mounts");
		return PTR_ERR(mnt);
	}
	fb->mnt = mnt;
	fb->idmap = mnt_idmap(mnt);

	if (!opts->caller) {
		cred = prepare_creds();
		if (!cred)
			return -ENOMEM;
		/* Quota and reserved blocks hold for the mount's users */
		cap_lower(cred->cap_effective, CAP_SYS_RESOURCE);
		fb->cred = cred;
	}
	swap(fb->set, opts->set);
	swap(fb->link, opts->link);
	return 0;
}

static struct dentry *fbpf_make_root(struct super_block *sb,
				     struct fbpf_mount *fb)
{
	struct dentry *lower = fb->mnt->mnt_root;
	struct inode *inode;
	struct dentry *root;

	inode = fbpf_iget(sb, d_inode(lower), FUSE_ROOT_ID, 0, fbpf_gen(fb),
			  fb->set, fb->link);
	if (IS_ERR(inode))
		return ERR_CAST(inode);
	set_default_d_op(sb, &fbpf_root_dentry_operations);
	root = d_make_root(inode);
	if (!root)
		return ERR_PTR(-ENOMEM);
	set_default_d_op(sb, &fbpf_dentry_operations);
	fbpf_d(root)->lower = dget(lower);
	return root;
}

/*
 * A plain FUSE below has the same type, by which the VFS makes lock classes:
 * tell lockdep that ours are taken first.
 */
static void fbpf_lock_classes(struct super_block *sb)
{
	static struct lock_class_key keys[SB_FREEZE_LEVELS], rename_key;
	static const char * const names[SB_FREEZE_LEVELS] = {
		"fbpf_writers", "fbpf_pagefaults", "fbpf_internal",
	};
	int i;

	for (i = 0; i < SB_FREEZE_LEVELS; i++)
		lockdep_set_class_and_name(&sb->s_writers.rw_sem[i], &keys[i],
					   names[i]);
	lockdep_set_class_and_name(&sb->s_vfs_rename_mutex, &rename_key,
				   "fbpf_rename");
}

/* Give a super block its state, which is freed with its struct fuse_mount */
static int fbpf_fill_common(struct super_block *sb, struct fbpf_opts *opts)
{
	struct fuse_mount *fm = get_fuse_mount_super(sb);
	struct super_block *lower_sb;
	struct fbpf_mount *fb;
	int err;

	fb = kzalloc(sizeof(*fb), GFP_KERNEL);
	if (!fb)
		return -ENOMEM;
	err = fbpf_fill_mount(opts->fsc, fb, opts);
	if (err) {
		if (fb->mnt)
			kern_unmount(fb->mnt);
		kfree(fb);
		return err;
	}
	fb->daemon = !opts->no_daemon;
	fm->bpf = fb;

	fbpf_lock_classes(sb);
	lower_sb = fb->mnt->mnt_sb;
	fb->wb_err = errseq_sample(&lower_sb->s_wb_err);
	sb->s_xattr = fbpf_xattr_handlers;
	sb->s_maxbytes = lower_sb->s_maxbytes;
	sb->s_time_gran = lower_sb->s_time_gran;
	sb->s_time_min = lower_sb->s_time_min;
	sb->s_time_max = lower_sb->s_time_max;
	sb->s_stack_depth = lower_sb->s_stack_depth + 1;
	fbpf_inherit_flags(sb, fb);
	return 0;
}

static int fbpf_fill_super(struct super_block *sb, struct fs_context *fsc)
{
	struct fuse_fs_context *ctx = fsc->fs_private;
	struct fuse_mount *fm = get_fuse_mount_super(sb);
	struct super_block *lower_sb;
	struct dentry *root;
	int err;

	fm->sb = sb;
	err = fbpf_fill_common(sb, ctx->bpf);
	if (err)
		return err;

	lower_sb = fm->bpf->mnt->mnt_sb;
	sb->s_magic = FUSE_SUPER_MAGIC;
	sb->s_op = &fbpf_super_operations;
	sb->s_blocksize = lower_sb->s_blocksize;
	sb->s_blocksize_bits = lower_sb->s_blocksize_bits;
	/* The lower file system applies the umask where it does ACLs */
	sb->s_flags |= (lower_sb->s_flags & SB_POSIXACL) | SB_NOSEC;
	sb->s_iflags |= SB_I_NOIDMAP | SB_I_IMA_UNVERIFIABLE_SIGNATURE;

	sb->s_subtype = ctx->subtype;
	ctx->subtype = NULL;
	root = fbpf_make_root(sb, fm->bpf);
	if (IS_ERR(root))
		return PTR_ERR(root);
	sb->s_root = root;
	return 0;
}

/**
 * fbpf_fill_daemon - put a lower directory below the root of a daemon's mount
 * @sb: super block, set up as for plain FUSE but for its root
 * @opts: options
 *
 * The VFS leaves the umask to such a super block. Below, it is applied by the
 * lower calls, or by the lower file system where it does ACLs.
 *
 * Return: the root, not yet in @sb, or an error pointer
 */
struct dentry *fbpf_fill_daemon(struct super_block *sb, struct fbpf_opts *opts)
{
	int err = fbpf_fill_common(sb, opts);

	if (err)
		return ERR_PTR(err);
	sb->s_op = &fbpf_daemon_operations;
	/* A handle holds a nodeid, which files below do not have */
	sb->s_export_op = NULL;
	return fbpf_make_root(sb, fbpf_sb(sb));
}

/* The device of a daemon, and what plain FUSE wants to be told of the root */
static int fbpf_check_daemon(struct fs_context *fsc, const struct path *root)
{
	struct fuse_fs_context *ctx = fsc->fs_private;
	const struct inode *inode = d_inode(root->dentry);
	int err = fbpf_check_device(fsc);

	if (err)
		return err;
	ctx->rootmode = inode->i_mode;
	ctx->rootmode_present = true;
	if (!ctx->user_id_present)
		ctx->user_id = inode->i_uid;
	if (!ctx->group_id_present)
		ctx->group_id = inode->i_gid;
	ctx->user_id_present = true;
	ctx->group_id_present = true;
	/* As without a daemon: who may do what is decided by the lower modes */
	ctx->allow_other = true;
	return 0;
}

/**
 * fbpf_check_options - see whether options of ours go together
 * @fsc: mount context with options of ours
 *
 * Return: 0 or a negative errno with a message in @fsc's log
 */
int fbpf_check_options(struct fs_context *fsc)
{
	struct fuse_fs_context *ctx = fsc->fs_private;
	struct fbpf_opts *opts = ctx->bpf;
	int err;

	opts->fsc = fsc;
	if (ctx->is_bdev)
		return invalfc(fsc, "a type with a block device has no lower directory");
	if (!opts->root.mnt)
		return invalfc(fsc, "root_dir is missing");
	if (opts->no_daemon && fbpf_has_device(ctx))
		return invalfc(fsc, "no_daemon and fd exclude each other");
	if (!opts->no_daemon && !fbpf_has_device(ctx))
		return invalfc(fsc, "root_dir needs no_daemon, or fd with the device of a daemon");
	err = fbpf_check_root(fsc, &opts->root);
	if (!err && fbpf_has_device(ctx))
		err = fbpf_check_daemon(fsc, &opts->root);
	return err;
}

/**
 * fbpf_get_tree - make a backed mount without a daemon
 * @fsc: mount context, checked by fbpf_check_options()
 *
 * Return: 0 or a negative errno with a message in @fsc's log
 */
int fbpf_get_tree(struct fs_context *fsc)
{
	struct fuse_mount *fm;
	struct fuse_conn *fc;
	int err;

	fc = kmalloc(sizeof(*fc), GFP_KERNEL);
	if (!fc)
		return -ENOMEM;
	fm = kzalloc(sizeof(*fm), GFP_KERNEL);
	if (!fm) {
		kfree(fc);
		return -ENOMEM;
	}
	err = fbpf_dead_conn(fc, fm, fsc->user_ns);
	if (err) {
		kfree(fm);
		kfree(fc);
		return err;
	}
	fc->release = fuse_free_conn;
	fc->allow_other = 1;

	fsc->s_fs_info = fm;
	err = get_tree_nodev(fsc, fbpf_fill_super);
	if (fsc->s_fs_info)
		fuse_mount_destroy(fm);
	return err;
}

int fbpf_init(void)
{
	int err;

	err = fbpf_dispatch_init();
	if (err)
		return err;
	err = fbpf_register();
	if (err)
		fbpf_dispatch_exit();
	return err;
}

void fbpf_exit(void)
{
	fbpf_dispatch_exit();
}
