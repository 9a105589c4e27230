/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Backed mounts: a lower directory shown through FUSE, with BPF filters around
 * its operations. Internal to the bpf_*.c files.
 */
#ifndef _FS_FUSE_BPF_H
#define _FS_FUSE_BPF_H

#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/mount.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>

#include "bpf_abi.h"
#include "bpf_daemon.h"
#include "bpf_fuse.h"
#include "bpf_super.h"
#include "bpf_kernel.h"
#include "fuse_i.h"

struct bpf_link;
struct btf;

/*
 * Pairs of filters, in the order of the members of struct fuse_ops. The module
 * has no room for rename: rename2 is called there.
 */
enum fbpf_hook {
	FBPF_OPEN,
	FBPF_OPENDIR,
	FBPF_CREATE,
	FBPF_RELEASE,
	FBPF_RELEASEDIR,
	FBPF_FLUSH,
	FBPF_LSEEK,
	FBPF_COPY,
	FBPF_FSYNC,
#ifndef FBPF_NO_FSYNCDIR
	FBPF_FSYNCDIR,
#endif
	FBPF_GETXATTR,
	FBPF_LISTXATTR,
	FBPF_SETXATTR,
	FBPF_REMOVEXATTR,
	FBPF_READ,
	FBPF_WRITE,
	FBPF_FALLOCATE,
	FBPF_LOOKUP,
	FBPF_MKNOD,
	FBPF_MKDIR,
	FBPF_RMDIR,
	FBPF_RENAME2,
#ifndef FUSEBPF_MODULE
	FBPF_RENAME,
#endif
	FBPF_UNLINK,
	FBPF_LINK,
	FBPF_GETATTR,
	FBPF_SETATTR,
	FBPF_STATFS,
	FBPF_READLINK,
	FBPF_SYMLINK,
	FBPF_READDIR,
	FBPF_ACCESS,
	FBPF_OTHER,	/* has no pair: default_filter sees it */
#ifdef FBPF_NO_FSYNCDIR
	FBPF_FSYNCDIR = FBPF_OTHER,
#endif
	FBPF_NR_HOOKS,
};

static_assert(FBPF_NR_HOOKS <= 64);

/**
 * struct fbpf_set - a registered set of filters
 * @ops: its programs, under RCU; NULL once it was torn away
 * @hooks: bit per enum fbpf_hook that has a program, kept when @ops goes
 * @serial: no other set has had it
 * @ref: one for the registry, one per mount, and per inode that has it alone
 * @link: link that registered it, or NULL; not referenced
 * @kdata: programs as the registry knows them, under its lock
 * @list: entry in the registry
 * @name: key, up to 14 characters
 */
struct fbpf_set {
	const struct fuse_ops __rcu *ops;
	u64 hooks;
	u64 serial;
	refcount_t ref;
	struct bpf_link *link;
	const void *kdata;
	struct list_head list;
	struct rcu_head rcu;
	char name[BPF_FUSE_NAME_MAX];
};

/**
 * struct fbpf_mount - a backed super block
 * @mnt: private clone of the lower mount, rooted at the lower directory
 * @idmap: of @mnt
 * @cred: credentials for lower calls; NULL to use the caller's
 * @creator: @cred with the ids of who made a file last, or NULL; under RCU
 * @set: filters, NULL without
 * @link: held so that closing and unpinning it changes nothing; may be NULL
 * @nosuid: the lower mount ignores set-id bits and file capabilities
 * @plain: what permission depends on is the lower inode's as it is: ids are not
 *	mapped, and not @nosuid
 * @by_mode: the lower file system leaves it to a server who may do something,
 *	and would ask it for @cred: mode and ACL decide here as well
 * @quick: @plain, and nobody but the lower inode says what is there and who may
 * @daemon: there is one, or was
 * @wb_err: failure of write-back below that was told last
 *
 * But for @creator and @wb_err it does not change while the super block lives.
 */
