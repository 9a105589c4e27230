// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the verifier asks us: which members can be attached, what a program may
 * read and write.
 *
 * The type of an argument is known by its place: for every served member a
 * table says which arguments are structs that the program may write. Their BTF
 * ids are noted when the program loads the pointer from its context, which the
 * verifier always sees before a store through it. The remaining structs are
 * marked MEM_RDONLY, so that the id alone never makes one writable.
 */
#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/filter.h>
#include <linux/moduleparam.h>
#include <linux/sysfs.h>

#include "bpf.h"

enum fbpf_arg {
	FBPF_ARG_END,
	FBPF_ARG_BUFFER,	/* for kfuncs only */
	FBPF_ARG_RO,
	FBPF_ARG_OPEN_IN,	/* the remaining ones are writable */
	FBPF_ARG_CREATE_IN,
	FBPF_ARG_RELEASE_IN,
	FBPF_ARG_FLUSH_IN,
	FBPF_ARG_LSEEK_IN,
	FBPF_ARG_COPY_FILE_RANGE_IN,
	FBPF_ARG_FSYNC_IN,
	FBPF_ARG_GETXATTR_IN,
	FBPF_ARG_SETXATTR_IN,
	FBPF_ARG_READ_IN,
	FBPF_ARG_WRITE_IN,
	FBPF_ARG_FALLOCATE_IN,
	FBPF_ARG_MKNOD_IN,
	FBPF_ARG_MKDIR_IN,
	FBPF_ARG_RENAME2_IN,
	FBPF_ARG_RENAME_IN,
	FBPF_ARG_LINK_IN,
	FBPF_ARG_GETATTR_IN,
	FBPF_ARG_SETATTR_IN,
	FBPF_ARG_ACCESS_IN,
	FBPF_ARG_ENTRY_OUT,
	FBPF_ARG_OPEN_OUT,
	FBPF_ARG_ATTR_OUT,
	FBPF_ARG_STATFS_OUT,
	FBPF_ARG_LSEEK_OUT,
	FBPF_ARG_WRITE_OUT,
	FBPF_ARG_GETXATTR_OUT,
	FBPF_ARG_READ_OUT,
	FBPF_ARG_READ_ITER_OUT,
	FBPF_ARG_WRITE_ITER_OUT,
	FBPF_NR_ARGS,
};

