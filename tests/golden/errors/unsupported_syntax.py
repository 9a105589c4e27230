# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    try:
        x = [c for c in name]
    except ValueError:
        pass
    g = lambda n: n + 1
    with open("x") as file:
        pass
    print(f"looking up {name}")
    import os
    global hits
    a, b = 1, 2
    match name:
        case "x":
            return -ENOENT
    raise OSError
