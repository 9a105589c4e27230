# SPDX-License-Identifier: MIT
"""A replaced buffer was given only as much memory as its new bytes need, and any place was read."""

from fusebpf import Buffer, Context, FilterSet, GetxattrIn, GetxattrOut, Name, SetxattrIn
from fusebpf.constants import EPERM, ERANGE
from fusebpf.types import s64

filters = FilterSet("replaced_then_read")
PLACE = filters.config("PLACE", s64, 3)


@filters.getxattr.post
def buffer(ctx: Context, req: GetxattrIn, name: Name, value: Buffer, done: GetxattrOut):
    value[:] = "hidden"
    if value[:4][s64(req.size)] == 100 or value[PLACE] != 100:
        return -ERANGE


@filters.setxattr.pre
def changed(ctx: Context, req: SetxattrIn, name: Name, value: Buffer):
    name[:] = "user.other"
    value[:] = "nothing"
    if name[PLACE] == 114 and value[s64(req.setxattr_flags)] == 110:
        return -EPERM
