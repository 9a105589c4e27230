# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
opened = 0
@filters.open.pre
def f(ctx: Context, req: OpenIn):
    opened += 1
