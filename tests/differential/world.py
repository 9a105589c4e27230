# SPDX-License-Identifier: MIT
"""What one process keeps while it works in its side's directory."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path as FsPath

from tests.differential.libc import AT_FDCWD, Mapping
from tests.differential.observe import Rules
from tests.differential.rings import Aio, Ring
from tests.differential.script import Path, Slot

SLOTS = 7
MAPS = 3


class EmptySlot(Exception):
    """An operation names a slot that holds nothing; both sides must say so."""


class NotApplicable(Exception):
    """An operation is not tried, with the reason; both sides must say so."""


class World:
    """Descriptors and mappings; working directory, umask and credentials are the process's own."""

    def __init__(self, base: FsPath, rules: Rules, actor: int, mail: dict[int, Mail]) -> None:
        self.base = base
        self.rules = rules
        self.actor = actor
        self.mail = mail
        self.root = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
        os.fchdir(self.root)
        os.umask(0o022)
        self.slots: list[int | None] = [None] * SLOTS
        self.maps: list[tuple[Mapping, int] | None] = [None] * MAPS
        self.ring: Ring | None = None
        self.aio: Aio | None = None

    def _number(self, slot: Slot) -> int:
        """The slot, or the next one that holds something. Raises EmptySlot."""
        for number in range(slot.number, slot.number + SLOTS):
            if self.slots[number % SLOTS] is not None:
                return number % SLOTS
        raise EmptySlot

    def fd(self, slot: Slot) -> int:
        """The descriptor in a slot. Raises EmptySlot."""
        fd = self.slots[self._number(slot)]
        assert fd is not None
        return fd

    def put(self, slot: Slot, fd: int) -> None:
        """Keep a descriptor; the slot's old one is closed."""
        old = self.slots[slot.number]
        self.slots[slot.number] = fd
        if old is not None:
            os.close(old)

    def drop(self, slot: Slot) -> None:
        """Close the descriptor of a slot. Raises EmptySlot."""
        number = self._number(slot)
        fd = self.fd(slot)
        self.slots[number] = None
        os.close(fd)

    def drop_map(self, number: int) -> None:
        """Unmap; nothing happens where nothing is mapped."""
        kept = self.maps[number]
        self.maps[number] = None
        if kept is not None:
            kept[0].close()
            os.close(kept[1])

    def keep_map(self, number: int, mapping: Mapping, fd: int) -> None:
        """Keep a mapping with a descriptor that tells the file's size."""
        self.drop_map(number)
        self.maps[number] = mapping, fd

    def mapped(self, number: int) -> tuple[Mapping, int]:
        """A mapping, or the next one there is, and how many of its bytes lie in the file now.

        Raises EmptySlot.
        """
        for kept in (*self.maps[number:], *self.maps[:number]):
            if kept is not None:
                mapping, fd = kept
                return mapping, max(0, min(mapping.size, os.fstat(fd).st_size - mapping.at))
        raise EmptySlot

    def at(self, path: Path) -> int:
        """The directory descriptor of a path."""
        return AT_FDCWD if path.at < 0 else self.fd(Slot(path.at))

    def look_up(self, *paths: Path) -> None:
        """Find names anew: directories that are in use and were moved below (docs/kernel.md)."""
        for path in paths:
            with suppress(OSError):
                os.stat(path.path, dir_fd=self.at(path), follow_symlinks=False)


class Mail:
    """Where one process of a side receives descriptors; it outlives the process."""

    def __init__(self) -> None:
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        self.inside, self.outside = socket.socketpair(socket.AF_UNIX, kind)

    def send(self, fd: int) -> None:
        """Pass a descriptor on. Raises OSError: EAGAIN when too many wait."""
        socket.send_fds(self.outside, [b"."], [fd])

    def receive(self) -> int:
        """The descriptor that was sent first. Raises OSError: EAGAIN when none waits."""
        _data, fds, _flags, _address = socket.recv_fds(self.inside, 1, 1)
        return fds[0]

    def close(self) -> None:
        """Let go of both ends, and with them of what waits."""
        for end in (self.inside, self.outside):
            with suppress(OSError):
                end.close()
