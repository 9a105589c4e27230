// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions that filters call. None allocates or sleeps: a pointer that one of
 * them returned stays valid until the program ends, and programs run under RCU.
 *
 * Locking: none. An operation and its buffers belong to one task.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/cred.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/sched.h>
#include <linux/user_namespace.h>

#include "bpf_op.h"
#include "bpf_kfunc.h"

/* One state of an automaton: u16 next[256] */
#define FBPF_DFA_STATE_BYTES	512

struct fbpf_iter {
	struct fbpf_dirbuf *dir;
	u32 pos;
	u32 index;
};

static_assert(sizeof(struct fbpf_iter) <= sizeof(struct bpf_iter_fuse_dirent));

/* Programs get their meta from us only, embedded in the operation */
static struct fbpf_op *fbpf_op(const struct bpf_fuse_meta_info *meta)
{
	return container_of(meta, struct fbpf_op, meta);
}

__bpf_kfunc_start_defs();

/**
 * bpf_fuse_return_len - length of a buffer
 * @buf: buffer
 *
 * Return: bytes; of a name, with its NUL
 */
__bpf_kfunc u32 bpf_fuse_return_len(struct fuse_buffer *buf)
{
	return buf->size;
}

/**
 * bpf_fuse_get_ro - read a buffer
 * @buf: buffer
 * @rdonly_buf_size: bytes to read, constant; 256 works for every name
 *
 * What lies past the length is unspecified.
 *
 * Return: memory, or NULL when the buffer's memory is smaller
 */
__bpf_kfunc const u8 *bpf_fuse_get_ro(struct fuse_buffer *buf,
				      const size_t rdonly_buf_size)
{
	return rdonly_buf_size <= buf->alloc_size ? buf->data : NULL;
}

/**
 * bpf_fuse_get_rw - change a buffer
 * @buf: buffer
 * @rdwr_buf_size: bytes to change, constant
 *
 * Return: memory, or NULL when the buffer is immutable or cannot be that long
 */
__bpf_kfunc u8 *bpf_fuse_get_rw(struct fuse_buffer *buf,
				const size_t rdwr_buf_size)
{
	if (buf->flags & BPF_FUSE_IMMUTABLE || rdwr_buf_size > buf->max_size)
		return NULL;
	buf->flags |= BPF_FUSE_MODIFIED;
	return buf->data;
}

/**
 * bpf_fuse_set_len - change the length of a buffer
 * @buf: buffer
 * @size: bytes; of a name, with its NUL
 *
 * Return: 0, -EPERM when the buffer is immutable, -EINVAL when it cannot be
 * that long
 */
__bpf_kfunc int bpf_fuse_set_len(struct fuse_buffer *buf, u32 size)
{
	if (buf->flags & BPF_FUSE_IMMUTABLE)
		return -EPERM;
	if (size > buf->max_size)
		return -EINVAL;
	buf->size = size;
	buf->flags |= BPF_FUSE_MODIFIED;
	return 0;
}

/**
 * bpf_fuse_fsuid - user id that the caller's file accesses count as
 *
 * Return: as seen in the initial user namespace
 */
__bpf_kfunc u32 bpf_fuse_fsuid(void)
{
	return from_kuid(&init_user_ns, current_fsuid());
}

/**
 * bpf_fuse_fsgid - group id that the caller's file accesses count as
 *
 * Return: as seen in the initial user namespace
 */
__bpf_kfunc u32 bpf_fuse_fsgid(void)
{
	return from_kgid(&init_user_ns, current_fsgid());
}

/**
 * bpf_fuse_euid - effective user id of the caller
 *
 * Return: as seen in the initial user namespace
 */
__bpf_kfunc u32 bpf_fuse_euid(void)
{
	return from_kuid(&init_user_ns, current_euid());
}

/**
 * bpf_fuse_egid - effective group id of the caller
 *
 * Return: as seen in the initial user namespace
 */
__bpf_kfunc u32 bpf_fuse_egid(void)
{
	return from_kgid(&init_user_ns, current_egid());
}

/**
 * bpf_fuse_comm - name of the calling task
 * @dst: gets it, padded with zeros; the last byte is always zero
 * @dst__sz: bytes at @dst
 *
 * Return: 0, -EINVAL when there is no room at all
 */
__bpf_kfunc int bpf_fuse_comm(u8 *dst, u32 dst__sz)
{
	if (!dst__sz)
		return -EINVAL;
	strscpy_pad((char *)dst, current->comm, dst__sz);
	return 0;
}

/**
 * bpf_fuse_tag - policy tag of the inode that the operation is about
 * @meta: first argument of the filter
 *
 * For an operation on a name this is the directory.
 *
 * Return: the tag; 0 for the root
 */
__bpf_kfunc u64 bpf_fuse_tag(const struct bpf_fuse_meta_info *meta)
{
	return fbpf_op(meta)->tag;
}

/**
 * bpf_fuse_set_tag - set the policy tag of the entry that is looked up
 * @meta: first argument of the filter
 * @tag: tag; an entry without one has its directory's
 *
 * Return: 0, -EINVAL when the operation is not a lookup
 */
