// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filters of extended attributes and ACLs: GETXATTR, LISTXATTR, SETXATTR and
 * REMOVEXATTR. An ACL is the attribute system.posix_acl_access or
 * system.posix_acl_default, in the form of the system calls, with ids of the
 * initial user namespace.
 *
 * Values that a filter sees pass through memory of the operation's, so that it can
 * make them as long as an attribute may be.
 *
 * Locking: as of the operations without filters.
 */
#include <linux/mm.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/slab.h>
#include <linux/xattr.h>

#include "bpf_hooks.h"
#include "bpf_op.h"

/**
 * struct fbpf_xattr_call - one attribute, or the list of their names
 * @dentry: upper dentry
 * @name: attribute, NULL for the list
 * @type: ACL_TYPE_* of an ACL
 * @acl: ACL to set, or the one found
 * @value: memory for, or with, the value
 * @size: bytes of it, 0 to ask for the length only
 * @flags: XATTR_CREATE, XATTR_REPLACE
 * @ret: length of what was found
 * @through: it is in @value already: nobody looked at it
 */
struct fbpf_xattr_call {
	struct dentry *dentry;
	const char *name;
	int type;
	struct posix_acl *acl;
	void *value;
	size_t size;
	int flags;
	ssize_t ret;
	bool through;
};

static struct qstr fbpf_cstr(const char *name)
{
	return (struct qstr)QSTR_INIT(name, strlen(name));
}

static ssize_t fbpf_fetch(struct fbpf_xattr_call *call, const char *name,
			  void *value, size_t size)
{
	if (!name)
		return fbpf_listxattr_lower(call->dentry, value, size);
	return fbpf_getxattr_lower(call->dentry, name, value, size);
}

static int fbpf_getxattr_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_xattr_call *call = data;

	op->in.getxattr.size = min_t(size_t, call->size, XATTR_SIZE_MAX);
	if (call->name) {
		struct qstr name = fbpf_cstr(call->name);

		fbpf_set_name(op, &name, true);
	}
	return 0;
}

/* What is there, in memory that the postfilter may change */
static int fbpf_getxattr_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_xattr_call *call = data;
	const char *name = call->name ? fbpf_get_name(op).name : NULL;
	u32 size = min_t(u32, op->in.getxattr.size, XATTR_SIZE_MAX);
	ssize_t ret;
	int err;

	if (!op->post && size == call->size) {
		call->through = true;
		call->ret = fbpf_fetch(call, name, call->value, size);
		return min_t(ssize_t, call->ret, 0);
	}
	err = fbpf_set_value(op, NULL, 0, XATTR_SIZE_MAX);
	if (err)
		return err;
	ret = fbpf_fetch(call, name, size ? op->value_data : NULL, size);
	if (ret < 0)
		return ret;
	op->out.getxattr.size = ret;
	if (size)
		op->value.size = ret;
	else
		op->value.max_size = 0;
	return 0;
}

/* The list is names that end with NUL */
static bool fbpf_bad_list(const struct fuse_buffer *value)
{
	return value->size && ((const char *)value->data)[value->size - 1];
}

static int fbpf_getxattr_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_xattr_call *call = data;
	u32 size = min_t(u32, op->value.size, XATTR_SIZE_MAX);

	if (err || call->through)
		return err;
	/* A length alone was asked for, and a length is there */
	if (!call->size && !op->in.getxattr.size) {
		call->ret = min_t(u32, op->out.getxattr.size, XATTR_SIZE_MAX);
		return 0;
	}
	if (!call->name && fbpf_bad_list(&op->value))
		return -EIO;
	if (call->size) {
		if (size > call->size)
			return -ERANGE;
		memcpy(call->value, op->value.data, size);
	}
	call->ret = size;
	return 0;
}

