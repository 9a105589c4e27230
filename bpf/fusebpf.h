/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What every filter includes: the context, buffers, maps and the programs around a filter's body.
 *
 * A filter's body is compiled into two programs of one object:
 *   NAME_ops      struct_ops program, run by a kernel with fuse-bpf;
 *   NAME_standin  raw tracepoint program, run by BPF_PROG_RUN on any kernel >= 6.4, with its
 *                 arguments in an element of the array map fusebpf_cases.
 * Both are off until a loader turns one kind on. This file alone knows the difference: the context
 * holds either the kernel's meta info or a case, and inlining makes each test a constant.
 */
#ifndef FUSEBPF_H
#define FUSEBPF_H

#include "fusebpf_abi.h"

#ifndef NULL
#define NULL ((void *)0)
#endif

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
/*
 * The same without a trace: the instructions count as those of the line that calls, which is the
 * author's, and clang has a third less to do. Not for what calls a function of the kernel: no BTF
 * would describe that one.
 */
#define __fusebpf_inline __always_inline __attribute__((nodebug))
/* For a helper that many filters call, and which asks for the bytes of names alone. */
#define __fusebpf_shared __attribute__((noinline))
#define __fusebpf_unused __attribute__((unused))
#define __ksym __attribute__((section(".ksyms")))
#define __weak __attribute__((weak))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

/* Errnos that the wrapper itself can give. */
#define FUSEBPF_EIO 5
#define FUSEBPF_E2BIG 7
#define FUSEBPF_EINVAL 22

/* fuse_open_out.open_flags of a postfilter: the file reads, maps, splices and copies as empty. */
#define FUSE_BPF_OPEN_EMPTY (1U << 31)

char _license[] SEC("license") = "Dual MIT/GPL";

/* Helpers that both program types offer, by number (include/uapi/linux/bpf.h). */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value,
					 __u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_trace_printk)(const char *format, __u32 size, ...) = (void *)6;
static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;

#define BPF_ANY 0
#define BPF_NOEXIST 1

/* Maps. */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LRU_PERCPU_HASH = 10,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_RINGBUF = 27,
};

#define BPF_F_NO_PREALLOC (1U << 0)
#define BPF_F_MMAPABLE (1U << 10)

#define FUSEBPF_MAP(name, kind, key_type, value_type, entries) \
	struct { \
		__uint(type, kind); \
		__uint(max_entries, entries); \
		__type(key, key_type); \
		__type(value, value_type); \
	} name SEC(".maps");

#define FUSEBPF_MAP_HASH(name, key_type, value_type, entries) \
	FUSEBPF_MAP(name, BPF_MAP_TYPE_HASH, key_type, value_type, entries)
#define FUSEBPF_MAP_LRU_HASH(name, key_type, value_type, entries) \
	FUSEBPF_MAP(name, BPF_MAP_TYPE_LRU_HASH, key_type, value_type, entries)
#define FUSEBPF_MAP_PERCPU_HASH(name, key_type, value_type, entries) \
	FUSEBPF_MAP(name, BPF_MAP_TYPE_PERCPU_HASH, key_type, value_type, entries)
#define FUSEBPF_MAP_LRU_PERCPU_HASH(name, key_type, value_type, entries) \
	FUSEBPF_MAP(name, BPF_MAP_TYPE_LRU_PERCPU_HASH, key_type, value_type, entries)
#define FUSEBPF_MAP_LPM_TRIE(name, key_type, value_type, entries) \
	struct { \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE); \
		__uint(map_flags, BPF_F_NO_PREALLOC); \
		__uint(max_entries, entries); \
		__type(key, key_type); \
		__type(value, value_type); \
	} name SEC(".maps");
#define FUSEBPF_RING(name, size) \
	struct { \
		__uint(type, BPF_MAP_TYPE_RINGBUF); \
		__uint(max_entries, size); \
	} name SEC(".maps");
#define FUSEBPF_MAP_ARRAY(name, value_type, entries) \
	FUSEBPF_MAP(name, BPF_MAP_TYPE_ARRAY, __u32, value_type, entries)
