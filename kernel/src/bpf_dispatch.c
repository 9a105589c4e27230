// SPDX-License-Identifier: GPL-2.0-only
/*
 * The one path of an operation with filters: prepare, prefilter, backing,
 * postfilter, finish.
 *
 * Locking: programs run under rcu_read_lock() only, one program per section,
 * never around lower calls. Whoever replaces or removes a set waits for a grace
 * period, so that none of its programs runs afterwards.
 */
#include <linux/slab.h>

#include "bpf.h"

static struct kmem_cache *fbpf_op_cachep;

/* Smallest error that user space may see; what is below restarts system calls */
#define FBPF_MIN_ERRNO	(-511)

static bool fbpf_has(const struct fuse_ops *ops, u16 off)
{
	return *(void * const *)((const char *)ops + off);
}

static int fbpf_default(const struct fuse_ops *ops, struct fbpf_op *op)
{
	int verdict = ops->default_filter(&op->meta);

	/* There is nothing further to defer to */
	return verdict == BPF_FUSE_CALL_DEFAULT ? -EIO : verdict;
}

static int fbpf_ask_pre(const struct fbpf_desc *desc,
			const struct fuse_ops *ops, struct fbpf_op *op)
{
	if (fbpf_has(ops, desc->pre_off)) {
		int verdict = desc->pre(ops, op);

		if (verdict != BPF_FUSE_CALL_DEFAULT)
			return verdict;
		return ops->default_filter ? fbpf_default(ops, op) :
					     BPF_FUSE_CONTINUE;
	}
	if (ops->default_filter)
		return fbpf_default(ops, op);
	/* A postfilter alone has nobody to ask for it */
	return fbpf_has(ops, desc->post_off) ? BPF_FUSE_POSTFILTER :
					       BPF_FUSE_CONTINUE;
}

static int fbpf_ask_post(const struct fbpf_desc *desc,
			 const struct fuse_ops *ops, struct fbpf_op *op)
{
	int verdict = BPF_FUSE_CALL_DEFAULT;

	if (fbpf_has(ops, desc->post_off))
		verdict = desc->post(ops, op);
	if (verdict == BPF_FUSE_CALL_DEFAULT)
		verdict = ops->default_filter ? fbpf_default(ops, op) :
						BPF_FUSE_CONTINUE;
	return verdict;
}

/*
 * Run one phase. Result: a verdict from 0 to 5, or an error that may go to
 * user space. What a program returns is not bounded by the verifier.
 */
static int fbpf_ask(const struct fbpf_desc *desc, struct fbpf_op *op, u32 phase)
{
	const struct fuse_ops *ops;
	int verdict;

	op->meta.opcode = desc->opcode | phase;

	rcu_read_lock();
	ops = rcu_dereference(op->set->ops);
	if (unlikely(!ops))
		verdict = -EIO;	/* torn away: closed, never unfiltered */
	else if (phase == FUSE_PREFILTER)
		verdict = fbpf_ask_pre(desc, ops, op);
	else
		verdict = fbpf_ask_post(desc, ops, op);
	rcu_read_unlock();

	op->meta.opcode = desc->opcode;

	if (verdict < FBPF_MIN_ERRNO || verdict > BPF_FUSE_CALL_DEFAULT)
		return -EIO;
	return verdict;
}

static int fbpf_prefilter(const struct fbpf_desc *desc, struct fbpf_op *op)
{
	int verdict = fbpf_ask(desc, op, FUSE_PREFILTER);

	switch (verdict) {
	case BPF_FUSE_USER:
	case BPF_FUSE_USER_PREFILTER:
	case BPF_FUSE_USER_POSTFILTER:
		/* There is no daemon; do not begin what cannot be ended */
		return -ECONNREFUSED;
	case BPF_FUSE_POSTFILTER:
		op->post = true;
		return 0;
	case BPF_FUSE_CONTINUE:
		return 0;
	default:
		return verdict;
	}
}

static int fbpf_postfilter(const struct fbpf_desc *desc, struct fbpf_op *op,
			   int err)
{
	int verdict;

	if (err)
		op->meta.error_in = err;
	verdict = fbpf_ask(desc, op, FUSE_POSTFILTER);
	if (verdict < 0)
		return verdict;
	if (verdict == BPF_FUSE_USER_POSTFILTER)
		return -ECONNREFUSED;
	return err;
}

/*
 * Give a program its own copy of a name: the dentry's must not be edited in
 * place, and a name has always 256 bytes that may be read.
 */
void fbpf_set_name(struct fbpf_op *op, const struct qstr *name, bool rewrite)
{
	unsigned int len = min_t(unsigned int, name->len, NAME_MAX);

	memcpy(op->name_data, name->name, len);
	memset(op->name_data + len, 0, sizeof(op->name_data) - len);
	op->name = (struct fuse_buffer) {
		.data = op->name_data,
		.size = len + 1,
		.alloc_size = sizeof(op->name_data),
		.max_size = rewrite ? sizeof(op->name_data) : 0,
		.flags = rewrite ? BPF_FUSE_VARIABLE_SIZE | BPF_FUSE_MUST_ALLOCATE :
				   BPF_FUSE_IMMUTABLE,
	};
}

static int fbpf_run(const struct fbpf_desc *desc, struct fbpf_op *op, void *call)
{
	int err;

	desc->prepare(op, call);
	err = fbpf_prefilter(desc, op);
	if (err)
		return err;

	op->name.flags |= BPF_FUSE_IMMUTABLE;
	err = desc->backing(op, call);
	if (op->post && err <= 0)
		err = fbpf_postfilter(desc, op, err);
	if (desc->finish)
		err = desc->finish(op, call, err);
	return err;
}

/**
 * fbpf_dispatch - carry out an operation
 * @desc: which one
 * @inode: deciding inode, whose tag and nodeid the filters see
 * @call: the operation's own arguments
 *
 * Return: 0 or a negative errno; when a prefilter refused, neither
 * @desc->backing nor @desc->finish ran. Positive only when @desc->backing was.
 */
int fbpf_dispatch(const struct fbpf_desc *desc, struct inode *inode, void *call)
{
	struct fbpf_mount *fb = fbpf_sb(inode->i_sb);
	struct fbpf_op *op;
	int err;

	if (!fbpf_hooked(fb, desc->hook)) {
		err = desc->backing(NULL, call);
		return desc->finish ? desc->finish(NULL, call, err) : err;
	}

	op = kmem_cache_alloc(fbpf_op_cachep, GFP_KERNEL |
			      (desc->must ? __GFP_NOFAIL : 0));
	if (!op)
		return -ENOMEM;
	/* All but the two large arrays at the end, which start unspecified */
	memset(op, 0, offsetof(struct fbpf_op, name_data));
	op->meta.nodeid = get_node_id(inode);
	op->set = fb->set;
	op->tag = fbpf_i(inode)->tag;

	err = fbpf_run(desc, op, call);
	kmem_cache_free(fbpf_op_cachep, op);
	return err;
}

int fbpf_dispatch_init(void)
{
	fbpf_op_cachep = kmem_cache_create("fusebpf_op", sizeof(struct fbpf_op),
					   0, SLAB_HWCACHE_ALIGN, NULL);
	return fbpf_op_cachep ? 0 : -ENOMEM;
}

void fbpf_dispatch_exit(void)
{
	kmem_cache_destroy(fbpf_op_cachep);
}
