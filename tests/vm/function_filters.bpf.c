/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Filters for the tests of functions that filters call: what they gave stands in results[], by
 * enum. A name that begins with "tag" and a digit gets that digit as its tag.
 */
#include "kernel_filters.h"

enum {
	SEEN_TAG,
	SEEN_TAG2,
	SEEN_SET_TAG,
	SEEN_ENTRY_VALID,
	SEEN_CLEAR_ERROR,
	SEEN_SCRATCH,
	SEEN_SCRATCH_BEFORE,
	SEEN_NO_SCRATCH,
	SEEN_WALK,
	SEEN_HASH_WALK,
	SEEN_NARROW_WALK,
	SEEN_PATH_WALK,
	SEEN_CELLS,
};

#define TABLE(name, kind, count, bytes) \
	struct { \
		__uint(type, kind); \
		__uint(max_entries, count); \
		__uint(key_size, 4); \
		__uint(value_size, bytes); \
	} name SEC(".maps")

TABLE(results, 2, SEEN_CELLS, 8);
TABLE(states, 2, 1, 8); /* where a walk begins */
TABLE(dfa, 2, 4, 512);
TABLE(hash, 1, 4, 512);
TABLE(narrow, 2, 4, 256);

#define ACCEPTED 3

#define ARG(index, type) ((type)ctx[index])
#define META ARG(0, const struct bpf_fuse_meta_info *)
#define FILTER(member) SEC("struct_ops/" #member) int member(__u64 *ctx)

static __always_inline void note(__u32 cell, __s64 number)
{
	__s64 *value = bpf_map_lookup_elem(&results, &cell);

	if (value)
		*value = number;
}

static __always_inline __u64 first_state(void)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&states, &key);

	return value ? *value : 0;
}

static __always_inline int tags(const struct bpf_fuse_meta_info *meta)
{
	note(SEEN_TAG, bpf_fuse_tag(meta));
	note(SEEN_TAG2, bpf_fuse_tag2(meta));
	return 0;
}

/* What the automaton accepts is not there */
FILTER(lookup_prefilter)
{
	struct fuse_buffer *name = ARG(1, struct fuse_buffer *);
	const __u8 *s = bpf_fuse_get_ro(name, 256);
	__s64 state;

	if (s && s[0] == 't' && s[1] == 'a' && s[2] == 'g')
		bpf_fuse_set_tag(META, s[3] - '0');
	note(SEEN_HASH_WALK, bpf_fuse_name_walk(name, &hash, 0));
	note(SEEN_NARROW_WALK, bpf_fuse_name_walk(name, &narrow, 0));
	state = bpf_fuse_name_walk(name, &dfa, first_state());
	note(SEEN_WALK, state);
	return state == ACCEPTED ? -2 : 0;
}

FILTER(symlink_prefilter)
{
	note(SEEN_PATH_WALK, bpf_fuse_name_walk(ARG(2, struct fuse_buffer *), &dfa, 0));
	return tags(META);
}

FILTER(rename2_prefilter)
{
	return tags(META);
}

FILTER(link_prefilter)
{
	return tags(META);
}

FILTER(copy_file_range_prefilter)
{
	return tags(META);
}

/* None of these is for an open file */
FILTER(open_prefilter)
{
	__u8 *first = bpf_fuse_scratch(META, 2048);
	__u8 *again;

	note(SEEN_SET_TAG, bpf_fuse_set_tag(META, 1));
	note(SEEN_ENTRY_VALID, bpf_fuse_entry_valid(META, 1));
	note(SEEN_CLEAR_ERROR, bpf_fuse_clear_error(META));
	note(SEEN_NO_SCRATCH, !bpf_fuse_scratch(META, 2049));
	if (first) {
		note(SEEN_SCRATCH_BEFORE, first[0] + first[2047]);
		first[0] = 1;
		first[2047] = 2;
	}
	again = bpf_fuse_scratch(META, 2048);
	if (again)
		note(SEEN_SCRATCH, again[0] + again[2047]);
	return tags(META);
}

SEC(".struct_ops.link") struct fuse_ops ops = {
	.lookup_prefilter = (void *)lookup_prefilter,
	.symlink_prefilter = (void *)symlink_prefilter,
	.rename2_prefilter = (void *)rename2_prefilter,
	.link_prefilter = (void *)link_prefilter,
	.copy_file_range_prefilter = (void *)copy_file_range_prefilter,
	.open_prefilter = (void *)open_prefilter,
	.name = "functions",
};
