/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Filters as one would write them for the fuse-bpf RFC v4: types from the kernel's own BTF, programs
 * by the kind of their section, sets without a link, buffers as dynptrs, constants from outside.
 * Nothing of fusebpf's is included.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "GPL";

#define CONTINUE 0
#define POSTFILTER 3
#define CALL_DEFAULT 5
#define ENOENT 2
#define EROFS 30
#define O_ACCMODE 3
#define OPCODE_MASK 0xffff
#define PREFILTER 0x10000

extern void bpf_fuse_get_rw_dynptr(struct fuse_buffer *buffer, struct bpf_dynptr *dynptr, u64 size,
				   bool copy) __ksym;
extern void bpf_fuse_get_ro_dynptr(const struct fuse_buffer *buffer,
				   struct bpf_dynptr *dynptr) __ksym;
extern uint32_t bpf_fuse_return_len(struct fuse_buffer *ptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, u32 offset, void *buffer,
			      u32 buffer__szk) __ksym;
extern void *bpf_dynptr_slice_rdwr(const struct bpf_dynptr *ptr, u32 offset, void *buffer,
				   u32 buffer__szk) __ksym;

const volatile bool read_only = false;

/* What the filters saw, for the test to read */
struct {
	u32 name_len;
	u32 ro_size;
	s32 ro_write;
	u32 too_long_refused;
	u32 too_long_len;
	u32 immutable_refused;
	u32 immutable_len;
	u32 defaulted;
	u32 last_default;
	u32 postfilters;
	u32 entries_len;
} seen;

static bool is(const struct bpf_dynptr *name, const char *wanted, u32 size)
{
	char copy[16] = {};

	return size <= sizeof(copy) && !bpf_dynptr_read(copy, size, name, 0, 0) &&
	       !bpf_strncmp(copy, sizeof(copy), wanted);
}

SEC("struct_ops/names_lookup")
int BPF_PROG(names_lookup, const struct bpf_fuse_meta_info *meta, struct fuse_buffer *name)
{
	struct bpf_dynptr ro, rw;
	char room[8];
	char *bytes;

	bpf_fuse_get_ro_dynptr(name, &ro);
	seen.name_len = bpf_fuse_return_len(name);
	seen.ro_size = bpf_dynptr_size(&ro);

	/* A slice longer than the name is none */
	bytes = bpf_dynptr_slice(&ro, 0, room, 7);
	if (bytes && bytes[0] == 's' && bytes[1] == 'e' && bytes[2] == 'c' && bytes[3] == 'r' &&
	    bytes[4] == 'e' && bytes[5] == 't' && bytes[6] == '\0')
		return -ENOENT;

	if (is(&ro, "alias", 6)) {
		seen.ro_write = bpf_dynptr_write(&ro, 0, "x", 1, 0);
		bpf_fuse_get_rw_dynptr(name, &rw, 7, false);
		bpf_dynptr_write(&rw, 0, "target", 7, 0);
		return POSTFILTER;
	}
	if (is(&ro, "copied", 7)) {
		bpf_fuse_get_rw_dynptr(name, &rw, 7, true);
		bytes = bpf_dynptr_slice_rdwr(&rw, 0, room, 7);
		if (bytes)
			bytes[0] = 'k';
		return CONTINUE;
	}
	if (is(&ro, "zeros", 6)) {
		/* Not copied, so what is not written is zero */
		bpf_fuse_get_rw_dynptr(name, &rw, 6, false);
		bpf_dynptr_write(&rw, 0, "file", 4, 0);
		return CONTINUE;
	}
	if (is(&ro, "longer", 7)) {
		/* Room asked for with copy is not seen before the length is set */
		bpf_fuse_get_rw_dynptr(name, &rw, 200, true);
		if (bpf_dynptr_size(&rw) != 7)
			return -EROFS;
		bpf_fuse_get_rw_dynptr(name, &rw, 12, false);
		bpf_dynptr_write(&rw, 0, "longer-name", 12, 0);
		return CONTINUE;
	}
	if (is(&ro, "whole", 6)) {
		bpf_fuse_get_rw_dynptr(name, &rw, 1000, false);
		seen.too_long_refused = !bpf_dynptr_slice_rdwr(&rw, 0, room, 1);
		seen.too_long_len = bpf_fuse_return_len(name);
		return CONTINUE;
	}
	if (is(&ro, "shrink99", 9))
		bpf_fuse_get_rw_dynptr(name, &rw, 7, true);
	return CONTINUE;
}

