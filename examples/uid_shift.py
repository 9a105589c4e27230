# SPDX-License-Identifier: MIT
"""Owners are shown shifted by `offset`, as a container would see them; stored as they are below."""

from fusebpf import CONTINUE, POSTFILTER, AttrOut, Context, FilterSet, GetattrIn, SetattrIn, Verdict
from fusebpf.constants import FATTR_GID, FATTR_UID
from fusebpf.types import u32

filters = FilterSet("uid_shift")
offset = filters.config("offset", u32, 100000)


@filters.getattr.pre
def ask(ctx: Context, req: GetattrIn) -> Verdict:
    return POSTFILTER


@filters.getattr.post
def show(ctx: Context, req: GetattrIn, out: AttrOut) -> Verdict:
    out.attr.uid = out.attr.uid + offset
    out.attr.gid = out.attr.gid + offset
    return CONTINUE


@filters.setattr.pre
def store(ctx: Context, req: SetattrIn) -> Verdict:
    if req.valid & FATTR_UID and req.uid >= offset:
        req.uid = req.uid - offset
    if req.valid & FATTR_GID and req.gid >= offset:
        req.gid = req.gid - offset
    return CONTINUE
