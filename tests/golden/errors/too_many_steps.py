# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    total = 0
    for i in range(300):
        for j in range(300):
            total += i * j
    if total == 7:
        return -EIO
