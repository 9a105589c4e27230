# SPDX-License-Identifier: MIT
"""A helper returns out of a loop whether a number is among none: no comma in a macro's argument."""

from fusebpf import CONTINUE, Context, FilterSet, Name
from fusebpf.constants import EPERM

filters = FilterSet("found")
NOBODY = ()


def first(ctx: Context, name: Name) -> bool:
    for byte in name[:9]:
        if byte == 0x61:
            return ctx.uid in NOBODY
    return ctx.uid in {2**40, 2**41}


@filters.unlink.pre
def removed(ctx: Context, name: Name):
    return -EPERM if first(ctx, name) or not name.endswith("m") else CONTINUE
