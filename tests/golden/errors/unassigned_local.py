# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    if ctx.uid == 0:
        limit = 5
    for i in range(len(name)):
        last = i
    if last > limit:
        return -EPERM
