# SPDX-License-Identifier: MIT
"""Tests of fault_injection.py: `fusebpf test examples/fault_injection.py`."""

from __future__ import annotations

from fusebpf import CONTINUE
from fusebpf.constants import EIO, ENOSPC
from fusebpf.testing import FilterRun, LoadFilters


def test_every_hundredth_operation_fails(filters: FilterRun) -> None:
    filters.maps["fault_calls"][0] = 98
    verdicts = [filters.call(f"{op}.pre").verdict for op in ("read_iter", "write_iter", "fsync")]
    assert verdicts == [CONTINUE, -EIO, CONTINUE]


def test_how_often_and_how_is_chosen_at_attach(load_filters: LoadFilters) -> None:
    config = {"fault_every": 3, "fault_errno": ENOSPC.value}
    filters = load_filters("../fault_injection.py", config=config)
    verdicts = [filters.call("fsync.pre").verdict for _ in range(4)]
    assert verdicts == [CONTINUE, CONTINUE, -ENOSPC, CONTINUE]
