# SPDX-License-Identifier: MIT
"""`.env` files are there and empty: they read, map and copy as such, and nobody writes them."""

from fusebpf import AttrOut, Context, FilterSet, GetattrIn, Name, OpenIn, OpenOut

filters = FilterSet("masked_env")
MASKED = 1
READS_EMPTY = 1 << 31  # FUSE_BPF_OPEN_EMPTY


@filters.lookup.pre
def mark(ctx: Context, name: Name) -> None:
    ctx.tag = MASKED if name.glob((".env", ".env.*")) else 0


@filters.writable
def unmasked(ctx: Context) -> bool:
    return ctx.tag != MASKED


@filters.open.post
def empty(ctx: Context, req: OpenIn, out: OpenOut) -> None:
    if ctx.tag == MASKED:
        out.open_flags = out.open_flags | READS_EMPTY


@filters.getattr.post
def without_size(ctx: Context, req: GetattrIn, out: AttrOut) -> None:
    if ctx.tag == MASKED:
        out.attr.size = 0
        out.attr.blocks = 0
