# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.open.pre
def f(ctx: Context, req: CreateIn):
    return CONTINUE
