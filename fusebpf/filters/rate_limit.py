# SPDX-License-Identifier: MIT
"""So many opens in a time, for each user."""

from __future__ import annotations

from dataclasses import dataclass

from fusebpf.constants import EAGAIN
from fusebpf.dsl import Context, CreateIn, FilterSet, Name, OpenIn, Verdict
from fusebpf.dsl.values import CONTINUE, Errno
from fusebpf.types import u32, u64


@dataclass
class Window:
    """When a user's time began, in ns, and the opens since."""

    start: u64
    opens: u64


def rate_limit(
    limit: int = 100, window_ms: int = 1000, *, errno: Errno = EAGAIN, name: str = "rate"
) -> FilterSet:
    """At most ``limit`` files opened or made per user in ``window_ms`` milliseconds, then
    ``errno``.

    Both are config values, ``NAME_limit`` and ``NAME_window_ms``. The last 4,096 users are known.
    A time begins with the first open after the last one, so that around its end twice as many can
    follow each other. Users are those of the initial user namespace: who has subordinate ids has
    the limit for each. mknod(2) does not count.
    """
    filters = FilterSet(name)
    most = filters.config(f"{name}_limit", u32, limit, least=1)
    length = filters.config(f"{name}_window_ms", u32, window_ms, least=1)
    windows = filters.lru_hash(f"{name}_windows", key=u32, value=Window, max_entries=4096)

    def throttle(ctx: Context) -> Verdict:
        now = ctx.ktime
        window = windows.get(ctx.uid)
        if window is None or now - window.start >= u64(length) * 1_000_000:
            windows.put(ctx.uid, Window(start=now, opens=1))
            return CONTINUE
        if window.opens >= most:
            return -errno
        windows[ctx.uid].opens += 1
        return CONTINUE

    @filters.open.pre
    def opened(ctx: Context, req: OpenIn) -> Verdict:
        return throttle(ctx)

    @filters.create.pre
    def created(ctx: Context, req: CreateIn, name: Name) -> Verdict:
        return throttle(ctx)

    return filters
