# SPDX-License-Identifier: MIT
"""Tests of own_files.py: `fusebpf test examples/own_files.py`."""

from __future__ import annotations

import pytest

from fusebpf import CONTINUE, Verdict
from fusebpf.constants import ENOENT
from fusebpf.testing import FilterRun


@pytest.mark.parametrize(
    ("uid", "name", "verdict"),
    [
        (5, "anna", CONTINUE),
        (6, "anna", -ENOENT),
        (0, "anna", CONTINUE),
        (6, "no owner", CONTINUE),
    ],
)
def test_an_entry_is_its_owners(filters: FilterRun, uid: int, name: str, verdict: Verdict) -> None:
    filters.maps["owners"][("anna",)] = 5
    assert filters.call("lookup.pre", name=name, uid=uid).verdict == verdict
