# SPDX-License-Identifier: MIT
"""No file grows beyond a size that user space sets; large writes are counted by power of two."""
from fusebpf import Context, FallocateIn, FilterSet, SetattrIn, WriteIn
from fusebpf.constants import EFBIG, FATTR_SIZE
from fusebpf.types import u64

filters = FilterSet("quota")
limit = filters.array("limit", value=u64, max_entries=1)
sizes = filters.percpu_array("sizes", value=u64, max_entries=33)


def log2(n: u64) -> int:
    bits = 0
    for i in range(32):
        if n >> i:
            bits = i + 1
    return bits


@filters.write_iter.pre
def write(ctx: Context, req: WriteIn):
    bits = log2(req.size)
    if 0 <= bits <= 32:
        sizes[bits] += 1
    if req.offset > limit[0] or req.size > limit[0] - req.offset:
        return -EFBIG


@filters.file_fallocate.pre
def fallocate(ctx: Context, req: FallocateIn):
    end = req.offset + req.length
    if end < req.offset or end > limit[0]:
        return -EFBIG


@filters.setattr.pre
def truncate(ctx: Context, req: SetattrIn):
    if req.valid & FATTR_SIZE and req.size > limit[0]:
        return -EFBIG
