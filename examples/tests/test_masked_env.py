# SPDX-License-Identifier: MIT
"""Tests of masked_env.py: `fusebpf test examples/masked_env.py`."""

from __future__ import annotations

import os

import pytest

from fusebpf import CONTINUE, POSTFILTER, Attr, AttrOut, EntryOut, OpenIn
from fusebpf.constants import EACCES, EPERM
from fusebpf.testing import FilterRun


@pytest.mark.parametrize(("name", "tag"), [(".env", 1), (".env.local", 1), (".envrc", 0), ("x", 0)])
def test_env_files_are_marked(filters: FilterRun, name: str, tag: int) -> None:
    for mode, marked in ((0o100644, tag), (0o040755, 0)):
        found = EntryOut(attr=Attr(mode=mode))
        assert filters.call("lookup.post", name=name, out=found, tag=1 - tag).tag == marked


def test_they_keep_their_names_and_no_other_file_gets_one(filters: FilterRun) -> None:
    for name, verdict in ((".env", -EPERM), (".env.local", -EPERM), (".envrc", CONTINUE)):
        for op in ("create_open", "symlink", "link", "unlink"):
            assert filters.call(f"{op}.pre", name=name).verdict == verdict
        for old, new in (("x", name), (name, "x")):
            assert filters.call("rename.pre", old=old, new=new).verdict == verdict
    assert filters.call("link.pre", name="x", tag=1).verdict == -EPERM


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