FBPF_PRE(getxattr, &op->in.getxattr, &op->name)
FBPF_POST(getxattr, &op->in.getxattr, &op->name, &op->value, &op->out.getxattr)
FBPF_PRE(listxattr, &op->in.getxattr)
FBPF_POST(listxattr, &op->in.getxattr, &op->value, &op->out.getxattr)

static int fbpf_getxattr_user(void *data)
{
	struct fbpf_xattr_call *call = data;

	if (call->name)
		call->ret = fuse_xattr_handlers[0]->get(fuse_xattr_handlers[0],
							call->dentry,
							d_inode(call->dentry),
							call->name, call->value,
							call->size);
	else
		call->ret = fuse_listxattr(call->dentry, call->value,
					   call->size);
	return min_t(ssize_t, call->ret, 0);
}

static const struct fbpf_desc fbpf_getxattr_desc = {
	.hook		= FBPF_GETXATTR,
	.opcode		= FUSE_GETXATTR,
	.prepare	= fbpf_getxattr_prepare,
	.user		= fbpf_getxattr_user,
	.backing	= fbpf_getxattr_backing,
	FBPF_PAIR(getxattr),
	.finish		= fbpf_getxattr_finish,
};

static const struct fbpf_desc fbpf_listxattr_desc = {
	.hook		= FBPF_LISTXATTR,
	.opcode		= FUSE_LISTXATTR,
	.prepare	= fbpf_getxattr_prepare,
	.user		= fbpf_getxattr_user,
	.backing	= fbpf_getxattr_backing,
	FBPF_PAIR(listxattr),
	.finish		= fbpf_getxattr_finish,
};

int fbpf_filter_getxattr(struct dentry *dentry, const char *name, void *value,
			 size_t size)
{
	struct fbpf_xattr_call call = {
		.dentry = dentry,
		.name = name,
		.value = value,
		.size = value ? size : 0,
	};
	int err = fbpf_filter(&fbpf_getxattr_desc, d_inode(dentry), &call);

	return err ?: call.ret;
}

ssize_t fbpf_filter_listxattr(struct dentry *dentry, char *list, size_t size)
{
	struct fbpf_xattr_call call = {
		.dentry = dentry,
		.value = list,
		.size = list ? size : 0,
	};
	int err = fbpf_filter(&fbpf_listxattr_desc, d_inode(dentry), &call);

	return err ?: call.ret;
}

/* For SETXATTR and REMOVEXATTR: the value is in the call, or there is none */
static int fbpf_setxattr_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_xattr_call *call = data;
	struct qstr name = fbpf_cstr(call->name);

	fbpf_set_name(op, &name, true);
	if (!call->value)
		return 0;
	op->in.setxattr.size = call->size;
	op->in.setxattr.flags = call->flags;
	return fbpf_set_value(op, call->value, call->size, XATTR_SIZE_MAX);
}

/* The length that the filter set: of the buffer, or the number beside it */
static u32 fbpf_value_size(const struct fbpf_op *op,
			   const struct fbpf_xattr_call *call)
{
	u32 size = op->in.setxattr.size;

	if (size == call->size)
		size = op->value.size;
	return min_t(u32, size, XATTR_SIZE_MAX);
}

static int fbpf_setxattr_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_xattr_call *call = data;
	u32 flags = op->in.setxattr.flags;

	if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	return fbpf_setxattr_lower(call->dentry, fbpf_get_name(op).name,
				   op->value.data, fbpf_value_size(op, call),
				   flags);
}

static int fbpf_removexattr_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_xattr_call *call = data;

	return fbpf_setxattr_lower(call->dentry, fbpf_get_name(op).name, NULL,
				   0, XATTR_REPLACE);
}

FBPF_PRE(setxattr, &op->in.setxattr, &op->name, &op->value)
FBPF_POST(setxattr, &op->in.setxattr, &op->name, &op->value)
FBPF_PRE(removexattr, &op->name)
FBPF_POST(removexattr, &op->name)

