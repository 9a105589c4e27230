# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
hits = filters.array("hits", value=u8, max_entries=8)


@filters.open.pre
def f(ctx: Context, req: OpenIn):
    req.flags = 1 << 32
    hits[0] = 256
    if ctx.nodeid == 1 << 70:
        return -EPERM
