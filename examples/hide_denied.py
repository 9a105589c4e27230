# SPDX-License-Identifier: MIT
"""What the file system below refuses to look up is not there: EACCES and EPERM become ENOENT.

One over a network or a FUSE daemon may refuse single names. What modes and ACLs refuse is decided
before a filter is asked, and stays EACCES.
"""

from fusebpf import CONTINUE, POSTFILTER, Buffer, Context, EntryOut, FilterSet, Name, Verdict
from fusebpf.constants import EACCES, ENOENT, EPERM

filters = FilterSet("hide_denied")


@filters.lookup.pre
def ask(ctx: Context, name: Name) -> Verdict:
    return POSTFILTER


@filters.lookup.post
def deny(ctx: Context, name: Name, out: EntryOut, entries: Buffer) -> Verdict:
    if ctx.error_in == -EACCES or ctx.error_in == -EPERM:
        return -ENOENT
    return CONTINUE
