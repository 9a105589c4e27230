# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.post
def f(ctx: Context, name: Name, out: EntryOut, entries: Buffer):
    if ctx.uid == 0:
        return USER
    return POSTFILTER
