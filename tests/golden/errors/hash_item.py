# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
users = filters.hash("users", key=u32, value=u64, max_entries=16)


@filters.open.pre
def f(ctx: Context, req: OpenIn):
    if users[ctx.uid] > 5:
        return -EPERM
    users[ctx.uid] = 3
    if users.get(ctx.uid) > 5:
        return -EPERM
    quota = users.get(ctx.uid)
    if quota > 5:
        return -EPERM
    if quota:
        return -EPERM
    if users.has(3) or len(users) > 3:
        return -EPERM
