# SPDX-License-Identifier: MIT
"""Tests of media_only.py: `fusebpf test examples/media_only.py`."""

from __future__ import annotations

import pytest

from fusebpf import CONTINUE, Verdict
from fusebpf.constants import ENOENT
from fusebpf.testing import FilterRun


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("A.JPG", CONTINUE), ("notes.txt", -ENOENT), ("2024", CONTINUE), ("..", CONTINUE)],
)
def test_pictures_and_directories_exist(filters: FilterRun, name: str, verdict: Verdict) -> None:
    assert filters.call("lookup.pre", name=name).verdict == verdict