struct fbpf_mount {
	struct vfsmount *mnt;
	struct mnt_idmap *idmap;
	const struct cred *cred;
	const struct cred __rcu *creator;
	struct fbpf_set *set;
	struct bpf_link *link;
	bool nosuid;
	bool plain;
	bool by_mode;
	bool quick;
	bool daemon;
	errseq_t wb_err;
	struct rcu_head rcu;
};

/**
 * struct fbpf_dentry - d_fsdata of every dentry of a backed mount
 * @lower: lower dentry, referenced, set before the dentry is hashed
 * @former: an earlier one, kept for those who may still look at it
 * @tag: policy tag decided for the name; a new inode gets it
 * @seq: d_seq of @lower when it was last seen to be the right one, or
 *	FBPF_SEQ_NONE
 * @quick_seq: @seq where nobody else is asked about the name, or FBPF_SEQ_NONE
 * @moving: the dentry's own d_seq before a rename that moves it below first and
 *	here then, or FBPF_SEQ_NONE
 * @expires: until when, in jiffies, the lookup filter's answer holds
 * @valid: how long the daemon's answer holds
 * @gen: generation of the filter set that decided @tag
 * @hidden: negative because the filter said so; @lower is NULL
 * @moved: renamed since it was looked up: @expires is another name's
 * @classic: looked up or made by the daemon, which the name is left to
 * @given: @lower was given by an entry, it is no child of the parent's lower
 */
struct fbpf_dentry {
	struct dentry *lower;
	struct dentry *former;
	u64 tag;
	u64 expires;
	struct fbpf_validity valid;
	u32 seq;
	u32 gen;
	bool hidden;
	bool moved;
	bool classic;
	bool given;
	u32 quick_seq;
	u32 moving;
	struct rcu_head rcu;
};

/* Odd, so never the count of a settled dentry */
#define FBPF_SEQ_NONE	(~0u)

/* Backed open file */
struct fbpf_file {
	struct file *lower;
	struct file *classic;	/* as the daemon has opened it, or NULL */
	u64 fh;
	bool keep_data;		/* a filter took O_TRUNC out */
	bool empty;		/* a filter set FUSE_BPF_OPEN_EMPTY */
};

static inline struct fbpf_inode *fbpf_i(struct inode *inode)
{
	return &get_fuse_inode(inode)->bpf;
}

static inline struct fbpf_dentry *fbpf_d(const struct dentry *dentry)
{
	return dentry->d_fsdata;
}

static inline struct inode *fbpf_lower_inode(struct inode *inode)
{
	return fbpf_i(inode)->lower;
}

static inline struct dentry *fbpf_lower_dentry(const struct dentry *dentry)
{
	return READ_ONCE(fbpf_d(dentry)->lower);
}

static inline struct path fbpf_lower_path(const struct dentry *dentry)
{
	struct path path = {
		.mnt = fbpf_sb(dentry->d_sb)->mnt,
		.dentry = fbpf_lower_dentry(dentry),
	};

	return path;
}

/* @seq of fbpf_same_lower(), for the lower dentry that is set */
static inline void fbpf_set_seq(const struct fbpf_mount *fb,
				struct fbpf_dentry *fd, u32 seq)
{
	bool quick = fb->quick && !(fd->lower->d_flags & DCACHE_OP_REVALIDATE);

	WRITE_ONCE(fd->seq, seq);
	WRITE_ONCE(fd->quick_seq, quick ? seq : FBPF_SEQ_NONE);
}

/* Is a filter attached to the operation? One load and a branch when not. */
static inline bool fbpf_hooked(struct inode *inode, enum fbpf_hook hook)
{
	const struct fbpf_set *set = fbpf_i(inode)->set;

	return set && (READ_ONCE(set->hooks) & BIT_ULL(hook));
}

/* Filters are the mount's, or come with what its daemon answers */
static inline bool fbpf_may_filter(const struct fbpf_mount *fb)
{
	return fb->set || fb->daemon;
}

/* Goes up when programs are replaced or torn away, after them */
extern u32 fbpf_generation;