SEC("struct_ops/names_lookup_post")
int BPF_PROG(names_lookup_post, const struct bpf_fuse_meta_info *meta,
	     const struct fuse_buffer *name, struct fuse_entry_out *out,
	     struct fuse_buffer *entries)
{
	struct bpf_dynptr ro;

	bpf_fuse_get_ro_dynptr(name, &ro);
	if (is(&ro, "target", 7))
		seen.postfilters++;
	seen.entries_len = bpf_fuse_return_len(entries);
	return CONTINUE;
}

SEC("struct_ops/names_create")
int BPF_PROG(names_create, const struct bpf_fuse_meta_info *meta, struct fuse_create_in *in,
	     struct fuse_buffer *name)
{
	struct bpf_dynptr rw;
	char room[1];

	bpf_fuse_get_rw_dynptr(name, &rw, 4, false);
	seen.immutable_refused = !bpf_dynptr_slice_rdwr(&rw, 0, room, 1);
	seen.immutable_len = bpf_fuse_return_len(name);
	in->mode &= ~0077;
	return CONTINUE;
}

SEC("struct_ops/names_readdir")
int BPF_PROG(names_readdir, const struct bpf_fuse_meta_info *meta, struct fuse_read_in *in)
{
	return POSTFILTER;
}

/* The listing as bytes: every name "secret" is written over */
SEC("struct_ops/names_readdir_post")
int BPF_PROG(names_readdir_post, const struct bpf_fuse_meta_info *meta,
	     const struct fuse_read_in *in, struct fuse_read_out *out, struct fuse_buffer *buffer)
{
	u32 len = bpf_fuse_return_len(buffer), pos = 0;
	struct bpf_dynptr rw;
	int i;

	bpf_fuse_get_rw_dynptr(buffer, &rw, len, true);
	bpf_for(i, 0, 64) {
		struct fuse_dirent entry;
		char name[7] = {};

		if (bpf_dynptr_read(&entry, 24, &rw, pos, 0))
			break;
		if (entry.namelen == 6 && !bpf_dynptr_read(name, 6, &rw, pos + 24, 0) &&
		    !bpf_strncmp(name, 7, "secret"))
			bpf_dynptr_write(&rw, pos + 24, "hidden", 6, 0);
		pos += (24 + entry.namelen + 7) & ~7;
	}
	return CONTINUE;
}

SEC("struct_ops/names_default")
int BPF_PROG(names_default, const struct bpf_fuse_meta_info *meta)
{
	seen.defaulted++;
	seen.last_default = meta->opcode;
	return CONTINUE;
}

SEC("struct_ops/strict_open")
int BPF_PROG(strict_open, const struct bpf_fuse_meta_info *meta, struct fuse_open_in *in)
{
	if (read_only && (in->flags & O_ACCMODE))
		return -EROFS;
	return CALL_DEFAULT;
}

SEC(".struct_ops")
struct fuse_ops v4_names = {
	.default_filter = (void *)names_default,
	.lookup_prefilter = (void *)names_lookup,
	.lookup_postfilter = (void *)names_lookup_post,
	.create_open_prefilter = (void *)names_create,
	.readdir_prefilter = (void *)names_readdir,
	.readdir_postfilter = (void *)names_readdir_post,
	.name = "v4_names",
};

SEC(".struct_ops")
struct fuse_ops v4_strict = {
	.open_prefilter = (void *)strict_open,
	.name = "v4_strict",
};
