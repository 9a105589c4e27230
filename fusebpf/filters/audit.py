# SPDX-License-Identifier: MIT
"""Who does what: an event for each operation on a name, and for each open."""

from __future__ import annotations

from dataclasses import dataclass

from fusebpf.dsl import (
    Buffer,
    Context,
    CreateIn,
    EntryOut,
    FilterSet,
    LinkIn,
    MkdirIn,
    MknodIn,
    Name,
    OpenIn,
    OpenOut,
    Rename2In,
)
from fusebpf.types import bytes256, s32, u32, u64


@dataclass
class Audited:
    """One operation. ``when`` is monotonic time in ns; ``error`` 0 or a negated errno.

    ``opcode`` is that of docs/hooks.md, 51 for a file made without a name (O_TMPFILE). A rename
    makes two: the one with ``new`` 1 has the new name. ``nodeid`` is that of the directory, or of
    the file opened: 1 for the root, for others 0 unless a filter or daemon numbers them. An open
    has no name: it tells who opened, not what.
    """

    when: u64
    nodeid: u64
    pid: u32
    uid: u32
    opcode: u32
    error: s32
    new: u32
    name: bytes256


def audit(*, size: int = 1 << 20, name: str = "audit") -> FilterSet:
    """An event ``Audited`` after each open, create, mknod, mkdir, symlink, link, unlink, rmdir,
    rename, with what came of it.

    They are read with ``mount.events[name]``; ``size`` is that of the ring in bytes (a power of
    2), and what found it full is in ``.dropped``. What another set refuses was not done and is not
    seen, nor is what the permissions below refuse. Opens of directories, FIFOs and devices are not
    among them, nor changes of size, mode, owner and xattrs. Raises ``DslError`` for a size or name
    that cannot be.
    """
    filters = FilterSet(name)
    done = filters.events(name, Audited, size=size)

    def note(ctx: Context, name: Name, new: u32) -> None:
        done.emit(
            Audited(ctx.ktime, ctx.nodeid, ctx.pid, ctx.uid, ctx.opcode, ctx.error_in, new, name)
        )

    @filters.open.post
    def opened(ctx: Context, req: OpenIn, out: OpenOut) -> None:
        done.emit(
            Audited(ctx.ktime, ctx.nodeid, ctx.pid, ctx.uid, ctx.opcode, ctx.error_in, 0, b"")
        )

    @filters.create.post
    def created(ctx: Context, req: CreateIn, name: Name, entry: EntryOut, out: OpenOut) -> None:
        note(ctx, name, 0)

    @filters.mknod.post
    def node_made(ctx: Context, req: MknodIn, name: Name) -> None:
        note(ctx, name, 0)

    @filters.mkdir.post
    def directory_made(ctx: Context, req: MkdirIn, name: Name) -> None:
        note(ctx, name, 0)

    @filters.symlink.post
    def symlink_made(ctx: Context, name: Name, path: Buffer) -> None:
        note(ctx, name, 0)

    @filters.link.post
    def linked(ctx: Context, req: LinkIn, name: Name) -> None:
        note(ctx, name, 0)

    @filters.unlink.post
    def removed(ctx: Context, name: Name) -> None:
        note(ctx, name, 0)

    @filters.rmdir.post
    def directory_removed(ctx: Context, name: Name) -> None:
        note(ctx, name, 0)

    @filters.rename.post
    def moved(ctx: Context, req: Rename2In, old: Name, new: Name) -> None:
        note(ctx, old, 0)
        note(ctx, new, 1)

    return filters