/* Read it before a filter is asked: an answer is as old as this */
static inline u32 fbpf_gen(const struct fbpf_mount *fb)
{
	/* Pairs with the release in fbpf_update(): programs are no older */
	return fbpf_may_filter(fb) ? smp_load_acquire(&fbpf_generation) : 0;
}

/* Was the tag decided under a set of filters that is no longer the one? */
static inline bool fbpf_tag_stale(struct inode *inode, u32 gen)
{
	return READ_ONCE(fbpf_i(inode)->gen) != gen;
}

int fbpf_settle_slow(struct dentry *dentry);
int fbpf_settle_inode(struct inode *inode);

/* Before a tag is used: see fbpf_settle_slow() */
static inline int fbpf_settle(struct dentry *dentry)
{
	if (likely(!fbpf_tag_stale(d_inode(dentry),
				   fbpf_gen(fbpf_sb(dentry->d_sb)))))
		return 0;
	return fbpf_settle_slow(dentry);
}

/* Flags of an inode that are the lower one's */
#define FBPF_I_FLAGS	(S_SYNC | S_APPEND | S_IMMUTABLE)

bool fbpf_mapped_attr_stale(struct inode *inode);

/* In one comparison where the ids are neighbours: each name of a path has it */
static inline bool fbpf_same_owner(const struct inode *a, const struct inode *b)
{
	if (offsetof(struct inode, i_gid) == offsetofend(struct inode, i_uid))
		return !memcmp(&a->i_uid, &b->i_uid,
			       sizeof(a->i_uid) + sizeof(a->i_gid));
	return uid_eq(a->i_uid, b->i_uid) && gid_eq(a->i_gid, b->i_gid);
}

static inline bool fbpf_plain_attr_stale(struct inode *inode)
{
	const struct inode *lower = fbpf_lower_inode(inode);

	return inode->i_mode != READ_ONCE(lower->i_mode) ||
	       !fbpf_same_owner(inode, lower) ||
	       ((inode->i_flags ^ lower->i_flags) & FBPF_I_FLAGS);
}

/* Does the copy differ in what permission and execution depend on? */
static inline bool fbpf_attr_stale(struct inode *inode)
{
	return likely(fbpf_sb(inode->i_sb)->plain) ?
		       fbpf_plain_attr_stale(inode) :
		       fbpf_mapped_attr_stale(inode);
}

/* For FIOQSIZE alone; getattr asks below */
static inline void fbpf_copy_blocks(struct inode *inode)
{
	const struct inode *lower = fbpf_lower_inode(inode);

	WRITE_ONCE(inode->i_blocks, READ_ONCE(lower->i_blocks));
	WRITE_ONCE(inode->i_bytes, READ_ONCE(lower->i_bytes));
}

/* Credentials for lower calls */
static inline const struct cred *fbpf_cred(const struct fbpf_mount *fb)
{
	return fb->cred ?: current_cred();
}

/*
 * Lower calls run between these two, but for those that switch by themselves. The
 * super block holds the credentials, and is held by what the call is about.
 */
static inline const struct cred *fbpf_enter(const struct fbpf_mount *fb)
{
	return fbpf_override(fbpf_cred(fb));
}

static inline void fbpf_leave(const struct cred *old)
{
	fbpf_revert(old);
}

/* bpf_dispatch.c */
u64 fbpf_hooks_of(const struct fuse_ops *ops);
int fbpf_dispatch_init(void);
void fbpf_dispatch_exit(void);

/* bpf_entries.c */
int fbpf_parse_entries(const struct fbpf_mount *fb,
		       struct fbpf_entries *entries,
		       const struct fuse_bpf_entry_out *out, size_t size);
int fbpf_parse_bpf_entries(const struct fbpf_mount *fb,
			   struct fbpf_entries *entries,
			   const struct fuse_buffer *buf);
bool fbpf_names_backing(const struct fuse_buffer *buf);
int fbpf_again_given(struct dentry *dentry, unsigned int flags);

