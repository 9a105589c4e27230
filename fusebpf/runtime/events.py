# SPDX-License-Identifier: MIT
"""Events of a loaded set, decoded: `mount.events["opened"].read()`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fusebpf.abi.record import Record
from fusebpf.build.metadata import MapMeta
from fusebpf.errors import FusebpfError
from fusebpf.runtime import ringbuf
from fusebpf.runtime.maps import MapView, record_class


class EventStream:
    """Events of one kind: instances of a dataclass like the declared one.

    Each is given to one reader, but for those that two come to at the same moment. Bytes come
    without the zeros at their end.
    """

    def __init__(self, fd: int, meta: MapMeta, drops: MapView | None, index: int) -> None:
        """Take over `fd`, which `close` closes; `drops` stays the caller's."""
        self.meta = meta
        record = Record.parse(meta.value)
        assert record is not None
        self._record = record
        self._drops = drops
        self._index = index
        self._fd = fd
        self._ring: ringbuf.Ring | None = ringbuf.Ring(fd, meta.max_entries)

    @property
    def dropped(self) -> int:
        """How many events were lost, as the ring was full."""
        return 0 if self._drops is None else int(self._drops[self._index])

    def read(self, timeout: float | None = 0, limit: int | None = None) -> list[Any]:
        """Events since the last call, oldest first; of more than `limit` the rest stays.

        When there are none, wait for one up to `timeout` seconds (None: as long as it takes).
        """
        ring = self.ring()
        make = record_class(self.meta.value)
        found = ring.read(limit)
        end = None if timeout is None else time.monotonic() + timeout
        # One wait may not do: what woke this is not complete yet, or another reader took it.
        while not found and limit != 0 and (end is None or time.monotonic() < end):
            ringbuf.wait([ring], None if end is None else max(0.0, end - time.monotonic()))
            found = ring.read(limit)
        return [make(*self._record.unpack(raw)) for raw in found]

    def follow(self, seconds: float | None = None) -> Iterator[Any]:
        """Events as they come, for `seconds` (None: for ever)."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or end > time.monotonic():
            yield from self.read(None if end is None else max(0.0, end - time.monotonic()))

    def ring(self) -> ringbuf.Ring:
        """The ring they come through. Raises FusebpfError when this is closed."""
        if self._ring is None:
            raise FusebpfError(
                f"events {self.meta.name} are closed",
                "read them inside the `with`, or open the mount again: fusebpf.mounts.open(MNT)",
            )
        return self._ring

    def close(self) -> None:
        """Give the descriptor back; later events stay in the ring."""
        if self._ring is not None:
            self._ring.close()
            os.close(self._fd)
            self._ring = None


class EventStreams(Mapping[str, EventStream]):
    """The kinds of events of a set by name; closes them all."""

    def __init__(self, streams: Mapping[str, EventStream], drops: MapView | None = None) -> None:
        self._streams = dict(streams)
        self._drops = drops

    def __getitem__(self, name: str) -> EventStream:
        try:
            return self._streams[name]
        except KeyError:
            known = ", ".join(self._streams) or "none"
            raise KeyError(f"no events {name!r} (events of this set: {known})") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def counter_id(self) -> int:
        """Id of the map that counts lost events, 0 without one: the same where it was kept."""
        return 0 if self._drops is None else self._drops.id

    def close(self) -> None:
        """Give every descriptor back."""
        for stream in self._streams.values():
            stream.close()
        if self._drops is not None:
            self._drops.close()


def wait(streams: Iterable[EventStream], seconds: float) -> bool:
    """Wait until one of them has an event; False when `seconds` passed first."""
    return ringbuf.wait([stream.ring() for stream in streams], seconds)
