# SPDX-License-Identifier: MIT
"""Each comparison that waited to be added to others doubled the paths that the verifier follows."""

from fusebpf import Context, FilterSet, Name
from fusebpf.constants import EACCES, ENOENT
from fusebpf.types import u64

filters = FilterSet("choices_in_a_loop")


@filters.lookup.pre
def compared(ctx: Context, name: Name):
    found = 0
    choice = 2
    for i in range(20):
        found += (
            (name[i] > 32)
            + (name[i + 1] > 48)
            + (name[i + 2] > 57)
            + (name[i + 3] > 64)
            + (name[i + 4] > 90)
            + (name[i + 5] > 95)
            + (name[i + 6] > 96)
            + (name[i + 7] > 99)
            + (name[i + 8] > 104)
            + (name[i + 9] > 108)
            + (name[i + 10] > 110)
            + (name[i + 11] > 112)
            + (name[i + 12] > 116)
            + (name[i + 13] > 120)
            + (name[i + 14] > 122)
        )
    if found > choice:
        return -ENOENT


@filters.unlink.pre
def chosen(ctx: Context, name: Name):
    found = u64(0)
    for i in range(20):
        found += (
            min(u64(name[i]), ctx.tag)
            | max(u64(name[i + 1]), ctx.tag)
            | (u64(name[i + 2]) if ctx.uid else ctx.tag)
            | (u64(name[i + 3]) or ctx.tag)
            | (u64(name[i + 4]) and ctx.tag)
            | min(u64(name[i + 5]), ctx.nodeid)
            | max(u64(name[i + 6]), ctx.nodeid)
            | (u64(name[i + 7]) if ctx.gid else ctx.nodeid)
            | (u64(name[i + 8]) or ctx.nodeid)
            | (u64(name[i + 9]) and ctx.nodeid)
            | u64(name[i + 10] < name[i + 11] < name[i + 12])
            | u64(name[i + 13] in {97, 98, 99, 100, 101})
            | u64(not name[i + 14])
            | u64(name.startswith(".p"))
            | u64(name.glob("[a-f]*[0-9]"))
        )
    if found > 1000:
        return -EACCES
