# SPDX-License-Identifier: MIT
"""Read a BPF ring buffer: the consumer's side of kernel/bpf/ringbuf.c.

The ring is mapped as a page with the consumer's position, which we write, a page with the
producer's, and the data twice in a row, so that a record never wraps.
"""

from __future__ import annotations

import mmap
import select
import struct

_PAGE = mmap.PAGESIZE
_BUSY = 1 << 31
_DISCARDED = 1 << 30
_HEADER = 8


class Ring:
    """The records of one ring; a single reader at a time. `size` is that of its data in bytes."""

    def __init__(self, fd: int, size: int) -> None:
        """Map the ring behind `fd`, which stays the caller's."""
        self._fd = fd
        self._mask = size - 1
        self._consumer = mmap.mmap(fd, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        try:
            self._rest = mmap.mmap(
                fd, _PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE
            )
        except BaseException:
            self._consumer.close()
            raise

    def read(self) -> list[bytes]:
        """Every record that is complete, oldest first; they are consumed."""
        found: list[bytes] = []
        at = self._position(self._consumer)
        end = self._position(self._rest)
        while at < end:
            place = _PAGE + (at & self._mask)
            (header,) = struct.unpack_from("=I", self._rest, place)
            if header & _BUSY:
                break
            length = header & ~(_BUSY | _DISCARDED)
            if not header & _DISCARDED:
                found.append(self._rest[place + _HEADER : place + _HEADER + length])
            at += (_HEADER + length + 7) & ~7
            struct.pack_into("=Q", self._consumer, 0, at)
        return found

    def wait(self, seconds: float | None) -> bool:
        """Wait until there is something to read; False when `seconds` passed first."""
        poll = select.epoll()
        try:
            poll.register(self._fd, select.EPOLLIN)
            if self._position(self._consumer) < self._position(self._rest):
                return True
            return bool(poll.poll(-1 if seconds is None else seconds))
        finally:
            poll.close()

    @staticmethod
    def _position(page: mmap.mmap) -> int:
        (value,) = struct.unpack_from("=Q", page, 0)
        return int(value)

    def close(self) -> None:
        """Unmap it."""
        self._consumer.close()
        self._rest.close()
