# SPDX-License-Identifier: MIT
"""Tests of hide_denied.py: `fusebpf test examples/hide_denied.py`."""

from __future__ import annotations

import pytest

from fusebpf import CONTINUE, POSTFILTER, Verdict
from fusebpf.constants import EACCES, EIO, ENOENT, EPERM
from fusebpf.testing import FilterRun


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(-EACCES, -ENOENT), (-EPERM, -ENOENT), (-EIO, CONTINUE), (0, CONTINUE)],
)
def test_what_is_denied_is_not_there(
    filters: FilterRun, error: Verdict | int, verdict: Verdict
) -> None:
    assert filters.call("lookup.pre", name="secret").verdict == POSTFILTER
    assert filters.call("lookup.post", name="secret", error_in=error).verdict == verdict
