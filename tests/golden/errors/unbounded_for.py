# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.setattr.pre
def f(ctx: Context, req: SetattrIn):
    total = 0
    for i in range(req.size):
        total += i
    for i in range(100_000):
        total += i
