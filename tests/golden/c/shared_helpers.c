/* Filter set shared, made from shared_helpers.py: do not edit. */
#include "fusebpf.h"
#include "fusebpf_lang.h"

const volatile _Bool fusebpf_config_strict = 1;

static __fusebpf_inline _Bool name_in_set1(const struct fusebpf_buf *name)
{
	switch (fusebpf_len(name)) {
	case 4:
		return fusebpf_name_is(name, ".env", 4, 0);
	case 6:
		return fusebpf_name_is(name, ".netrc", 6, 0) ||
		       fusebpf_name_is(name, "id_rsa", 6, 0);
	case 10:
		return fusebpf_name_is(name, "id_ed25519", 10, 0);
	default:
		return 0;
	}
}

static __fusebpf_inline _Bool name_glob1_2(const struct fusebpf_buf *name __fusebpf_unused,
	__u64 at __fusebpf_unused)
{
	const __u8 b1 = fusebpf_glob_byte(name, at + 2, 0);

	return fusebpf_text_at(name, at, ".p", 2, 0) & (fusebpf_between(b1, 101, 101) | fusebpf_between(b1, 107, 107));
}

/* glob *.p[ek]? */
static __always_inline _Bool name_glob1(const struct fusebpf_buf *name)
{
	__u64 len = fusebpf_len(name);

	if (len < 4)
		return 0;
	return name_glob1_2(name, len - 4);
}

static __fusebpf_inline _Bool name_glob2_2(const struct fusebpf_buf *name __fusebpf_unused,
	__u64 at __fusebpf_unused)
{
	return fusebpf_text_at(name, at, "-", 1, 0);
}

static __fusebpf_inline _Bool name_glob2_3(const struct fusebpf_buf *name __fusebpf_unused,
	__u64 at __fusebpf_unused)
{
	return fusebpf_text_at(name, at, "-v", 2, 0);
}

/* glob *-*-v? */
static __always_inline _Bool name_glob2(const struct fusebpf_buf *name)
{
	__u64 len = fusebpf_len(name);
	__u64 at = 0;

	if (len < 4)
		return 0;
	at = fusebpf_glob_find(name, at, len - 3, 1, name_glob2_2);
	if (!at)
		return 0;
	return name_glob2_3(name, len - 3);
}

static __fusebpf_inline _Bool name_in_set2(const struct fusebpf_buf *name)
{
	switch (fusebpf_len(name)) {
	case 9:
		return fusebpf_name_is(name, ".DS_Store", 9, 0) ||
		       fusebpf_name_is(name, "Thumbs.db", 9, 0);
	case 10:
		return fusebpf_name_is(name, "lost+found", 10, 0);
	case 11:
		return fusebpf_name_is(name, "desktop.ini", 11, 0);
	default:
		return 0;
	}
}

static __fusebpf_inline _Bool name_in_set3(const struct fusebpf_buf *name)
{
	switch (fusebpf_len(name)) {
	case 3:
		return fusebpf_name_is(name, ".hg", 3, 0) ||
		       fusebpf_name_is(name, "CVS", 3, 0);
	case 4:
		return fusebpf_name_is(name, ".git", 4, 0) ||
		       fusebpf_name_is(name, ".svn", 4, 0);
	case 6:
		return fusebpf_name_is(name, "_darcs", 6, 0);
	default:
		return 0;
	}
}

#line 1 "<generated>"
static __fusebpf_shared _Bool key(FUSEBPF_NAME_PARAM(name))
{
	FUSEBPF_NAME_GIVEN(name);

	/* return name in KEYS or name.glob("*.p[ek]?") or name.lower().startswith("secret") */
#line 10 "shared_helpers.py"
	return name_in_set1(name) || name_glob1(name) || fusebpf_name_starts(name, "secret", 6, 1);
#line 1 "<generated>"
}

