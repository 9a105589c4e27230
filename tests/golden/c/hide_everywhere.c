/* Filter set hide-everywhere, made from hide_everywhere.py: do not edit. */
#include "fusebpf.h"
#include "fusebpf_lang.h"

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
	case 11:
		return fusebpf_name_is(name, "credentials", 11, 0);
	default:
		return 0;
	}
}

#line 1 "<generated>"
static __always_inline _Bool secret(const struct fusebpf_buf *name __fusebpf_unused)
{
	/* return name in SECRET_NAMES or name.lower().endswith(SECRET_SUFFIXES) */
#line 13 "hide_everywhere.py"
	return name_in_set1(name) || (fusebpf_name_ends(name, ".pem", 4, 1) || fusebpf_name_ends(name, ".key", 4, 1) || fusebpf_name_ends(name, ".p12", 4, 1) || fusebpf_name_ends(name, ".kdbx", 5, 1));
#line 1 "<generated>"
}

#line 1 "<generated>"
FUSEBPF_LOOKUP_PREFILTER(lookup, ctx, name)
{
	fusebpf_keep_answer(ctx);
	/* return -ENOENT if secret(name) else CONTINUE */
#line 18 "hide_everywhere.py"
	return secret(name) ? (-2) : FUSEBPF_CONTINUE;
#line 1 "<generated>"
}

#line 1 "<generated>"
FUSEBPF_READDIR_PREFILTER(ask, ctx, req)
{
	/* return POSTFILTER */
#line 23 "hide_everywhere.py"
	return FUSEBPF_POSTFILTER;
#line 1 "<generated>"
}

#line 1 "<generated>"
FUSEBPF_READDIR_POSTFILTER(listing, ctx, req, out, entries)
{
	volatile struct {
		__s64 kept;
	} *frame;
	void *memory = fusebpf_frame(ctx, 8);

	if (!memory)
		return -FUSEBPF_EIO;
	frame = memory;

	/* kept = 0 */
#line 28 "hide_everywhere.py"
	frame->kept = 0;
	/* for entry in entries: */
#line 29 "hide_everywhere.py"
	fusebpf_for_each_dirent(entry, entries) {
		struct fusebpf_buf entry_name = fusebpf_dirent_name(&entry);

		/* Never shown unseen. */
		if (!entry_name.data) {
			fusebpf_dirent_drop(&entry);
			continue;
		}
		/* if secret(entry.name): */
#line 30 "hide_everywhere.py"
		if (secret(&entry_name)) {
			/* entry.drop() */
#line 31 "hide_everywhere.py"
			fusebpf_dirent_drop(&entry);
		} else {
			/* kept += 1 */
#line 33 "hide_everywhere.py"
			frame->kept = fusebpf_add(frame->kept, 1);
		}
	}
	/* if kept == 0: */
#line 34 "hide_everywhere.py"
	if (frame->kept == 0) {
		/* out.again = 1 */
#line 35 "hide_everywhere.py"
		FUSEBPF_STORE(out->again, 1);
	}
	/* return None */
#line 36 "hide_everywhere.py"
	return FUSEBPF_CONTINUE;
#line 1 "<generated>"
}

FUSEBPF_OPS("hide-everywhere",
	.lookup_prefilter = FUSEBPF_PROG(lookup),
	.readdir_prefilter = FUSEBPF_PROG(ask),
	.readdir_postfilter = FUSEBPF_PROG(listing))
