# SPDX-License-Identifier: MIT
"""Tests of uid_shift.py: `fusebpf test examples/uid_shift.py`."""

from __future__ import annotations

from fusebpf import CONTINUE, Attr, AttrOut, SetattrIn
from fusebpf.constants import EOVERFLOW, FATTR_GID, FATTR_UID
from fusebpf.testing import FilterRun


def test_owners_are_shown_higher(filters: FilterRun) -> None:
    shown = filters.call("getattr.post", out=AttrOut(attr=Attr(uid=5, gid=6)))
    assert shown.changed == {"out.attr.uid": 100005, "out.attr.gid": 100006}


def test_owners_are_stored_lower(filters: FilterRun) -> None:
    both = FATTR_UID | FATTR_GID
    stored = filters.call("setattr.pre", req=SetattrIn(valid=both, uid=100005, gid=100000))
    assert stored.verdict == CONTINUE
    assert stored.changed == {"req.uid": 5, "req.gid": 0}
    for request in (SetattrIn(valid=FATTR_UID, uid=99999), SetattrIn(valid=FATTR_GID, gid=5)):
        assert filters.call("setattr.pre", req=request).verdict == -EOVERFLOW
