/* Filter set guard, made from guard.py: do not edit. */
#include "fusebpf.h"
#include "fusebpf_lang.h"

FUSEBPF_MAP_PERCPU_ARRAY(hits, __u64, 2)
FUSEBPF_MAP_HASH(trusted, __u32, __u64, 1024)

#line 1 "<generated>"
FUSEBPF_LOOKUP_PREFILTER(hide_keys, ctx, name)
{
	/* if name.endswith(".pem") or name in {".env", "id_rsa"}: */
#line 13 "guard.py"
	if (fusebpf_name_ends(name, ".pem", 4, 0) || (fusebpf_name_is(name, ".env", 4, 0) || fusebpf_name_is(name, "id_rsa", 6, 0))) {
		/* hits[0] += 1 */
#line 14 "guard.py"
		fusebpf_array_update(hits, 0, add, 1);
		/* return -ENOENT */
#line 15 "guard.py"
		return -2;
	}
	/* return CONTINUE */
#line 16 "guard.py"
	return FUSEBPF_CONTINUE;
#line 1 "<generated>"
}

#line 1 "<generated>"
FUSEBPF_OPEN_PREFILTER(read_only, ctx, req)
{
	/* if req.flags & O_ACCMODE != O_RDONLY and ctx.uid not in trusted: */
#line 20 "guard.py"
	if (((FUSEBPF_LOAD(req->flags) & 3) != 0) && (!fusebpf_map_has(trusted, fusebpf_uid(ctx)))) {
		/* return -EROFS */
#line 21 "guard.py"
		return -30;
	}
#line 1 "<generated>"
	return FUSEBPF_CONTINUE;
}

FUSEBPF_OPS("guard",
	.lookup_prefilter = FUSEBPF_PROG(hide_keys),
	.open_prefilter = FUSEBPF_PROG(read_only))
