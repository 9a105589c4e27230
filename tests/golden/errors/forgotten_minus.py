# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    if name == "a":
        return ENOENT
    if name == "b":
        return 2
    if name == "c":
        return -13
    if name == "d":
        return 0
    if name == "e":
        return True
    return ctx.uid
