# SPDX-License-Identifier: MIT
"""Tests of audit_events.py: `fusebpf test examples/audit_events.py`."""

from __future__ import annotations

from fusebpf.constants import ENOSPC
from fusebpf.testing import FilterRun


def test_a_failed_creation_is_on_record(filters: FilterRun) -> None:
    result = filters.call("create.post", name="new", uid=5, pid=77, ktime=9, error_in=-ENOSPC)
    (event,) = result.events["audit"]
    assert (event.name, event.uid, event.pid, event.when) == (b"new", 5, 77, 9)
    assert event.error == -ENOSPC.value


def test_a_rename_makes_two_events(filters: FilterRun) -> None:
    sent = filters.call("rename.post", old="a", new="b").events["audit"]
    assert [(event.name, event.new) for event in sent] == [(b"a", 0), (b"b", 1)]
