/* SPDX-License-Identifier: MIT */
/*
 * What the generated filters of hookkit.py share; FIELDS, BUFFERS, BYTES and HOOKS come from there.
 */
#ifndef HOOK_FILTERS_H
#define HOOK_FILTERS_H

#include "kernel_filters.h"

#define ENTRIES 48 /* bytes of a lookup's entries */
#define DIRENTS 4096 /* bytes of a listing */

struct control {
	__s64 verdict;
	__u64 mask;
	__u64 value[FIELDS];
	__u64 clear;
	__u64 valid_ns;
	__u64 scribble;
	__u32 set_len[BUFFERS + 1];
	__u8 bytes[BUFFERS][BYTES];
};

struct seen {
	__u64 count;
	__u64 opcode;
	__s64 error_in;
	__u64 nodeid;
	__u64 tag;
	__u64 tag2;
	__s64 clear;
	__u64 field[FIELDS];
	__s64 set_len[BUFFERS];
	__u32 len[BUFFERS + 1];
	__u8 bytes[BUFFERS][BYTES];
};

#define TABLE(name, kind) \
	struct { \
		__uint(type, 2); \
		__uint(map_flags, 1024 /* BPF_F_MMAPABLE */); \
		__uint(max_entries, HOOKS); \
		__type(key, __u32); \
		__type(value, struct kind); \
	} name SEC(".maps");

TABLE(controls, control)
TABLE(observed, seen)

/* By words: 64 single bytes in each of some 60 programs are what compiling them would cost */
static __always_inline void copy(__u8 *to, const __u8 *from, int size)
{
	for (int i = 0; i < size / 8; i++)
		((__u64 *)to)[i] = ((const __u64 *)from)[i];
}

static __always_inline void see(struct seen *s, int at, struct fuse_buffer *buf, int size)
{
	const __u8 *bytes = bpf_fuse_get_ro(buf, size);

	s->len[at] = bpf_fuse_return_len(buf);
	if (bytes)
		copy(s->bytes[at], bytes, size);
}

static __always_inline void change(struct seen *s, struct control *c, int at,
				   struct fuse_buffer *buf, int size)
{
	__u8 *bytes;

	if (!c->set_len[at])
		return;
	bytes = bpf_fuse_get_rw(buf, size);
	if (bytes)
		copy(bytes, c->bytes[at], size);
	s->set_len[at] = bpf_fuse_set_len(buf, c->set_len[at]);
}

/* Bytes where they need not make an entry: c->bytes, at any word of the buffer */
static __always_inline void scribble(struct control *c, int at, struct fuse_buffer *buf)
{
	__u64 to = (c->scribble >> 1) & (DIRENTS - BYTES) & ~7ULL;
	__u8 *bytes = bpf_fuse_get_rw(buf, DIRENTS);

	if (bytes)
		copy(bytes + to, c->bytes[at], BYTES);
	bpf_fuse_set_len(buf, c->set_len[at]);
}

/*
 * bytes: names that begin with the first one are dropped, or get the rest as their name. With
 * scribble they are stored instead, while an entry is looked at, which then gets a name.
 */
static __always_inline void list(struct seen *s, struct control *c, int at, struct fuse_buffer *buf)
{
	struct bpf_iter_fuse_dirent it;
	struct bpf_fuse_dirent *e;

	bpf_iter_fuse_dirent_new(&it, buf);
	while ((e = bpf_iter_fuse_dirent_next(&it))) {
		const __u8 *name = bpf_fuse_get_ro(&e->name, 256);

		if (c->scribble)
			scribble(c, at, buf);
		else if (!c->set_len[at] || !name || name[0] != c->bytes[at][0])
			continue;
		if (!c->bytes[at][1]) {
			bpf_fuse_dirent_drop(e);
		} else {
			s->set_len[at] = bpf_fuse_dirent_set_name(e, &c->bytes[at][1], BYTES - 1);
			bpf_fuse_dirent_set_type(e, c->set_len[at]);
		}
	}
	bpf_iter_fuse_dirent_destroy(&it);
}

#endif
