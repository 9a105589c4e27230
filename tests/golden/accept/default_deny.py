# SPDX-License-Identifier: MIT
"""Only looking is allowed: every operation without a filter of its own is refused."""
from fusebpf import CALL_DEFAULT, CONTINUE, Context, FilterSet, Name, OpenIn
from fusebpf.constants import (
    EACCES, FUSE_ACCESS, FUSE_GETATTR, FUSE_OPENDIR, FUSE_READ, FUSE_READDIR, FUSE_READLINK,
    FUSE_RELEASE, FUSE_RELEASEDIR, FUSE_STATFS, O_ACCMODE, O_RDONLY,
)

HARMLESS = {
    FUSE_ACCESS, FUSE_GETATTR, FUSE_OPENDIR, FUSE_READ, FUSE_READDIR, FUSE_READLINK,
    FUSE_RELEASE, FUSE_RELEASEDIR, FUSE_STATFS,
}
filters = FilterSet("looking")


@filters.default
def everything_else(ctx: Context):
    return CONTINUE if ctx.opcode in HARMLESS else -EACCES


@filters.lookup.pre
def lookup(ctx: Context, name: Name):
    return CONTINUE


@filters.open.pre
def read_only(ctx: Context, req: OpenIn):
    if req.flags & O_ACCMODE == O_RDONLY:
        return CONTINUE
    return CALL_DEFAULT
