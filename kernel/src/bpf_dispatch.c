// SPDX-License-Identifier: GPL-2.0-only
/*
 * The one path of an operation with filters: prepare, prefilter, backing,
 * postfilter, finish.
 *
 * Locking: programs run under rcu_read_lock() only, one program per section,
 * never around lower calls. Whoever replaces or removes a set waits for a grace
 * period, so that none of its programs runs afterwards. A CPU's spare operation is
 * taken and given back by one exchange, and is nobody's in between.
 */
#include <linux/percpu.h>
#include <linux/slab.h>

#include "bpf_op.h"

static struct kmem_cache *fbpf_op_cachep;
/* What the last operation on the CPU left to the next */
static DEFINE_PER_CPU(struct fbpf_op *, fbpf_spare_op);

/* Of fbpf_prefilter(): the daemon does it all */
#define FBPF_LEFT_TO_USER	1

/* Members between the pairs before FBPF_AFTER_HOLE and the others */
#define FBPF_HOLE	3

/* The members: default_filter, then a pair per hook */
static __always_inline unsigned int fbpf_pre_index(enum fbpf_hook hook)
{
	return 1 + 2 * hook + (hook >= FBPF_AFTER_HOLE ? FBPF_HOLE : 0);
}

static __always_inline unsigned int fbpf_post_index(enum fbpf_hook hook)
{
	return fbpf_pre_index(hook) + 1;
}

static void fbpf_check_layout(void)
{
	BUILD_BUG_ON(offsetof(struct fuse_ops, open_prefilter) !=
		     fbpf_pre_index(FBPF_OPEN) * sizeof(void *));
	BUILD_BUG_ON(offsetof(struct fuse_ops, lookup_postfilter) !=
		     fbpf_post_index(FBPF_LOOKUP) * sizeof(void *));
	BUILD_BUG_ON(offsetof(struct fuse_ops, unlink_prefilter) !=
		     fbpf_pre_index(FBPF_UNLINK) * sizeof(void *));
	BUILD_BUG_ON(offsetof(struct fuse_ops, readdir_postfilter) !=
		     fbpf_post_index(FBPF_READDIR) * sizeof(void *));
	BUILD_BUG_ON(offsetof(struct fuse_ops, access_postfilter) !=
		     fbpf_post_index(FBPF_ACCESS) * sizeof(void *));
}

/* Bit per enum fbpf_hook that a set has a program for */
u64 fbpf_hooks_of(const struct fuse_ops *ops)
{
	void * const *members = (void * const *)ops;
	u64 hooks = 0;
	int hook;

	if (ops->default_filter)
		return U64_MAX;
	for (hook = 0; hook < FBPF_OTHER; hook++)
		if (members[fbpf_pre_index(hook)] ||
		    members[fbpf_post_index(hook)])
			hooks |= BIT_ULL(hook);
	return hooks;
}

static bool fbpf_has_pre(const struct fuse_ops *ops,
			 const struct fbpf_desc *desc)
{
	return desc->pre &&
	       ((void * const *)ops)[fbpf_pre_index(desc->hook)];
}

static bool fbpf_has_post(const struct fuse_ops *ops,
			  const struct fbpf_desc *desc)
{
	return desc->post &&
	       ((void * const *)ops)[fbpf_post_index(desc->hook)];
}

/* A function by this name, as the others that call a filter are: for probes */
static noinline __noclone int fbpf_default(const struct fuse_ops *ops,
					   struct fbpf_op *op)
{
	int verdict = ops->default_filter(&op->meta);

	/* There is nothing further to defer to */
	return verdict == BPF_FUSE_CALL_DEFAULT ? -EIO : verdict;
}

static int fbpf_ask_pre(const struct fbpf_desc *desc,
			const struct fuse_ops *ops, struct fbpf_op *op)
{
	if (fbpf_has_pre(ops, desc)) {
		int verdict = desc->pre(ops, op);

		if (verdict != BPF_FUSE_CALL_DEFAULT)
			return verdict;
		return ops->default_filter ? fbpf_default(ops, op) :
					     BPF_FUSE_CONTINUE;
	}
	if (ops->default_filter)
		return fbpf_default(ops, op);
	/* A postfilter alone has nobody to ask for it */
	return fbpf_has_post(ops, desc) ? BPF_FUSE_POSTFILTER :
					       BPF_FUSE_CONTINUE;
}