/* bpf_classic.c */
extern const struct super_operations fbpf_daemon_operations;
void fbpf_init_classic(struct inode *inode);
void fbpf_restore_attr(struct inode *inode);
void fbpf_count_lookup(struct inode *inode);
void fbpf_forget(struct super_block *sb, u64 nodeid);
void fbpf_set_classic(struct dentry *dentry);
bool fbpf_is_classic(const struct dentry *dentry);
int fbpf_daemon_revalidate(struct dentry *dentry, unsigned int flags);
int fbpf_again_classic(struct dentry *dentry, unsigned int flags);
int fbpf_open_classic(struct inode *inode, struct file *file);
bool fbpf_opens_classic(struct file *file);
struct file *fbpf_classic_file(struct file *file);
int fbpf_mknod_classic(struct inode *dir, struct dentry *dentry, umode_t mode,
		       dev_t rdev);
int fbpf_mkdir_classic(struct inode *dir, struct dentry *dentry, umode_t mode);
int fbpf_symlink_classic(struct inode *dir, struct dentry *dentry,
			 const char *target);
int fbpf_link_classic(struct dentry *old, struct inode *dir,
		      struct dentry *dentry);
int fbpf_create_classic(struct inode *dir, struct dentry *dentry,
			struct file *file, umode_t mode);
int fbpf_remove_classic(struct inode *dir, struct dentry *dentry);
int fbpf_rename_classic(struct inode *old_dir, struct dentry *old,
			struct inode *new_dir, struct dentry *new,
			unsigned int flags);

/* bpf_super.c */
int fbpf_statfs(struct dentry *dentry, struct kstatfs *buf);
int fbpf_statfs_lower(struct dentry *dentry, struct kstatfs *buf);
int fbpf_sync_fs(struct super_block *sb, int wait);
int fbpf_show_options(struct seq_file *m, struct dentry *root);

/* bpf_register.c */
struct fbpf_set *fbpf_set_by_name(const char *name, struct bpf_link **link);
struct fbpf_set *fbpf_set_by_file(struct file *file, struct bpf_link **link);
struct bpf_link *fbpf_set_get(struct fbpf_set *set, struct bpf_link *link);
void fbpf_set_put(struct fbpf_set *set);
u32 fbpf_link_id(const struct bpf_link *link);
int fbpf_register(void);

/* bpf_verify.c */
extern const struct bpf_verifier_ops fbpf_verifier_ops;
bool fbpf_member_served(u32 off);
int fbpf_verify_init(struct btf *btf);

/* bpf_kfunc.c */
int fbpf_register_kfuncs(void);

/* bpf_inode.c */
struct inode *fbpf_iget(struct super_block *sb, struct inode *lower, u64 nodeid,
			u64 tag, u32 gen, struct fbpf_set *set,
			struct bpf_link *link);
void fbpf_copy_attr(struct inode *inode);

/* The cheap form, for places that are passed often; times are asked below */
static inline void fbpf_refresh(struct inode *inode)
{
	if (unlikely(fbpf_attr_stale(inode) ||
		     i_size_read(inode) != i_size_read(fbpf_lower_inode(inode))))
		fbpf_copy_attr(inode);
}

/* By what is below now */
static inline bool fbpf_is_owner(struct inode *inode)
{
	fbpf_refresh(inode);
	return inode_owner_or_capable(&nop_mnt_idmap, inode);
}

/* A write is to drop the set-id bits that there are: see fbpf_copy_attr() */
static inline void fbpf_seen_sxid(struct inode *inode)
{
	if (unlikely(is_sxid(inode->i_mode)))
		inode_set_flags(inode, 0, S_NOSEC);
}

void fbpf_evict_inode(struct inode *inode);
void fbpf_destroy_inode(struct inode *inode);

/* bpf_dentry.c */
extern const struct dentry_operations fbpf_dentry_operations;
extern const struct dentry_operations fbpf_root_dentry_operations;
bool fbpf_same_lower(struct dentry *lower, const struct dentry *lower_dir,
		     const struct qstr *name, const struct inode *inode,
		     u32 *seq);
bool fbpf_dentry_weird(const struct dentry *dentry);

