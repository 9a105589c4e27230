# SPDX-License-Identifier: MIT
"""Everything is read-only, except below directories that a lookup has tagged."""
import fusebpf.constants as c
from fusebpf import *

filters = FilterSet("read_only")
WRITABLE = 1


@filters.lookup.post
def tag_scratch(ctx: Context, name: Name, out: EntryOut, entries: Buffer):
    if name == "tmp" or ctx.tag == WRITABLE:
        ctx.tag = WRITABLE


@filters.lookup.pre
def want_tag(ctx: Context, name: Name):
    return POSTFILTER


@filters.open.pre
def no_write_open(ctx: Context, req: OpenIn):
    writes = req.flags & c.O_ACCMODE in (c.O_WRONLY, c.O_RDWR) or req.flags & c.O_TRUNC
    if writes and ctx.tag != WRITABLE:
        return -c.EROFS


@filters.create.pre
def no_create(ctx: Context, req: CreateIn, name: Name):
    if ctx.tag != WRITABLE:
        return -c.EROFS


@filters.unlink.pre
def no_unlink(ctx: Context, name: Name):
    return CONTINUE if ctx.tag == WRITABLE else -c.EROFS


@filters.setattr.pre
def no_setattr(ctx: Context, req: SetattrIn):
    if ctx.tag != WRITABLE and req.valid & (c.FATTR_SIZE | c.FATTR_MODE | c.FATTR_UID | c.FATTR_GID):
        return -c.EROFS
