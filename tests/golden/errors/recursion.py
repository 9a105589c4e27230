# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
def down(n: int) -> int:
    return 0 if n == 0 else down(n - 1)


@filters.open.pre
def f(ctx: Context, req: OpenIn):
    if down(3) == 0:
        return -EPERM