__bpf_kfunc int bpf_fuse_set_tag(const struct bpf_fuse_meta_info *meta, u64 tag)
{
	struct fbpf_op *op = fbpf_op(meta);

	if (!op->is_lookup)
		return -EINVAL;
	op->new_tag = tag;
	op->tag_set = true;
	return 0;
}

/**
 * bpf_fuse_tag2 - policy tag of the second object of an operation
 * @meta: first argument of the filter
 *
 * Of a rename and a link the new directory, of a copy the file written to.
 *
 * Return: the tag; 0 when there is no second object
 */
__bpf_kfunc u64 bpf_fuse_tag2(const struct bpf_fuse_meta_info *meta)
{
	return fbpf_op(meta)->tag2;
}

/**
 * bpf_fuse_entry_valid - say how long the answer of a lookup holds
 * @meta: first argument of the filter
 * @ns: nanoseconds, 0 for not at all
 *
 * For a name that is there, one that is not and one refused with -ENOENT. A
 * postfilter's entry_valid goes first. Not for answers that depend on the
 * caller, the time or a map.
 *
 * Return: 0, -EINVAL when the operation is not a lookup
 */
__bpf_kfunc int bpf_fuse_entry_valid(const struct bpf_fuse_meta_info *meta,
				     u64 ns)
{
	struct fbpf_op *op = fbpf_op(meta);

	if (!op->is_lookup)
		return -EINVAL;
	op->valid_ns = ns;
	return 0;
}

/**
 * bpf_fuse_clear_error - let a failed operation succeed
 * @meta: first argument of a postfilter
 *
 * The postfilter's verdict goes first.
 *
 * Return: 0, -EINVAL when nothing failed, -EPERM when the operation cannot
 * succeed without what failed
 */
__bpf_kfunc int bpf_fuse_clear_error(const struct bpf_fuse_meta_info *meta)
{
	struct fbpf_op *op = fbpf_op(meta);

	if (!meta->error_in)
		return -EINVAL;
	if (!op->may_clear)
		return -EPERM;
	op->cleared = true;
	return 0;
}

/**
 * bpf_fuse_name_walk - step an automaton over the bytes of a name
 * @name: name or path, up to its first NUL
 * @dfa__map: array map, one element per state: 256 u16, the next state for
 *	every byte
 * @state: state to begin in
 *
 * Return: the last state; -EINVAL for another kind of map and for a state that
 * it does not have
 */
__bpf_kfunc s64 bpf_fuse_name_walk(struct fuse_buffer *name, void *dfa__map,
				   u64 state)
{
	struct bpf_map *map = dfa__map;
	struct bpf_array *array = container_of(map, struct bpf_array, map);
	u32 size = min(name->size, name->alloc_size);
	const u8 *bytes = name->data;
	u32 i;

	if (map->map_type != BPF_MAP_TYPE_ARRAY ||
	    map->value_size != FBPF_DFA_STATE_BYTES)
		return -EINVAL;

	for (i = 0; state < map->max_entries && i < size && bytes[i]; i++) {
		const u16 *next;

		state = array_index_nospec(state, map->max_entries);
		next = (void *)(array->value + array->elem_size * state);
		/* User space may be changing it */
		state = READ_ONCE(next[bytes[i]]);
	}
	return state < map->max_entries ? state : -EINVAL;
}

/**
 * bpf_fuse_scratch - memory for the duration of a filter
 * @meta: first argument of the filter
 * @rdwr_buf_size: bytes, constant, at most 2048
 *
 * Every call of one program gets the same memory. At first there are zeros or
 * what other calls of filters of the same name have left.
 *
 * Return: memory, or NULL when it is too much
 */
__bpf_kfunc u8 *bpf_fuse_scratch(const struct bpf_fuse_meta_info *meta,
				 const size_t rdwr_buf_size)
{
	return rdwr_buf_size <= FBPF_SCRATCH_BYTES ? fbpf_op(meta)->scratch :
						     NULL;
}

/**
 * bpf_iter_fuse_dirent_new - begin to walk over directory entries
 * @it: iterator
 * @buf: entries of a readdir postfilter; any other buffer holds none
 *
 * Return: 0, -EINVAL for another buffer
 */
__bpf_kfunc int bpf_iter_fuse_dirent_new(struct bpf_iter_fuse_dirent *it,
					 struct fuse_buffer *buf)
{
	struct fbpf_iter *iter = (void *)it;

	*iter = (struct fbpf_iter) {};
	if (!(buf->flags & BPF_FUSE_DIRENTS))
		return -EINVAL;
	iter->dir = container_of(buf, struct fbpf_dirbuf, buf);
	return 0;
}

/**
 * bpf_iter_fuse_dirent_next - step to the next entry that was not dropped
 * @it: iterator
 *
 * Return: the entry, or NULL after the last
 */
