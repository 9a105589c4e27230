# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    bad = undefined_thing + 1
    if bad > 3:
        return bad
    if ctx.uidd == 3:
        return ENOENT


@filters.open.pre
def g(ctx: Context, req: OpenIn):
    for i in range(ctx.uid):
        if req.flgas == i:
            return -EPERM
    return 1
