/* Filter set rate, made from rate_limit.py: do not edit. */
#include "fusebpf.h"
#include "fusebpf_lang.h"

FUSEBPF_MAP_HASH(began, __u32, __u64, 1024)
FUSEBPF_MAP_HASH(used, __u32, __u64, 1024)
FUSEBPF_MAP_PERCPU_ARRAY(fusebpf_lost, __u64, 1)

#line 1 "<generated>"
FUSEBPF_OPEN_PREFILTER(limit, ctx, req)
{
	__u64 now = 0;
	__u64 start = 0;
	_Bool start_set = 0;
	__u64 count = 0;
	_Bool count_set = 0;

	/* now = ctx.ktime */
#line 17 "rate_limit.py"
	now = fusebpf_ktime(ctx);
	/* start = began.get(ctx.uid) */
#line 18 "rate_limit.py"
	fusebpf_map_fetch(began, fusebpf_uid(ctx), start, start_set);
	/* if start is None or now - start >= SECOND: */
#line 19 "rate_limit.py"
	if ((!start_set) || ((now - start) >= 1000000000)) {
		/* if not began.put(ctx.uid, now): */
#line 20 "rate_limit.py"
		if (!fusebpf_map_put(began, fusebpf_uid(ctx), now)) {
			/* return -ENOSPC */
#line 21 "rate_limit.py"
			return -28;
		}
		/* used.put(ctx.uid, 1) */
#line 22 "rate_limit.py"
		(void)fusebpf_map_put(used, fusebpf_uid(ctx), 1);
		/* return */
#line 23 "rate_limit.py"
		return FUSEBPF_CONTINUE;
	}
	/* if (count := used.get(ctx.uid)) is not None and count >= LIMIT: */
#line 24 "rate_limit.py"
	fusebpf_map_fetch(used, fusebpf_uid(ctx), count, count_set);
#line 24 "rate_limit.py"
	if (count_set && (count >= 100)) {
		/* return -EAGAIN */
#line 25 "rate_limit.py"
		return -11;
	}
	/* used[ctx.uid] += 1 */
#line 26 "rate_limit.py"
	fusebpf_hash_update(used, fusebpf_uid(ctx), add, 1);
#line 1 "<generated>"
	return FUSEBPF_CONTINUE;
}

FUSEBPF_OPS("rate",
	.open_prefilter = FUSEBPF_PROG(limit))
