/* Filter set cache, made from cache_times.py: do not edit. */
#include "fusebpf.h"
#include "fusebpf_lang.h"

FUSEBPF_MAP_LRU_HASH(failures, __u64, __s64, 512)
FUSEBPF_MAP_PERCPU_ARRAY(fusebpf_lost, __u64, 1)

#line 1 "<generated>"
FUSEBPF_LOOKUP_PREFILTER(before, ctx, name)
{
	/* return POSTFILTER */
#line 13 "cache_times.py"
	return FUSEBPF_POSTFILTER;
#line 1 "<generated>"
}

#line 1 "<generated>"
FUSEBPF_LOOKUP_POSTFILTER(after, ctx, name, out, more)
{
	_Bool is_dir = 0;
	__s64 seconds = 0;

	/* if ctx.error_in in (-ENOENT, -EACCES, -EPERM): */
#line 18 "cache_times.py"
	if (({ __s32 _v1 = ctx->error_in; (_v1 == (-2)) || (_v1 == (-13)) || (_v1 == (-1)); })) {
		/* failures[ctx.nodeid] -= ctx.error_in */
#line 19 "cache_times.py"
		fusebpf_hash_update(failures, ctx->nodeid, add, 0 - (__u64)((__s64)ctx->error_in));
		/* return */
#line 20 "cache_times.py"
		return FUSEBPF_CONTINUE;
	}
	/* is_dir = attr.mode & S_IFMT == S_IFDIR */
#line 22 "cache_times.py"
	is_dir = (FUSEBPF_LOAD(out->attr.mode) & 61440) == 16384;
	/* seconds = 1 if name.endswith(".log") else 60 if not is_dir else 5 */
#line 23 "cache_times.py"
	seconds = fusebpf_name_ends(name, ".log", 4, 0) ? 1LL : ((!is_dir) ? 60LL : 5LL);
	/* out.entry_valid = seconds */
#line 24 "cache_times.py"
	FUSEBPF_STORE(out->entry_valid, (__u64)seconds);
	/* out.attr_valid = seconds // 2 */
#line 25 "cache_times.py"
	FUSEBPF_STORE(out->attr_valid, (__u64)fusebpf_floordiv(seconds, 2));
#line 1 "<generated>"
	return FUSEBPF_CONTINUE;
}

#line 1 "<generated>"
FUSEBPF_GETATTR_PREFILTER(attr_before, ctx, req)
{
	/* return POSTFILTER */
#line 30 "cache_times.py"
	return FUSEBPF_POSTFILTER;
#line 1 "<generated>"
}

#line 1 "<generated>"
FUSEBPF_GETATTR_POSTFILTER(attr_after, ctx, req, out)
{
	/* out.attr.mode &= ~0o022 */
#line 35 "cache_times.py"
	FUSEBPF_STORE(out->attr.mode, FUSEBPF_LOAD(out->attr.mode) & 4294967277LL);
	/* out.attr.uid = ctx.uid */
#line 36 "cache_times.py"
	FUSEBPF_STORE(out->attr.uid, fusebpf_uid(ctx));
#line 1 "<generated>"
	return FUSEBPF_CONTINUE;
}

FUSEBPF_OPS("cache",
	.lookup_prefilter = FUSEBPF_PROG(before),
	.lookup_postfilter = FUSEBPF_PROG(after),
	.getattr_prefilter = FUSEBPF_PROG(attr_before),
	.getattr_postfilter = FUSEBPF_PROG(attr_after))