#define FUSEBPF_MAP_PERCPU_ARRAY(name, value_type, entries) \
	FUSEBPF_MAP(name, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, value_type, entries)

/* Kernel functions of fuse-bpf. Weak: a kernel without them still loads the stand-in programs. */
struct bpf_iter_num {
	__u64 state[1];
} __attribute__((aligned(8)));

struct bpf_iter_fuse_dirent {
	__u64 state[4];
} __attribute__((aligned(8)));

struct bpf_fuse_dirent {
	__u64 ino;
	__u64 off;
	__u32 type;
	__u32 flags;
	struct fuse_buffer name;
};

extern __u32 bpf_fuse_return_len(struct fuse_buffer *buf) __ksym __weak;
extern const __u8 *bpf_fuse_get_ro(struct fuse_buffer *buf, const unsigned long size) __ksym __weak;
extern __u8 *bpf_fuse_get_rw(struct fuse_buffer *buf, const unsigned long size) __ksym __weak;
extern int bpf_fuse_set_len(struct fuse_buffer *buf, __u32 size) __ksym __weak;
extern __u32 bpf_fuse_fsuid(void) __ksym __weak;
extern __u32 bpf_fuse_fsgid(void) __ksym __weak;
extern __u32 bpf_fuse_euid(void) __ksym __weak;
extern __u32 bpf_fuse_egid(void) __ksym __weak;
extern __u64 bpf_fuse_tag(const struct bpf_fuse_meta_info *meta) __ksym __weak;
extern int bpf_fuse_set_tag(const struct bpf_fuse_meta_info *meta, __u64 tag) __ksym __weak;
extern __u64 bpf_fuse_tag2(const struct bpf_fuse_meta_info *meta) __ksym __weak;
extern int bpf_fuse_entry_valid(const struct bpf_fuse_meta_info *meta, __u64 ns) __ksym __weak;
extern int bpf_fuse_clear_error(const struct bpf_fuse_meta_info *meta) __ksym __weak;
extern __s64 bpf_fuse_name_walk(struct fuse_buffer *name, void *dfa, __u64 state) __ksym __weak;
extern __u8 *bpf_fuse_scratch(const struct bpf_fuse_meta_info *meta,
			      const unsigned long size) __ksym __weak;
extern int bpf_iter_fuse_dirent_new(struct bpf_iter_fuse_dirent *it,
				    struct fuse_buffer *buf) __ksym __weak;
extern struct bpf_fuse_dirent *
bpf_iter_fuse_dirent_next(struct bpf_iter_fuse_dirent *it) __ksym __weak;
extern void bpf_iter_fuse_dirent_destroy(struct bpf_iter_fuse_dirent *it) __ksym __weak;
extern int bpf_fuse_dirent_drop(struct bpf_fuse_dirent *entry) __ksym __weak;
extern int bpf_fuse_dirent_set_name(struct bpf_fuse_dirent *entry, const __u8 *name,
				    __u32 name__sz) __ksym __weak;
extern int bpf_fuse_dirent_set_type(struct bpf_fuse_dirent *entry, __u32 type) __ksym __weak;

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;

/* One call of a filter as a stand-in. fusebpf/testing writes and reads this layout. */
#define FUSEBPF_CASE_BUF 4096
#define FUSEBPF_CASE_DIRENTS 32

struct fusebpf_case_buf {
	__u32 len;
	__u32 writable;
	__u8 data[FUSEBPF_CASE_BUF];
};

struct fusebpf_case_dirent {
	__u64 ino;
	__u64 off;
	__u32 type;
	__u32 dropped;
	__u32 name_len;
	__u32 room; /* most bytes of another name */
	__u8 name[256];
};

