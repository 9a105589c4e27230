# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.unlink.pre
def f(ctx: Context, name: Name):
    return -EPERM


@filters.unlink.pre
def g(ctx: Context, name: Name):
    return -EACCES
