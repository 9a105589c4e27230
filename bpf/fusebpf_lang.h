/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the filter language needs at run time: loops, names, exact integer arithmetic, maps.
 *
 * Written for the verifier: no loop is left to it but the numeric iterator, and every index that
 * is computed at run time passes a check that the compiler cannot see through.
 */
#ifndef FUSEBPF_LANG_H
#define FUSEBPF_LANG_H

/* Filters may compare what is always true; the front end chose signs and widths itself. */
#pragma clang diagnostic ignored "-Wtautological-compare"
#pragma clang diagnostic ignored "-Wsign-compare"
#pragma clang diagnostic ignored "-Wconstant-logical-operand"
#pragma clang diagnostic ignored "-Wself-assign"

/* Forget what the compiler knows about a value, so that the next check of it stays. */
#define fusebpf_hide(value) asm volatile("" : "+r"(value))

/*
 * The same for a 64-bit number, and for the verifier: what it learns about this copy it does not
 * learn about the original, so that paths which differ only in such knowledge meet again.
 */
#define fusebpf_fresh(value) asm volatile("%0 ^= 0" : "+r"(value))

/*
 * FUSEBPF_LOAD(), anew instead of keeping what an earlier test told about it. Such a load stays where
 * nothing is done with what it gives, and has to be one of its own there, too.
 */
#define FUSEBPF_LOAD_ANEW(member) \
	({ \
		__u64 _loaded = *(const volatile typeof(member) *)&(member); \
		fusebpf_hide(_loaded); \
		(typeof(member))_loaded; \
	})

/*
 * Return from inside a loop. A plain return there leaves the value unset on paths that cannot be
 * taken, which the verifier does not know of.
 */
#define fusebpf_leave(value) \
	do { \
		fusebpf_result = (value); \
		goto fusebpf_out; \
	} while (0)

/* A day: the kernel forgets kept answers when filters are replaced, not when time has passed. */
#define FUSEBPF_KEPT_NS 86400000000000ULL

/*
 * The answer of this lookup depends on the name and constants alone: the kernel need not ask again.
 * One that cannot keep answers asks.
 */
static __always_inline void fusebpf_keep_answer(struct fusebpf_ctx *ctx)
{
	if (!ctx->test && bpf_fuse_entry_valid)
		bpf_fuse_entry_valid(ctx->meta, FUSEBPF_KEPT_NS);
}

/* Loops: fusebpf_for(loop, count) { ... loop.k ... }, k = 0, 1, ... */
struct fusebpf_loop {
	__u64 *state;
	__s64 k;
};

static __always_inline struct fusebpf_loop fusebpf_loop_begin(__u64 *state, __s64 count)
{
	struct fusebpf_loop loop = { .state = state };

	bpf_iter_num_new((struct bpf_iter_num *)state, 0, (int)count);
	return loop;
}

static __always_inline int fusebpf_loop_next(struct fusebpf_loop *loop)
{
	int *k;

	fusebpf_forget_registers();
	k = bpf_iter_num_next((struct bpf_iter_num *)loop->state);
	if (!k)
		return 0;
	loop->k = *k;
	return 1;
}

static __always_inline void fusebpf_loop_end(struct fusebpf_loop *loop)
{
	bpf_iter_num_destroy((struct bpf_iter_num *)loop->state);
}

#define fusebpf_for(loop, count) \
	for (struct fusebpf_loop loop __attribute__((cleanup(fusebpf_loop_end))) = \
		     fusebpf_loop_begin((__u64[1]){}, (count)); \
	     fusebpf_loop_next(&loop);)

#include "fusebpf_names.h"