struct fusebpf_case {
	__u64 nodeid;
	__u64 tag;
	__u64 tag2;
	__u64 valid_ns;
	__u64 ktime;
	__u32 opcode;
	__s32 error_in;
	__u32 fsuid;
	__u32 fsgid;
	__u32 euid;
	__u32 egid;
	__u32 pid;
	__u32 tid;
	__s32 verdict;
	__u32 done;
	__u32 tag_set;
	__u32 cleared;
	__u32 dirents;
	__u32 unused;
	__u8 in[1][128];
	__u8 out[2][128];
	struct fusebpf_case_buf buf[3];
	struct fusebpf_case_dirent dirent[FUSEBPF_CASE_DIRENTS];
	__u64 scratch[FUSEBPF_SCRATCH_SIZE / 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fusebpf_case);
} fusebpf_cases SEC(".maps");

/* Who asks, for what. */
struct fusebpf_ctx {
	__u64 nodeid;
	__u32 opcode; /* without the phase bits */
	__s32 error_in;
	const struct bpf_fuse_meta_info *meta; /* NULL in a stand-in */
	struct fusebpf_case *test; /* NULL in a kernel with fuse-bpf */
	__u64 tag; /* that the filter gave the entry, once `tagged` */
	__u64 first; /* that a stand-in's operation began with, once it was set */
	__u32 tagged;
};

/* Bytes of a buffer that filters can look at, the last place as a mask. */
#define FUSEBPF_NAME_MASK 255
#define FUSEBPF_BYTES_MASK 4095

/*
 * A name, another byte string, or a part of one, from `start` on; len counts bytes without a
 * name's NUL. Of data, mask + 1 bytes are readable.
 */
struct fusebpf_buf {
	const __u8 *data;
	__u32 len;
	__u32 start;
	__u32 mask;
	struct fuse_buffer *kernel;
	struct fusebpf_case_buf *test;
	struct fusebpf_case *entries;
};

/* A whole name as arguments of a shared function, as its parameters, and in its body. */
#define FUSEBPF_NAME_BYTES(name) (name)->data, (name)->len
#define FUSEBPF_NAME_PARAM(name) const __u8 *_DATA_##name, __u64 _LEN_##name
#define FUSEBPF_NAME_GIVEN(name) \
	const struct fusebpf_buf _BUF_##name = { \
		.data = _DATA_##name, \
		.len = (__u32)_LEN_##name, \
		.mask = FUSEBPF_NAME_MASK, \
	}, *name __fusebpf_unused = &_BUF_##name

/*
 * Load or store a member of an argument by an instruction of its own. Arguments are pointers to
 * types of the kernel, and the verifier refuses an instruction that reaches such memory on one
 * path and other memory on another; clang makes one of two where branches end alike.
 */
#define FUSEBPF_LOAD(member) \
	({ \
		__u64 _loaded = (member); \
		asm("" : "+r"(_loaded)); \
		(typeof(member))_loaded; \
	})
#define FUSEBPF_STORE(member, value) \
	do { \
		(member) = (value); \
		asm volatile(""); \
	} while (0)

static __fusebpf_inline struct fusebpf_ctx fusebpf_ctx_ops(__u64 arg)
{
	const struct bpf_fuse_meta_info *meta = (const struct bpf_fuse_meta_info *)arg;
	struct fusebpf_ctx ctx = {
		.nodeid = FUSEBPF_LOAD(meta->nodeid),
		.opcode = FUSEBPF_LOAD(meta->opcode) & FUSEBPF_OPCODE_MASK,
		.error_in = (__s32)FUSEBPF_LOAD(meta->error_in),
		.meta = meta,
	};

	return ctx;
}

static __fusebpf_inline struct fusebpf_ctx fusebpf_ctx_standin(struct fusebpf_case *test)
{
	struct fusebpf_ctx ctx = {
		.nodeid = test->nodeid,
		.opcode = test->opcode & FUSEBPF_OPCODE_MASK,
		.error_in = test->error_in,
		.test = test,
	};

	return ctx;
}

/* The caller's ids in the initial user namespace; fs ids are the ones that permission uses. */
static __always_inline __u32 fusebpf_uid(struct fusebpf_ctx *ctx)
{
	return ctx->test ? ctx->test->fsuid : bpf_fuse_fsuid();
}