/* bpf_lookup.c */
struct dentry *fbpf_lookup(struct inode *dir, struct dentry *dentry,
			   unsigned int flags);
int fbpf_relookup(struct dentry *dentry, unsigned int flags);

/* The filter's answer stands, so there is nobody to ask */
static inline bool fbpf_answer_holds(const struct fbpf_dentry *fd)
{
	return time_before64(get_jiffies_64(), READ_ONCE(fd->expires)) &&
	       !READ_ONCE(fd->moved);
}

/* bpf_namei.c, the operations without filters */
extern const struct inode_operations fbpf_dir_inode_operations;
const struct cred *fbpf_enter_create(struct super_block *sb);
void fbpf_leave_create(const struct cred *old);
struct fbpf_change {
	const struct cred *old;
	struct inode *lower_dir;
	bool create;
};

struct dentry *fbpf_change_begin(struct fbpf_change *change, struct inode *dir,
				 struct dentry *dentry, bool create);
void fbpf_change_end(struct fbpf_change *change, struct inode *dir,
		     struct dentry *lower);
int fbpf_instantiate(struct inode *dir, struct dentry *dentry, u64 nodeid);
int fbpf_mknod_lower(struct inode *dir, struct dentry *dentry, umode_t mode,
		     dev_t rdev);
int fbpf_mkdir_lower(struct inode *dir, struct dentry *dentry, umode_t mode);
int fbpf_symlink_lower(struct inode *dir, struct dentry *dentry,
		       const char *target);
int fbpf_link_lower(struct dentry *old, struct inode *dir,
		    struct dentry *dentry, const struct qstr *name);
int fbpf_remove_lower(struct inode *dir, struct dentry *dentry);
int fbpf_rename_lower(struct inode *old_dir, struct dentry *old,
		      struct inode *new_dir, struct dentry *new,
		      unsigned int flags);
struct dentry *fbpf_get_target(const struct fbpf_mount *fb,
			       struct dentry *dentry, bool create);

/* bpf_series.c, in a form for each series of the kernel */
int fbpf_check_device(struct fs_context *fsc);
void fbpf_rename_failed(struct dentry *old, struct dentry *new);
int fbpf_rename_locked(const struct fbpf_mount *fb, struct dentry *old,
		       struct dentry *new, unsigned int flags);

/* bpf_attr.c */
extern const struct inode_operations fbpf_file_inode_operations;
extern const struct inode_operations fbpf_special_inode_operations;
extern const struct inode_operations fbpf_symlink_inode_operations;
int fbpf_permission(struct mnt_idmap *idmap, struct inode *inode, int mask);
int fbpf_getattr(struct mnt_idmap *idmap, const struct path *path,
		 struct kstat *stat, u32 request_mask, unsigned int flags);
int fbpf_remove_hidden_slow(struct file *file);
int fbpf_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
		 struct iattr *attr);
int fbpf_permission_lower(struct inode *inode, int mask);
int fbpf_getattr_lower(const struct path *path, struct kstat *stat,
		       u32 request_mask, unsigned int flags);
int fbpf_setattr_lower(struct dentry *dentry, struct iattr *attr);
const char *fbpf_get_link_lower(struct dentry *dentry, struct inode *inode,
				struct delayed_call *done);

/* bpf_open.c */
int fbpf_open(struct inode *inode, struct file *file);
int fbpf_release(struct inode *inode, struct file *file);
int fbpf_adopt_file(struct file *file, struct file *lower, bool keep_data);
void fbpf_close_file(struct file *file);
int fbpf_open_result(struct file *file, const struct fuse_open_out *out);
int fbpf_atomic_open(struct inode *dir, struct dentry *dentry,
		     struct file *file, unsigned int flags, umode_t mode);

/* bpf_tmpfile.c */
int fbpf_tmpfile(struct mnt_idmap *idmap, struct inode *dir, struct file *file,
		 umode_t mode);

/* bpf_ioctl.c */
struct fiemap_extent_info;
struct file_kattr;

