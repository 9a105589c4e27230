/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Names and buffers in filters: comparisons, parts, globs, and new contents.
 *
 * Part of fusebpf_lang.h, which has the loops; the same rules hold.
 */
#ifndef FUSEBPF_NAMES_H
#define FUSEBPF_NAMES_H

/* Length of a name in bytes. */
static __fusebpf_inline __u64 fusebpf_len(const struct fusebpf_buf *name)
{
	__u64 len = name->len;

	fusebpf_fresh(len);
	return len;
}

typedef __u16 __attribute__((may_alias)) fusebpf_u16;
typedef __u32 __attribute__((may_alias)) fusebpf_u32;
typedef __u64 __attribute__((may_alias)) fusebpf_u64;

/* 1, 2, 4 or 8 bytes, at any alignment. Of a literal, clang makes a constant. */
static __fusebpf_inline __u64 fusebpf_load(const void *at, __u32 width)
{
	if (width == 8)
		return *(const fusebpf_u64 *)at;
	if (width == 4)
		return *(const fusebpf_u32 *)at;
	if (width == 2)
		return *(const fusebpf_u16 *)at;
	return *(const __u8 *)at;
}

/* The case bit of every byte that is a small ASCII letter. */
static __fusebpf_inline __u64 fusebpf_case_bits(__u64 word)
{
	const __u64 each = 0x0101010101010101ULL;
	__u64 low = word & 0x7f * each;
	__u64 small = (low + 0x1f * each) & ~(low + 0x05 * each) & ~word & 0x80 * each;

	return small >> 2;
}

/* Names. `text` is a string literal of `size` bytes; `fold` takes ASCII letters as lower case. */
/* The bits in which `width` bytes are not those of the literal. */
static __fusebpf_inline __u64 fusebpf_differ(const __u8 *data, const char *text, const __u32 width,
					     const _Bool fold)
{
	const __u64 wanted = fusebpf_load(text, width);
	__u64 word = fusebpf_load(data, width);

	if (fold)
		word |= fusebpf_case_bits(wanted);
	return word ^ wanted;
}

/*
 * Whether `size` bytes are those of the literal. Loads the widest words that fit; the last one
 * overlaps its neighbour instead of reading past the end. No branch between the words: one path.
 */
static __fusebpf_inline _Bool fusebpf_bytes_are(const __u8 *data, const char *text,
						const __u32 size, const _Bool fold)
{
	const __u32 width = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
	__u64 differ;

	if (size == 0)
		return 1;
	fusebpf_hide(data);
	differ = fusebpf_differ(data, text, width, fold);
	/* Else clang makes a branch of every word, and the verifier follows all of them. */
	fusebpf_hide(differ);
	if (size == width)
		return differ == 0;
	/* Most literals have at most two words, for which a loop costs clang more than it saves. */
#pragma clang loop unroll(full)
	for (__u32 at = width; size > 2 * width && at + width < size; at += width) {
		differ |= fusebpf_differ(data + at, text + at, width, fold);
		fusebpf_hide(differ);
	}
	differ |= fusebpf_differ(data + size - width, text + size - width, width, fold);
	fusebpf_hide(differ);
	return differ == 0;
}

/* Whether a buffer is not a part of another one: clang knows it once everything is inlined. */
#define fusebpf_whole(name) (__builtin_constant_p((name)->start) && (name)->start == 0)

/* Whether the bytes from `at` on are those of the literal; what lies behind the end may match. */
static __fusebpf_inline _Bool fusebpf_text_at(const struct fusebpf_buf *name, __u64 at,
					     const char *text, const __u32 size, const _Bool fold)
{
	const __u64 last = name->mask + 1 - size;

	if (__builtin_constant_p(at) && fusebpf_whole(name))
		return fusebpf_bytes_are(name->data + at, text, size, fold);
	/* A place before the beginning wraps to a large number. */
	fusebpf_hide(at);
	if (at > last)
		return 0;
	if (!fusebpf_whole(name)) {
		at += name->start;
		fusebpf_hide(at);
		if (at > last)
			return 0;
	}
	return fusebpf_bytes_are(name->data + at, text, size, fold);
}

