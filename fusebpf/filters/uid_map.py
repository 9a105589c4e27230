# SPDX-License-Identifier: MIT
"""Owners as a container sees them."""

from __future__ import annotations

from fusebpf.constants import EOVERFLOW, FATTR_GID, FATTR_UID
from fusebpf.dsl import AttrOut, Context, FilterSet, GetattrIn, SetattrIn, Verdict
from fusebpf.dsl.values import CONTINUE
from fusebpf.types import u32


def uid_map(*, offset: int = 100000, name: str = "uid") -> FilterSet:
    """Owners and groups are shown ``offset`` higher than they are below, and stored lower again.

    A change to an id that is lower than the offset gives EOVERFLOW. The offset is the config value
    ``NAME_offset``. Who may do what is decided by the ids below. Ids in ACLs are not shifted.
    """
    filters = FilterSet(name)
    shift = filters.config(f"{name}_offset", u32, offset)

    @filters.getattr.post
    def show(ctx: Context, req: GetattrIn, out: AttrOut) -> Verdict:
        out.attr.uid = out.attr.uid + shift
        out.attr.gid = out.attr.gid + shift
        return CONTINUE

    @filters.setattr.pre
    def store(ctx: Context, req: SetattrIn) -> Verdict:
        if req.valid & FATTR_UID:
            if req.uid < shift:
                return -EOVERFLOW
            req.uid = req.uid - shift
        if req.valid & FATTR_GID:
            if req.gid < shift:
                return -EOVERFLOW
            req.gid = req.gid - shift
        return CONTINUE

    return filters