#define FBPF_ARG_SIZE(id, name)						\
	[FBPF_ARG_##id] = sizeof(struct fuse_##name)

static const u16 fbpf_arg_size[FBPF_NR_ARGS] = {
	FBPF_ARG_SIZE(OPEN_IN, open_in),
	FBPF_ARG_SIZE(CREATE_IN, create_in),
	FBPF_ARG_SIZE(RELEASE_IN, release_in),
	FBPF_ARG_SIZE(FLUSH_IN, flush_in),
	FBPF_ARG_SIZE(LSEEK_IN, lseek_in),
	FBPF_ARG_SIZE(COPY_FILE_RANGE_IN, copy_file_range_in),
	FBPF_ARG_SIZE(FSYNC_IN, fsync_in),
	FBPF_ARG_SIZE(GETXATTR_IN, getxattr_in),
	FBPF_ARG_SIZE(SETXATTR_IN, setxattr_in),
	FBPF_ARG_SIZE(READ_IN, read_in),
	FBPF_ARG_SIZE(WRITE_IN, write_in),
	FBPF_ARG_SIZE(FALLOCATE_IN, fallocate_in),
	FBPF_ARG_SIZE(MKNOD_IN, mknod_in),
	FBPF_ARG_SIZE(MKDIR_IN, mkdir_in),
	FBPF_ARG_SIZE(RENAME2_IN, rename2_in),
	FBPF_ARG_SIZE(RENAME_IN, rename_in),
	FBPF_ARG_SIZE(LINK_IN, link_in),
	FBPF_ARG_SIZE(GETATTR_IN, getattr_in),
	FBPF_ARG_SIZE(SETATTR_IN, setattr_in),
	FBPF_ARG_SIZE(ACCESS_IN, access_in),
	FBPF_ARG_SIZE(ENTRY_OUT, entry_out),
	FBPF_ARG_SIZE(OPEN_OUT, open_out),
	FBPF_ARG_SIZE(ATTR_OUT, attr_out),
	FBPF_ARG_SIZE(STATFS_OUT, statfs_out),
	FBPF_ARG_SIZE(LSEEK_OUT, lseek_out),
	FBPF_ARG_SIZE(WRITE_OUT, write_out),
	FBPF_ARG_SIZE(GETXATTR_OUT, getxattr_out),
	FBPF_ARG_SIZE(READ_OUT, read_out),
	FBPF_ARG_SIZE(READ_ITER_OUT, read_iter_out),
	FBPF_ARG_SIZE(WRITE_ITER_OUT, write_iter_out),
};

/* BTF ids of the writable structs, 0 until a program took one. Constant then. */
static u32 fbpf_arg_id[FBPF_NR_ARGS];

/* The module's BTF, to which they belong */
static const struct btf *fbpf_btf;

#define FBPF_MAX_ARGS	4

/* Arguments after meta */
struct fbpf_member {
	const char *name;
	u16 off;
	u8 args[FBPF_MAX_ARGS];
};

#define FBPF_MEMBER(name, ...)						\
	{ #name, offsetof(struct fuse_ops, name), { __VA_ARGS__ } }

static const struct fbpf_member fbpf_members[] = {
	FBPF_MEMBER(default_filter, FBPF_ARG_END),
	FBPF_MEMBER(open_prefilter, FBPF_ARG_OPEN_IN),
	FBPF_MEMBER(open_postfilter, FBPF_ARG_RO, FBPF_ARG_OPEN_OUT),
	FBPF_MEMBER(opendir_prefilter, FBPF_ARG_OPEN_IN),
	FBPF_MEMBER(opendir_postfilter, FBPF_ARG_RO, FBPF_ARG_OPEN_OUT),
	FBPF_MEMBER(create_open_prefilter, FBPF_ARG_CREATE_IN, FBPF_ARG_BUFFER),
	FBPF_MEMBER(create_open_postfilter, FBPF_ARG_RO, FBPF_ARG_BUFFER,
		    FBPF_ARG_ENTRY_OUT, FBPF_ARG_OPEN_OUT),
	FBPF_MEMBER(release_prefilter, FBPF_ARG_RELEASE_IN),
	FBPF_MEMBER(release_postfilter, FBPF_ARG_RO),
	FBPF_MEMBER(releasedir_prefilter, FBPF_ARG_RELEASE_IN),
	FBPF_MEMBER(releasedir_postfilter, FBPF_ARG_RO),
	FBPF_MEMBER(flush_prefilter, FBPF_ARG_FLUSH_IN),
	FBPF_MEMBER(flush_postfilter, FBPF_ARG_RO),
	FBPF_MEMBER(lseek_prefilter, FBPF_ARG_LSEEK_IN),
	FBPF_MEMBER(lseek_postfilter, FBPF_ARG_RO, FBPF_ARG_LSEEK_OUT),
	FBPF_MEMBER(copy_file_range_prefilter, FBPF_ARG_COPY_FILE_RANGE_IN),
	FBPF_MEMBER(copy_file_range_postfilter, FBPF_ARG_RO,
		    FBPF_ARG_WRITE_OUT),
	FBPF_MEMBER(fsync_prefilter, FBPF_ARG_FSYNC_IN),
	FBPF_MEMBER(fsync_postfilter, FBPF_ARG_RO),
#ifndef FBPF_NO_FSYNCDIR
	FBPF_MEMBER(dir_fsync_prefilter, FBPF_ARG_FSYNC_IN),
	FBPF_MEMBER(dir_fsync_postfilter, FBPF_ARG_RO),
#endif
	FBPF_MEMBER(getxattr_prefilter, FBPF_ARG_GETXATTR_IN, FBPF_ARG_BUFFER),
	FBPF_MEMBER(getxattr_postfilter, FBPF_ARG_RO, FBPF_ARG_BUFFER,
		    FBPF_ARG_BUFFER, FBPF_ARG_GETXATTR_OUT),
	FBPF_MEMBER(listxattr_prefilter, FBPF_ARG_GETXATTR_IN),
	FBPF_MEMBER(listxattr_postfilter, FBPF_ARG_RO, FBPF_ARG_BUFFER,
		    FBPF_ARG_GETXATTR_OUT),
	FBPF_MEMBER(setxattr_prefilter, FBPF_ARG_SETXATTR_IN, FBPF_ARG_BUFFER,
		    FBPF_ARG_BUFFER),
	FBPF_MEMBER(setxattr_postfilter, FBPF_ARG_RO, FBPF_ARG_BUFFER,
		    FBPF_ARG_BUFFER),
	FBPF_MEMBER(removexattr_prefilter, FBPF_ARG_BUFFER),
	FBPF_MEMBER(removexattr_postfilter, FBPF_ARG_BUFFER),
	FBPF_MEMBER(read_iter_prefilter, FBPF_ARG_READ_IN),
	FBPF_MEMBER(read_iter_postfilter, FBPF_ARG_RO, FBPF_ARG_READ_ITER_OUT),
	FBPF_MEMBER(write_iter_prefilter, FBPF_ARG_WRITE_IN),
	FBPF_MEMBER(write_iter_postfilter, FBPF_ARG_RO,
		    FBPF_ARG_WRITE_ITER_OUT),
	FBPF_MEMBER(file_fallocate_prefilter, FBPF_ARG_FALLOCATE_IN),
	FBPF_MEMBER(file_fallocate_postfilter, FBPF_ARG_RO),
	FBPF_MEMBER(lookup_prefilter, FBPF_ARG_BUFFER),
	FBPF_MEMBER(lookup_postfilter, FBPF_ARG_BUFFER, FBPF_ARG_ENTRY_OUT,
		    FBPF_ARG_BUFFER),
	FBPF_MEMBER(mknod_prefilter, FBPF_ARG_MKNOD_IN, FBPF_ARG_BUFFER),
	FBPF_MEMBER(mknod_postfilter, FBPF_ARG_RO, FBPF_ARG_BUFFER),
	FBPF_MEMBER(mkdir_prefilter, FBPF_ARG_MKDIR_IN, FBPF_ARG_BUFFER),
	FBPF_MEMBER(mkdir_postfilter, FBPF_ARG_RO, FBPF_ARG_BUFFER),
	FBPF_MEMBER(rmdir_prefilter, FBPF_ARG_BUFFER),
	FBPF_MEMBER(rmdir_postfilter, FBPF_ARG_BUFFER),
	FBPF_MEMBER(rename2_prefilter, FBPF_ARG_RENAME2_IN, FBPF_ARG_BUFFER,
		    FBPF_ARG_BUFFER),
	FBPF_MEMBER(rename2_postfilter, FBPF_ARG_RO, FBPF_ARG_BUFFER,
		    FBPF_ARG_BUFFER),
#ifndef FUSEBPF_MODULE
	FBPF_MEMBER(rename_prefilter, FBPF_ARG_RENAME_IN, FBPF_ARG_BUFFER,
		    FBPF_ARG_BUFFER),
	FBPF_MEMBER(rename_postfilter, FBPF_ARG_RO, FBPF_ARG_BUFFER,
		    FBPF_ARG_BUFFER),
#endif
	FBPF_MEMBER(unlink_prefilter, FBPF_ARG_BUFFER),
	FBPF_MEMBER(unlink_postfilter, FBPF_ARG_BUFFER),
	FBPF_MEMBER(link_prefilter, FBPF_ARG_LINK_IN, FBPF_ARG_BUFFER),
	FBPF_MEMBER(link_postfilter, FBPF_ARG_RO, FBPF_ARG_BUFFER),
	FBPF_MEMBER(getattr_prefilter, FBPF_ARG_GETATTR_IN),
	FBPF_MEMBER(getattr_postfilter, FBPF_ARG_RO, FBPF_ARG_ATTR_OUT),
	FBPF_MEMBER(setattr_prefilter, FBPF_ARG_SETATTR_IN),
	FBPF_MEMBER(setattr_postfilter, FBPF_ARG_RO, FBPF_ARG_ATTR_OUT),
	FBPF_MEMBER(statfs_prefilter, FBPF_ARG_END),
	FBPF_MEMBER(statfs_postfilter, FBPF_ARG_STATFS_OUT),
	FBPF_MEMBER(get_link_prefilter, FBPF_ARG_BUFFER),
	FBPF_MEMBER(get_link_postfilter, FBPF_ARG_BUFFER),
	FBPF_MEMBER(symlink_prefilter, FBPF_ARG_BUFFER, FBPF_ARG_BUFFER),
	FBPF_MEMBER(symlink_postfilter, FBPF_ARG_BUFFER, FBPF_ARG_BUFFER),
	FBPF_MEMBER(readdir_prefilter, FBPF_ARG_READ_IN),
	FBPF_MEMBER(readdir_postfilter, FBPF_ARG_RO, FBPF_ARG_READ_OUT,
		    FBPF_ARG_BUFFER),
	FBPF_MEMBER(access_prefilter, FBPF_ARG_ACCESS_IN),
	FBPF_MEMBER(access_postfilter, FBPF_ARG_RO),
};

/* /sys/module/fusebpf/parameters/hooks: what a loader can tell its user */
static int fbpf_get_hooks(char *buf, const struct kernel_param *kp)
{
	int len = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(fbpf_members); i++)
		len += sysfs_emit_at(buf, len, "%s%s", i ? "," : "",
				     fbpf_members[i].name);
	return len + sysfs_emit_at(buf, len, "\n");
}

static int fbpf_set_hooks(const char *val, const struct kernel_param *kp)
{
	return -EPERM;
}

static const struct kernel_param_ops fbpf_hooks_ops = {
	.set = fbpf_set_hooks,
	.get = fbpf_get_hooks,
};

module_param_cb(hooks, &fbpf_hooks_ops, NULL, 0444);
MODULE_PARM_DESC(hooks, "filter hooks that are served, read-only");

static const struct fbpf_member *fbpf_find_member(u32 off)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(fbpf_members); i++)
		if (fbpf_members[i].off == off)
			return &fbpf_members[i];
	return NULL;
}

