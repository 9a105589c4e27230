# SPDX-License-Identifier: MIT
"""Tests of generated_files.py: `fusebpf test examples/generated_files.py`."""

from __future__ import annotations

from fusebpf import CONTINUE, USER, USER_POSTFILTER, ReadIn
from fusebpf.testing import FilterRun


def test_two_names_of_the_top_directory_are_the_daemons(filters: FilterRun) -> None:
    for name, nodeid, verdict in (
        ("now", 1, USER),
        ("reads", 1, USER),
        ("now", 5, CONTINUE),
        ("other", 1, CONTINUE),
    ):
        assert filters.call("lookup.pre", name=name, nodeid=nodeid).verdict == verdict


def test_the_first_page_of_the_top_directory_leaves_room(filters: FilterRun) -> None:
    result = filters.call("readdir.pre", req=ReadIn(size=4096), nodeid=1)
    assert result.verdict == USER_POSTFILTER
    assert result.changed == {"req.size": 3072}
    second = ReadIn(size=4096, offset=7)
    assert filters.call("readdir.pre", req=second, nodeid=1).verdict == CONTINUE
    assert filters.call("readdir.pre", req=ReadIn(size=4096)).verdict == CONTINUE
