# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.open.pre
def f(ctx: Context, req: OpenIn):
    if req.flag & O_TRUNC:
        return -EROFS
    if ctx.user == 1000:
        return -EPERM
    if req.mode == 0:
        return -EPERM
