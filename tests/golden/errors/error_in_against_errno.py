# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.open.post
def f(ctx: Context, req: OpenIn, out: OpenOut):
    if ctx.error_in == ENOENT:
        return -EACCES
