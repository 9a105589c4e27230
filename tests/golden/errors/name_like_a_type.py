# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *

filters = FilterSet("golden")


def harmless(naem: Name) -> bool:
    return name == "a" or name.endswith(".txt")


@filters.lookup.pre
def f(ctx: Context, name: Name):
    return CONTINUE if harmless(name) else -ENOENT
