# SPDX-License-Identifier: MIT
"""Processes of a sandbox (their ids come from user space) see only what starts with "public"."""
from fusebpf import CONTINUE, POSTFILTER, Context, Dirents, FilterSet, Name, ReadIn, ReadOut
from fusebpf.constants import DT_DIR, ENOENT, S_IFDIR
from fusebpf.types import u8, u32

filters = FilterSet("sandbox")
inside = filters.hash("inside", key=u32, value=u8, max_entries=10_000)


def hidden(ctx: Context, name: Name) -> bool:
    if ctx.pid not in inside or name[:1] == ".":
        return False
    level = inside.get(ctx.pid, 0)
    if level >= 2 and name.startswith(("public-", "shared-")):
        return False
    return not name.startswith("public")


@filters.lookup.pre
def lookup(ctx: Context, name: Name):
    if hidden(ctx, name):
        return -ENOENT


@filters.readdir.pre
def readdir(ctx: Context, req: ReadIn):
    return POSTFILTER if ctx.pid in inside else CONTINUE


@filters.readdir.post
def listed(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):
    for entry in entries:
        name = entry.name
        if name in (".", ".."):
            continue
        if hidden(ctx, name) or entry.type != DT_DIR and entry.ino == 0:
            entry.drop()
