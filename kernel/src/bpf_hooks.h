/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Operations with filters, for those who found a filter attached: each is done
 * as its namesake without one, between prefilter and postfilter.
 */
#ifndef _FS_FUSE_BPF_HOOKS_H
#define _FS_FUSE_BPF_HOOKS_H

#include "bpf.h"

/* bpf_namei_hooks.c */
int fbpf_filter_mknod(struct inode *dir, struct dentry *dentry, umode_t mode,
		      dev_t rdev);
int fbpf_filter_mkdir(struct inode *dir, struct dentry *dentry, umode_t mode);
int fbpf_filter_symlink(struct inode *dir, struct dentry *dentry,
			const char *target);
int fbpf_filter_link(struct dentry *old, struct inode *dir,
		     struct dentry *dentry);
int fbpf_filter_unlink(struct inode *dir, struct dentry *dentry);
int fbpf_filter_rmdir(struct inode *dir, struct dentry *dentry);
int fbpf_filter_rename(struct inode *old_dir, struct dentry *old,
		       struct inode *new_dir, struct dentry *new,
		       unsigned int flags);

static inline enum fbpf_hook fbpf_rename_hook(unsigned int flags)
{
#ifndef FUSEBPF_MODULE
	if (!flags)
		return FBPF_RENAME;
#endif
	return FBPF_RENAME2;
}

/* bpf_attr_hooks.c */
int fbpf_filter_permission(struct inode *inode, int mask);
int fbpf_filter_getattr(const struct path *path, struct kstat *stat,
			u32 request_mask, unsigned int flags);
int fbpf_filter_setattr(struct dentry *dentry, struct iattr *attr);
int fbpf_filter_statfs(struct dentry *dentry, struct kstatfs *buf);
const char *fbpf_filter_get_link(struct dentry *dentry, struct inode *inode,
				 struct delayed_call *done);

/* bpf_rw_hooks.c */
ssize_t fbpf_filter_read(struct kiocb *iocb, struct iov_iter *iter);
ssize_t fbpf_filter_write(struct kiocb *iocb, struct iov_iter *iter);
ssize_t fbpf_filter_splice_write(struct pipe_inode_info *pipe,
				 struct file *file, loff_t *ppos, size_t len,
				 unsigned int flags);

/* bpf_io_hooks.c */
loff_t fbpf_filter_llseek(struct file *file, loff_t offset, int whence);
int fbpf_filter_fsync(struct file *file, loff_t start, loff_t end,
		      int datasync);
int fbpf_filter_flush(struct file *file, fl_owner_t id);
long fbpf_filter_fallocate(struct file *file, int mode, loff_t offset,
			   loff_t len);

/* bpf_copy_hooks.c */
ssize_t fbpf_filter_copy(struct file *in, loff_t pos_in, struct file *out,
			 loff_t pos_out, size_t len, unsigned int flags);
loff_t fbpf_filter_remap(struct file *in, loff_t pos_in, struct file *out,
			 loff_t pos_out, loff_t len, unsigned int flags);

/* bpf_xattr_hooks.c */
int fbpf_filter_getxattr(struct dentry *dentry, const char *name, void *value,
			 size_t size);
int fbpf_filter_setxattr(struct dentry *dentry, const char *name,
			 const void *value, size_t size, int flags);
int fbpf_filter_removexattr(struct dentry *dentry, const char *name);
ssize_t fbpf_filter_listxattr(struct dentry *dentry, char *list, size_t size);
struct posix_acl *fbpf_filter_get_acl(struct dentry *dentry, int type);
int fbpf_filter_set_acl(struct dentry *dentry, struct posix_acl *acl, int type);

#endif
