/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What of the kernel differs between the series that we are made for; this is
 * 7.3.
 */
#ifndef _FS_FUSE_BPF_KERNEL_H
#define _FS_FUSE_BPF_KERNEL_H

#include <linux/backing-file.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/fileattr.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/mm.h>
#include <linux/namei.h>
#include <linux/posix_acl_xattr.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

/* All arguments of functions for programs are trusted ones */
#define KF_TRUSTED_ARGS		0

/* Writes complete in their own way everywhere */
#define IOCB_DIO_CALLER_COMP	0

/* Arguments of ->d_revalidate() and ->create(); what ->mkdir() returns */
#define FBPF_REVALIDATE_ARGS						  \
	struct inode *dir, const struct qstr *name, struct dentry *dentry, \
	unsigned int flags
#define FBPF_CREATE_ARGS						  \
	struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, \
	umode_t mode
#define FBPF_MKDIR_TYPE		struct dentry *

/* The caller has a reference to the dentry, or is in RCU walk */
static inline int fbpf_call_revalidate(const struct dentry_operations *ops,
				       struct dentry *dentry,
				       unsigned int flags)
{
	struct name_snapshot name;
	struct dentry *parent;
	struct inode *dir;
	int ret;

	/*
	 * Without a reference a snapshot may wait for ever, for a name that is
	 * being freed. In RCU walk only plain FUSE is asked, which turns back
	 * before it looks at the name.
	 */
	if (flags & LOOKUP_RCU) {
		dir = d_inode_rcu(READ_ONCE(dentry->d_parent));
		return dir ? ops->d_revalidate(dir, &dentry->d_name, dentry,
					       flags) : -ECHILD;
	}
	parent = dget_parent(dentry);
	take_dentry_name_snapshot(&name, dentry);
	ret = ops->d_revalidate(d_inode(parent), &name.name, dentry, flags);
	release_dentry_name_snapshot(&name);
	dput(parent);
	return ret;
}

static inline struct dentry *fbpf_mkdir_result(int err)
{
	return ERR_PTR(err);
}

static inline int fbpf_call_mkdir(const struct inode_operations *ops,
				  struct inode *dir, struct dentry *dentry,
				  umode_t mode)
{
	struct dentry *made = ops->mkdir(&nop_mnt_idmap, dir, dentry, mode);

	if (IS_ERR(made))
		return PTR_ERR(made);
	/* One that was known under another name stays there */
	dput(made);
	return 0;
}

static inline const struct cred *fbpf_override(const struct cred *cred)
{
	return override_creds(cred);
}

static inline const struct cred *fbpf_revert(const struct cred *old)
{
	return revert_creds(old);
}

static inline struct dentry *fbpf_lookup_one(struct mnt_idmap *idmap,
					     const struct qstr *name,
					     struct dentry *base)
{
	return lookup_one(idmap, &QSTR_LEN(name->name, name->len), base);
}

static inline struct dentry *fbpf_lookup_one_unlocked(struct mnt_idmap *idmap,
						      const struct qstr *name,
						      struct dentry *base)
{
	return lookup_one_unlocked(idmap, &QSTR_LEN(name->name, name->len),
				   base);
}

/* The lower directory is locked, and stays so */
static inline int fbpf_vfs_create(struct mnt_idmap *idmap, struct inode *dir,
				  struct dentry *dentry, umode_t mode)
{
	return vfs_create(idmap, dentry, mode, NULL);
}

static inline int fbpf_vfs_mknod(struct mnt_idmap *idmap, struct inode *dir,
				 struct dentry *dentry, umode_t mode, dev_t rdev)
{
	return vfs_mknod(idmap, dir, dentry, mode, rdev, NULL);
}

static inline int fbpf_vfs_mkdir(struct mnt_idmap *idmap, struct inode *dir,
				 struct dentry *dentry, umode_t mode)
{
	struct dentry *made;

	/* Consumes a reference; with an error it gives the lock back, too */
	made = vfs_mkdir(idmap, dir, dget(dentry), mode, NULL);
	if (IS_ERR(made)) {
		inode_lock_nested(dir, I_MUTEX_PARENT);
		return PTR_ERR(made);
	}
	dput(made);
	return 0;
}

static inline int fbpf_vfs_symlink(struct mnt_idmap *idmap, struct inode *dir,
				   struct dentry *dentry, const char *target)
{
	return vfs_symlink(idmap, dir, dentry, target, NULL);
}

static inline int fbpf_vfs_rmdir(struct mnt_idmap *idmap, struct inode *dir,
				 struct dentry *dentry)
{
	return vfs_rmdir(idmap, dir, dentry, NULL);
}

/* What a written file is told; in bpf_io.c */
void fbpf_end_write(struct file *file);

static inline void fbpf_end_write_of(struct kiocb *iocb, ssize_t ret)
{
	fbpf_end_write(iocb->ki_filp);
}

static inline struct backing_file_ctx
fbpf_backing_ctx(struct file *file, const struct cred *cred)
{
	return (struct backing_file_ctx) {
		.cred = cred,
		.end_write = fbpf_end_write_of,
	};
}

static inline ssize_t
fbpf_backing_splice_read(struct file *lower, struct file *file, loff_t *pos,
			 struct pipe_inode_info *pipe, size_t len,
			 unsigned int flags, struct backing_file_ctx *ctx)
{
	struct kiocb iocb;
	ssize_t ret;

	init_sync_kiocb(&iocb, file);
	iocb.ki_pos = *pos;
	ret = backing_file_splice_read(lower, &iocb, pipe, len, flags, ctx);
	*pos = iocb.ki_pos;
	return ret;
}

static inline ssize_t
fbpf_backing_splice_write(struct pipe_inode_info *pipe, struct file *lower,
			  struct file *file, loff_t *pos, size_t len,
			  unsigned int flags, struct backing_file_ctx *ctx)
{
	struct kiocb iocb;
	ssize_t ret;

	init_sync_kiocb(&iocb, file);
	iocb.ki_pos = *pos;
	ret = backing_file_splice_write(pipe, lower, &iocb, len, flags, ctx);
	*pos = iocb.ki_pos;
	return ret;
}

/* A file without content, for a mapping */
static inline struct file *fbpf_empty_file(void)
{
	return shmem_file_setup("empty", 0, mk_vma_flags(VMA_NORESERVE_BIT));
}

/* The length, or a negative errno */
static inline int fbpf_acl_to_xattr(const struct posix_acl *acl, void *buffer,
				    size_t size)
{
	size_t length;
	void *value;

	value = posix_acl_to_xattr(&init_user_ns, acl, &length, GFP_KERNEL);
	if (!value)
		return -ENOMEM;
	if (length <= size)
		memcpy(buffer, value, length);
	kfree(value);
	return length <= size ? length : -ERANGE;
}

#endif
