# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
def weight(uid: u32) -> int:
    if uid == 0:
        return 1
    elif uid < 1000:
        return 2


@filters.open.pre
def f(ctx: Context, req: OpenIn):
    if weight(ctx.uid) > 1:
        return -EPERM
