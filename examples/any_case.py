# SPDX-License-Identifier: MIT
"""README and readme are one: names below are in lower case, and found however they are written.

A name with a capital letter below is out of reach and left out of listings; none is made.
"""

from fusebpf import Context, Dirents, FilterSet, Name, ReadIn, ReadOut

filters = FilterSet("any_case")


@filters.lookup.pre
def fold(ctx: Context, name: Name) -> None:
    name[:] = name.lower()


@filters.readdir.post
def reachable(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents) -> None:
    for entry in entries:
        if entry.name.glob("*[A-Z]*"):
            entry.drop()


@filters.creatable
def lower_case(ctx: Context, name: Name) -> bool:
    return not name.glob("*[A-Z]*")
