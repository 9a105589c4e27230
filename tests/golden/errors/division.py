# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.write_iter.pre
def f(ctx: Context, req: WriteIn):
    if req.offset // req.size > 5:
        return -EFBIG
    if req.offset % 0 == 0:
        return -EFBIG
    if req.offset / 2 > 5:
        return -EFBIG
    if req.offset ** 2 > 5:
        return -EFBIG
