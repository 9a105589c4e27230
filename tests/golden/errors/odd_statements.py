# SPDX-License-Identifier: MIT
from dataclasses import dataclass

from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
users = filters.hash("users", key=u32, value=u64, max_entries=16)


@filters.open.pre
def statements(ctx: Context, req: OpenIn):
    import os
    from os import path
    from os import sep as separator
    count: list = 3
    text: "u16" = 3
    other: "not a type" = 3
    third: unknown_type = 3
    req.flags: u64 = 3
    fourth: Name = 3
    a = b = ctx.uid + 1
    c = d = 1
    e, f = 1, 2
    g, h = ctx.uid, g
    i, j = 1
    k, (l, m) = 1, (2, 3)
    n, o = 1, 2, 3
    *p, q = 1, 2
    t = u, v = 1, 2
    req = 3
    ctx, r = 1, 2
    s = None
    del a
    del users[3]
    del users[3], users[4]
    a @= 3
    a **= 3
    with open("x") as file:
        pass
    with open("x"): pass
    ...
    if ctx.uid == true or ctx.uid == null:
        raise OSError(ENOENT)
    if ctx.uid == 3:
        raise OSError("text")
    if ctx.uid == 4:
        raise PermissionError
    if ctx.uid == 5:
        raise errors.Bad("x")
    match ctx.uid:
        case True:
            return CONTINUE
        case [1, 2]:
            return CONTINUE
        case limit:
            return CONTINUE
    match ctx.uid:
        case limit if limit > 3:
            return CONTINUE
    for x in range(3): pass
    else:
        pass
    if ctx.uid in range(0, 9, 2):
        return CONTINUE
    return CONTINUE
