// SPDX-License-Identifier: GPL-2.0-only
/*
 * Extended attributes and ACLs, passed through. The VFS has checked the caller.
 *
 * Locking: the VFS holds the inode's i_rwsem for changes. Order as for
 * ->setattr.
 */
#include <linux/mm.h>
#include <linux/namei.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/sched/signal.h>
#include <linux/xattr.h>

#include "bpf_hooks.h"

/* A nosuid lower mount ignores these on execution; so must ours */
static bool fbpf_xattr_hidden(const struct fbpf_mount *fb, const char *name)
{
	return fb->nosuid && !strcmp(name, XATTR_NAME_CAPS);
}

int fbpf_getxattr_lower(struct dentry *dentry, const char *name, void *value,
			size_t size)
{
	const struct fbpf_mount *fb = fbpf_sb(dentry->d_sb);
	struct path lower = fbpf_lower_path(dentry);
	const struct cred *old;
	int ret;

	if (fbpf_xattr_hidden(fb, name))
		return -ENODATA;
	old = fbpf_enter(fb);
	ret = vfs_getxattr(fb->idmap, lower.dentry, name, value, size);
	fbpf_leave(old);
	return ret;
}

static int fbpf_xattr_get(const struct xattr_handler *handler,
			  struct dentry *dentry, struct inode *inode,
			  const char *name, void *buffer, size_t size)
{
	if (unlikely(!fuse_is_backed(inode)))
		return fuse_xattr_handlers[0]->get(handler, dentry, inode, name,
						   buffer, size);
	if (unlikely(fbpf_hooked(inode, FBPF_GETXATTR)))
		return fbpf_filter_getxattr(dentry, name, buffer, size);
	return fbpf_getxattr_lower(dentry, name, buffer, size);
}

/*
 * The VFS leaves system.* to the file system, as NFS has its ACLs there: below
 * it would be asked of us, not of the caller.
 */
static bool fbpf_may_set(const struct fbpf_mount *fb, struct inode *inode,
			 const char *name)
{
	if (!fb->cred || strncmp(name, XATTR_SYSTEM_PREFIX,
				 XATTR_SYSTEM_PREFIX_LEN))
		return true;
	return fbpf_is_owner(inode);
}

/* Without a value: take the attribute away */
int fbpf_setxattr_lower(struct dentry *dentry, const char *name,
			const void *value, size_t size, int flags)
{
	const struct fbpf_mount *fb = fbpf_sb(dentry->d_sb);
	struct path lower = fbpf_lower_path(dentry);
	const struct cred *old;
	int err;

	if (!fbpf_may_set(fb, d_inode(dentry), name))
		return -EPERM;
	err = mnt_want_write(lower.mnt);
	if (err)
		return err;
	old = fbpf_enter(fb);
	if (value)
		err = vfs_setxattr(fb->idmap, lower.dentry, name, value, size,
				   flags);
	else
		err = vfs_removexattr(fb->idmap, lower.dentry, name);
	fbpf_leave(old);
	mnt_drop_write(lower.mnt);
	fbpf_copy_attr(d_inode(dentry));
	return err;
}

static int fbpf_xattr_set(const struct xattr_handler *handler,
			  struct mnt_idmap *idmap, struct dentry *dentry,
			  struct inode *inode, const char *name,
			  const void *value, size_t size, int flags)
{
	if (unlikely(!fuse_is_backed(inode)))
		return fuse_xattr_handlers[0]->set(handler, idmap, dentry,
						   inode, name, value, size,
						   flags);
	if (value && unlikely(fbpf_hooked(inode, FBPF_SETXATTR)))
		return fbpf_filter_setxattr(dentry, name, value, size, flags);
	if (!value && unlikely(fbpf_hooked(inode, FBPF_REMOVEXATTR)))
		return fbpf_filter_removexattr(dentry, name);
	return fbpf_setxattr_lower(dentry, name, value, size, flags);
}

static const struct xattr_handler fbpf_xattr_handler = {
	.prefix	= "",
	.get	= fbpf_xattr_get,
	.set	= fbpf_xattr_set,
};

const struct xattr_handler * const fbpf_xattr_handlers[] = {
	&fbpf_xattr_handler,
	NULL
};

/* Take the names out that the caller may not know of; as the VFS does below */
static ssize_t fbpf_filter_names(char *list, ssize_t size)
{
	char *from = list, *to = list;

	while (from < list + size) {
		size_t rest = list + size - from;
		/* The last one may have no end, from a server's file system */
		size_t len = min(strnlen(from, rest) + 1, rest);

		if (rest < XATTR_TRUSTED_PREFIX_LEN ||
		    strncmp(from, XATTR_TRUSTED_PREFIX,
			    XATTR_TRUSTED_PREFIX_LEN)) {
			memmove(to, from, len);
			to += len;
		}
		from += len;
	}
	return to - list;
}

/*
 * The names of a caller who may not see all that the mount sees. They are all
 * read first: how much room they need shows only when the others are out.
 */
static ssize_t fbpf_list_some(struct dentry *lower, char *list, size_t size)
{
	ssize_t ret, room;
	char *names;

	do {
		room = vfs_listxattr(lower, NULL, 0);
		if (room <= 0)
			return room;
		/* As the VFS says to who has that much room */
		if (room > XATTR_LIST_MAX)
			return -E2BIG;
		names = kvmalloc(room, GFP_KERNEL);
		if (!names)
			return -ENOMEM;
		ret = vfs_listxattr(lower, names, room);
		if (ret > 0)
			ret = fbpf_filter_names(names, ret);
		if (ret > 0 && size && ret <= size)
			memcpy(list, names, ret);
		kvfree(names);
		/* One more was set meanwhile */
	} while (ret == -ERANGE && !fatal_signal_pending(current));
	return size && ret > (ssize_t)size ? -ERANGE : ret;
}