long fbpf_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
#ifdef CONFIG_COMPAT
long fbpf_compat_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
#else
#define fbpf_compat_ioctl NULL
#endif
int fbpf_fileattr_get(struct dentry *dentry, struct file_kattr *fa);
int fbpf_fileattr_set(struct mnt_idmap *idmap, struct dentry *dentry,
		      struct file_kattr *fa);
int fbpf_fiemap(struct inode *inode, struct fiemap_extent_info *info, u64 start,
		u64 len);
void fbpf_init_aops(struct inode *inode);

/* bpf_lock.c */
int fbpf_flock(struct file *file, int cmd, struct file_lock *lock);
int fbpf_lock(struct file *file, int cmd, struct file_lock *lock);

/* bpf_io.c */
extern const struct file_operations fbpf_file_operations;
struct file *fbpf_following(const struct file *file, struct file *behind);
struct file *fbpf_lower_file(const struct file *file);

/* Was the file opened below? On this mount or on another one of the module's. */
static inline bool fbpf_is_backed(const struct file *file)
{
	return file->f_op == &fbpf_file_operations;
}

int fbpf_fsync(struct file *file, loff_t start, loff_t end, int datasync);
int fbpf_fsync_lower(struct file *file, loff_t start, loff_t end, int datasync);
ssize_t fbpf_read_lower(struct kiocb *iocb, struct iov_iter *iter);
ssize_t fbpf_write_lower(struct kiocb *iocb, struct iov_iter *iter);
ssize_t fbpf_splice_write_lower(struct pipe_inode_info *pipe, struct file *file,
				loff_t *ppos, size_t len, unsigned int flags);
loff_t fbpf_llseek_lower(struct file *file, loff_t offset, int whence);
int fbpf_flush_lower(struct file *file, fl_owner_t id);
long fbpf_fallocate_lower(struct file *file, int mode, loff_t offset,
			  loff_t len);
ssize_t fbpf_copy_lower(struct file *in, loff_t pos_in, struct file *out,
			loff_t pos_out, size_t len, unsigned int flags);
loff_t fbpf_remap_lower(struct file *in, loff_t pos_in, struct file *out,
			loff_t pos_out, loff_t len, unsigned int flags);

/* bpf_splice.c */
typedef ssize_t fbpf_splice_fn(struct pipe_inode_info *pipe, struct file *file,
			       loff_t *ppos, size_t len, unsigned int flags);
ssize_t fbpf_splice_to(struct pipe_inode_info *pipe, struct file *file,
		       loff_t *ppos, size_t len, unsigned int flags,
		       fbpf_splice_fn *splice);

/* bpf_readdir.c */
extern const struct file_operations fbpf_dir_operations;
u32 fbpf_next_dirent(const struct fuse_buffer *buf, u32 pos,
		     struct fuse_dirent **dirent);

/* bpf_xattr.c */
extern const struct xattr_handler * const fbpf_xattr_handlers[];
ssize_t fbpf_listxattr(struct dentry *dentry, char *list, size_t size);
struct posix_acl *fbpf_get_acl(struct mnt_idmap *idmap, struct dentry *dentry,
			       int type);
int fbpf_set_acl(struct mnt_idmap *idmap, struct dentry *dentry,
		 struct posix_acl *acl, int type);
int fbpf_getxattr_lower(struct dentry *dentry, const char *name, void *value,
			size_t size);
int fbpf_setxattr_lower(struct dentry *dentry, const char *name,
			const void *value, size_t size, int flags);
ssize_t fbpf_listxattr_lower(struct dentry *dentry, char *list, size_t size);
struct posix_acl *fbpf_get_acl_lower(struct dentry *dentry, int type);
int fbpf_set_acl_lower(struct dentry *dentry, struct posix_acl *acl, int type,
		       bool kill_sgid);
bool fbpf_acl_kills_sgid(struct inode *inode, int type);

/* bpf_dynptr.c, not in the module */
#ifdef FUSEBPF_MODULE
static inline int fbpf_register_dynptr(void)
{
	return 0;
}
#else
int fbpf_register_dynptr(void);
#endif

#endif
