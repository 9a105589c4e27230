// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filters of COPY_FILE_RANGE: copies between files, and the sharing of blocks.
 *
 * Locking: none around programs.
 */
#include <linux/fs.h>

#include "bpf_hooks.h"
#include "bpf_op.h"

/**
 * struct fbpf_copy_call - a copy or the sharing of blocks
 * @in: file to read from, whose filters are asked
 * @pos_in: position there
 * @out: file to write to
 * @pos_out: position there
 * @len: bytes; 0 is all the rest of a shared file
 * @flags: REMAP_FILE_*, or those of copy_file_range(2)
 * @remap: share blocks
 * @ret: bytes copied
 */
struct fbpf_copy_call {
	struct file *in;
	loff_t pos_in;
	struct file *out;
	loff_t pos_out;
	u64 len;
	unsigned int flags;
	bool remap;
	loff_t ret;
};

static int fbpf_copy_prepare(struct fbpf_op *op, void *data)
{
	struct fbpf_copy_call *call = data;
	struct fuse_copy_file_range_in *in = &op->in.copy;

	op->tag2 = fbpf_i(file_inode(call->out))->tag;
	in->fh_in = fbpf_fh(call->in);
	in->off_in = call->pos_in;
	in->nodeid_out = get_node_id(file_inode(call->out));
	in->fh_out = fbpf_fh(call->out);
	in->off_out = call->pos_out;
	in->len = call->len;
	in->flags = call->remap ? 0 : call->flags;
	return 0;
}

static int fbpf_copy_backing(struct fbpf_op *op, void *data)
{
	struct fbpf_copy_call *call = data;
	const struct fuse_copy_file_range_in *in = &op->in.copy;
	u64 len = in->len;

	/* No more than was asked for: a caller counts down by the result */
	if (!call->remap)
		len = min(len, call->len);
	if ((s64)in->off_in < 0 || (s64)in->off_out < 0 || (s64)len < 0)
		call->ret = -EINVAL;
	else if (in->flags != (call->remap ? 0 : call->flags))
		call->ret = -EINVAL;
	else if (call->remap)
		call->ret = fbpf_remap_lower(call->in, in->off_in, call->out,
					     in->off_out, len, call->flags);
	else
		call->ret = fbpf_copy_lower(call->in, in->off_in, call->out,
					    in->off_out, len, call->flags);
	op->out.write.size = clamp_t(loff_t, call->ret, 0, U32_MAX);
	return call->ret < 0 ? call->ret : 0;
}

/* Sharing is all or nothing, so only a copy's result can change */
static int fbpf_copy_finish(struct fbpf_op *op, void *data, int err)
{
	struct fbpf_copy_call *call = data;
	u32 before = clamp_t(loff_t, call->ret, 0, U32_MAX);

	if (!err && !call->remap && op->out.write.size != before)
		call->ret = min_t(u64, op->out.write.size, call->len);
	return err;
}

FBPF_PRE(copy_file_range, &op->in.copy)
FBPF_POST(copy_file_range, &op->in.copy, &op->out.write)

static int fbpf_copy_user(void *data)
{
	struct fbpf_copy_call *call = data;
	struct file *in, *out;

	if (call->remap)
		return -EOPNOTSUPP;
	/* The other mount's filters have left nothing to whoever serves that */
	if (file_inode(call->in)->i_sb != file_inode(call->out)->i_sb)
		return -EXDEV;
	in = fbpf_classic_file(call->in);
	if (IS_ERR(in))
		return PTR_ERR(in);
	out = fbpf_classic_file(call->out);
	if (IS_ERR(out))
		return PTR_ERR(out);
	call->ret = out->f_op->copy_file_range(in, call->pos_in, out,
					       call->pos_out, call->len,
					       call->flags);
	fbpf_copy_attr(file_inode(call->out));
	return min_t(loff_t, call->ret, 0);
}

static const struct fbpf_desc fbpf_copy_desc = {
	.hook		= FBPF_COPY,
	.opcode		= FUSE_COPY_FILE_RANGE,
	.prepare	= fbpf_copy_prepare,
	.user		= fbpf_copy_user,
	.backing	= fbpf_copy_backing,
	FBPF_PAIR(copy_file_range),
	.finish		= fbpf_copy_finish,
};

static loff_t fbpf_filter_copy_call(struct fbpf_copy_call *call)
{
	int err = fbpf_filter(&fbpf_copy_desc, file_inode(call->in), call);

	return err ?: call->ret;
}

ssize_t fbpf_filter_copy(struct file *in, loff_t pos_in, struct file *out,
			 loff_t pos_out, size_t len, unsigned int flags)
{
	struct fbpf_copy_call call = {
		.in = in,
		.pos_in = pos_in,
		.out = out,
		.pos_out = pos_out,
		.len = len,
		.flags = flags,
	};

	return fbpf_filter_copy_call(&call);
}

loff_t fbpf_filter_remap(struct file *in, loff_t pos_in, struct file *out,
			 loff_t pos_out, loff_t len, unsigned int flags)
{
	struct fbpf_copy_call call = {
		.in = in,
		.pos_in = pos_in,
		.out = out,
		.pos_out = pos_out,
		.len = len,
		.flags = flags,
		.remap = true,
	};

	return fbpf_filter_copy_call(&call);
}
