# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
hits = filters.array("hits", value=u64, max_entries=8)


@filters.open.pre
def f(ctx: Context, req: OpenIn):
    hits[8] += 1
    hits[ctx.uid] += 1
    if ctx.uid in hits:
        return -EPERM
    hits.put(3, 4)
    hits[0] //= 2
