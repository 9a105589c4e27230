/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Filters for the tests of the kernel part, against its own interface: no fusebpf.h in between.
 * What they do is set from outside: config[slot] is the verdict of a member, other cells are named
 * below. counts[slot] says how often a member ran, seen[] what it saw last.
 */
#include "kernel_filters.h"

enum {
	SLOT_DEFAULT,
	SLOT_OPEN_PRE,
	SLOT_OPEN_POST,
	SLOT_OPENDIR_PRE,
	SLOT_OPENDIR_POST,
	SLOT_CREATE_PRE,
	SLOT_CREATE_POST,
	SLOT_RELEASE_PRE,
	SLOT_RELEASE_POST,
	SLOT_RELEASEDIR_PRE,
	SLOT_RELEASEDIR_POST,
	SLOT_LOOKUP_PRE,
	SLOT_LOOKUP_POST,
	SLOT_READDIR_PRE,
	SLOT_READDIR_POST,
	/* Only in config: */
	CFG_HIDE, /* lookup: names that begin with "hidden" give -ENOENT */
	CFG_REWRITE, /* lookup: "alias" becomes "target" */
	CFG_TAG, /* lookup: names that begin with "tag" get this tag */
	CFG_NODEID, /* lookup postfilter: nodeid of the entry */
	CFG_FLAGS_SET, /* open: flags to set */
	CFG_FLAGS_CLEAR, /* open: flags to clear, first */
	CFG_MODE_CLEAR, /* create: mode bits to clear */
	CFG_DROP, /* readdir: 1 names that begin with "hidden", 2 all */
	CFG_POST_HIDE, /* lookup postfilter: as CFG_HIDE */
	CFG_CELLS = 32,
};

/* Only in seen: */
enum {
	SEEN_OPCODE,
	SEEN_ERROR_IN,
	SEEN_NODEID,
	SEEN_TAG,
	SEEN_FSUID,
	SEEN_FSGID,
	SEEN_EUID,
	SEEN_EGID,
	SEEN_COMM,
	SEEN_LEN,
	SEEN_FLAGS,
	SEEN_MODE,
	SEEN_RO,
	SEEN_RW,
	SEEN_SET_LEN,
	SEEN_SET_TAG,
	SEEN_SCRATCH,
	SEEN_FH,
	SEEN_SIZE,
};

#define CELLS(name) \
	struct { \
		__uint(type, 2); \
		__uint(map_flags, 1024 /* BPF_F_MMAPABLE */); \
		__uint(max_entries, CFG_CELLS); \
		__type(key, __u32); \
		__type(value, __s64); \
	} name SEC(".maps");

CELLS(config)
CELLS(counts)
CELLS(seen)

static __always_inline __s64 get(__u32 cell)
{
	__s64 *value = bpf_map_lookup_elem(&config, &cell);

	return value ? *value : 0;
}

static __always_inline void note(__u32 cell, __s64 number)
{
	__s64 *value = bpf_map_lookup_elem(&seen, &cell);

	if (value)
		*value = number;
}

