# SPDX-License-Identifier: MIT
"""Tests of masked_env.py: `fusebpf test examples/masked_env.py`."""

from __future__ import annotations

import os

import pytest

from fusebpf import POSTFILTER, Attr, AttrOut, OpenIn
from fusebpf.constants import EACCES
from fusebpf.testing import FilterRun


@pytest.mark.parametrize(("name", "tag"), [(".env", 1), (".env.local", 1), (".envrc", 0), ("x", 0)])
def test_env_files_are_marked(filters: FilterRun, name: str, tag: int) -> None:
    assert filters.call("lookup.pre", name=name, tag=1 - tag).tag == tag


def test_nobody_writes_them(filters: FilterRun) -> None:
    writing = OpenIn(flags=os.O_WRONLY)
    assert filters.call("open.pre", req=writing, tag=1).verdict == -EACCES
    assert filters.call("open.pre", tag=1).verdict == POSTFILTER
    assert filters.call("open.pre", req=writing).verdict == POSTFILTER


def test_they_read_empty(filters: FilterRun) -> None:
    assert filters.call("open.post", tag=1).changed == {"out.open_flags": 1 << 31}
    assert filters.call("open.post").changed == {}
    below = AttrOut(attr=Attr(size=9, blocks=1))
    for tag, size in ((1, 0), (0, 9)):
        assert filters.call("getattr.post", out=below, tag=tag).arguments["out"].attr.size == size
