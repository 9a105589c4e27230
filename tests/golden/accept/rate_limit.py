# SPDX-License-Identifier: MIT
"""At most LIMIT opens per user and second."""
from fusebpf import Context, FilterSet, OpenIn
from fusebpf.constants import EAGAIN, ENOSPC
from fusebpf.types import u32, u64

SECOND = 1_000_000_000
LIMIT = 100

filters = FilterSet("rate")
began = filters.hash("began", key=u32, value=u64, max_entries=1024)
used = filters.hash("used", key=u32, value=u64, max_entries=1024)


@filters.open.pre
def limit(ctx: Context, req: OpenIn):
    now = ctx.ktime
    start = began.get(ctx.uid)
    if start is None or now - start >= SECOND:
        if not began.put(ctx.uid, now):
            return -ENOSPC
        used.put(ctx.uid, 1)
        return
    if (count := used.get(ctx.uid)) is not None and count >= LIMIT:
        return -EAGAIN
    used[ctx.uid] += 1
