# SPDX-License-Identifier: MIT
"""Nothing below the mount, or below some directories, can be changed through it."""

from __future__ import annotations

from collections.abc import Iterable

from fusebpf.constants import EROFS, O_ACCMODE, O_RDONLY, O_TRUNC
from fusebpf.dsl import (
    Buffer,
    Context,
    CreateIn,
    DslError,
    FallocateIn,
    FilterSet,
    LinkIn,
    MkdirIn,
    MknodIn,
    Name,
    OpenIn,
    Rename2In,
    SetattrIn,
    SetxattrIn,
    Verdict,
)
from fusebpf.dsl.values import CONTINUE, Errno
from fusebpf.types import u64

#: ``ctx.tag`` of what lies in a directory that is read-only.
READ_ONLY = 1


def read_only(
    *,
    below: Iterable[str] = (),
    writers: Iterable[int] = (),
    errno: Errno = EROFS,
    name: str = "read_only",
) -> FilterSet:
    """Every change is refused with ``errno``: of contents, names, attributes and xattrs.

    ``writers`` are user ids (fsuid, initial user namespace) that the mount is writable for.
    ``below`` are names, at whatever depth: then those alone are meant, with all that lies in them,
    and ``ctx.tag`` says so. They can be made anew, and are read-only at once: with ``.git`` among
    them, git init and git clone fail. What access(2) says is left to the modes below. Flags of
    chattr(1), FS_IOC_SETVERSION and changes below the mount stay possible. Raises ``DslError`` for
    others.
    """
    allowed, tops = tuple(writers), tuple(below)
    if not all(isinstance(top, str) and top for top in tops) or not all(
        isinstance(uid, int) for uid in allowed
    ):
        raise DslError(
            "E130",
            "read_only() takes names of directories below, and numbers of users as writers",
            "e.g. read_only(below=['vendor'], writers=[0])",
            word="read_only",
        )
    everything = not tops
    filters = FilterSet(name)

    def refused(ctx: Context, tag: u64) -> Verdict:
        meant = everything or tag == READ_ONLY
        return -errno if meant and ctx.uid not in allowed else CONTINUE

    def changed(ctx: Context) -> Verdict:
        return refused(ctx, ctx.tag)

    if tops:

        @filters.lookup.pre
        def found(ctx: Context, name: Name) -> None:
            if name in tops:  # else it has the tag of its directory
                ctx.tag = READ_ONLY

    @filters.open.pre
    def opened(ctx: Context, req: OpenIn) -> Verdict:
        if req.flags & O_ACCMODE == O_RDONLY and req.flags & O_TRUNC == 0:
            return CONTINUE
        return changed(ctx)

    @filters.create.pre
    def created(ctx: Context, req: CreateIn, name: Name) -> Verdict:
        return changed(ctx)

    @filters.mknod.pre
    def node_made(ctx: Context, req: MknodIn, name: Name) -> Verdict:
        return changed(ctx)

    @filters.mkdir.pre
    def directory_made(ctx: Context, req: MkdirIn, name: Name) -> Verdict:
        return changed(ctx)

    @filters.symlink.pre
    def symlink_made(ctx: Context, name: Name, path: Buffer) -> Verdict:
        return changed(ctx)

    @filters.link.pre
    def linked(ctx: Context, req: LinkIn, name: Name) -> Verdict:
        return refused(ctx, READ_ONLY if ctx.tag2 == READ_ONLY else ctx.tag)

    @filters.unlink.pre
    def removed(ctx: Context, name: Name) -> Verdict:
        return refused(ctx, READ_ONLY if name in tops else ctx.tag)

    @filters.rmdir.pre
    def directory_removed(ctx: Context, name: Name) -> Verdict:
        return refused(ctx, READ_ONLY if name in tops else ctx.tag)

    @filters.rename.pre
    def moved(ctx: Context, req: Rename2In, old: Name, new: Name) -> Verdict:
        frozen = ctx.tag2 == READ_ONLY or old in tops or new in tops
        return refused(ctx, READ_ONLY if frozen else ctx.tag)

    @filters.setattr.pre
    def attributes_set(ctx: Context, req: SetattrIn) -> Verdict:
        return changed(ctx)

    @filters.setxattr.pre
    def xattr_set(ctx: Context, req: SetxattrIn, name: Name, value: Buffer) -> Verdict:
        return changed(ctx)

    @filters.removexattr.pre
    def xattr_removed(ctx: Context, name: Name) -> Verdict:
        return changed(ctx)

    @filters.file_fallocate.pre
    def allocated(ctx: Context, req: FallocateIn) -> Verdict:
        return changed(ctx)

    return filters
