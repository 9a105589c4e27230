# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
filters = FilterSet("guard")
@filters.lookup.pre
def hide(ctx: Context, name: Name):
    if name == "a" or "b":
        return -ENOENT
    if ctx.uid < 0:
        return -ENOENT
    if name.endswith(".a") or ".b":
        return -ENOENT

@filters.open.pre
def ro(ctx: Context, req: OpenIn):
    if req.flags & O_RDONLY:
        return -EACCES
    if ctx.uid > 5:
        if ctx.uid > 3:
            return -EACCES
