# SPDX-License-Identifier: MIT
"""Files that end in .mdx below are seen, opened, moved and removed as .txt.

Files that end in .txt below would be two of one name: they are left out. None of either is made.
"""

from fusebpf import Context, Dirents, FilterSet, Name, ReadIn, ReadOut

filters = FilterSet("as_text")


@filters.lookup.pre
def below(ctx: Context, name: Name) -> None:
    if name.endswith(".txt"):
        name[:] = name[:-4] + ".mdx"
    elif name.endswith(".mdx"):
        name[:] = name[:-4] + ".txt.hidden"


@filters.readdir.post
def above(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents) -> None:
    for entry in entries:
        if entry.name.endswith(".txt"):
            entry.drop()
        elif entry.name.endswith(".mdx"):
            entry.name = entry.name[:-4] + ".txt"


@filters.creatable
def other(ctx: Context, name: Name) -> bool:
    return not name.endswith((".txt", ".mdx"))
