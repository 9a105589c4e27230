# SPDX-License-Identifier: MIT
"""Journals and databases are changed by root alone: else EACCES, `--set erofs=true` for EROFS.

Root alone makes, links, moves and removes them, too: SQLite plays back a journal that it finds, and
keeps one beside a database that it writes, so that other users can only read databases here.
"""

from fusebpf import (
    CONTINUE,
    Buffer,
    Context,
    CreateIn,
    FilterSet,
    LinkIn,
    MknodIn,
    Name,
    OpenIn,
    Rename2In,
    SetattrIn,
    Verdict,
)
from fusebpf.constants import EACCES, EROFS, FATTR_SIZE, O_ACCMODE, O_RDONLY, O_TRUNC

filters = FilterSet("protect_suffix")
erofs = filters.config("erofs", bool, False)
SUFFIXES = (".journal", ".db", ".sqlite3", "-journal", "-wal", "-shm")


def protected(name: Name) -> bool:
    return name.lower().endswith(SUFFIXES)


def root_alone(ctx: Context, asked: bool) -> Verdict:
    if ctx.uid == 0 or not asked:
        return CONTINUE
    return -EROFS if erofs else -EACCES


@filters.lookup.pre
def mark(ctx: Context, name: Name) -> None:
    ctx.tag = 1 if protected(name) else 0


@filters.open.pre
def opened(ctx: Context, req: OpenIn) -> Verdict:
    return root_alone(ctx, ctx.tag == 1 and req.flags & (O_ACCMODE | O_TRUNC) != O_RDONLY)


@filters.setattr.pre
def cut(ctx: Context, req: SetattrIn) -> Verdict:
    return root_alone(ctx, req.valid & FATTR_SIZE != 0 and ctx.tag == 1)


@filters.create.pre
def made(ctx: Context, req: CreateIn, name: Name) -> Verdict:
    return root_alone(ctx, protected(name))


@filters.mknod.pre
def node_made(ctx: Context, req: MknodIn, name: Name) -> Verdict:
    return root_alone(ctx, protected(name))


@filters.symlink.pre
def symlink_made(ctx: Context, name: Name, path: Buffer) -> Verdict:
    return root_alone(ctx, protected(name))


@filters.link.pre
def linked(ctx: Context, req: LinkIn, name: Name) -> Verdict:
    return root_alone(ctx, ctx.tag == 1 or protected(name))


@filters.unlink.pre
def removed(ctx: Context, name: Name) -> Verdict:
    return root_alone(ctx, protected(name))


@filters.rename.pre
def moved(ctx: Context, req: Rename2In, old: Name, new: Name) -> Verdict:
    return root_alone(ctx, protected(old) or protected(new))
