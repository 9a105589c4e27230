# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
other = FilterSet("other")
users = other.hash("users", key=u32, value=u64, max_entries=16)


@filters.open.pre
def f(ctx: Context, req: OpenIn):
    if ctx.uid in users:
        return -EPERM
