# SPDX-License-Identifier: MIT
"""Readers that go on over replacements: their rings are real, what the kernel says of mounts not.

tests/vm/test_watch.py has the mounts.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fusebpf.build.metadata import MapMeta
from fusebpf.errors import FusebpfError
from fusebpf.runtime import following, mountinfo, mounts, state
from fusebpf.runtime.events import EventStream, EventStreams
from fusebpf.runtime.following import Follower

SIZE = 4096
META = MapMeta(name="seen", kind="events", key="", value="Seen{pid:u64}", max_entries=SIZE)


class Filters:
    """Filters in force: the id of their struct_ops map, and a ring with events of these pids."""

    def __init__(self, ops: int, *pids: int) -> None:
        self.ops = ops
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * mmap.PAGESIZE + 2 * SIZE)
        os.pwrite(self.fd, struct.pack("=Q", 16 * len(pids)), mmap.PAGESIZE)
        records = b"".join(struct.pack("=IIQ", 8, 0, pid) for pid in pids)
        os.pwrite(self.fd, records, 2 * mmap.PAGESIZE)

    def opened(self) -> Any:
        streams = EventStreams({"seen": EventStream(os.dup(self.fd), META, None, 0)})
        return SimpleNamespace(link_id=7, events=streams, close=streams.close)


class Kernel:
    """One mount. `failures` are what the next openings of its filters raise."""

    def __init__(self, filters: Filters) -> None:
        self.filters = filters
        self.mounted = True
        self.failures: list[Exception] = []

    def open(self, _mountpoint: object) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        return self.filters.opened()

    def ops_map_id(self, _which: object) -> int:
        if not self.mounted:
            raise FileNotFoundError
        return self.filters.ops

    def entries(self) -> list[Any]:
        return [SimpleNamespace(link_id=7)] * self.mounted


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    first = Filters(1, 10, 11, 10, 12)
    made = Kernel(first)
    monkeypatch.setattr(mounts, "open", made.open)
    monkeypatch.setattr(mounts, "ops_map_id", made.ops_map_id)
    monkeypatch.setattr(state, "ops_map_id", made.ops_map_id)
    monkeypatch.setattr(mountinfo, "entries", made.entries)
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(following, "wait", lambda _streams, _seconds: False)  # no ring to poll(2)
    yield made
    for filters in {first, made.filters}:
        os.close(filters.fd)


def pids(found: list[tuple[str, Any]]) -> list[int]:
    return [event.pid for _kind, event in found]


def test_what_is_not_wanted_is_not_counted(kernel: Kernel) -> None:
    with Follower("/mnt", wanted=lambda event: event.pid != 10) as follower:
        assert pids(follower.read(1)) == [11]
        assert pids(follower.read(1)) == [12], "none was taken for nothing"


def test_a_limit_is_of_what_is_wanted(kernel: Kernel) -> None:
    with Follower("/mnt", wanted=lambda event: event.pid != 10) as follower:
        assert [pid for batch in follower.follow(limit=2) for pid in pids(batch)] == [11, 12]


@pytest.mark.parametrize(
    "failure", [mounts.gone("/mnt"), OSError(24, "too many open files"), FusebpfError("no")]
)
def test_filters_that_cannot_be_opened_are_at_the_next_look(
    kernel: Kernel, failure: Exception
) -> None:
    """They were replaced once more meanwhile, or so: the mount is there."""
    with Follower("/mnt") as follower:
        told = follower.follow()
        assert pids(next(told)) == [10, 11, 10, 12]
        kernel.filters = Filters(2, 20)
        kernel.failures = [failure, failure]
        assert pids(next(told)) == [20]
        kernel.mounted = False
        assert list(told) == []
    assert kernel.failures == []


def gone_until(kernel: Kernel, ops: int) -> Callable[[], int]:
    """Read what goes with the filters; the first time they are replaced meanwhile."""

    def read() -> int:
        if kernel.filters.ops != ops:
            kernel.filters.ops = ops
            raise FileNotFoundError
        return ops

    return read


def test_what_is_replaced_meanwhile_is_read_again(kernel: Kernel) -> None:
    assert state.settled(7, gone_until(kernel, 2)) == 2


def test_what_is_gone_is_gone(kernel: Kernel) -> None:
    reads: list[None] = []

    def read() -> None:
        reads.append(None)
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        state.settled(7, read)
    assert len(reads) == 1
