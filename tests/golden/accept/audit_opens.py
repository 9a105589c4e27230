# SPDX-License-Identifier: MIT
"""Count opens per user, and how many of them were for writing."""
from fusebpf import Context, FilterSet, OpenIn
from fusebpf.constants import O_ACCMODE, O_RDONLY
from fusebpf.types import u32, u64

filters = FilterSet("audit")
opens = filters.percpu_hash("opens", key=u32, value=u64, max_entries=4096)
kinds = filters.percpu_array("kinds", value=u64, max_entries=4)


@filters.open.pre
def count(ctx: Context, req: OpenIn) -> None:
    opens[ctx.uid] += 1
    kinds[req.flags & O_ACCMODE] += 1
    if req.flags & O_ACCMODE != O_RDONLY:
        kinds[3] += 1