/* Whether it is one of no names. The ends of a part may call what has effects. */
static __fusebpf_inline _Bool fusebpf_name_is_none(const struct fusebpf_buf *name)
{
	(void)name;
	return 0;
}

static __fusebpf_inline _Bool fusebpf_name_is(const struct fusebpf_buf *name, const char *text,
					     const __u32 size, const _Bool fold)
{
	return fusebpf_len(name) == size && fusebpf_text_at(name, 0, text, size, fold);
}

static __fusebpf_inline _Bool fusebpf_name_starts(const struct fusebpf_buf *name, const char *text,
						 const __u32 size, const _Bool fold)
{
	return fusebpf_len(name) >= size && fusebpf_text_at(name, 0, text, size, fold);
}

/* The bytes from `at` on; `whole`: and the name ends there. */
static __fusebpf_inline _Bool fusebpf_name_has_at(const struct fusebpf_buf *name, const __u32 at,
						 const char *text, const __u32 size,
						 const _Bool fold, const _Bool whole)
{
	__u64 len = fusebpf_len(name);

	if (at + size > name->mask || len < at + size || (whole && len != at + size))
		return 0;
	return fusebpf_text_at(name, at, text, size, fold);
}

static __fusebpf_inline _Bool fusebpf_name_ends(const struct fusebpf_buf *name, const char *text,
					       const __u32 size, const _Bool fold)
{
	return fusebpf_text_at(name, fusebpf_len(name) - size, text, size, fold);
}

/* A byte of a name; negative indices count from the end; 0 outside. Without a branch: one path. */
static __fusebpf_inline __u8 fusebpf_name_byte(const struct fusebpf_buf *name, __s64 index)
{
	__u64 len = fusebpf_len(name), at, inside;

	at = (__u64)index + (len & (__u64)(index >> 63));
	/* All ones when 0 <= at < len. */
	inside = (__u64)((__s64)((at - len) & ~at) >> 63);
	fusebpf_hide(inside);
	at += name->start;
	fusebpf_fresh(at);
	return (__u8)(name->data[at & name->mask] & inside);
}

/* -1 where a number is negative, else 0: choices without a branch. */
static __fusebpf_inline __s64 fusebpf_negative(__s64 value)
{
	value >>= 63;
	fusebpf_hide(value);
	return value;
}

/* An end of a slice as Python takes it: negative ones count from the end, all are cut to 0…len. */
static __fusebpf_inline __s64 fusebpf_slice_end(__s64 at, __s64 len)
{
	at += len & fusebpf_negative(at);
	at &= ~fusebpf_negative(at);
	return len + ((at - len) & fusebpf_negative(at - len));
}

/* name[start:stop] */
static __fusebpf_inline struct fusebpf_buf fusebpf_name_part(const struct fusebpf_buf *name,
							    __s64 start, __s64 stop)
{
	struct fusebpf_buf part = *name;
	__s64 len = (__s64)fusebpf_len(name), size;

	start = fusebpf_slice_end(start, len);
	size = fusebpf_slice_end(stop, len) - start;
	size &= ~fusebpf_negative(size);
	part.start += (__u32)start;
	part.len = (__u32)size;
	fusebpf_hide(part.start);
	fusebpf_hide(part.len);
	return part;
}

/* Whether two names, or parts of them, are the same. Bytes behind the end are unspecified. */
static __always_inline _Bool fusebpf_name_same(const struct fusebpf_buf *a,
					       const struct fusebpf_buf *b)
{
	__u64 len = fusebpf_len(a);

	if (len != fusebpf_len(b))
		return 0;
	fusebpf_for(loop, len) {
		__u64 here = a->start + (__u64)loop.k, there = b->start + (__u64)loop.k;

		fusebpf_hide(here);
		fusebpf_hide(there);
		if (a->data[here & a->mask] != b->data[there & b->mask])
			return 0;
	}
	return 1;
}

