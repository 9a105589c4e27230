# SPDX-License-Identifier: MIT
"""Who opens files: a counter per user id, and how many opens failed below the mount.

Read the counters with `fusebpf.mounts.open(mountpoint).maps["opens"]`.
"""

from fusebpf import CONTINUE, POSTFILTER, Context, FilterSet, OpenIn, OpenOut, Verdict
from fusebpf.types import u32, u64

filters = FilterSet("audit_opens")
opens = filters.hash("opens", key=u32, value=u64, max_entries=1024)
failed = filters.percpu_array("failed", value=u64, max_entries=1)


@filters.open.pre
def count(ctx: Context, req: OpenIn) -> Verdict:
    opens[ctx.uid] += 1
    return POSTFILTER


@filters.open.post
def count_failures(ctx: Context, req: OpenIn, out: OpenOut) -> Verdict:
    if ctx.error_in != 0:
        failed[0] += 1
    return CONTINUE
