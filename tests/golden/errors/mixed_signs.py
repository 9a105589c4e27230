# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.write_iter.pre
def f(ctx: Context, req: WriteIn):
    delta = ctx.error_in - 1
    if req.offset + delta > 5:
        return -EFBIG
    if req.offset + -1 > 5:
        return -EFBIG
    x = req.offset
    if ctx.uid == 0:
        x = delta
