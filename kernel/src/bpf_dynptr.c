// SPDX-License-Identifier: GPL-2.0-only
/*
 * The two functions of the fuse-bpf RFC v4 that show a buffer to a program as a
 * dynptr. Only in the kernel's own FUSE: the verifier has to know their ids.
 *
 * The memory is the operation's own, as large as the buffer may become, and
 * outlives the program: nothing is allocated here, and a dynptr that was
 * filled earlier never points to freed memory.
 *
 * Locking: none. An operation and its buffers belong to one task.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>

#include "bpf.h"
#include "bpf_kfunc.h"

/*
 * May a program write @size bytes? Sets the length that it will see. A buffer
 * that refuses is left as it is.
 */
static bool fbpf_resize(struct fuse_buffer *buf, u64 size, bool copy)
{
	const int written = BPF_FUSE_MODIFIED | BPF_FUSE_ALLOCATED;
	u32 room = min(buf->max_size, buf->alloc_size);

	if (buf->flags & BPF_FUSE_IMMUTABLE)
		return false;
	if (size > buf->size) {
		if (!(buf->flags & BPF_FUSE_VARIABLE_SIZE) || size > room)
			return false;
		if (!copy)
			buf->size = size;
		/* With copy this only asks for room: the length stays */
	} else if (buf->flags & BPF_FUSE_VARIABLE_SIZE) {
		buf->size = size;
	}
	/* Where v4 would hand out new memory, a program relies on zeros */
	if (!copy && buf->flags & BPF_FUSE_MUST_ALLOCATE && !(buf->flags & written))
		memset(buf->data, 0, buf->size);
	buf->flags |= written;
	return true;
}

__bpf_kfunc_start_defs();

/**
 * bpf_fuse_get_rw_dynptr - change a buffer through a dynptr
 * @buffer: buffer
 * @dynptr__uninit: gets the buffer's bytes; null when it refuses
 * @size: bytes to write
 * @copy: keep the contents; a length that grows is then not seen yet
 */
__bpf_kfunc void bpf_fuse_get_rw_dynptr(struct fuse_buffer *buffer,
					struct bpf_dynptr *dynptr__uninit,
					u64 size, bool copy)
{
	struct bpf_dynptr_kern *ptr = (struct bpf_dynptr_kern *)dynptr__uninit;

	if (!fbpf_resize(buffer, size, copy) ||
	    bpf_dynptr_check_size(buffer->size))
		bpf_dynptr_set_null(ptr);
	else
		bpf_dynptr_init(ptr, buffer->data, BPF_DYNPTR_TYPE_LOCAL, 0,
				buffer->size);
}

/**
 * bpf_fuse_get_ro_dynptr - read a buffer through a dynptr
 * @buffer: buffer
 * @dynptr__uninit: gets the buffer's bytes
 */
__bpf_kfunc void bpf_fuse_get_ro_dynptr(const struct fuse_buffer *buffer,
					struct bpf_dynptr *dynptr__uninit)
{
	struct bpf_dynptr_kern *ptr = (struct bpf_dynptr_kern *)dynptr__uninit;
	u32 size = min(buffer->size, buffer->alloc_size);

	if (bpf_dynptr_check_size(size)) {
		bpf_dynptr_set_null(ptr);
		return;
	}
	bpf_dynptr_init(ptr, buffer->data, BPF_DYNPTR_TYPE_LOCAL, 0, size);
	bpf_dynptr_set_rdonly(ptr);
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(fbpf_dynptr_ids)
BTF_ID_FLAGS(func, bpf_fuse_get_rw_dynptr, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_fuse_get_ro_dynptr, KF_TRUSTED_ARGS)
BTF_KFUNCS_END(fbpf_dynptr_ids)

static const struct btf_kfunc_id_set fbpf_dynptr_set = {
	.owner	= THIS_MODULE,
	.set	= &fbpf_dynptr_ids,
};

int fbpf_register_dynptr(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS,
					 &fbpf_dynptr_set);
}
