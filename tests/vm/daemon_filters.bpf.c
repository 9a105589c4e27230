/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Filters for the tests of daemons: what they say to an operation stands in verdicts[opcode], of
 * a postfilter in verdicts[64 + opcode]. Entries of a lookup stand in entry[].
 */
#include "fusebpf_abi.h"

#define SEC(name) __attribute__((section(name), used))
#define __ksym __attribute__((section(".ksyms")))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

extern __u8 *bpf_fuse_get_rw(struct fuse_buffer *buf, const unsigned long size) __ksym;
extern int bpf_fuse_set_len(struct fuse_buffer *buf, __u32 size) __ksym;

char _license[] SEC("license") = "Dual MIT/GPL";

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;

struct {
	__uint(type, 2); /* array */
	__type(key, __u32);
	__type(value, __s64);
	__uint(max_entries, 128);
} verdicts SEC(".maps");

/* One struct fuse_bpf_entry_out; all zero: none */
struct {
	__uint(type, 2);
	__type(key, __u32);
	__type(value, __u64[3]);
	__uint(max_entries, 1);
} entry SEC(".maps");

static inline __attribute__((always_inline)) int verdict(__u32 opcode)
{
	__u32 key = (opcode & 63) + (opcode & FUSEBPF_OPCODE_POST ? 64 : 0);
	__s64 *value = bpf_map_lookup_elem(&verdicts, &key);

	return value ? *value : 0;
}

SEC("struct_ops/default_filter")
int default_filter(unsigned long long *ctx)
{
	const struct bpf_fuse_meta_info *meta = (void *)ctx[0];

	return verdict(meta->opcode);
}

SEC("struct_ops/lookup_postfilter")
int lookup_postfilter(unsigned long long *ctx)
{
	const struct bpf_fuse_meta_info *meta = (void *)ctx[0];
	struct fuse_buffer *entries = (void *)ctx[3];
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&entry, &key);
	__u8 *data;

	if (value && value[0]) {
		data = bpf_fuse_get_rw(entries, 24);
		if (data && !bpf_fuse_set_len(entries, 24)) {
			((__u64 *)data)[0] = value[0];
			((__u64 *)data)[1] = value[1];
			((__u64 *)data)[2] = value[2];
		}
	}
	return verdict(meta->opcode);
}

SEC(".struct_ops.link")
struct fuse_ops ops = {
	.default_filter = (void *)default_filter,
	.lookup_postfilter = (void *)lookup_postfilter,
	.name = "daemon",
};
