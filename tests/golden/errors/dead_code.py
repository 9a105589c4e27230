# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.open.pre
def f(ctx: Context, req: OpenIn):
    return -EPERM
    return CONTINUE


@filters.lookup.pre
def g(ctx: Context, name: Name):
    return POSTFILTER
