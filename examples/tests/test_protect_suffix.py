# SPDX-License-Identifier: MIT
"""Tests of protect_suffix.py: `fusebpf test examples/protect_suffix.py`."""

from __future__ import annotations

import os

import pytest

from fusebpf import CONTINUE, OpenIn, SetattrIn
from fusebpf.constants import EACCES, EROFS, FATTR_MODE, FATTR_SIZE
from fusebpf.testing import FilterRun, LoadFilters

NAMES = [
    *(("app.DB", 1), ("x.journal", 1), ("app.txt", 0), ("db", 0)),
    *(("app.db-journal", 1), ("app.db-wal", 1), ("x.SQLITE3-shm", 1), ("wal", 0)),
]


@pytest.mark.parametrize(("name", "protected"), NAMES)
def test_only_root_makes_or_moves_or_removes_a_database(
    filters: FilterRun, name: str, protected: int
) -> None:
    assert filters.call("lookup.pre", name=name, tag=1 - protected).tag == protected
    for uid, verdict in ((1000, -EACCES if protected else CONTINUE), (0, CONTINUE)):
        for op in ("create_open", "mknod", "symlink", "link", "unlink"):
            assert filters.call(f"{op}.pre", name=name, uid=uid).verdict == verdict
        for old, new in (("a", name), (name, "a")):
            assert filters.call("rename.pre", old=old, new=new, uid=uid).verdict == verdict


def test_nobody_else_gives_one_another_name(filters: FilterRun) -> None:
    for tag, uid, verdict in ((1, 1000, -EACCES), (1, 0, CONTINUE), (0, 1000, CONTINUE)):
        assert filters.call("link.pre", name="x", uid=uid, tag=tag).verdict == verdict


@pytest.mark.parametrize(
    ("flags", "writes"), [(os.O_RDWR, True), (os.O_APPEND, False), (os.O_TRUNC, True)]
)
def test_nobody_else_opens_one_for_writing(filters: FilterRun, flags: int, writes: bool) -> None:
    request = OpenIn(flags=flags)
    verdict = -EACCES if writes else CONTINUE
    assert filters.call("open.pre", req=request, uid=1000, tag=1).verdict == verdict
    assert filters.call("open.pre", req=request, uid=1000).verdict == CONTINUE


@pytest.mark.parametrize("valid", [FATTR_SIZE, FATTR_SIZE | FATTR_MODE])
def test_nobody_else_changes_its_attributes(filters: FilterRun, valid: int) -> None:
    request = SetattrIn(valid=valid)
    for tag, uid, verdict in ((1, 1000, -EACCES), (1, 0, CONTINUE), (0, 1000, CONTINUE)):
        assert filters.call("setattr.pre", req=request, uid=uid, tag=tag).verdict == verdict


def test_the_errno_is_chosen_at_attach(load_filters: LoadFilters) -> None:
    filters = load_filters("../protect_suffix.py", config={"erofs": True})
    assert filters.call("unlink.pre", name="app.db", uid=1000).verdict == -EROFS
