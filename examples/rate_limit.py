# SPDX-License-Identifier: MIT
"""At most `limit` opens per user in a window of `window_ms`: EAGAIN above."""

from dataclasses import dataclass

from fusebpf import Context, FilterSet, OpenIn, Verdict
from fusebpf.constants import EAGAIN
from fusebpf.types import u32, u64

filters = FilterSet("rate_limit")
limit = filters.config("limit", u32, 100, least=1)
window_ms = filters.config("window_ms", u32, 1000, least=1)


@dataclass
class Window:
    start: u64
    opens: u64


windows = filters.lru_hash("windows", key=u32, value=Window, max_entries=4096)


@filters.open.pre
def throttle(ctx: Context, req: OpenIn) -> Verdict | None:
    now = ctx.ktime
    window = windows.get(ctx.uid)
    if window is None or now - window.start >= u64(window_ms) * 1_000_000:
        windows.put(ctx.uid, Window(start=now, opens=1))
        return None
    if window.opens >= limit:
        return -EAGAIN
    windows[ctx.uid].opens += 1
    return None
