# SPDX-License-Identifier: MIT
from dataclasses import dataclass

from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
HUGE = 2**70


@filters.read_iter.pre
def numbers(ctx: Context, req: ReadIn):
    a = 1 % 0
    b = 1 << 70
    c = (1 << 63) ** 99
    d = (((HUGE << 63) << 63) << 63) * ((HUGE << 63) << 63)
    e = ctx.uid ** 2
    f = ctx.uid @ 2
    g = ctx.uid % 0
    h = 3j
    i = ...
    j = -CONTINUE
    k = ENOENT + 1
    l = -name
    m = ctx.uid if ctx.uid else ENOENT
    n = req.offset or HUGE
    o = min(req.offset, HUGE)
    p = ctx.uid == HUGE
    q = 3 < "a" < ctx.uid
    r = ctx.uid in {1, "a"}
    s = ctx.uid in range(HUGE)
    t = req.offset and s64(ctx.uid) and -1
    u = 5 // ctx.uid
    v = 1 << ctx.uid
    w = not_there + 1
    x = abs(w)
    y = +CONTINUE
    z = ~"a"
    return CONTINUE
