# SPDX-License-Identifier: MIT
"""A rename must keep the extension; an exchange is never allowed."""
from fusebpf import Context, FilterSet, Name, Rename2In
from fusebpf.constants import EPERM, RENAME_EXCHANGE

filters = FilterSet("rename")


def extension(name: Name) -> int:
    """Position of the last dot, 0 when there is none."""
    at = 0
    for i in range(1, len(name)):
        if name[i] == 0x2E:
            at = i
    return at


@filters.rename.pre
def rename(ctx: Context, req: Rename2In, old: Name, new: Name):
    if req.flags & RENAME_EXCHANGE:
        return -EPERM
    if old == new:
        return
    a = extension(old)
    b = extension(new)
    if len(old) - a != len(new) - b:
        return -EPERM
    for i in range(min(len(old) - a, 16)):
        if old[a + i] != new[b + i]:
            return -EPERM