__bpf_kfunc struct bpf_fuse_dirent *
bpf_iter_fuse_dirent_next(struct bpf_iter_fuse_dirent *it)
{
	struct fbpf_iter *iter = (void *)it;
	struct fuse_dirent *dirent;

	if (!iter->dir)
		return NULL;
	while (iter->index < FBPF_DIR_MAX) {
		struct bpf_fuse_dirent *entry = &iter->dir->entries[iter->index];
		u32 len = fbpf_next_dirent(&iter->dir->buf, iter->pos, &dirent);

		if (!len)
			break;
		iter->pos += len;
		iter->index++;
		if (entry->flags & BPF_FUSE_DIRENT_DROPPED)
			continue;
		entry->ino = dirent->ino;
		entry->off = dirent->off;
		entry->type = dirent->type;
		if (entry->flags & BPF_FUSE_DIRENT_RENAMED)
			return entry;
		entry->name = (struct fuse_buffer) {
			.data = dirent->name,
			.size = dirent->namelen + 1,
			.alloc_size = FBPF_NAME_BYTES,
			.flags = BPF_FUSE_IMMUTABLE,
		};
		return entry;
	}
	return NULL;
}

/**
 * bpf_iter_fuse_dirent_destroy - end a walk
 * @it: iterator
 */
__bpf_kfunc void bpf_iter_fuse_dirent_destroy(struct bpf_iter_fuse_dirent *it)
{
}

/**
 * bpf_fuse_dirent_drop - leave an entry out of the listing
 * @entry: entry from the iterator
 *
 * Return: 0
 */
__bpf_kfunc int bpf_fuse_dirent_drop(struct bpf_fuse_dirent *entry)
{
	entry->flags |= BPF_FUSE_DIRENT_DROPPED;
	return 0;
}

static struct fuse_dirent *fbpf_dirent(const struct bpf_fuse_dirent *entry)
{
	return entry->name.data - FUSE_NAME_OFFSET;
}

/**
 * bpf_fuse_dirent_set_name - give an entry another name
 * @entry: entry from the iterator
 * @name: name, ended by a NUL or by @name__sz
 * @name__sz: bytes at @name
 *
 * Return: 0; -EINVAL when it is empty or has a slash, and when the program has
 * overwritten the entry; -ENOSPC when it is longer than the old name's place,
 * which is a multiple of 8 bytes
 */
__bpf_kfunc int bpf_fuse_dirent_set_name(struct bpf_fuse_dirent *entry,
					 const u8 *name, u32 name__sz)
{
	struct fuse_dirent *d = fbpf_dirent(entry);
	u32 len = strnlen(name, name__sz);
	u32 room;

	if (!len || memchr(name, '/', len))
		return -EINVAL;
	/* As the entry is now, it may have been written to as bytes */
	if (!d->namelen || d->namelen > NAME_MAX)
		return -EINVAL;
	room = FUSE_DIRENT_SIZE(d) - FUSE_NAME_OFFSET;
	if (len > room || len > NAME_MAX)
		return -ENOSPC;
	memcpy(d->name, name, len);
	memset(d->name + len, 0, room - len);
	entry->name.size = len + 1;
	entry->flags |= BPF_FUSE_DIRENT_RENAMED;
	return 0;
}

/**
 * bpf_fuse_dirent_set_type - give an entry another type
 * @entry: entry from the iterator
 * @type: DT_*
 *
 * Return: 0, -EINVAL when it is no type
 */
__bpf_kfunc int bpf_fuse_dirent_set_type(struct bpf_fuse_dirent *entry,
					 u32 type)
{
	if (type >= DT_MAX)
		return -EINVAL;
	fbpf_dirent(entry)->type = type;
	entry->type = type;
	return 0;
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(fbpf_kfunc_ids)
BTF_ID_FLAGS(func, bpf_fuse_return_len, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_get_ro, KF_TRUSTED_ARGS | KF_RET_NULL)
BTF_ID_FLAGS(func, bpf_fuse_get_rw, KF_TRUSTED_ARGS | KF_RET_NULL)
BTF_ID_FLAGS(func, bpf_fuse_set_len, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_fsuid)
BTF_ID_FLAGS(func, bpf_fuse_fsgid)
BTF_ID_FLAGS(func, bpf_fuse_euid)
BTF_ID_FLAGS(func, bpf_fuse_egid)
BTF_ID_FLAGS(func, bpf_fuse_comm, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_tag, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_set_tag, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_tag2, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_entry_valid, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_clear_error, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_name_walk, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_scratch, KF_TRUSTED_ARGS | KF_RET_NULL)
BTF_ID_FLAGS(func, bpf_iter_fuse_dirent_new, KF_ITER_NEW | KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_iter_fuse_dirent_next, KF_ITER_NEXT | KF_RET_NULL)
BTF_ID_FLAGS(func, bpf_iter_fuse_dirent_destroy, KF_ITER_DESTROY)
BTF_ID_FLAGS(func, bpf_fuse_dirent_drop, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_dirent_set_name, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_dirent_set_type, KF_TRUSTED_ARGS)
BTF_KFUNCS_END(fbpf_kfunc_ids)

static const struct btf_kfunc_id_set fbpf_kfunc_set = {
	.owner	= THIS_MODULE,
	.set	= &fbpf_kfunc_ids,
};

int fbpf_register_kfuncs(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS,
					 &fbpf_kfunc_set);
}