static int fbpf_setxattr_user(void *data)
{
	struct fbpf_xattr_call *call = data;

	return fuse_xattr_handlers[0]->set(fuse_xattr_handlers[0],
					   &nop_mnt_idmap, call->dentry,
					   d_inode(call->dentry), call->name,
					   call->value, call->size,
					   call->value ? call->flags :
							 XATTR_REPLACE);
}

static const struct fbpf_desc fbpf_setxattr_desc = {
	.hook		= FBPF_SETXATTR,
	.opcode		= FUSE_SETXATTR,
	.may_clear	= true,
	.prepare	= fbpf_setxattr_prepare,
	.user		= fbpf_setxattr_user,
	.backing	= fbpf_setxattr_backing,
	FBPF_PAIR(setxattr),
};

static const struct fbpf_desc fbpf_removexattr_desc = {
	.hook		= FBPF_REMOVEXATTR,
	.opcode		= FUSE_REMOVEXATTR,
	.may_clear	= true,
	.prepare	= fbpf_setxattr_prepare,
	.user		= fbpf_setxattr_user,
	.backing	= fbpf_removexattr_backing,
	FBPF_PAIR(removexattr),
};

int fbpf_filter_setxattr(struct dentry *dentry, const char *name,
			 const void *value, size_t size, int flags)
{
	struct fbpf_xattr_call call = {
		.dentry = dentry,
		.name = name,
		.value = (void *)value,
		.size = size,
		.flags = flags,
	};

	return fbpf_filter(&fbpf_setxattr_desc, d_inode(dentry), &call);
}

int fbpf_filter_removexattr(struct dentry *dentry, const char *name)
{
	struct fbpf_xattr_call call = { .dentry = dentry, .name = name };

	return fbpf_filter(&fbpf_removexattr_desc, d_inode(dentry), &call);
}

/* The kind of ACL that a name stands for, after a filter changed it */
static int fbpf_acl_type(struct fbpf_op *op)
{
	const char *name = fbpf_get_name(op).name;

	if (!strcmp(name, XATTR_NAME_POSIX_ACL_ACCESS))
		return ACL_TYPE_ACCESS;
	if (!strcmp(name, XATTR_NAME_POSIX_ACL_DEFAULT))
		return ACL_TYPE_DEFAULT;
	return -EOPNOTSUPP;
}

static int fbpf_get_acl_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_xattr_call *call = data;
	int type = fbpf_acl_type(op);
	int ret;

	if (type < 0)
		return type;
	if (op->post) {
		ret = fbpf_set_value(op, NULL, 0, XATTR_SIZE_MAX);
		if (ret)
			return ret;
	}
	call->acl = fbpf_get_acl_lower(call->dentry, type);
	if (IS_ERR_OR_NULL(call->acl) || !op->post)
		return PTR_ERR_OR_ZERO(call->acl);
	ret = fbpf_acl_to_xattr(call->acl, op->value_data, XATTR_SIZE_MAX);
	if (ret < 0)
		return ret;
	op->value.size = ret;
	op->out.getxattr.size = ret;
	return 0;
}

static int fbpf_get_acl_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_xattr_call *call = data;

	if (err || op->value.flags & BPF_FUSE_MODIFIED) {
		if (!IS_ERR_OR_NULL(call->acl))
			posix_acl_release(call->acl);
		call->acl = NULL;
	}
	if (err || !(op->value.flags & BPF_FUSE_MODIFIED) || !op->value.size)
		return err;
	call->acl = posix_acl_from_xattr(&init_user_ns, op->value.data,
					 op->value.size);
	return PTR_ERR_OR_ZERO(call->acl);
}

static int fbpf_get_acl_user(void *data)
{
	struct fbpf_xattr_call *call = data;

	call->acl = fuse_common_inode_operations.get_acl(&nop_mnt_idmap,
							 call->dentry,
							 call->type);
	return PTR_ERR_OR_ZERO(call->acl);
}