static __always_inline void count(__u32 slot)
{
	__s64 *value = bpf_map_lookup_elem(&counts, &slot);

	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline int begins_hidden(struct fuse_buffer *name)
{
	const __u8 *s = bpf_fuse_get_ro(name, 256);

	return s && s[0] == 'h' && s[1] == 'i' && s[2] == 'd' && s[3] == 'd' && s[4] == 'e' &&
	       s[5] == 'n';
}

#define ARG(index, type) ((type)ctx[index])
#define META ARG(0, const struct bpf_fuse_meta_info *)
#define FILTER(member) SEC("?struct_ops/" #member) int member(__u64 *ctx)

static __always_inline int answer(__u32 slot, const struct bpf_fuse_meta_info *meta)
{
	count(slot);
	note(SEEN_OPCODE, meta->opcode);
	note(SEEN_ERROR_IN, (__s32)meta->error_in);
	note(SEEN_NODEID, meta->nodeid);
	note(SEEN_TAG, bpf_fuse_tag(meta));
	return get(slot);
}

FILTER(default_filter)
{
	return answer(SLOT_DEFAULT, META);
}

static __always_inline void open_in(struct fuse_open_in *in)
{
	note(SEEN_FLAGS, in->flags);
	in->flags &= ~get(CFG_FLAGS_CLEAR);
	in->flags |= get(CFG_FLAGS_SET);
}

FILTER(open_prefilter)
{
	__u64 comm[2] = {};

	open_in(ARG(1, struct fuse_open_in *));
	note(SEEN_FSUID, bpf_fuse_fsuid());
	note(SEEN_FSGID, bpf_fuse_fsgid());
	note(SEEN_EUID, bpf_fuse_euid());
	note(SEEN_EGID, bpf_fuse_egid());
	bpf_fuse_comm((__u8 *)comm, sizeof(comm));
	note(SEEN_COMM, comm[0]);
	note(SEEN_SET_TAG, bpf_fuse_set_tag(META, 99));
	return answer(SLOT_OPEN_PRE, META);
}

FILTER(open_postfilter)
{
	struct fuse_open_out *out = ARG(2, struct fuse_open_out *);

	note(SEEN_FLAGS, ARG(1, const struct fuse_open_in *)->flags);
	out->fh = 4711;
	return answer(SLOT_OPEN_POST, META);
}

FILTER(opendir_prefilter)
{
	open_in(ARG(1, struct fuse_open_in *));
	return answer(SLOT_OPENDIR_PRE, META);
}

FILTER(opendir_postfilter)
{
	return answer(SLOT_OPENDIR_POST, META);
}

FILTER(create_open_prefilter)
{
	struct fuse_create_in *in = ARG(1, struct fuse_create_in *);
	struct fuse_buffer *name = ARG(2, struct fuse_buffer *);

	note(SEEN_LEN, bpf_fuse_return_len(name));
	note(SEEN_RW, bpf_fuse_get_rw(name, 1) != NULL);
	note(SEEN_SET_LEN, bpf_fuse_set_len(name, 1));
	note(SEEN_MODE, in->mode);
	note(SEEN_FLAGS, in->flags);
	in->mode &= ~get(CFG_MODE_CLEAR);
	return answer(SLOT_CREATE_PRE, META);
}

FILTER(create_open_postfilter)
{
	struct fuse_entry_out *entry = ARG(3, struct fuse_entry_out *);
	struct fuse_open_out *out = ARG(4, struct fuse_open_out *);

	entry->nodeid = get(CFG_NODEID);
	out->fh = 815;
	return answer(SLOT_CREATE_POST, META);
}

FILTER(release_prefilter)
{
	struct fuse_release_in *in = ARG(1, struct fuse_release_in *);

	note(SEEN_FH, in->fh);
	note(SEEN_FLAGS, in->flags);
	return answer(SLOT_RELEASE_PRE, META);
}

FILTER(release_postfilter)
{
	return answer(SLOT_RELEASE_POST, META);
}

FILTER(releasedir_prefilter)
{
	return answer(SLOT_RELEASEDIR_PRE, META);
}

FILTER(releasedir_postfilter)
{
	return answer(SLOT_RELEASEDIR_POST, META);
}

static __always_inline void rewrite(struct fuse_buffer *name)
{
	const __u8 *s = bpf_fuse_get_ro(name, 256);
	__u8 *w;

	if (!s || s[0] != 'a' || s[1] != 'l' || s[2] != 'i' || s[3] != 'a' || s[4] != 's' || s[5])
		return;
	w = bpf_fuse_get_rw(name, 7);
	if (!w)
		return;
	w[0] = 't';
	w[1] = 'a';
	w[2] = 'r';
	w[3] = 'g';
	w[4] = 'e';
	w[5] = 't';
	w[6] = 0;
	bpf_fuse_set_len(name, 7);
}

FILTER(lookup_prefilter)
{
	struct fuse_buffer *name = ARG(1, struct fuse_buffer *);
	const __u8 *s = bpf_fuse_get_ro(name, 256);
	int verdict = answer(SLOT_LOOKUP_PRE, META);

	note(SEEN_LEN, bpf_fuse_return_len(name));
	note(SEEN_RO, bpf_fuse_get_ro(name, 257) != NULL);
	note(SEEN_SET_LEN, bpf_fuse_set_len(name, 257));
	if (get(CFG_HIDE) && begins_hidden(name))
		return -2;
	if (get(CFG_REWRITE))
		rewrite(name);
	if (s && s[0] == 't' && s[1] == 'a' && s[2] == 'g' && get(CFG_TAG))
		note(SEEN_SET_TAG, bpf_fuse_set_tag(META, get(CFG_TAG)));
	return verdict;
}

FILTER(lookup_postfilter)
{
	struct fuse_buffer *name = ARG(1, struct fuse_buffer *);
	struct fuse_entry_out *out = ARG(2, struct fuse_entry_out *);
	struct fuse_buffer *entries = ARG(3, struct fuse_buffer *);
	__u64 *scratch = (__u64 *)bpf_fuse_scratch(META, 2048);

	if (scratch) {
		scratch[255] = 77;
		note(SEEN_SCRATCH, scratch[255] + (bpf_fuse_scratch(META, 2049) != NULL));
	}
	note(SEEN_RW, bpf_fuse_get_rw(name, 1) != NULL);
	note(SEEN_LEN, bpf_fuse_return_len(entries));
	note(SEEN_MODE, out->attr.mode);
	note(SEEN_SIZE, out->attr.size);
	if (get(CFG_NODEID))
		out->nodeid = get(CFG_NODEID);
	if (get(CFG_POST_HIDE) && begins_hidden(name))
		return -2;
	return answer(SLOT_LOOKUP_POST, META);
}

FILTER(readdir_prefilter)
{
	return answer(SLOT_READDIR_PRE, META);
}

FILTER(readdir_postfilter)
{
	struct fuse_buffer *listing = ARG(3, struct fuse_buffer *);
	struct bpf_iter_fuse_dirent it;
	struct bpf_fuse_dirent *e;
	__s64 drop = get(CFG_DROP);

	bpf_iter_fuse_dirent_new(&it, listing);
	while ((e = bpf_iter_fuse_dirent_next(&it)))
		if (drop == 2 || (drop == 1 && begins_hidden(&e->name)))
			bpf_fuse_dirent_drop(e);
	bpf_iter_fuse_dirent_destroy(&it);
	return answer(SLOT_READDIR_POST, META);
}

/* Programs that the verifier must refuse; see test_kernel_verifier.py. */
SEC("?struct_ops/open_postfilter") int bad_store_const(__u64 *ctx)
{
	ARG(1, struct fuse_open_in *)->flags = 1;
	return 0;
}

SEC("?struct_ops/open_prefilter") int bad_store_past_end(__u64 *ctx)
{
	*(volatile __u32 *)((char *)ARG(1, struct fuse_open_in *) + 8) = 1;
	return 0;
}

SEC("?struct_ops/open_prefilter") int bad_store_meta(__u64 *ctx)
{
	ARG(0, struct bpf_fuse_meta_info *)->opcode = 1;
	return 0;
}

SEC("?struct_ops/lookup_prefilter") int bad_store_buffer(__u64 *ctx)
{
	ARG(1, struct fuse_buffer *)->size = 3;
	return 0;
}

SEC("?struct_ops/lookup_prefilter") int bad_read_past_name(__u64 *ctx)
{
	const __u8 *s = bpf_fuse_get_ro(ARG(1, struct fuse_buffer *), 16);

	return s ? s[16] : 0;
}

SEC("?struct_ops/lookup_prefilter") int bad_store_ro(__u64 *ctx)
{
	const __u8 *s = bpf_fuse_get_ro(ARG(1, struct fuse_buffer *), 16);

	if (s)
		*(volatile __u8 *)s = 1;
	return 0;
}

SEC("?struct_ops/readdir_postfilter") int bad_store_dirent(__u64 *ctx)
{
	struct bpf_iter_fuse_dirent it;
	struct bpf_fuse_dirent *e;

	bpf_iter_fuse_dirent_new(&it, ARG(3, struct fuse_buffer *));
	while ((e = bpf_iter_fuse_dirent_next(&it)))
		e->flags = 1;
	bpf_iter_fuse_dirent_destroy(&it);
	return 0;
}

SEC("?struct_ops.s/open_prefilter") int bad_sleepable(__u64 *ctx)
{
	return 0;
}

#define BAD(program, member) \
	SEC("?.struct_ops.link") struct fuse_ops ops_##program = { \
		.member = (void *)program, \
		.name = "bad", \
	};

