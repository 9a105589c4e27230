# SPDX-License-Identifier: MIT
"""Tests of rate_limit.py: `fusebpf test examples/rate_limit.py`."""

from __future__ import annotations

from fusebpf import CONTINUE
from fusebpf.constants import EAGAIN
from fusebpf.testing import LoadFilters

SECOND = 1_000_000_000


def test_so_many_opens_a_second(load_filters: LoadFilters) -> None:
    filters = load_filters("../rate_limit.py", config={"rate_limit": 2})
    verdicts = [filters.call("open.pre", uid=5, ktime=SECOND + n).verdict for n in range(3)]
    assert verdicts == [CONTINUE, CONTINUE, -EAGAIN]
    assert filters.call("create.pre", name="new", uid=5, ktime=SECOND + 9).verdict == -EAGAIN
    assert filters.call("open.pre", uid=6, ktime=SECOND + 9).verdict == CONTINUE
    assert filters.call("open.pre", uid=5, ktime=2 * SECOND).verdict == CONTINUE
