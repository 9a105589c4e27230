# SPDX-License-Identifier: MIT
"""Nothing can be opened for writing or created: EROFS, as on a read-only file system."""

from fusebpf import CONTINUE, Context, CreateIn, FilterSet, Name, OpenIn, Verdict
from fusebpf.constants import EROFS, O_ACCMODE, O_RDONLY, O_TRUNC

filters = FilterSet("read_only")


@filters.open.pre
def no_writing(ctx: Context, req: OpenIn) -> Verdict:
    if req.flags & O_ACCMODE != O_RDONLY or req.flags & O_TRUNC:
        return -EROFS
    return CONTINUE


@filters.create.pre
def no_new_files(ctx: Context, req: CreateIn, name: Name) -> Verdict:
    return -EROFS
