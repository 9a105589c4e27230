# SPDX-License-Identifier: MIT
"""The ends of a part that nothing was asked of were not evaluated, nor what they call."""

from fusebpf import Context, FilterSet, Name
from fusebpf.constants import ENOENT
from fusebpf.types import s64, u32, u64

NOBODY = ()
filters = FilterSet("none_of_a_part")
asked = filters.hash("asked", key=u64, value=u32, max_entries=8)


def place(number: u64) -> s64:
    asked[number % 8] += 1
    return s64(number % 16)


@filters.lookup.pre
def begins_with_none(ctx: Context, name: Name):
    if name[place(ctx.tag) :].startswith(()):
        return -ENOENT


@filters.unlink.pre
def is_none(ctx: Context, name: Name):
    if name[place(ctx.tag) : place(ctx.nodeid)] in NOBODY:
        return -ENOENT
