# SPDX-License-Identifier: MIT
"""Tests of as_text.py: `fusebpf test examples/as_text.py`."""

from __future__ import annotations

import pytest

from fusebpf.constants import EPERM
from fusebpf.testing import FilterRun


@pytest.mark.parametrize(
    ("name", "below"), [("a.txt", b"a.mdx"), ("a.mdx", b"a.txt.hidden"), ("a.md", b"a.md")]
)
def test_a_name_is_found_by_its_other_suffix(filters: FilterRun, name: str, below: bytes) -> None:
    assert filters.call("lookup.pre", name=name).arguments["name"] == below


def test_listings_show_the_other_suffix(filters: FilterRun) -> None:
    listed = filters.call("readdir.post", entries=["a.mdx", "b.txt", "dir"])
    assert listed.names == (b"a.txt", b"dir")


def test_neither_is_made(filters: FilterRun) -> None:
    assert filters.call("mkdir.pre", name="new.txt").verdict == -EPERM