static __always_inline __u32 fusebpf_gid(struct fusebpf_ctx *ctx)
{
	return ctx->test ? ctx->test->fsgid : bpf_fuse_fsgid();
}

static __always_inline __u32 fusebpf_euid(struct fusebpf_ctx *ctx)
{
	return ctx->test ? ctx->test->euid : bpf_fuse_euid();
}

static __always_inline __u32 fusebpf_egid(struct fusebpf_ctx *ctx)
{
	return ctx->test ? ctx->test->egid : bpf_fuse_egid();
}

/* Process and thread id as user space means them. */
static __always_inline __u32 fusebpf_pid(struct fusebpf_ctx *ctx)
{
	return ctx->test ? ctx->test->pid : (__u32)(bpf_get_current_pid_tgid() >> 32);
}

static __always_inline __u32 fusebpf_tid(struct fusebpf_ctx *ctx)
{
	return ctx->test ? ctx->test->tid : (__u32)bpf_get_current_pid_tgid();
}

/*
 * Policy tag of the deciding inode, or the one that this filter has set. The inode's own goes in twice
 * and out again: so the verifier knows nothing of the sum, and the turns of a loop that counts in the
 * tag look alike.
 */
static __always_inline __u64 fusebpf_tag(struct fusebpf_ctx *ctx)
{
	__u64 tag;

	if (ctx->test) {
		if (ctx->tagged)
			return ctx->tag;
		return ctx->test->tag_set ? ctx->first : ctx->test->tag;
	}
	tag = bpf_fuse_tag(ctx->meta);
	if (ctx->tagged)
		tag ^= bpf_fuse_tag(ctx->meta) ^ ctx->tag;
	return tag;
}

/* Lookup only: the tag of the entry found. Returns 0 or a negative errno. */
static __always_inline int fusebpf_set_tag(struct fusebpf_ctx *ctx, __u64 tag)
{
	if (!ctx->test) {
		int err = bpf_fuse_set_tag(ctx->meta, tag);

		if (err)
			return err;
	} else {
		if (ctx->opcode != FUSE_LOOKUP)
			return -22;
		if (!ctx->test->tag_set)
			ctx->first = ctx->test->tag;
		ctx->test->tag = tag;
		ctx->test->tag_set = 1;
	}
	ctx->tag = tag;
	ctx->tagged = 1;
	return 0;
}

/* Another filter of the same call follows: it reads the tag as it would alone. */
static __always_inline void fusebpf_forget_tag(struct fusebpf_ctx *ctx)
{
	ctx->tagged = 0;
}

/* Tag of the second object: of a rename and a link the new directory, of a copy the target. */
static __always_inline __u64 fusebpf_tag2(struct fusebpf_ctx *ctx)
{
	return ctx->test ? ctx->test->tag2 : bpf_fuse_tag2(ctx->meta);
}

/* Lookup only: how long the answer holds, in nanoseconds. Returns 0 or a negative errno. */
static __always_inline int fusebpf_entry_valid(struct fusebpf_ctx *ctx, __u64 ns)
{
	if (!ctx->test)
		return bpf_fuse_entry_valid(ctx->meta, ns);
	if (ctx->opcode != FUSE_LOOKUP)
		return -22;
	ctx->test->valid_ns = ns;
	return 0;
}

/* Postfilters: a failed operation succeeds. Returns 0 or a negative errno; see docs/kernel.md. */
static __always_inline int fusebpf_clear_error(struct fusebpf_ctx *ctx)
{
	if (!ctx->test)
		return bpf_fuse_clear_error(ctx->meta);
	if (!ctx->error_in)
		return -22;
	ctx->test->cleared = 1;
	return 0;
}

/* Monotonic nanoseconds; a case may fix them. */
static __always_inline __u64 fusebpf_ktime(struct fusebpf_ctx *ctx)
{
	return ctx->test && ctx->test->ktime ? ctx->test->ktime : bpf_ktime_get_ns();
}

