# SPDX-License-Identifier: MIT
"""What the caller may not look up looks as if it were not there: EACCES and EPERM become ENOENT."""

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
