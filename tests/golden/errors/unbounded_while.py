# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    i = 0
    while i < len(name):
        if name[i] == 32:
            return -EINVAL
        i += 1