/* Globs: pieces that the functions of patterns are put together from. */

/*
 * 1 where a byte is one of a run of them, else 0. Without a branch: clang makes two paths of every
 * comparison whose result it keeps, and a pattern with n of them had 2^n.
 */
static __fusebpf_inline __u8 fusebpf_between(__u8 byte, const __s64 first, const __s64 last)
{
	__s64 outside = (byte - first) | (last - byte);

	fusebpf_hide(outside);
	return (__u8)((__u64)~outside >> 63);
}

/* The byte at a place that is inside the name. */
static __fusebpf_inline __u8 fusebpf_glob_byte(const struct fusebpf_buf *name, __u64 at,
					      const _Bool fold)
{
	__u8 byte;

	at += name->start;
	fusebpf_hide(at);
	byte = name->data[at & name->mask];
	return fold ? byte | fusebpf_between(byte, 'A', 'Z') << 5 : byte;
}

/* The end of the first match of `part`, `size` bytes long, between two places; 0 without one. */
#define fusebpf_glob_find(name, from, end, size, part) \
	({ \
		__u64 _from = (from), _end = (end), _after = 0; \
		fusebpf_for(_loop, _end) { \
			__u64 _at = _from + (__u64)_loop.k; \
			if (_at + (size) > _end) \
				break; \
			if (part(name, _at)) { \
				_after = _at + (size); \
				break; \
			} \
		} \
		fusebpf_fresh(_after); \
		_after; \
	})

/* The bytes of a name, padded with zeros or cut off. */
static __always_inline void fusebpf_copy(__u8 *to, const __u32 size,
					 const struct fusebpf_buf *from)
{
	fusebpf_for(loop, size) {
		__u64 at = (__u64)loop.k;

		fusebpf_hide(at);
		if (at >= size)
			break;
		to[at] = fusebpf_name_byte(from, (__s64)at);
	}
}

/*
 * Make room for `size` bytes in a name or buffer that the operation lets us change; NULL where it
 * does not. Of a name all bytes that its mask reaches are writable, of data `room`.
 */
#define fusebpf_writable(buf, size, room) \
	({ \
		const _Bool _named = (buf)->mask == FUSEBPF_NAME_MASK; \
		__u8 *_to = NULL; \
		if (_named && (size) == 0) { \
			/* No name is empty. */ \
		} else if ((buf)->test) { \
			(buf)->test->len = (size); \
			_to = (buf)->test->data; \
		} else { \
			if (_named) \
				_to = bpf_fuse_get_rw((buf)->kernel, FUSEBPF_NAME_MASK + 1); \
			else \
				_to = bpf_fuse_get_rw((buf)->kernel, room); \
			if (_to && bpf_fuse_set_len((buf)->kernel, (size) + _named)) \
				_to = NULL; \
		} \
		_to; \
	})

/*
 * Give a name or buffer the bytes of a literal. Returns 0, or not where that cannot be. There may be
 * no more room for data than that, but all that the mask reaches can be read.
 */
#define fusebpf_replace_text(buf, text, size) \
	({ \
		__u8 *_place = fusebpf_writable(buf, size, (size) + 1); \
		if (_place) { \
			__builtin_memcpy(_place, text, (size) + 1); \
			if ((buf)->mask != FUSEBPF_NAME_MASK && !(buf)->test) \
				_place = (__u8 *)bpf_fuse_get_ro((buf)->kernel, FUSEBPF_BYTES_MASK + 1); \
			(buf)->data = _place; \
			(buf)->len = (size); \
		} \
		!_place; \
	})

