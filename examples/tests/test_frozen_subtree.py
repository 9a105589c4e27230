# SPDX-License-Identifier: MIT
"""Tests of frozen_subtree.py: `fusebpf test examples/frozen_subtree.py`."""

from __future__ import annotations

import os

import pytest

from fusebpf import CONTINUE, OpenIn
from fusebpf.constants import EROFS
from fusebpf.testing import FilterRun


def test_what_is_in_a_frozen_directory_has_its_tag(filters: FilterRun) -> None:
    assert filters.call("lookup.pre", name="vendor").tag == 1
    # What is looked up in a directory has its tag where none is set.
    assert filters.call("lookup.pre", name="x", tag=1).tag is None


@pytest.mark.parametrize(
    "op", ["create_open", "mkdir", "symlink", "unlink", "link", "setattr", "removexattr"]
)
def test_others_than_root_change_nothing_there(filters: FilterRun, op: str) -> None:
    for tag, uid, verdict in ((0, 5, CONTINUE), (1, 5, -EROFS), (1, 0, CONTINUE)):
        assert filters.call(f"{op}.pre", tag=tag, uid=uid).verdict == verdict


def test_nothing_comes_in_and_contents_may_be_copied_out(filters: FilterRun) -> None:
    assert filters.call("link.pre", tag2=1, uid=5).verdict == -EROFS
    # To copy to a file, one opens it for writing.
    assert filters.call("open.pre", req=OpenIn(flags=os.O_WRONLY), tag=1, uid=5).verdict == -EROFS
    assert filters.call("copy_file_range.pre", tag=1, uid=5).verdict == CONTINUE


def test_a_link_of_such_a_name_is_not_replaced(filters: FilterRun) -> None:
    for op in ("unlink", "rmdir"):
        assert filters.call(f"{op}.pre", name=".git", uid=5).verdict == -EROFS


@pytest.mark.parametrize(
    ("tag2", "old", "new", "frozen"),
    [(1, "a", "b", True), (0, ".git", "b", True), (0, "a", ".git", True), (0, "a", "b", False)],
)
def test_moves(filters: FilterRun, tag2: int, old: str, new: str, frozen: bool) -> None:
    moved = filters.call("rename.pre", old=old, new=new, tag2=tag2, uid=5)
    assert moved.verdict == (-EROFS if frozen else CONTINUE)
