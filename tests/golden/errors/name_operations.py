# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    if name == 5 or name < "x" or "a" in name:
        return -ENOENT
    if name.endwith(".pem") or name.split(".")[0] == "x":
        return -ENOENT
    if name == "etc/passwd" or name.lower() == "README":
        return -ENOENT
    if name + ".bak" == "x":
        return -ENOENT
    name = "y"
