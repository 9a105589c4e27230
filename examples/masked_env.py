# SPDX-License-Identifier: MIT
"""`.env` files are there and empty: they read, map and copy as such, and nobody writes them.

Nor makes, moves, links or removes one: under another name it would be read, and another file in its
place would be trusted. What lies in a directory of such a name (a venv) is used as ever; it is not
made or removed either, as only its name is known then.
"""

from fusebpf import (
    CONTINUE,
    AttrOut,
    Buffer,
    Context,
    EntryOut,
    FilterSet,
    GetattrIn,
    LinkIn,
    Name,
    OpenIn,
    OpenOut,
    Verdict,
)
from fusebpf.constants import EPERM

filters = FilterSet("masked_env")
MASKED = 1
ENV_FILES = (".env", ".env.*")
TYPE, FILE = 0o170000, 0o100000
READS_EMPTY = 1 << 31  # FUSE_BPF_OPEN_EMPTY


@filters.lookup.post
def mark(ctx: Context, name: Name, out: EntryOut, entries: Buffer) -> None:
    ctx.tag = MASKED if name.glob(ENV_FILES) and out.attr.mode & TYPE == FILE else 0


@filters.writable
def unmasked(ctx: Context) -> bool:
    return ctx.tag != MASKED


@filters.creatable
@filters.deletable
def other_name(ctx: Context, name: Name) -> bool:
    return not name.glob(ENV_FILES)


@filters.link.pre
def one_name(ctx: Context, req: LinkIn, name: Name) -> Verdict:
    return -EPERM if ctx.tag == MASKED else CONTINUE


@filters.open.post
def empty(ctx: Context, req: OpenIn, out: OpenOut) -> None:
    if ctx.tag == MASKED:
        out.open_flags = out.open_flags | READS_EMPTY


@filters.getattr.post
def without_size(ctx: Context, req: GetattrIn, out: AttrOut) -> None:
    if ctx.tag == MASKED:
        out.attr.size = 0
        out.attr.blocks = 0
