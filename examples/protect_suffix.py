# SPDX-License-Identifier: MIT
"""Journals and databases are changed by root alone: else EACCES, `--set erofs=true` for EROFS."""

from fusebpf import CONTINUE, Context, FilterSet, Name, OpenIn, Rename2In, SetattrIn, Verdict
from fusebpf.constants import EACCES, EROFS, FATTR_SIZE, O_ACCMODE, O_RDONLY, O_TRUNC

filters = FilterSet("protect_suffix")
erofs = filters.config("erofs", bool, False)
SUFFIXES = (".journal", ".db", ".sqlite3")


def root_alone(ctx: Context, asked: bool) -> Verdict:
    if ctx.uid == 0 or not asked:
        return CONTINUE
    return -EROFS if erofs else -EACCES


@filters.lookup.pre
def mark(ctx: Context, name: Name) -> None:
    ctx.tag = 1 if name.lower().endswith(SUFFIXES) else 0


@filters.open.pre
def opened(ctx: Context, req: OpenIn) -> Verdict:
    return root_alone(ctx, ctx.tag == 1 and req.flags & (O_ACCMODE | O_TRUNC) != O_RDONLY)


@filters.setattr.pre
def cut(ctx: Context, req: SetattrIn) -> Verdict:
    return root_alone(ctx, req.valid & FATTR_SIZE != 0 and ctx.tag == 1)


@filters.unlink.pre
def removed(ctx: Context, name: Name) -> Verdict:
    return root_alone(ctx, name.lower().endswith(SUFFIXES))


@filters.rename.pre
def moved(ctx: Context, req: Rename2In, old: Name, new: Name) -> Verdict:
    return root_alone(ctx, old.lower().endswith(SUFFIXES) or new.lower().endswith(SUFFIXES))
