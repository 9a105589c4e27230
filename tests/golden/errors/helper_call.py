# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
def both(a: int, b: int) -> bool:
    return a == b


def clear(req: OpenIn):
    req.flags = 0


@filters.open.post
def f(ctx: Context, req: OpenIn, out: OpenOut):
    if both(1):
        return -EPERM
    if both(1, ctx.nodeid):
        return -EPERM
    if both(ctx, 2):
        return -EPERM
    clear(req)