BAD(bad_store_const, open_postfilter)
BAD(bad_store_past_end, open_prefilter)
BAD(bad_store_meta, open_prefilter)
BAD(bad_store_buffer, lookup_prefilter)
BAD(bad_read_past_name, lookup_prefilter)
BAD(bad_store_ro, lookup_prefilter)
BAD(bad_store_dirent, readdir_postfilter)
BAD(bad_sleepable, open_prefilter)

SEC("?.struct_ops.link") struct fuse_ops ops = {
	.default_filter = (void *)default_filter,
	.open_prefilter = (void *)open_prefilter,
	.open_postfilter = (void *)open_postfilter,
	.opendir_prefilter = (void *)opendir_prefilter,
	.opendir_postfilter = (void *)opendir_postfilter,
	.create_open_prefilter = (void *)create_open_prefilter,
	.create_open_postfilter = (void *)create_open_postfilter,
	.release_prefilter = (void *)release_prefilter,
	.release_postfilter = (void *)release_postfilter,
	.releasedir_prefilter = (void *)releasedir_prefilter,
	.releasedir_postfilter = (void *)releasedir_postfilter,
	.lookup_prefilter = (void *)lookup_prefilter,
	.lookup_postfilter = (void *)lookup_postfilter,
	.readdir_prefilter = (void *)readdir_prefilter,
	.readdir_postfilter = (void *)readdir_postfilter,
	.name = "tests",
};
