# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.readdir.post
def f(ctx: Context, req: ReadIn, out: ReadOut, listing: Dirents):
    for entry in listing:
        if entry.names == "x":
            entry.drop()
        entry.ino = 5
        entry.drop(1)
    entry.drop()
    for i in range(3):
        i.drop()
    listing.remove(0)
    if len(listing) > 3:
        return -EPERM
