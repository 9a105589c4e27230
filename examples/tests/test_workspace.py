# SPDX-License-Identifier: MIT
"""Tests of workspace.py: `fusebpf test examples/workspace.py`."""

from __future__ import annotations

import pytest

from fusebpf import CONTINUE, POSTFILTER, Verdict
from fusebpf.constants import EACCES, ENOENT, EROFS
from fusebpf.testing import FilterRun


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        *((".env", -ENOENT), ("id_rsa", -ENOENT), ("id_ed25519_sk", -ENOENT)),
        *((".git", -EACCES), ("README", CONTINUE), ("id_map.py", CONTINUE)),
    ],
)
def test_secrets_and_history(filters: FilterRun, name: str, verdict: Verdict) -> None:
    assert filters.call("lookup.pre", name=name).verdict == verdict


def test_the_owner_alone_writes(filters: FilterRun) -> None:
    assert filters.call("mkdir.pre", name="new", uid=0).verdict == -EROFS
    assert filters.call("mkdir.pre", name="new", uid=1000).verdict == POSTFILTER


def test_what_was_done_is_on_record(filters: FilterRun) -> None:
    (event,) = filters.call("mkdir.post", name="new", uid=1000).events["audit"]
    assert (event.name, event.uid) == (b"new", 1000)
