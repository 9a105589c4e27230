# SPDX-License-Identifier: MIT
"""Each user writes at most `limit` bytes: EDQUOT above, and df shows what is left.

`mount.maps["written"][UID] = 0` begins anew. What is written counts, not by how much files grow:
rewriting a file in place uses up quota, removing one gives none back, and space that fallocate(2)
reserves counts when it is written. A write filter is not told the size of the file, nor where its
end is with O_APPEND; to keep sizes in a map takes filters of all that changes them.

Not counted is what is written through a shared mapping, which no filter sees. Writes that run at
the same time are all measured by what was written before them, and may pass the limit together.
Users that there is no room for in the map write nothing.
"""

from fusebpf import POSTFILTER, Context, FilterSet, StatfsOut, Verdict, WriteIn, WriteIterOut
from fusebpf.constants import EDQUOT
from fusebpf.types import s64, u32, u64

filters = FilterSet("quota")
limit = filters.config("limit", u64, 1 << 30)
written = filters.hash("written", key=u32, value=u64, max_entries=4096)


@filters.write_iter.pre
def write(ctx: Context, req: WriteIn) -> Verdict:
    written[ctx.uid] += 0  # takes a place for the user
    room = ctx.uid in written and written.get(ctx.uid, 0) + req.size <= limit
    return POSTFILTER if room else -EDQUOT


@filters.write_iter.post
def count(ctx: Context, req: WriteIn, out: WriteIterOut) -> None:
    if ctx.error_in == 0:
        written[ctx.uid] += out.ret


@filters.statfs.post
def left(ctx: Context, out: StatfsOut) -> None:
    if out.st.frsize > 0:
        unused = max(s64(limit) - s64(written.get(ctx.uid, 0)), 0)
        out.st.blocks = limit // out.st.frsize
        out.st.bfree = out.st.bavail = unused // out.st.frsize
