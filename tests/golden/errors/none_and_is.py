# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    if name is None or name == None:
        return -ENOENT
    if ctx.uid is 0:
        return -EPERM
