# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.open.pre
def f(ctx: Context, req: OpenIn):
    x: u32 = 5
    y: str = "a"
    if x == 5:
        return -EPERM
