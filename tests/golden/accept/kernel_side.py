# SPDX-License-Identifier: MIT
"""What only the kernel has: tags of both sides, kept answers, cleared errors, renamed entries."""
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("kernel_side")
INSIDE = 1


def shown(entry: Dirent) -> None:
    if entry.name.endswith(".mdx"):
        entry.name = entry.name[:-4] + ".txt"
        entry.type = 8
    elif entry.name.endswith(".txt") or entry.type == 6:
        entry.drop()
    if entry.name == "core.txt":
        entry.name = "Core"


@filters.lookup.pre
def found(ctx: Context, name: Name):
    if name.startswith("shared"):
        ctx.tag = INSIDE
        ctx.keep_answer(5_000_000_000)
    if name.endswith(".txt"):
        name[:] = "_" + name[:-4].lower() + ".mdx"


@filters.rename.pre
def moved(ctx: Context, req: Rename2In, old: Name, new: Name):
    return -EXDEV if ctx.tag == INSIDE and ctx.tag2 != INSIDE else CONTINUE


@filters.fsync.post
def synced(ctx: Context, req: FsyncIn):
    if ctx.error_in == -EIO:
        ctx.clear_error()


@filters.readdir.post
def listed(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):
    for entry in entries:
        shown(entry)
        if entry.type == 10 and entry.name[0] == 0x5F:
            entry.type = 8