/* Called by the core once it found the type */
int fbpf_verify_init(struct btf *btf)
{
	fbpf_btf = btf;
	return 0;
}

/* Are filters run for the member of struct fuse_ops at @off? */
bool fbpf_member_served(u32 off)
{
	return fbpf_find_member(off);
}

static bool fbpf_is_valid_access(int off, int size, enum bpf_access_type type,
				 const struct bpf_prog *prog,
				 struct bpf_insn_access_aux *info)
{
	const struct fbpf_member *member;
	u32 arg = off / sizeof(u64);
	u8 kind;

	if (!bpf_tracing_btf_ctx_access(off, size, type, prog, info))
		return false;
	/*
	 * The index of a member takes the place of an attach type: the core
	 * takes listxattr_prefilter for a BPF_TRACE_RAW_TP, whose arguments may
	 * be NULL. None of ours is.
	 */
	info->reg_type &= ~PTR_MAYBE_NULL;
	if (!arg)
		return true;
	if (arg > FBPF_MAX_ARGS)
		return false;

	/* All members with a program are where pointers alone would place them */
	member = fbpf_find_member(prog->expected_attach_type * sizeof(void *));
	if (!member)
		return false;
	kind = member->args[arg - 1];
	/* Behind the arguments, where some attach types have a result */
	if (kind == FBPF_ARG_END)
		return false;
	if (kind == FBPF_ARG_RO)
		info->reg_type |= MEM_RDONLY;
	else if (kind > FBPF_ARG_RO)
		WRITE_ONCE(fbpf_arg_id[kind], info->btf_id);
	return true;
}

