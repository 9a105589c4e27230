# SPDX-License-Identifier: MIT
"""Records and events as user space sees them, of filters that ran in this kernel."""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fusebpf.abi.record import Record
from fusebpf.build import BuiltObject, build_file
from fusebpf.errors import FusebpfError
from fusebpf.runtime import ringbuf, sysbpf
from fusebpf.runtime.events import EventStreams
from fusebpf.runtime.libbpf import Object
from fusebpf.runtime.load import open_standin
from fusebpf.runtime.maps import Maps
from fusebpf.runtime.tables import open_tables

SOURCE = """
from dataclasses import dataclass
from fusebpf import *
from fusebpf.types import bytes16, s32, u32, u64
filters = FilterSet("told")

@dataclass
class Who:
    uid: u32
    name: bytes16

@dataclass
class Use:
    made: u64
    seen: s32

@dataclass
class Opened:
    seen: s32
    count: u64
    text: bytes16

uses = filters.hash("uses", key=Who, value=Use, max_entries=8)
totals = filters.percpu_array("totals", value=Use, max_entries=2)
quiet = filters.events("quiet", Who, size=4096)
opened = filters.events("opened", Opened, size=4096)

@filters.open.pre
def note(ctx: Context, req: OpenIn):
    uses[Who(7, "seven")].made += 2
    totals[1].seen -= 3
    opened.emit(Opened(seen=-1, count=5, text="opened"))
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="loading BPF programs needs root (CAP_BPF)"
)


@pytest.fixture
def built(tmp_path: Path) -> BuiltObject:
    path = tmp_path / "told.py"
    path.write_text(SOURCE)
    return build_file(path)


@pytest.fixture
def loaded(built: BuiltObject) -> Iterator[Object]:
    with open_standin(built.data) as opened:
        opened.load()
        yield opened


@pytest.fixture
def tables(built: BuiltObject, loaded: Object) -> Iterator[tuple[Maps, EventStreams]]:
    def descriptor(name: str) -> int | None:
        return os.dup(loaded.maps[name].fd) if name in loaded.maps else None

    maps, events = open_tables(built.metadata.maps, descriptor)
    yield maps, events
    maps.close()
    events.close()


def run(loaded: Object) -> None:
    sysbpf.Runner(loaded.programs["note_standin"].fd, bytes(8))()


def test_records_are_dataclasses_in_maps(loaded: Object, tables: tuple[Maps, EventStreams]) -> None:
    maps, _ = tables
    run(loaded)
    run(loaded)
    ((key, use),) = maps["uses"].items()
    assert (key.uid, key.name, use.made, use.seen) == (7, b"seven", 4, 0)
    assert maps["uses"][7, "seven"] == use
    assert key in maps["uses"]
    assert (8, b"x") not in maps["uses"]
    maps["uses"][8, "x"] = (1, -2)
    assert maps["uses"][8, b"x"].seen == -2
    del maps["uses"][key]
    assert [k.uid for k in maps["uses"]] == [8]
    assert maps["totals"][1].seen == -6  # the sum over the CPUs
    assert sum(value.seen for value in maps["totals"].per_cpu[1]) == -6


def test_events_come_in_order_and_once(loaded: Object, tables: tuple[Maps, EventStreams]) -> None:
    _, events = tables
    assert set(events) == {"quiet", "opened"}
    assert events["opened"].read() == []
    run(loaded)
    run(loaded)
    found = events["opened"].read()
    assert [(e.seen, e.count, e.text) for e in found] == [(-1, 5, b"opened")] * 2
    assert events["opened"].read() == []
    assert events["quiet"].read(timeout=0.01) == []


def test_a_reader_is_woken(loaded: Object, tables: tuple[Maps, EventStreams]) -> None:
    _, events = tables
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.extend(events["opened"].read(timeout=30)))
    reader.start()
    run(loaded)
    reader.join(30)
    assert len(found) == 1


def test_a_wait_may_be_long(loaded: Object, tables: tuple[Maps, EventStreams]) -> None:
    run(loaded)
    assert ringbuf.wait([tables[1]["opened"].ring()], 1e9)


def test_a_reader_that_is_woken_for_nothing_waits_on(
    loaded: Object, tables: tuple[Maps, EventStreams], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = tables[1]["opened"]
    waits: list[float | None] = []

    def wait(_rings: object, seconds: float | None) -> bool:
        waits.append(seconds)
        if len(waits) == 3:
            run(loaded)
        return True

    monkeypatch.setattr(ringbuf, "wait", wait)
    assert len(stream.read(timeout=None)) == 1
    assert waits == [None] * 3
    assert stream.read() == stream.read(timeout=None, limit=0) == []
    assert len(waits) == 3


def test_a_full_ring_counts_what_it_drops(
    loaded: Object, tables: tuple[Maps, EventStreams]
) -> None:
    _, events = tables
    for _ in range(200):
        run(loaded)
    kept = len(events["opened"].read())
    assert 0 < kept < 200
    assert events["opened"].dropped == 200 - kept
    assert events["quiet"].dropped == 0


def test_the_place_of_the_reader_only_grows() -> None:
    """A program that makes a record meanwhile takes it for how much room there is."""
    size, records = 1 << 20, (1 << 20) // 16
    fd = os.memfd_create("ring")
    ours, theirs = os.pipe()
    try:
        os.ftruncate(fd, 2 * mmap.PAGESIZE + 2 * size)
        os.pwrite(fd, struct.pack("=Q", size), 0)
        os.pwrite(fd, struct.pack("=Q", 2 * size), mmap.PAGESIZE)
        os.pwrite(fd, struct.pack("=IIQ", 8, 0, 5) * records, 2 * mmap.PAGESIZE)
        pid = os.fork()
        if pid == 0:
            try:
                with mmap.mmap(fd, mmap.PAGESIZE) as page, memoryview(page).cast("Q") as places:
                    os.write(theirs, b"r")
                    while size <= (at := places[0]) < 2 * size:
                        pass
                    os._exit(at != 2 * size)
            finally:
                os._exit(2)
        assert os.read(ours, 1) == b"r"
        ring = ringbuf.Ring(fd, size)
        assert len(ring.read()) == records
        ring.close()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        for each in (fd, ours, theirs):
            os.close(each)


class _Overtaken(mmap.mmap):
    """A ring of which another reader takes two records while the first is copied."""

    consumed: memoryview | None = None

    def __getitem__(self, part: Any) -> Any:
        found = super().__getitem__(part)
        if self.consumed is not None:
            self.consumed[0], self.consumed = 32, None
        return found


def test_a_reader_that_was_overtaken_goes_on_behind_the_other() -> None:
    size = 4096
    fd = os.memfd_create("ring")
    try:
        os.ftruncate(fd, 2 * mmap.PAGESIZE + 2 * size)
        os.pwrite(fd, struct.pack("=Q", 48), mmap.PAGESIZE)
        records = b"".join(struct.pack("=IIQ", 8, 0, number) for number in range(3))
        os.pwrite(fd, records, 2 * mmap.PAGESIZE)
        ring = ringbuf.Ring(fd, size)
        ring._rest.close()
        ring._rest = rest = _Overtaken(fd, mmap.PAGESIZE + 2 * size, offset=mmap.PAGESIZE)
        rest.consumed = ring._consumed
        assert ring.read() == [struct.pack("=Q", 2)]
        assert ring._consumed[0] == 48
        ring.close()
    finally:
        os.close(fd)


def test_closed_events_say_so(tables: tuple[Maps, EventStreams]) -> None:
    _, events = tables
    events["opened"].close()
    with pytest.raises(FusebpfError, match="events opened are closed"):
        events["opened"].read()
    with pytest.raises(KeyError, match="events of this set: quiet, opened"):
        events["closed"]


def test_a_record_is_laid_out_as_in_c() -> None:
    record = Record.make("R", [("a", "u8"), ("b", "u64"), ("c", "bytes16"), ("d", "s16")])
    assert [m.offset for m in record.members] == [0, 8, 16, 32]
    assert record.size == 40
    assert Record.parse(record.text) == record
    assert record.unpack(record.pack([300, 5, b"x" * 20, -2])) == (44, 5, b"x" * 16, -2)
