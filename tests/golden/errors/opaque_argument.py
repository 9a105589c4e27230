# SPDX-License-Identifier: MIT
from fusebpf import Buffer, Context, EntryOut, FilterSet, Name

filters = FilterSet("errors")


def look(entries: Buffer) -> bool:
    return True


@filters.lookup.post
def found(ctx: Context, name: Name, out: EntryOut, entries: Buffer) -> None:
    if look(entries):
        ctx.tag = 1