/* Asked for stores only */
static int fbpf_struct_access(struct bpf_verifier_log *log,
			      const struct bpf_reg_state *reg, int off, int size)
{
	int kind;

	if (reg->type & MEM_RDONLY) {
		bpf_log(log, "fuse_ops: this struct is read-only in a postfilter\n");
		return -EACCES;
	}
	if (reg->btf != fbpf_btf)
		goto refuse;
	for (kind = FBPF_ARG_RO + 1; kind < FBPF_NR_ARGS; kind++) {
		u32 id = READ_ONCE(fbpf_arg_id[kind]);

		if (!id || id != reg->btf_id)
			continue;
		if (off < 0 || size < 0 || off + size > fbpf_arg_size[kind]) {
			bpf_log(log, "fuse_ops: store at %d, size %d, is outside of %u bytes\n",
				off, size, fbpf_arg_size[kind]);
			return -EACCES;
		}
		return 0;
	}
refuse:
	bpf_log(log, "fuse_ops: only a prefilter's in and a postfilter's out are writable\n");
	return -EACCES;
}

static const struct bpf_func_proto *
fbpf_func_proto(enum bpf_func_id func_id, const struct bpf_prog *prog)
{
	return bpf_base_func_proto(func_id, prog);
}

const struct bpf_verifier_ops fbpf_verifier_ops = {
	.get_func_proto		= fbpf_func_proto,
	.is_valid_access	= fbpf_is_valid_access,
	.btf_struct_access	= fbpf_struct_access,
};
