// SPDX-License-Identifier: GPL-2.0-only
/*
 * The struct_ops type "fuse_ops" and the registry of filter sets.
 *
 * Locking: fbpf_sets_lock guards the list, and link and kdata of its sets. The
 * bpf core calls reg, update and unreg for a link under its own update mutex,
 * which is outside of ours. set->ops is written under fbpf_sets_lock and read
 * under RCU.
 */
#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/ctype.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "bpf.h"

static DEFINE_MUTEX(fbpf_sets_lock);
static LIST_HEAD(fbpf_sets);

u32 fbpf_generation = 1;

/* Set by the core when it found the type in the module's BTF */
static bool fbpf_btf_found;

static struct fbpf_set *fbpf_find_kdata(const void *kdata)
{
	struct fbpf_set *set;

	list_for_each_entry(set, &fbpf_sets, list)
		if (set->kdata == kdata)
			return set;
	return NULL;
}

static struct fbpf_set *fbpf_find_name(const char *name)
{
	struct fbpf_set *set;

	list_for_each_entry(set, &fbpf_sets, list)
		if (!strcmp(set->name, name))
			return set;
	return NULL;
}

/* Take what a mount needs. Fails for a link that is on its way out. */
static struct fbpf_set *fbpf_set_hold(struct fbpf_set *set,
				      struct bpf_link **link)
{
	*link = NULL;
	if (set->link) {
		struct bpf_link *held = bpf_link_inc_not_zero(set->link);

		if (IS_ERR(held))
			return NULL;
		*link = held;
	}
	refcount_inc(&set->ref);
	return set;
}

/**
 * fbpf_set_by_name - find a registered set
 * @name: its name
 * @link: gets a reference to its link, or NULL when it has none
 *
 * Return: the set with a reference, or NULL
 */
struct fbpf_set *fbpf_set_by_name(const char *name, struct bpf_link **link)
{
	struct fbpf_set *set;

	mutex_lock(&fbpf_sets_lock);
	set = fbpf_find_name(name);
	if (set)
		set = fbpf_set_hold(set, link);
	mutex_unlock(&fbpf_sets_lock);
	return set;
}

/**
 * fbpf_set_by_file - find the set that a link descriptor stands for
 * @file: the descriptor's file
 * @link: gets a reference to the link
 *
 * The private data of a link's file is the link, and no other object has its
 * address while the set is registered.
 *
 * Return: the set with a reference, or NULL
 */
struct fbpf_set *fbpf_set_by_file(struct file *file, struct bpf_link **link)
{
	struct fbpf_set *set, *found = NULL;

	mutex_lock(&fbpf_sets_lock);
	list_for_each_entry(set, &fbpf_sets, list) {
		if (set->link && set->link == file->private_data) {
			found = fbpf_set_hold(set, link);
			break;
		}
	}
	mutex_unlock(&fbpf_sets_lock);
	return found;
}

/**
 * fbpf_set_get - take another reference to a set and its link
 * @set: set that the caller holds
 * @link: its link, which the caller holds, or NULL
 *
 * Return: the link, or NULL
 */
struct bpf_link *fbpf_set_get(struct fbpf_set *set, struct bpf_link *link)
{
	refcount_inc(&set->ref);
	if (link)
		bpf_link_inc_not_zero(link);
	return link;
}

void fbpf_set_put(struct fbpf_set *set)
{
	if (set && refcount_dec_and_test(&set->ref))
		kfree_rcu(set, rcu);
}

u32 fbpf_link_id(const struct bpf_link *link)
{
	return link ? link->id : 0;
}

static int fbpf_reg(void *kdata, struct bpf_link *link)
{
	static atomic64_t serial;
	const struct fuse_ops *ops = kdata;
	struct fbpf_set *set;
	int err = 0;

	set = kzalloc(sizeof(*set), GFP_KERNEL);
	if (!set)
		return -ENOMEM;
	refcount_set(&set->ref, 1);
	set->serial = atomic64_inc_return(&serial);
	memcpy(set->name, ops->name, sizeof(set->name));
	set->hooks = fbpf_hooks_of(ops);
	set->link = link;
	set->kdata = kdata;
	RCU_INIT_POINTER(set->ops, ops);

	mutex_lock(&fbpf_sets_lock);
	if (fbpf_find_name(set->name))
		err = -EEXIST;
	else
		list_add(&set->list, &fbpf_sets);
	mutex_unlock(&fbpf_sets_lock);

	if (err)
		kfree(set);
	return err;
}

