# SPDX-License-Identifier: MIT
# The warning that a test is always true, in an operand of `and`, took the statement away.
from fusebpf import Context, FilterSet, OpenIn, refuse
from fusebpf.types import s64, u32, u64

filters = FilterSet("warning_in_an_operand")
seen = filters.array("seen", value=u64, max_entries=2)


def asked(uid: u64, gid: u32) -> bool:
    return (uid > 5 and gid < (7 if s64(gid) != s64(-7) else 9)) == (uid < 1000)


@filters.open.pre
def chosen(ctx: Context, req: OpenIn):
    seen[0] = ctx.uid and (3 if s64(ctx.gid) != s64(-7) else 4)
    if asked(ctx.uid, ctx.gid):
        return refuse(1)