/* To /sys/kernel/tracing/trace_pipe; at most three numbers of 64 bits. */
#define fusebpf_debug(format, ...) \
	do { \
		static const char _format[] = format; \
		bpf_trace_printk(_format, sizeof(_format), ##__VA_ARGS__); \
	} while (0)

/* Integers. Signed overflow wraps. */
static __fusebpf_inline __s64 fusebpf_add(__s64 a, __s64 b)
{
	return (__s64)((__u64)a + (__u64)b);
}

static __fusebpf_inline __s64 fusebpf_sub(__s64 a, __s64 b)
{
	return (__s64)((__u64)a - (__u64)b);
}

static __fusebpf_inline __s64 fusebpf_mul(__s64 a, __s64 b)
{
	return (__s64)((__u64)a * (__u64)b);
}

static __fusebpf_inline __s64 fusebpf_neg(__s64 a)
{
	return (__s64)(0 - (__u64)a);
}

static __fusebpf_inline __s64 fusebpf_shl(__s64 a, __u64 count)
{
	return (__s64)((__u64)a << (count & 63));
}

static __fusebpf_inline __u64 fusebpf_magnitude(__s64 a)
{
	return a < 0 ? 0 - (__u64)a : (__u64)a;
}

/*
 * The quotient is one that clang cannot see through: else it makes x * y / y == x and ~0 / y < x a
 * multiplication of 128 bits, which BPF does not have.
 */
static __fusebpf_inline __u64 fusebpf_udiv(__u64 a, __u64 b)
{
	__u64 quotient = a / b;

	asm("" : "+r"(quotient));
	return quotient;
}

/* Division that floors, by magnitudes: BPF has no signed division before -mcpu=v4. */
static __fusebpf_inline __s64 fusebpf_floordiv(__s64 a, __s64 b)
{
	__u64 x = fusebpf_magnitude(a), y = fusebpf_magnitude(b), q;

	if (y == 0)
		return 0;
	q = fusebpf_udiv(x, y);
	if ((a < 0) == (b < 0))
		return (__s64)q;
	return (__s64)(0 - (q + (q * y != x)));
}

static __fusebpf_inline __s64 fusebpf_floormod(__s64 a, __s64 b)
{
	return fusebpf_sub(a, fusebpf_mul(fusebpf_floordiv(a, b), b));
}

/* -1, 0 or 1: an unsigned number against a signed one, by value. */
static __fusebpf_inline int fusebpf_cmp_us(__u64 a, __s64 b)
{
	if (b < 0 || a > (__u64)b)
		return 1;
	return a == (__u64)b ? 0 : -1;
}

/* The same with the sides the other way round. */
static __fusebpf_inline int fusebpf_cmp_su(__s64 a, __u64 b)
{
	return -fusebpf_cmp_us(b, a);
}

static __fusebpf_inline __s64 fusebpf_min_s(__s64 a, __s64 b)
{
	return a < b ? a : b;
}

static __fusebpf_inline __s64 fusebpf_max_s(__s64 a, __s64 b)
{
	return a > b ? a : b;
}

static __fusebpf_inline __u64 fusebpf_min_u(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

static __fusebpf_inline __u64 fusebpf_max_u(__u64 a, __u64 b)
{
	return a > b ? a : b;
}

/* `a and b` on integers: b, unless a is 0. */
#define fusebpf_and(type, a, b) ((type)((a) ? (b) : 0))

/* A refusal with a computed error number: its size, clamped to what an errno can be. */
static __fusebpf_inline int fusebpf_refuse_u(__u64 number)
{
	if (number < 1)
		number = 1;
	if (number > 511)
		number = 511;
	return -(int)number;
}

static __fusebpf_inline int fusebpf_refuse(__s64 number)
{
	return fusebpf_refuse_u(fusebpf_magnitude(number));
}

/* Maps. Key and value types are those of the map's declaration. */
#define fusebpf_map_key(map) typeof(*(map).key)
#define fusebpf_map_value(map) typeof(*(map).value)

#define fusebpf_map_find(map, k) \
	({ \
		fusebpf_map_key(map) _key = (k); \
		(fusebpf_map_value(map) *)bpf_map_lookup_elem(&(map), &_key); \
	})

#define fusebpf_map_has(map, k) (fusebpf_map_find(map, k) != NULL)

#define fusebpf_map_get(map, k, fallback) \
	({ \
		fusebpf_map_key(map) _key = (k); \
		fusebpf_map_value(map) _value = (fallback); \
		fusebpf_map_value(map) *_found = bpf_map_lookup_elem(&(map), &_key); \
		_found ? *_found : _value; \
	})

/* value = map[key], present = whether there is one. */
#define fusebpf_map_fetch(map, k, value, present) \
	do { \
		fusebpf_map_value(map) *_found = fusebpf_map_find(map, k); \
		present = _found != NULL; \
		value = _found ? *_found : 0; \
	} while (0)

#define fusebpf_map_put(map, k, v) \
	({ \
		fusebpf_map_key(map) _key = (k); \
		fusebpf_map_value(map) _value = (v); \
		bpf_map_update_elem(&(map), &_key, &_value, BPF_ANY) == 0; \
	})

#define fusebpf_map_discard(map, k) \
	({ \
		fusebpf_map_key(map) _key = (k); \
		bpf_map_delete_elem(&(map), &_key) == 0; \
	})

/* Arrays: an index in range always has a value. What is stored is computed before the index. */
#define fusebpf_array_set(map, i, v) \
	do { \
		fusebpf_map_value(map) _value = (v); \
		fusebpf_map_value(map) *_found = fusebpf_map_find(map, i); \
		if (_found) \
			*_found = _value; \
	} while (0)

/* Atomic change in place; `op` is add, and, or, xor. */
#define fusebpf_array_update(map, i, op, v) \
	do { \
		fusebpf_map_value(map) *_found = fusebpf_map_find(map, i); \
		fusebpf_map_value(map) _value = (v); \
		if (_found) \
			__sync_fetch_and_##op(_found, _value); \
	} while (0)

/* The same on a hash: a missing key starts from 0; a full map counts in fusebpf_lost. */
#define fusebpf_hash_update(map, k, op, v) \
	do { \
		fusebpf_map_key(map) _k = (k); \
		fusebpf_map_value(map) _value = (v); \
		fusebpf_map_value(map) *_found = bpf_map_lookup_elem(&(map), &_k); \
		if (!_found) { \
			fusebpf_map_value(map) _zero = 0; \
			bpf_map_update_elem(&(map), &_k, &_zero, BPF_NOEXIST); \
			_found = bpf_map_lookup_elem(&(map), &_k); \
		} \
		if (_found) \
			__sync_fetch_and_##op(_found, _value); \
		else \
			fusebpf_array_update(fusebpf_lost, 0, add, 1); \
	} while (0)

/* A member of a record in an array. */
#define fusebpf_array_member(map, i, member) \
	({ \
		fusebpf_map_value(map) *_found = fusebpf_map_find(map, i); \
		_found ? _found->member : 0; \
	})

#define fusebpf_array_set_member(map, i, member, v) \
	do { \
		typeof(((fusebpf_map_value(map) *)NULL)->member) _value = (v); \
		fusebpf_map_value(map) *_found = fusebpf_map_find(map, i); \
		if (_found) \
			_found->member = _value; \
	} while (0)

/* The same as above with pointers to keys, and to values that are stored. */
#define fusebpf_at_find(map, key) \
	((fusebpf_map_value(map) *)bpf_map_lookup_elem(&(map), (key)))

#define fusebpf_at_has(map, key) (fusebpf_at_find(map, key) != NULL)

#define fusebpf_at_get(map, key, fallback) \
	({ \
		fusebpf_map_value(map) *_found = fusebpf_at_find(map, key); \
		_found ? *_found : (fallback); \
	})

#define fusebpf_at_fetch(map, key, value, present) \
	do { \
		fusebpf_map_value(map) *_found = fusebpf_at_find(map, key); \
		present = _found != NULL; \
		value = _found ? *_found : 0; \
	} while (0)

#define fusebpf_at_put(map, key, value) \
	(bpf_map_update_elem(&(map), (key), (value), BPF_ANY) == 0)

#define fusebpf_at_discard(map, key) (bpf_map_delete_elem(&(map), (key)) == 0)

/* `member` is .name of a record's member, or nothing. */
#define fusebpf_at_array_update(map, key, member, op, v) \
	do { \
		fusebpf_map_value(map) *_found = fusebpf_at_find(map, key); \
		if (_found) \
			__sync_fetch_and_##op(&(*_found) member, (typeof((*_found) member))(v)); \
	} while (0)

#define fusebpf_at_hash_update(map, key, member, op, v) \
	do { \
		fusebpf_map_value(map) *_found = fusebpf_at_find(map, key); \
		if (!_found) { \
			static const fusebpf_map_value(map) _zero; \
			bpf_map_update_elem(&(map), (key), &_zero, BPF_NOEXIST); \
			_found = fusebpf_at_find(map, key); \
		} \
		if (_found) \
			__sync_fetch_and_##op(&(*_found) member, (typeof((*_found) member))(v)); \
		else \
			fusebpf_array_update(fusebpf_lost, 0, add, 1); \
	} while (0)

#endif
