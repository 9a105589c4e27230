# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    if name[0] == "." or name[3] == "ab":
        return -ENOENT
    if name[-1] == "~" or name[-3] == "~":
        return -ENOENT
    at = 0 if ctx.uid == 0 else -1
    if name[at] == "." or name[ctx.uid & 1] == ".":
        return -ENOENT
