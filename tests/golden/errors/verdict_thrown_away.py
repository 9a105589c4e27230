# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
def check(name: Name) -> Verdict:
    return -ENOENT if name == ".env" else CONTINUE


@filters.lookup.pre
def f(ctx: Context, name: Name):
    check(name)
    -ENOENT
    return CONTINUE