/* The same with the bytes of another name or buffer, or with a part of itself. */
static __always_inline int fusebpf_replace(struct fusebpf_buf *buf, const struct fusebpf_buf *from)
{
	__u32 len = (__u32)fusebpf_len(from);
	__u8 *to = fusebpf_writable(buf, len, FUSEBPF_BYTES_MASK + 1);

	if (!to)
		return 1;
	fusebpf_for(loop, len) {
		__u64 here = (__u64)loop.k, there = from->start + (__u64)loop.k;

		fusebpf_hide(here);
		fusebpf_hide(there);
		to[here & buf->mask] = from->data[there & from->mask];
	}
	fusebpf_hide(len);
	to[len & buf->mask] = 0;
	buf->data = to;
	buf->len = len;
	return 0;
}

/* New names are made in memory of the operation: FUSEBPF_TEXT bytes, of which a NUL takes one. */
#define FUSEBPF_TEXT 256

/* Put a name behind the first `at` bytes. Returns how many there are then; too many are not kept. */
static __always_inline __u64 fusebpf_text_add(__u8 *text, __u64 at, const struct fusebpf_buf *from,
					      const _Bool fold)
{
	__u64 len = fusebpf_len(from);

	fusebpf_for(loop, len) {
		__u64 to = at + (__u64)loop.k;
		__u8 byte = fusebpf_glob_byte(from, (__u64)loop.k, fold);

		fusebpf_hide(to);
		text[to & (FUSEBPF_TEXT - 1)] = byte;
	}
	at += len;
	fusebpf_fresh(at);
	return at;
}

/* The same with the bytes of a literal. */
#define fusebpf_text_literal(text, at, literal, size) \
	({ \
		static const char _bytes[] = literal; \
		__u64 _at = (at); \
		fusebpf_for(_loop, size) { \
			__u64 _from = (__u64)_loop.k, _to = _at + _from; \
			fusebpf_hide(_from); \
			if (_from >= sizeof(_bytes)) \
				break; \
			fusebpf_hide(_to); \
			(text)[_to & (FUSEBPF_TEXT - 1)] = (__u8)_bytes[_from]; \
		} \
		_at + (size); \
	})

/* Give a name the first `len` bytes of a text. Returns 0, or not where that cannot be. */
static __always_inline int fusebpf_replace_made(struct fusebpf_buf *buf, __u8 *text, __u64 len)
{
	__u8 *to;

	if (len == 0 || len > FUSEBPF_NAME_MASK)
		return 1;
	to = fusebpf_writable(buf, (__u32)len, FUSEBPF_NAME_MASK + 1);
	if (!to)
		return 1;
	fusebpf_for(loop, len) {
		__u64 at = (__u64)loop.k;

		fusebpf_hide(at);
		to[at & FUSEBPF_NAME_MASK] = text[at & FUSEBPF_NAME_MASK];
	}
	fusebpf_hide(len);
	to[len & FUSEBPF_NAME_MASK] = 0;
	buf->data = to;
	buf->len = (__u32)len;
	return 0;
}

/*
 * The same with the name of a directory entry, which is left out where that cannot be. The bytes
 * change where they are: `name` only gets another length.
 */
static __always_inline void fusebpf_dirent_rename(struct fusebpf_dirent *e, struct fusebpf_buf *name,
						  __u8 *text, __u64 len)
{
	if (len == 0 || len > FUSEBPF_NAME_MASK) {
		fusebpf_dirent_drop(e);
		return;
	}
	if (e->kernel) {
		__u64 end = len;

		fusebpf_hide(end);
		text[end & FUSEBPF_NAME_MASK] = 0;
		if (bpf_fuse_dirent_set_name(e->kernel, text, FUSEBPF_TEXT)) {
			fusebpf_dirent_drop(e);
			return;
		}
	} else if (len > e->test->room) {
		fusebpf_dirent_drop(e);
		return;
	} else {
		e->test->name_len = (__u32)len;
		fusebpf_for(loop, len) {
			__u64 at = (__u64)loop.k;

			fusebpf_hide(at);
			e->test->name[at & FUSEBPF_NAME_MASK] = text[at & FUSEBPF_NAME_MASK];
		}
	}
	name->len = (__u32)len;
	fusebpf_hide(name->len);
}

#endif