static int fbpf_ask_post(const struct fbpf_desc *desc,
			 const struct fuse_ops *ops, struct fbpf_op *op)
{
	int verdict = BPF_FUSE_CALL_DEFAULT;

	if (fbpf_has_post(ops, desc))
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
	bool daemon = fbpf_sb(op->inode->i_sb)->daemon;
	int verdict = fbpf_ask(desc, op, FUSE_PREFILTER);

	if (verdict == BPF_FUSE_USER_PREFILTER)
		verdict = fbpf_user_filter(desc, op, false);
	switch (verdict) {
	case BPF_FUSE_USER:
		if (!daemon)
			return -ECONNREFUSED;
		return desc->user ? FBPF_LEFT_TO_USER : -EOPNOTSUPP;
	case BPF_FUSE_USER_POSTFILTER:
		/* Do not begin what cannot be ended */
		if (!daemon)
			return -ECONNREFUSED;
		if (desc->hook == FBPF_OTHER)
			return -EOPNOTSUPP;
		op->user_post = true;
		op->post = true;
		return 0;
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
	int verdict = BPF_FUSE_USER_POSTFILTER;

	if (err)
		op->meta.error_in = err;
	if (!op->user_post)
		verdict = fbpf_ask(desc, op, FUSE_POSTFILTER);
	if (verdict == BPF_FUSE_USER_POSTFILTER)
		verdict = fbpf_user_filter(desc, op, true);
	if (verdict < 0)
		return verdict;
	return op->cleared ? 0 : err;
}

static void fbpf_name_buffer(struct fuse_buffer *buf, u8 *data,
			     const struct qstr *name, bool rewrite)
{
	unsigned int len = min_t(unsigned int, name->len, NAME_MAX);

	/* In words, which the compiler does in place */
	memset(data, 0, FBPF_NAME_BYTES);
	memcpy(data, name->name, len);
	*buf = (struct fuse_buffer) {
		.data = data,
		.size = len + 1,
		.alloc_size = FBPF_NAME_BYTES,
		.max_size = rewrite ? FBPF_NAME_BYTES : 0,
		.flags = rewrite ? BPF_FUSE_VARIABLE_SIZE | BPF_FUSE_MUST_ALLOCATE :
				   BPF_FUSE_IMMUTABLE,
	};
}

/*
 * Give a program its own copy of a name: the dentry's must not be edited in
 * place, and a name has always 256 bytes that may be read.
 */
void fbpf_set_name(struct fbpf_op *op, const struct qstr *name, bool rewrite)
{
	fbpf_name_buffer(&op->name, op->name_data, name, rewrite);
}

void fbpf_set_name2(struct fbpf_op *op, const struct qstr *name)
{
	fbpf_name_buffer(&op->name2, op->name2_data, name, false);
}

/* The name that filters left: up to its first NUL, which is there */
struct qstr fbpf_get_name(struct fbpf_op *op)
{
	u32 max = min_t(u32, op->name.size, FBPF_NAME_BYTES - 1);
	u32 len = strnlen(op->name_data, max);

	op->name_data[len] = 0;
	return (struct qstr)QSTR_INIT(op->name_data, len);
}

/**
 * fbpf_set_value - give a program bytes that it may change
 * @op: operation, which frees them
 * @data: what is there now, or NULL
 * @size: bytes of it
 * @max: as long as they may become; at most 64 KiB
 *
 * Memory past the length is zero: a program can make it part of the value.
 *
 * Return: 0 or -ENOMEM
 */
int fbpf_set_value(struct fbpf_op *op, const void *data, size_t size,
		   size_t max)
{
	if (!op->value_data)
		op->value_data = kvzalloc(max, GFP_KERNEL);
	if (!op->value_data)
		return -ENOMEM;
	size = min(size, max);
	if (data)
		memcpy(op->value_data, data, size);
	op->value = (struct fuse_buffer) {
		.data = op->value_data,
		.size = size,
		.alloc_size = max,
		.max_size = max,
		.flags = BPF_FUSE_VARIABLE_SIZE |
			 (data ? BPF_FUSE_MUST_ALLOCATE : 0),
	};
	return 0;
}

static int fbpf_run(const struct fbpf_desc *desc, struct fbpf_op *op, void *call)
{
	int err = 0;

	if (desc->prepare)
		err = desc->prepare(op, call);
	if (err)
		return err;
	err = fbpf_prefilter(desc, op);
	if (err == FBPF_LEFT_TO_USER)
		return desc->user(call);
	if (err) {
		if (desc->refused)
			desc->refused(op, call);
		return err;
	}

	op->name.flags |= BPF_FUSE_IMMUTABLE;
	op->value.flags |= BPF_FUSE_IMMUTABLE;
	err = desc->backing(op, call);
	if (op->post && err <= 0)
		err = fbpf_postfilter(desc, op, err);
	if (desc->finish)
		err = desc->finish(op, call, err);
	return err;
}

static struct fbpf_op *fbpf_get_op(bool must)
{
	struct fbpf_op *op = this_cpu_xchg(fbpf_spare_op, NULL);

	if (likely(op))
		return op;
	return kmem_cache_zalloc(fbpf_op_cachep,
				 GFP_KERNEL | (must ? __GFP_NOFAIL : 0));
}

static void fbpf_free_op(struct fbpf_op *op)
{
	if (!op)
		return;
	kvfree(op->dir);
	kmem_cache_free(fbpf_op_cachep, op);
}

static void fbpf_put_op(struct fbpf_op *op)
{
	/* KASAN is to see who uses it after the operation's end */
	if (!IS_ENABLED(CONFIG_KASAN))
		op = this_cpu_xchg(fbpf_spare_op, op);
	fbpf_free_op(op);
}

/**
 * fbpf_filter - carry out an operation that filters are attached to
 * @desc: which one
 * @inode: deciding inode, whose tag and nodeid the filters see
 * @call: the operation's own arguments
 *
 * Return: 0 or a negative errno; when a prefilter refused, neither
 * @desc->backing nor @desc->finish ran. Positive only when @desc->backing was.
 */
int fbpf_filter(const struct fbpf_desc *desc, struct inode *inode, void *call)
{
	struct fbpf_op *op;
	int err;

	op = fbpf_get_op(desc->must);
	if (!op)
		return -ENOMEM;
	memset(op, 0, offsetof(struct fbpf_op, dir));
	op->meta.nodeid = get_node_id(inode);
	op->set = fbpf_i(inode)->set;
	/* What other programs have left there is theirs */
	if (unlikely(op->serial != op->set->serial)) {
		memset(op->scratch, 0, sizeof(op->scratch));
		op->serial = op->set->serial;
	}
	op->inode = inode;
	op->tag = fbpf_i(inode)->tag;
	op->may_clear = desc->may_clear;

	err = fbpf_run(desc, op, call);
	/* Nearly always there is nothing, which these would find in 65 steps */
	if (unlikely(op->daemon.backing.dentry || op->daemon.set))
		fbpf_put_entries(&op->daemon);
	if (op->value_data)
		kvfree(op->value_data);
	fbpf_put_op(op);
	return err;
}

/* fbpf_filter(), or the operation alone when no filter is attached */
int fbpf_dispatch(const struct fbpf_desc *desc, struct inode *inode, void *call)
{
	int err;

	if (fbpf_hooked(inode, desc->hook))
		return fbpf_filter(desc, inode, call);
	err = desc->backing(NULL, call);
	return desc->finish ? desc->finish(NULL, call, err) : err;
}

/**
 * fbpf_filter_other - carry out an operation without a pair of filters
 * @inode: deciding inode
 * @opcode: FUSE opcode that default_filter sees
 * @backing: do it below
 * @call: its argument
 *
 * For callers that found FBPF_OTHER hooked.
 *
 * Return: 0 or a negative errno
 */
int fbpf_filter_other(struct inode *inode, u32 opcode,
		      int (*backing)(struct fbpf_op *op, void *call), void *call)
{
	const struct fbpf_desc desc = {
		.hook = FBPF_OTHER,
		.opcode = opcode,
		.backing = backing,
	};

	return fbpf_filter(&desc, inode, call);
}

int fbpf_dispatch_init(void)
{
	fbpf_check_layout();
	fbpf_op_cachep = kmem_cache_create("fusebpf_op", sizeof(struct fbpf_op),
					   0, SLAB_HWCACHE_ALIGN, NULL);
	return fbpf_op_cachep ? 0 : -ENOMEM;
}

void fbpf_dispatch_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		fbpf_free_op(per_cpu(fbpf_spare_op, cpu));
	kmem_cache_destroy(fbpf_op_cachep);
}
