# SPDX-License-Identifier: MIT
"""clang made a multiplication of 128 bits of each of these, which BPF does not have."""

from fusebpf import AccessIn, Context, FilterSet, OpenIn
from fusebpf.constants import E2BIG, EPERM, ERANGE
from fusebpf.types import s64

filters = FilterSet("overflow_by_division")


@filters.open.pre
def by_product(ctx: Context, req: OpenIn):
    unit = ctx.tag
    if unit and unit * ctx.nodeid // unit != ctx.nodeid:
        return -E2BIG


@filters.statfs.pre
def by_limit(ctx: Context):
    unit = ctx.tag
    if unit and (2**64 - 1) // unit < ctx.nodeid:
        return -EPERM


@filters.access.pre
def of_signed(ctx: Context, req: AccessIn):
    uid = s64(ctx.uid)
    if uid and uid * s64(ctx.pid) // uid != s64(ctx.pid):
        return -ERANGE
