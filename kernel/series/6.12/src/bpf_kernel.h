/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What of the kernel differs between the series that we are made for; this is
 * 6.12. Where a name has only changed, ours is the newer one.
 */
#ifndef _FS_FUSE_BPF_KERNEL_H
#define _FS_FUSE_BPF_KERNEL_H

#include <linux/backing-file.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/namei.h>
#include <linux/posix_acl_xattr.h>
#include <linux/shmem_fs.h>

#define file_kattr		fileattr
#define inode_just_drop		generic_delete_inode
#define vfs_mmap		call_mmap

/* Arguments of ->d_revalidate() and ->create(); what ->mkdir() returns */
#define FBPF_REVALIDATE_ARGS	struct dentry *dentry, unsigned int flags
#define FBPF_CREATE_ARGS						  \
	struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, \
	umode_t mode, bool excl
#define FBPF_MKDIR_TYPE		int

static inline int fbpf_call_revalidate(const struct dentry_operations *ops,
				       struct dentry *dentry,
				       unsigned int flags)
{
	return ops->d_revalidate(dentry, flags);
}

static inline int fbpf_mkdir_result(int err)
{
	return err;
}

static inline int fbpf_call_mkdir(const struct inode_operations *ops,
				  struct inode *dir, struct dentry *dentry,
				  umode_t mode)
{
	return ops->mkdir(&nop_mnt_idmap, dir, dentry, mode);
}

static inline void set_default_d_op(struct super_block *sb,
				    const struct dentry_operations *ops)
{
	sb->s_d_op = ops;
}

static inline unsigned long inode_state_read_once(const struct inode *inode)
{
	return READ_ONCE(inode->i_state);
}

/*
 * As override_creds() since 6.14: no reference, which all processors would write
 * to the same place. The caller knows what keeps @cred. Return: what was in effect
 */
static inline const struct cred *fbpf_override(const struct cred *cred)
{
	return rcu_replace_pointer(current->cred, cred, true);
}

static inline const struct cred *fbpf_revert(const struct cred *old)
{
	return fbpf_override(old);
}

static inline struct dentry *fbpf_lookup_one(struct mnt_idmap *idmap,
					     const struct qstr *name,
					     struct dentry *base)
{
	return lookup_one(idmap, name->name, base, name->len);
}

static inline struct dentry *fbpf_lookup_one_unlocked(struct mnt_idmap *idmap,
						      const struct qstr *name,
						      struct dentry *base)
{
	return lookup_one_unlocked(idmap, name->name, base, name->len);
}

/* The lower directory is locked, and stays so */
static inline int fbpf_vfs_create(struct mnt_idmap *idmap, struct inode *dir,
				  struct dentry *dentry, umode_t mode)
{
	return vfs_create(idmap, dir, dentry, mode, true);
}

static inline int fbpf_vfs_mknod(struct mnt_idmap *idmap, struct inode *dir,
				 struct dentry *dentry, umode_t mode, dev_t rdev)
{
	return vfs_mknod(idmap, dir, dentry, mode, rdev);
}

static inline int fbpf_vfs_mkdir(struct mnt_idmap *idmap, struct inode *dir,
				 struct dentry *dentry, umode_t mode)
{
	return vfs_mkdir(idmap, dir, dentry, mode);
}

static inline int fbpf_vfs_symlink(struct mnt_idmap *idmap, struct inode *dir,
				   struct dentry *dentry, const char *target)
{
	return vfs_symlink(idmap, dir, dentry, target);
}

static inline int fbpf_vfs_rmdir(struct mnt_idmap *idmap, struct inode *dir,
				 struct dentry *dentry)
{
	return vfs_rmdir(idmap, dir, dentry);
}

/* What a written file is told; in bpf_io.c */
void fbpf_end_write(struct file *file);

static inline void fbpf_end_write_at(struct file *file, loff_t pos, ssize_t ret)
{
	fbpf_end_write(file);
}

static inline struct backing_file_ctx
fbpf_backing_ctx(struct file *file, const struct cred *cred)
{
	return (struct backing_file_ctx) {
		.cred = cred,
		.user_file = file,
		.end_write = fbpf_end_write_at,
	};
}

static inline ssize_t
fbpf_backing_splice_read(struct file *lower, struct file *file, loff_t *pos,
			 struct pipe_inode_info *pipe, size_t len,
			 unsigned int flags, struct backing_file_ctx *ctx)
{
	return backing_file_splice_read(lower, pos, pipe, len, flags, ctx);
}

static inline ssize_t
fbpf_backing_splice_write(struct pipe_inode_info *pipe, struct file *lower,
			  struct file *file, loff_t *pos, size_t len,
			  unsigned int flags, struct backing_file_ctx *ctx)
{
	return backing_file_splice_write(pipe, lower, pos, len, flags, ctx);
}

/* A file without content, for a mapping */
static inline struct file *fbpf_empty_file(void)
{
	return shmem_file_setup("empty", 0, VM_NORESERVE);
}

/* The length, or a negative errno */
static inline int fbpf_acl_to_xattr(const struct posix_acl *acl, void *buffer,
				    size_t size)
{
	return posix_acl_to_xattr(&init_user_ns, acl, buffer, size);
}

#endif