/* Memory of this operation, at most FUSEBPF_SCRATCH_SIZE bytes, contents unspecified; or NULL. */
static __always_inline void *fusebpf_frame(struct fusebpf_ctx *ctx, const unsigned long size)
{
	if (ctx->test)
		return ctx->test->scratch;
	return bpf_fuse_scratch(ctx->meta, size);
}

/* Buffers. Each opener returns 0, or -EIO where the kernel's buffer is not as promised. */
static __always_inline int fusebpf_open_name(struct fusebpf_buf *buf, __u64 arg)
{
	buf->kernel = (struct fuse_buffer *)arg;
	buf->test = NULL;
	buf->entries = NULL;
	buf->start = 0;
	buf->mask = FUSEBPF_NAME_MASK;
	buf->len = bpf_fuse_return_len(buf->kernel) - 1;
	buf->data = bpf_fuse_get_ro(buf->kernel, 256);
	return buf->data && buf->len <= 255 ? 0 : -FUSEBPF_EIO;
}

static __always_inline int fusebpf_open_bytes(struct fusebpf_buf *buf, __u64 arg)
{
	buf->kernel = (struct fuse_buffer *)arg;
	buf->test = NULL;
	buf->entries = NULL;
	buf->start = 0;
	buf->mask = FUSEBPF_BYTES_MASK;
	buf->len = bpf_fuse_return_len(buf->kernel);
	buf->data = NULL;
	return 0;
}

/* A text that the kernel hands over with its NUL, and that filters store without. */
static __always_inline int fusebpf_open_text(struct fusebpf_buf *buf, __u64 arg)
{
	const __u8 *data;

	fusebpf_open_bytes(buf, arg);
	data = bpf_fuse_get_ro(buf->kernel, FUSEBPF_BYTES_MASK + 1);
	if (data && buf->len && !data[(buf->len - 1) & FUSEBPF_BYTES_MASK])
		buf->len--;
	return 0;
}

/* Make the bytes of such a buffer readable: 0, or a refusal where they cannot all be seen. */
static __always_inline int fusebpf_read_bytes(const struct fusebpf_buf *from)
{
	struct fusebpf_buf *buf = (struct fusebpf_buf *)from;

	if (!buf->kernel)
		return 0;
	if (buf->len > FUSEBPF_BYTES_MASK)
		return -FUSEBPF_E2BIG;
	buf->data = bpf_fuse_get_ro(buf->kernel, FUSEBPF_BYTES_MASK + 1);
	return buf->data ? 0 : -FUSEBPF_EIO;
}

static __fusebpf_inline void fusebpf_open_test(struct fusebpf_buf *buf, struct fusebpf_case *test,
					      struct fusebpf_case_buf *from)
{
	buf->kernel = NULL;
	buf->test = from;
	buf->entries = test;
	buf->start = 0;
	buf->mask = FUSEBPF_BYTES_MASK;
	buf->len = from->len & (FUSEBPF_CASE_BUF - 1);
	buf->data = from->data;
}

/* Directory entries: fusebpf_for_each_dirent(e, entries) { ... e.ino, e.type ... } */
struct fusebpf_dirent {
	__u64 ino;
	__u32 type;
	struct bpf_fuse_dirent *kernel;
	struct fusebpf_case_dirent *test;
	const struct fusebpf_buf *from;
	__u64 *state;
};

static __always_inline struct fusebpf_dirent fusebpf_dirents_begin(__u64 *state,
								   const struct fusebpf_buf *from)
{
	struct fusebpf_dirent e = { .from = from, .state = state };

	if (from->kernel)
		bpf_iter_fuse_dirent_new((struct bpf_iter_fuse_dirent *)state, from->kernel);
	else
		bpf_iter_num_new((struct bpf_iter_num *)state, 0, FUSEBPF_CASE_DIRENTS);
	return e;
}

/*
 * To be called where a loop asks for its next turn. The verifier compares all registers there, also
 * those that nothing reads any more: with the same in them, more paths through a turn are one.
 */
