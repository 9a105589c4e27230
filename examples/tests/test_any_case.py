# SPDX-License-Identifier: MIT
"""Tests of any_case.py: `fusebpf test examples/any_case.py`."""

from __future__ import annotations

from fusebpf import CONTINUE
from fusebpf.constants import EPERM
from fusebpf.testing import FilterRun


def test_names_are_found_however_they_are_written(filters: FilterRun) -> None:
    # ASCII letters are folded, others are not.
    result = filters.call("lookup.pre", name="ReadMÉ")
    assert result.arguments["name"] == "readmÉ".encode()


def test_a_capital_letter_below_is_out_of_reach(filters: FilterRun) -> None:
    assert filters.call("readdir.post", entries=["a", "aB", "Z"]).names == (b"a",)


def test_no_name_with_a_capital_letter_is_made(filters: FilterRun) -> None:
    assert filters.call("mkdir.pre", name="new").verdict == CONTINUE
    assert filters.call("mkdir.pre", name="New").verdict == -EPERM
