# SPDX-License-Identifier: MIT
"""Maps and events of a set, opened together."""

from __future__ import annotations

import os

import pytest

from fusebpf.abi.record import Record
from fusebpf.build.metadata import EVENTS, MapMeta
from fusebpf.runtime.tables import open_tables


@pytest.mark.parametrize(
    "broken",
    [
        MapMeta("ring", EVENTS, "u32", Record.make("R", [("a", "u8")]).text, 4096),
        MapMeta("counts", "hash", "unknown", "u64", 8),
    ],
)
def test_tables_that_cannot_be_opened_leave_nothing_open(broken: MapMeta) -> None:
    good = MapMeta("good", "hash", "u32", "u64", 8)
    given: list[int] = []

    def descriptor(_name: str) -> int:
        given.append(os.open(os.devnull, os.O_RDWR))  # which cannot be mapped
        return given[-1]

    with pytest.raises((OSError, ValueError)):
        open_tables((good, broken), descriptor)
    assert len(given) == 2
    for fd in given:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