static __always_inline void fusebpf_forget_registers(void)
{
	asm volatile("r0 = 0\n\tr2 = 0\n\tr3 = 0\n\tr4 = 0\n\tr5 = 0" ::: "r0", "r2", "r3", "r4",
		     "r5");
}

static __always_inline int fusebpf_dirents_next(struct fusebpf_dirent *e)
{
	fusebpf_forget_registers();
	if (e->from->kernel) {
		e->kernel = bpf_iter_fuse_dirent_next((struct bpf_iter_fuse_dirent *)e->state);
		if (!e->kernel)
			return 0;
		e->ino = e->kernel->ino;
		e->type = e->kernel->type;
	} else {
		int *index = bpf_iter_num_next((struct bpf_iter_num *)e->state);

		if (!index || (__u32)*index >= e->from->entries->dirents)
			return 0;
		e->test = &e->from->entries->dirent[*index & (FUSEBPF_CASE_DIRENTS - 1)];
		e->ino = e->test->ino;
		e->type = e->test->type;
	}
	return 1;
}

/* An entry that an earlier loop, or one around this, left out: the kernel's iterator goes past those. */
static __fusebpf_inline int fusebpf_dirent_gone(const struct fusebpf_dirent *e)
{
	return e->from->test && e->test->dropped;
}

static __always_inline void fusebpf_dirents_end(struct fusebpf_dirent *e)
{
	if (e->from->kernel)
		bpf_iter_fuse_dirent_destroy((struct bpf_iter_fuse_dirent *)e->state);
	else
		bpf_iter_num_destroy((struct bpf_iter_num *)e->state);
}

#define fusebpf_for_each_dirent(e, entries) \
	for (struct fusebpf_dirent e __attribute__((cleanup(fusebpf_dirents_end))) = \
		     fusebpf_dirents_begin((__u64[4]){}, (entries)); \
	     fusebpf_dirents_next(&e);) \
		if (fusebpf_dirent_gone(&e)) { \
		} else

/* The entry's name; len is 0 where the kernel refuses to show it, which no real entry has. */
static __always_inline struct fusebpf_buf fusebpf_dirent_name(const struct fusebpf_dirent *e)
{
	struct fusebpf_buf name = { .mask = FUSEBPF_NAME_MASK };

	if (e->kernel) {
		name.kernel = &e->kernel->name;
		name.len = (bpf_fuse_return_len(name.kernel) - 1) & 255;
		name.data = bpf_fuse_get_ro(name.kernel, 256);
	} else {
		name.len = e->test->name_len & 255;
		name.data = e->test->name;
	}
	return name;
}

/*
 * Steps of an automaton over the bytes of a whole name; dfa: array map, 256 __u16 per state. The last
 * state, or -EINVAL.
 */
static __always_inline __s64 fusebpf_name_walk(const struct fusebpf_buf *name, void *dfa,
					       __u64 state)
{
	__u32 key = (__u32)state;
	struct bpf_iter_num walk;
	__s64 last = -22;
	int *i;

	if (name->kernel)
		return bpf_fuse_name_walk(name->kernel, dfa, state);
	if (state != key)
		return -22;
	/* The verifier goes through an iterator's loop once or twice, through a plain one 256 times */
	bpf_iter_num_new(&walk, 0, 256);
	while ((i = bpf_iter_num_next(&walk))) {
		const __u16 *next = bpf_map_lookup_elem(dfa, &key);

		if (!next)
			break;
		if (*i >= (int)name->len) {
			last = key;
			break;
		}
		key = next[name->data[*i & 255]];
	}
	bpf_iter_num_destroy(&walk);
	return last;
}

/* Give the entry another DT_* type. Returns 0 or a negative errno. */
static __always_inline int fusebpf_dirent_set_type(struct fusebpf_dirent *e, __u32 type)
{
	e->type = type;
	if (e->kernel)
		return bpf_fuse_dirent_set_type(e->kernel, type);
	if (type > 15)
		return -22;
	e->test->type = type;
	return 0;
}

