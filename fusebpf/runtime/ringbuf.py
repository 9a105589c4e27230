# SPDX-License-Identifier: MIT
"""Read a BPF ring buffer: the consumer's side of kernel/bpf/ringbuf.c.

The ring is mapped as a page with the consumer's position, which we write, a page with the
producer's, and the data twice in a row, so that a record never wraps.
"""

from __future__ import annotations

import mmap
import select
import struct
from collections.abc import Iterable

_PAGE = mmap.PAGESIZE
_BUSY = 1 << 31
_DISCARDED = 1 << 30
_HEADER = 8
#: epoll_wait(2) takes no more than 24 days.
_LONGEST = 86400.0


class Ring:
    """The records of one ring. `size` is that of its data in bytes.

    Of readers in several processes each goes on behind the other, but nothing keeps them apart:
    records that they come to at the same moment may be given to both.
    """

    def __init__(self, fd: int, size: int) -> None:
        """Map the ring behind `fd`, which stays the caller's."""
        self.fd = fd
        self._mask = size - 1
        self._consumer = mmap.mmap(fd, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        try:
            self._rest = mmap.mmap(
                fd, _PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE
            )
        except BaseException:
            self._consumer.close()
            raise
        # One store each: struct.pack_into writes zeros first, and a program that makes a record
        # meanwhile would find the ring full.
        self._consumed = memoryview(self._consumer).cast("Q")

    def read(self, limit: int | None = None) -> list[bytes]:
        """Records that are complete, oldest first, at most `limit`; they are consumed."""
        found: list[bytes] = []
        at = self._consumed[0]
        (end,) = struct.unpack_from("=Q", self._rest, 0)
        while at < end and (limit is None or len(found) < limit):
            place = _PAGE + (at & self._mask)
            (header,) = struct.unpack_from("=I", self._rest, place)
            if header & _BUSY:
                break
            length = header & ~(_BUSY | _DISCARDED)
            record = self._rest[place + _HEADER : place + _HEADER + length]
            if self._consumed[0] != at:
                # Another reader took it; what was read may be something else by now.
                at = self._consumed[0]
                continue
            at = min(at + ((_HEADER + length + 7) & ~7), end)
            self._consumed[0] = at
            if not header & _DISCARDED:
                found.append(record)
        return found

    def close(self) -> None:
        """Unmap it."""
        self._consumed.release()
        self._consumer.close()
        self._rest.close()


def wait(rings: Iterable[Ring], seconds: float | None) -> bool:
    """Wait until one of them has something to read; False when `seconds` passed first, or a day."""
    with select.epoll() as poll:
        for ring in rings:
            poll.register(ring.fd, select.EPOLLIN)
        return bool(poll.poll(None if seconds is None else min(seconds, _LONGEST)))
