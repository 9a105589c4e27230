# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    return CONTINUE


@filters.lookup.post
def g(ctx: Context, name: Name, out: EntryOut, entries: Buffer):
    return -EPERM


@filters.open.post
def h(ctx: Context, req: OpenIn, out: OpenOut):
    return -EPERM
