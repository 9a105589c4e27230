# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.write_iter.pre
def f(ctx: Context, req: WriteIn):
    if 1 << req.size > 5 or 1 << 64 > 5:
        return -EFBIG