ssize_t fbpf_listxattr_lower(struct dentry *dentry, char *list, size_t size)
{
	const struct fbpf_mount *fb = fbpf_sb(dentry->d_sb);
	struct path lower = fbpf_lower_path(dentry);
	bool all = !fb->cred || ns_capable_noaudit(&init_user_ns,
						   CAP_SYS_ADMIN);
	const struct cred *old = fbpf_enter(fb);
	ssize_t ret;

	ret = all ? vfs_listxattr(lower.dentry, list, size) :
		    fbpf_list_some(lower.dentry, list, size);
	fbpf_leave(old);
	return ret;
}

ssize_t fbpf_listxattr(struct dentry *dentry, char *list, size_t size)
{
	if (unlikely(fbpf_hooked(d_inode(dentry), FBPF_LISTXATTR)))
		return fbpf_filter_listxattr(dentry, list, size);
	return fbpf_listxattr_lower(dentry, list, size);
}

/*
 * An ACL as an idmapped lower mount shows it, in a copy: the one that was read
 * is the lower inode's cached one. Consumes @acl.
 */
static struct posix_acl *fbpf_map_acl(const struct fbpf_mount *fb,
				      const struct inode *lower,
				      struct posix_acl *acl)
{
	struct user_namespace *ns = i_user_ns(lower);
	struct posix_acl *mapped;
	struct posix_acl_entry *e;

	mapped = posix_acl_clone(acl, GFP_KERNEL);
	posix_acl_release(acl);
	if (!mapped)
		return ERR_PTR(-ENOMEM);
	for (e = mapped->a_entries; e < mapped->a_entries + mapped->a_count; e++) {
		if (e->e_tag == ACL_USER)
			e->e_uid = vfsuid_into_kuid(make_vfsuid(fb->idmap, ns,
								e->e_uid));
		else if (e->e_tag == ACL_GROUP)
			e->e_gid = vfsgid_into_kgid(make_vfsgid(fb->idmap, ns,
								e->e_gid));
	}
	return mapped;
}

struct posix_acl *fbpf_get_acl_lower(struct dentry *dentry, int type)
{
	const struct fbpf_mount *fb = fbpf_sb(dentry->d_sb);
	struct path lower = fbpf_lower_path(dentry);
	const struct cred *old;
	struct posix_acl *acl;

	old = fbpf_enter(fb);
	acl = vfs_get_acl(fb->idmap, lower.dentry, posix_acl_xattr_name(type));
	fbpf_leave(old);
	if (!IS_ERR_OR_NULL(acl) && unlikely(is_idmapped_mnt(fb->mnt)))
		acl = fbpf_map_acl(fb, d_inode(lower.dentry), acl);
	return acl;
}

struct posix_acl *fbpf_get_acl(struct mnt_idmap *idmap, struct dentry *dentry,
			       int type)
{
	if (unlikely(fbpf_hooked(d_inode(dentry), FBPF_GETXATTR)))
		return fbpf_filter_get_acl(dentry, type);
	return fbpf_get_acl_lower(dentry, type);
}

/* The mount's capabilities would keep a set-group-id bit below */
bool fbpf_acl_kills_sgid(struct inode *inode, int type)
{
	/* Of a nosuid lower mount ours does not show it */
	return fbpf_lower_inode(inode)->i_mode & S_ISGID &&
	       type == ACL_TYPE_ACCESS &&
	       !in_group_p(inode->i_gid) &&
	       !capable_wrt_inode_uidgid(&nop_mnt_idmap, inode, CAP_FSETID);
}

int fbpf_set_acl_lower(struct dentry *dentry, struct posix_acl *acl, int type,
		       bool kill_sgid)
{
	const struct fbpf_mount *fb = fbpf_sb(dentry->d_sb);
	struct path lower = fbpf_lower_path(dentry);
	const struct cred *old;
	int err;

	if (kill_sgid) {
		struct iattr attr = { .ia_valid = ATTR_KILL_SGID };

		err = fbpf_setattr_lower(dentry, &attr);
		if (err)
			return err;
	}

	err = mnt_want_write(lower.mnt);
	if (err)
		return err;
	old = fbpf_enter(fb);
	if (acl)
		err = vfs_set_acl(fb->idmap, lower.dentry,
				  posix_acl_xattr_name(type), acl);
	else
		err = vfs_remove_acl(fb->idmap, lower.dentry,
				     posix_acl_xattr_name(type));
	fbpf_leave(old);
	mnt_drop_write(lower.mnt);
	fbpf_copy_attr(d_inode(dentry));
	return err;
}

int fbpf_set_acl(struct mnt_idmap *idmap, struct dentry *dentry,
		 struct posix_acl *acl, int type)
{
	/* The VFS has asked the copy, which no path walk need have refreshed */
	if (!fbpf_is_owner(d_inode(dentry)))
		return -EPERM;
	if (unlikely(fbpf_hooked(d_inode(dentry),
				 acl ? FBPF_SETXATTR : FBPF_REMOVEXATTR)))
		return fbpf_filter_set_acl(dentry, acl, type);
	return fbpf_set_acl_lower(dentry, acl, type,
				  fbpf_acl_kills_sgid(d_inode(dentry), type));
}
