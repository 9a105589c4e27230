# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.visible
def shown(ctx: Context, name: Name):
    return -ENOENT if name == ".env" else CONTINUE

@filters.deletable
def kept(ctx: Context, name: Name):
    pass

@filters.writable
def owner(ctx: Context, name: Name) -> bool:
    return ctx.uid == 1000