static const struct fbpf_desc fbpf_get_acl_desc = {
	.hook		= FBPF_GETXATTR,
	.opcode		= FUSE_GETXATTR,
	.prepare	= fbpf_getxattr_prepare,
	.user		= fbpf_get_acl_user,
	.backing	= fbpf_get_acl_backing,
	FBPF_PAIR(getxattr),
	.finish		= fbpf_get_acl_finish,
};

struct posix_acl *fbpf_filter_get_acl(struct dentry *dentry, int type)
{
	struct fbpf_xattr_call call = {
		.dentry = dentry,
		.name = posix_acl_xattr_name(type),
		.type = type,
		.size = XATTR_SIZE_MAX,
	};
	int err = fbpf_filter(&fbpf_get_acl_desc, d_inode(dentry), &call);

	return err ? ERR_PTR(err) : call.acl;
}

static int fbpf_set_acl_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_xattr_call *call = data;
	int err = fbpf_setxattr_prepare(op, call);

	if (!err && fbpf_acl_kills_sgid(d_inode(call->dentry), call->type))
		op->in.setxattr.setxattr_flags = FUSE_SETXATTR_ACL_KILL_SGID;
	return err;
}

static int fbpf_set_acl_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_xattr_call *call = data;
	int type = fbpf_acl_type(op);
	u32 size = fbpf_value_size(op, call);
	struct posix_acl *acl = NULL;
	int err;

	if (type < 0)
		return type;
	if (size)
		acl = posix_acl_from_xattr(&init_user_ns, op->value.data, size);
	if (IS_ERR(acl))
		return PTR_ERR(acl);
	err = fbpf_set_acl_lower(call->dentry, acl, type,
				 fbpf_acl_kills_sgid(d_inode(call->dentry),
						     type));
	posix_acl_release(acl);
	return err;
}

static int fbpf_remove_acl_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_xattr_call *call = data;
	int type = fbpf_acl_type(op);

	if (type < 0)
		return type;
	return fbpf_set_acl_lower(call->dentry, NULL, type,
				  fbpf_acl_kills_sgid(d_inode(call->dentry),
						      type));
}

static int fbpf_set_acl_user(void *data)
{
	struct fbpf_xattr_call *call = data;

	return fuse_common_inode_operations.set_acl(&nop_mnt_idmap, call->dentry,
						    call->acl, call->type);
}

static const struct fbpf_desc fbpf_set_acl_desc = {
	.hook		= FBPF_SETXATTR,
	.opcode		= FUSE_SETXATTR,
	.may_clear	= true,
	.prepare	= fbpf_set_acl_prepare,
	.user		= fbpf_set_acl_user,
	.backing	= fbpf_set_acl_backing,
	FBPF_PAIR(setxattr),
};

static const struct fbpf_desc fbpf_remove_acl_desc = {
	.hook		= FBPF_REMOVEXATTR,
	.opcode		= FUSE_REMOVEXATTR,
	.may_clear	= true,
	.prepare	= fbpf_setxattr_prepare,
	.user		= fbpf_set_acl_user,
	.backing	= fbpf_remove_acl_backing,
	FBPF_PAIR(removexattr),
};

int fbpf_filter_set_acl(struct dentry *dentry, struct posix_acl *acl, int type)
{
	struct fbpf_xattr_call call = {
		.dentry = dentry,
		.name = posix_acl_xattr_name(type),
		.type = type,
		.acl = acl,
	};
	int ret;

	if (!acl)
		return fbpf_filter(&fbpf_remove_acl_desc, d_inode(dentry),
				   &call);

	call.value = kvmalloc(XATTR_SIZE_MAX, GFP_KERNEL);
	if (!call.value)
		return -ENOMEM;
	ret = fbpf_acl_to_xattr(acl, call.value, XATTR_SIZE_MAX);
	if (ret >= 0) {
		call.size = ret;
		ret = fbpf_filter(&fbpf_set_acl_desc, d_inode(dentry), &call);
	}
	kvfree(call.value);
	return ret;
}
