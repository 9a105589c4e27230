# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    v = CONTINUE
    if v:
        return v + 1
    if v == ENOENT:
        return v
    if v < POSTFILTER:
        return v
