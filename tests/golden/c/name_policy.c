/* Filter set names, made from name_policy.py: do not edit. */
#include "fusebpf.h"
#include "fusebpf_lang.h"

#line 1 "<generated>"
static __always_inline int check(void *memory, const struct fusebpf_buf *name __fusebpf_unused)
{
	int fusebpf_result = 0;
	volatile struct {
		__u8 byte;
	} *frame;
	frame = memory;

	/* if len(name) > 200: */
#line 13 "name_policy.py"
	if ((__s64)fusebpf_len(name) > 200) {
		/* return -ENAMETOOLONG */
#line 14 "name_policy.py"
		return -36;
	}
	/* if name.lower() in RESERVED or name[-1:] == "." or name[-1] == 32: */
#line 15 "name_policy.py"
	if ((fusebpf_name_is(name, "con", 3, 1) || fusebpf_name_is(name, "prn", 3, 1) || fusebpf_name_is(name, "aux", 3, 1) || fusebpf_name_is(name, "nul", 3, 1) || fusebpf_name_is(name, "com1", 4, 1) || fusebpf_name_is(name, "com2", 4, 1) || fusebpf_name_is(name, "lpt1", 4, 1)) || fusebpf_name_ends(name, ".", 1, 0) || (fusebpf_name_byte(name, -1) == 32)) {
		/* return -EINVAL */
#line 16 "name_policy.py"
		return -22;
	}
	/* for byte in name: */
#line 17 "name_policy.py"
	fusebpf_for(_loop1, (__s64)fusebpf_len(name)) {
#line 17 "name_policy.py"
		const __s64 byte_at __fusebpf_unused = _loop1.k;
#line 17 "name_policy.py"
		frame->byte = fusebpf_name_byte(name, byte_at);
		/* if byte < 32 or byte in BAD: */
#line 18 "name_policy.py"
		if ((frame->byte < 32) || ({ __u8 _v1 = frame->byte; (_v1 == 60) || (_v1 == 62) || (_v1 == 58) || (_v1 == 34) || (_v1 == 124) || (_v1 == 63) || (_v1 == 42) || (_v1 == 92); })) {
			/* return -EINVAL */
#line 19 "name_policy.py"
			fusebpf_leave(-22);
		}
	}
	/* return CONTINUE */
#line 20 "name_policy.py"
	return FUSEBPF_CONTINUE;
#line 1 "<generated>"

fusebpf_out:
	return fusebpf_result;
}

#line 1 "<generated>"
FUSEBPF_CREATE_OPEN_PREFILTER(create, ctx, req, name)
{
	void *memory = fusebpf_frame(ctx, 8);

	if (!memory)
		return -FUSEBPF_EIO;
	/* return check(name) */
#line 25 "name_policy.py"
	return check(memory, name);
#line 1 "<generated>"
}

#line 1 "<generated>"
FUSEBPF_UNLINK_PREFILTER(unlink, ctx, name)
{
	int verdict = 0;
	void *memory = fusebpf_frame(ctx, 8);

	if (!memory)
		return -FUSEBPF_EIO;

	/* verdict = check(name) */
#line 30 "name_policy.py"
	verdict = check(memory, name);
	/* if verdict != CONTINUE: */
#line 31 "name_policy.py"
	if (verdict != FUSEBPF_CONTINUE) {
		/* return verdict */
#line 32 "name_policy.py"
		return verdict;
	}
#line 1 "<generated>"
	return FUSEBPF_CONTINUE;
}

FUSEBPF_OPS("names",
	.create_open_prefilter = FUSEBPF_PROG(create),
	.unlink_prefilter = FUSEBPF_PROG(unlink))
