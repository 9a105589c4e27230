# SPDX-License-Identifier: MIT
# A choice of literals that only u64 holds was taken for s64, and refused.
from fusebpf import Context, FilterSet, OpenIn, refuse
from fusebpf.types import u64

filters = FilterSet("large_literals")
seen = filters.array("seen", value=u64, max_entries=2)


@filters.open.pre
def chosen(ctx: Context, req: OpenIn):
    big = 2**63 if ctx.uid > 5 else 2**64 - 1
    seen[0] = big
    seen[1] = big // 3
    if big > 2**63 and req.flags:
        return refuse(1)