#line 1 "<generated>"
static __always_inline _Bool odd(void *memory, struct fusebpf_ctx *ctx __fusebpf_unused, const struct fusebpf_buf *name __fusebpf_unused, __s64 least __fusebpf_unused)
{
	_Bool fusebpf_result = 0;
	volatile struct {
		__s64 least;
		_Bool found;
	} *frame;
	frame = memory;
	frame->least = least;

	/* found = key(name) */
#line 14 "shared_helpers.py"
	frame->found = key(FUSEBPF_NAME_BYTES(name));
	/* for i in range(8): */
#line 15 "shared_helpers.py"
	fusebpf_for(_loop1, 8) {
#line 15 "shared_helpers.py"
		const __s64 i __fusebpf_unused = _loop1.k;
		/* if name[i] == 64: */
#line 16 "shared_helpers.py"
		if (fusebpf_name_byte(name, i) == 64) {
			/* return True */
#line 17 "shared_helpers.py"
			fusebpf_leave(1);
		}
	}
	/* if least < len(name) and name[-4:] in {".tmp", ".bak", ".swp"}: */
#line 18 "shared_helpers.py"
	if ((frame->least < (__s64)fusebpf_len(name)) && (fusebpf_name_ends(name, ".tmp", 4, 0) || fusebpf_name_ends(name, ".bak", 4, 0) || fusebpf_name_ends(name, ".swp", 4, 0))) {
		/* found = True */
#line 19 "shared_helpers.py"
		frame->found = 1;
	}
	/* return found or name.glob("*-*-v?") */
#line 20 "shared_helpers.py"
	return frame->found || name_glob2(name);
#line 1 "<generated>"

fusebpf_out:
	return fusebpf_result;
}

#line 1 "<generated>"
static __always_inline _Bool hidden(struct fusebpf_ctx *ctx __fusebpf_unused, const struct fusebpf_buf *name __fusebpf_unused)
{
	/* return name.startswith(".") */
#line 26 "shared_helpers.py"
	return fusebpf_name_starts(name, ".", 1, 0);
#line 1 "<generated>"
}

#line 1 "<generated>"
static __fusebpf_shared _Bool listed(FUSEBPF_NAME_PARAM(name))
{
	FUSEBPF_NAME_GIVEN(name);

	/* return hidden(ctx, name) or name in {"lost+found", "Thumbs.db", "desktop.ini", ".DS_Store"} */
#line 30 "shared_helpers.py"
	return hidden(NULL, name) || name_in_set2(name);
#line 1 "<generated>"
}

#line 1 "<generated>"
static __always_inline _Bool part(const struct fusebpf_buf *name __fusebpf_unused)
{
	/* return name in {".git", ".hg", ".svn", "CVS", "_darcs"} or name.endswith(".orig") */
#line 34 "shared_helpers.py"
	return name_in_set3(name) || fusebpf_name_ends(name, ".orig", 5, 0);
#line 1 "<generated>"
}

#line 1 "<generated>"
static __always_inline _Bool own(void *memory, struct fusebpf_ctx *ctx __fusebpf_unused, const struct fusebpf_buf *name __fusebpf_unused)
{
	volatile struct {
		__u32 ctx_uid;
	} *frame;
	frame = memory;
	frame->ctx_uid = fusebpf_uid(ctx);

	/* return ctx.uid == 7 and key(name) */
#line 37 "shared_helpers.py"
	return (frame->ctx_uid == 7) && key(FUSEBPF_NAME_BYTES(name));
#line 1 "<generated>"
}

#line 1 "<generated>"
static __fusebpf_shared _Bool alike(FUSEBPF_NAME_PARAM(old), FUSEBPF_NAME_PARAM(new))
{
	FUSEBPF_NAME_GIVEN(old);
	FUSEBPF_NAME_GIVEN(new);

	/* return old[:3] == new[:3] or (key(old) and key(new)) */
#line 23 "shared_helpers.py"
	return fusebpf_name_same((struct fusebpf_buf[]){ fusebpf_name_part(old, 0, 3) }, (struct fusebpf_buf[]){ fusebpf_name_part(new, 0, 3) }) || (key(FUSEBPF_NAME_BYTES(old)) && key(FUSEBPF_NAME_BYTES(new)));
#line 1 "<generated>"
}

#line 1 "<generated>"
FUSEBPF_LOOKUP_PREFILTER(look, ctx, name)
{
	void *memory = fusebpf_frame(ctx, 16);

	if (!memory)
		return -FUSEBPF_EIO;
	fusebpf_keep_answer(ctx);
	/* if odd(ctx, name, 5) or listed(ctx, name) or part(name[1:]): */
#line 41 "shared_helpers.py"
	if (odd(memory, ctx, name, 5) || listed(FUSEBPF_NAME_BYTES(name)) || part((struct fusebpf_buf[]){ fusebpf_name_part(name, 1, 9223372036854775807LL) })) {
		/* return -ENOENT */
#line 42 "shared_helpers.py"
		return -2;
	}
#line 1 "<generated>"
	return FUSEBPF_CONTINUE;
}

