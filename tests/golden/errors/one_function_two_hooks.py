# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.unlink.pre
@filters.rmdir.pre
def f(ctx: Context, name: Name):
    return -EPERM
