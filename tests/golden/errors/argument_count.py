# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context):
    return CONTINUE


@filters.rename2.pre
def g(ctx: Context, req: Rename2In, name: Name):
    return -EPERM