/* Leave the entry out of the listing. */
static __always_inline void fusebpf_dirent_drop(struct fusebpf_dirent *e)
{
	if (e->kernel)
		bpf_fuse_dirent_drop(e->kernel);
	else
		e->test->dropped = 1;
}

/* The programs around a body: pieces that the generated hook macros are put together from. */
#define FUSEBPF_OPS_BEGIN(fn, hook) \
	SEC("?struct_ops/" #hook) int fn##_ops(__u64 *args) \
	{ \
		struct fusebpf_ctx _ctx = fusebpf_ctx_ops(args[0]);
#define FUSEBPF_OPS_STRUCT(type, var, index, dir, slot) \
	struct type *var = (struct type *)args[index];
#define FUSEBPF_OPS_NAME(var, index, slot) \
	struct fusebpf_buf var; \
	if (fusebpf_open_name(&var, args[index])) \
		return -FUSEBPF_EIO;
#define FUSEBPF_OPS_BYTES(var, index, slot) \
	struct fusebpf_buf var; \
	fusebpf_open_bytes(&var, args[index]);
#define FUSEBPF_OPS_TEXT(var, index, slot) \
	struct fusebpf_buf var; \
	fusebpf_open_text(&var, args[index]);
#define FUSEBPF_OPS_DIRENTS(var, index, slot) FUSEBPF_OPS_BYTES(var, index, slot)
#define FUSEBPF_OPS_ENTRIES(var, index, slot) FUSEBPF_OPS_BYTES(var, index, slot)
#define FUSEBPF_OPS_END(call) \
		return (call); \
	}

/* An object that is made to be attached at once does without stand-ins: they cost half of clang's time. */
#ifdef FUSEBPF_OPS_ONLY
#define FUSEBPF_STANDIN_PROGRAM static __always_inline
#else
#define FUSEBPF_STANDIN_PROGRAM SEC("?raw_tp")
#endif

#define FUSEBPF_STANDIN_BEGIN(fn, hook) \
	FUSEBPF_STANDIN_PROGRAM int fn##_standin(__u64 *args) \
	{ \
		__u32 _index = (__u32)args[0]; \
		struct fusebpf_case *_test = bpf_map_lookup_elem(&fusebpf_cases, &_index); \
		if (!_test) \
			return 0; \
		struct fusebpf_ctx _ctx = fusebpf_ctx_standin(_test);
#define FUSEBPF_STANDIN_STRUCT(type, var, index, dir, slot) \
	struct type *var = (struct type *)_test->dir[slot];
#define FUSEBPF_STANDIN_NAME(var, index, slot) \
	struct fusebpf_buf var; \
	fusebpf_open_test(&var, _test, &_test->buf[slot]); \
	var.mask = FUSEBPF_NAME_MASK; \
	var.len &= 255;
#define FUSEBPF_STANDIN_BYTES(var, index, slot) \
	struct fusebpf_buf var; \
	fusebpf_open_test(&var, _test, &_test->buf[slot]);
#define FUSEBPF_STANDIN_TEXT(var, index, slot) FUSEBPF_STANDIN_BYTES(var, index, slot)
#define FUSEBPF_STANDIN_DIRENTS(var, index, slot) FUSEBPF_STANDIN_BYTES(var, index, slot)
#define FUSEBPF_STANDIN_ENTRIES(var, index, slot) FUSEBPF_STANDIN_BYTES(var, index, slot)
#define FUSEBPF_STANDIN_END(call) \
		_test->verdict = (call); \
		_test->done = 1; \
		return 0; \
	}

/* The struct_ops map; its name is given by the loader. FUSEBPF_OPS("set", .lookup_prefilter = ...) */
#define FUSEBPF_PROG(fn) ((void *)fn##_ops)
#define FUSEBPF_OPS(set, ...) \
	const char bpf_metadata_fusebpf_set[] __attribute__((used, section(".rodata"))) = set; \
	SEC(".struct_ops.link") \
	struct fuse_ops fusebpf_ops = { __VA_ARGS__ };

#endif
