# SPDX-License-Identifier: MIT
"""Tests of audit_opens.py: `fusebpf test examples/audit_opens.py`."""

from __future__ import annotations

from fusebpf import POSTFILTER
from fusebpf.constants import EACCES
from fusebpf.testing import FilterRun


def test_opens_are_counted_by_user(filters: FilterRun) -> None:
    for uid in (5, 6, 5):
        assert filters.call("open.pre", uid=uid).verdict == POSTFILTER
    assert dict(filters.maps["opens"]) == {5: 2, 6: 1}


def test_failures_are_counted(filters: FilterRun) -> None:
    filters.call("open.post", error_in=-EACCES)
    filters.call("open.post")
    assert filters.maps["failed"][0] == 1