#line 1 "<generated>"
FUSEBPF_MKDIR_PREFILTER(make, ctx, req, name)
{
	void *memory = fusebpf_frame(ctx, 16);

	if (!memory)
		return -FUSEBPF_EIO;
	/* if key(name) or odd(ctx, name, 1) or part(name) or own(ctx, name): */
#line 46 "shared_helpers.py"
	if (key(FUSEBPF_NAME_BYTES(name)) || odd(memory, ctx, name, 1) || part(name) || own(memory, ctx, name)) {
		/* return -EPERM */
#line 47 "shared_helpers.py"
		return -1;
	}
#line 1 "<generated>"
	return FUSEBPF_CONTINUE;
}

#line 1 "<generated>"
FUSEBPF_UNLINK_PREFILTER(remove, ctx, name)
{
	void *memory = fusebpf_frame(ctx, 16);

	if (!memory)
		return -FUSEBPF_EIO;
	/* if part(name) or own(ctx, name) or listed(ctx, name): */
#line 51 "shared_helpers.py"
	if (part(name) || own(memory, ctx, name) || listed(FUSEBPF_NAME_BYTES(name))) {
		/* return -EACCES */
#line 52 "shared_helpers.py"
		return -13;
	}
	/* if strict and odd(ctx, name, len(name)): */
#line 53 "shared_helpers.py"
	if (fusebpf_config_strict && odd(memory, ctx, name, (__s64)fusebpf_len(name))) {
		/* return -EPERM */
#line 54 "shared_helpers.py"
		return -1;
	}
#line 1 "<generated>"
	return FUSEBPF_CONTINUE;
}

#line 1 "<generated>"
FUSEBPF_RENAME2_PREFILTER(move, ctx, req, old_name, new_name)
{
	volatile struct {
		__u32 ctx_uid;
	} *frame;
	void *memory = fusebpf_frame(ctx, 16);

	if (!memory)
		return -FUSEBPF_EIO;
	frame = memory;
	frame->ctx_uid = fusebpf_uid(ctx);

	/* if alike(old_name, new_name) or alike(new_name, old_name) or own(ctx, new_name): */
#line 58 "shared_helpers.py"
	if (alike(FUSEBPF_NAME_BYTES(old_name), FUSEBPF_NAME_BYTES(new_name)) || alike(FUSEBPF_NAME_BYTES(new_name), FUSEBPF_NAME_BYTES(old_name)) || own((void *)((__u8 *)memory + 8), ctx, new_name)) {
		/* return -EPERM */
#line 59 "shared_helpers.py"
		return -1;
	}
	/* if ctx.uid == 7 and alike(old_name, old_name): */
#line 60 "shared_helpers.py"
	if ((frame->ctx_uid == 7) && alike(FUSEBPF_NAME_BYTES(old_name), FUSEBPF_NAME_BYTES(old_name))) {
		/* return -EACCES */
#line 61 "shared_helpers.py"
		return -13;
	}
#line 1 "<generated>"
	return FUSEBPF_CONTINUE;
}

FUSEBPF_RENAME_PREFILTER(move_rename, ctx, req, old_name, new_name)
{
	struct fuse_rename2_in wide = { .newdir = req->newdir };
	int verdict = move(ctx, &wide, old_name, new_name);

	return verdict;
}

#line 1 "<generated>"
FUSEBPF_READDIR_POSTFILTER(listing, ctx, req, out, entries)
{
	void *memory = fusebpf_frame(ctx, 16);

	if (!memory)
		return -FUSEBPF_EIO;
	/* for entry in entries: */
#line 65 "shared_helpers.py"
	fusebpf_for_each_dirent(entry, entries) {
		struct fusebpf_buf entry_name = fusebpf_dirent_name(&entry);

		/* Never shown unseen. */
		if (!entry_name.data) {
			fusebpf_dirent_drop(&entry);
			continue;
		}
		/* if odd(ctx, entry.name, 3) or listed(ctx, entry.name) or key(entry.name): */
#line 66 "shared_helpers.py"
		if (odd(memory, ctx, &entry_name, 3) || listed(FUSEBPF_NAME_BYTES(&entry_name)) || key(FUSEBPF_NAME_BYTES(&entry_name))) {
			/* entry.drop() */
#line 67 "shared_helpers.py"
			fusebpf_dirent_drop(&entry);
		}
	}
#line 1 "<generated>"
	return FUSEBPF_CONTINUE;
}

FUSEBPF_OPS("shared",
	.lookup_prefilter = FUSEBPF_PROG(look),
	.mkdir_prefilter = FUSEBPF_PROG(make),
	.unlink_prefilter = FUSEBPF_PROG(remove),
	.rename2_prefilter = FUSEBPF_PROG(move),
	.rename_prefilter = FUSEBPF_PROG(move_rename),
	.readdir_postfilter = FUSEBPF_PROG(listing))
