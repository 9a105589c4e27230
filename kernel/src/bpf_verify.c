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
	FBPF_ARG_READ_IN,
	FBPF_ARG_ENTRY_OUT,
	FBPF_ARG_OPEN_OUT,
	FBPF_ARG_READ_OUT,
	FBPF_NR_ARGS,
};

static const u16 fbpf_arg_size[FBPF_NR_ARGS] = {
	[FBPF_ARG_OPEN_IN]	= sizeof(struct fuse_open_in),
	[FBPF_ARG_CREATE_IN]	= sizeof(struct fuse_create_in),
	[FBPF_ARG_RELEASE_IN]	= sizeof(struct fuse_release_in),
	[FBPF_ARG_READ_IN]	= sizeof(struct fuse_read_in),
	[FBPF_ARG_ENTRY_OUT]	= sizeof(struct fuse_entry_out),
	[FBPF_ARG_OPEN_OUT]	= sizeof(struct fuse_open_out),
	[FBPF_ARG_READ_OUT]	= sizeof(struct fuse_read_out),
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
	FBPF_MEMBER(lookup_prefilter, FBPF_ARG_BUFFER),
	FBPF_MEMBER(lookup_postfilter, FBPF_ARG_BUFFER, FBPF_ARG_ENTRY_OUT,
		    FBPF_ARG_BUFFER),
	FBPF_MEMBER(readdir_prefilter, FBPF_ARG_READ_IN),
	FBPF_MEMBER(readdir_postfilter, FBPF_ARG_RO, FBPF_ARG_READ_OUT,
		    FBPF_ARG_BUFFER),
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
	if (!arg || arg > FBPF_MAX_ARGS)
		return true;

	/* All members before the name are pointers, so index gives offset */
	member = fbpf_find_member(prog->expected_attach_type * sizeof(void *));
	if (!member)
		return false;
	kind = member->args[arg - 1];
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
