# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    if nmae == "x":
        return -ENOEMT
    if ctx.uid == uidd:
        return -EPERM
    return CONTINUE
