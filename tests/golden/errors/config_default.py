# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
limit = filters.config("limit", u32, "ten")
@filters.open.pre
def f(ctx: Context, req: OpenIn):
    return CONTINUE