/*
 * The core does not ask: after a forced detach the programs are freed. Mounts
 * that use the set are closed from here on.
 */
static void fbpf_unreg(void *kdata, struct bpf_link *link)
{
	struct fbpf_set *set;

	mutex_lock(&fbpf_sets_lock);
	set = fbpf_find_kdata(kdata);
	if (set) {
		list_del(&set->list);
		set->link = NULL;
		set->kdata = NULL;
		RCU_INIT_POINTER(set->ops, NULL);
		/* Pairs with fbpf_gen() */
		smp_store_release(&fbpf_generation, fbpf_generation + 1);
	}
	mutex_unlock(&fbpf_sets_lock);

	if (set) {
		synchronize_rcu();
		fbpf_set_put(set);
	}
}

static int fbpf_update(void *kdata, void *old_kdata, struct bpf_link *link)
{
	const struct fuse_ops *ops = kdata;
	struct fbpf_set *set;
	u64 hooks = fbpf_hooks_of(ops);
	int err = 0;

	mutex_lock(&fbpf_sets_lock);
	set = fbpf_find_kdata(old_kdata);
	if (!set) {
		err = -ENOLINK;
	} else if (strcmp(set->name, ops->name)) {
		err = -EINVAL;
	} else if (kdata != old_kdata && fbpf_find_kdata(kdata)) {
		err = -EBUSY;
	} else {
		/* Until the new programs are in, no operation goes unasked */
		WRITE_ONCE(set->hooks, set->hooks | hooks);
		rcu_assign_pointer(set->ops, ops);
		set->kdata = kdata;
		WRITE_ONCE(set->hooks, hooks);
		/* Pairs with fbpf_gen(): who sees the number sees the programs */
		smp_store_release(&fbpf_generation, fbpf_generation + 1);
	}
	mutex_unlock(&fbpf_sets_lock);

	if (!err)
		synchronize_rcu();
	return err;
}

static int fbpf_check_member(const struct btf_type *t,
			     const struct btf_member *member,
			     const struct bpf_prog *prog)
{
	/* Programs run under RCU */
	if (prog->sleepable)
		return -EINVAL;
	if (!fbpf_member_served(__btf_member_bit_offset(t, member) / 8))
		return -EOPNOTSUPP;
	return 0;
}

/* 1 to 14 letters, digits, underscores or dots, and a NUL */
static int fbpf_copy_name(char *dst, const char *src)
{
	int len = strnlen(src, BPF_FUSE_NAME_MAX);
	int i;

	if (!len || len == BPF_FUSE_NAME_MAX)
		return -EINVAL;
	for (i = 0; i < len; i++)
		if (!isalnum(src[i]) && src[i] != '_' && src[i] != '.')
			return -EINVAL;
	memcpy(dst, src, len);
	return 0;
}

static int fbpf_init_member(const struct btf_type *t,
			    const struct btf_member *member, void *kdata,
			    const void *udata)
{
	const struct fuse_ops *uops = udata;
	struct fuse_ops *ops = kdata;

	if (__btf_member_bit_offset(t, member) / 8 !=
	    offsetof(struct fuse_ops, name))
		return 0;
	return fbpf_copy_name(ops->name, uops->name) ?: 1;
}

static int fbpf_ops_init(struct btf *btf)
{
	fbpf_btf_found = true;
	return fbpf_verify_init(btf);
}

#include "bpf_stubs.h"

static struct bpf_struct_ops fbpf_struct_ops = {
	.verifier_ops	= &fbpf_verifier_ops,
	.init		= fbpf_ops_init,
	.check_member	= fbpf_check_member,
	.init_member	= fbpf_init_member,
	.reg		= fbpf_reg,
	.unreg		= fbpf_unreg,
	.update		= fbpf_update,
	.cfi_stubs	= &fbpf_stubs,
	.name		= "fuse_ops",
	.owner		= THIS_MODULE,
};

/**
 * fbpf_register - make the type and its kfuncs known to BPF
 *
 * Return: 0; -ENOENT when the module has no BTF, which the core only warns of
 */
int fbpf_register(void)
{
	int err;

	err = fbpf_register_kfuncs() ?: fbpf_register_dynptr();
	if (err)
		return err;
	err = register_bpf_struct_ops(&fbpf_struct_ops, fuse_ops);
	if (err)
		return err;
	if (!fbpf_btf_found) {
		pr_err("no BTF that fits this kernel: build it against its headers, with pahole\n");
		return -ENOENT;
	}
	return 0;
}
