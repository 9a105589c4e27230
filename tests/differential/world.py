# SPDX-License-Identifier: MIT
"""One side of the comparison: a directory, with what a program keeps while it works in it."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path as FsPath
from typing import Any, NamedTuple

from tests.differential.observe import Rules

SLOTS = 7
MAPS = 3
GROUP_OF_USERS = 3000


class Path(NamedTuple):
    """A relative path; `at` is the slot of its directory, -1 the working directory."""

    at: int
    path: str


class Slot(NamedTuple):
    """A place for a descriptor."""

    number: int


class EmptySlot(Exception):
    """An operation names a slot that holds nothing; both sides must say so."""


class World:
    """A directory with descriptors, mappings, a working directory and a umask of its own."""

    def __init__(self, base: FsPath, rules: Rules) -> None:
        self.base = base
        self.rules = rules
        self.root = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
        self.cwd = os.dup(self.root)
        self.umask = 0o022
        self.slots: list[int | None] = [None] * SLOTS
        self.maps: list[tuple[mmap.mmap, int] | None] = [None] * MAPS

    def close(self) -> None:
        """Let go of everything."""
        for number in range(MAPS):
            self.drop_map(number)
        for number in range(SLOTS):
            with suppress(EmptySlot):
                self.drop(Slot(number))
        os.close(self.cwd)
        os.close(self.root)

    def fd(self, slot: Slot) -> int:
        """The descriptor in a slot. Raises EmptySlot."""
        fd = self.slots[slot.number]
        if fd is None:
            raise EmptySlot
        return fd

    def put(self, slot: Slot, fd: int) -> None:
        """Keep a descriptor; the slot's old one is closed."""
        old = self.slots[slot.number]
        self.slots[slot.number] = fd
        if old is not None:
            os.close(old)

    def drop(self, slot: Slot) -> None:
        """Close the descriptor of a slot. Raises EmptySlot."""
        fd = self.fd(slot)
        self.slots[slot.number] = None
        os.close(fd)

    def drop_map(self, number: int) -> None:
        """Unmap; nothing happens where nothing is mapped."""
        kept = self.maps[number]
        self.maps[number] = None
        if kept is not None:
            kept[0].close()
            os.close(kept[1])

    def keep_map(self, number: int, mapping: mmap.mmap, fd: int) -> None:
        """Keep a mapping with a descriptor that tells the file's size."""
        self.drop_map(number)
        self.maps[number] = mapping, fd

    def mapped(self, number: int) -> tuple[mmap.mmap, int]:
        """A mapping and how many of its bytes lie in the file now. Raises EmptySlot."""
        kept = self.maps[number]
        if kept is None:
            raise EmptySlot
        return kept[0], min(len(kept[0]), os.fstat(kept[1]).st_size)

    def at(self, path: Path) -> int:
        """The directory descriptor of a path; the working directory is one too."""
        return self.cwd if path.at < 0 else self.fd(Slot(path.at))

    @contextmanager
    def acting(self, uid: int) -> Iterator[None]:
        """The process works in this directory, as a user; as root again afterwards."""
        os.fchdir(self.cwd)
        os.umask(self.umask)
        if uid:
            os.setgroups([GROUP_OF_USERS])
            os.setegid(uid)
            os.seteuid(uid)
        try:
            yield
        finally:
            if uid:
                os.seteuid(0)
                os.setegid(0)
                os.setgroups([])
            os.umask(0o022)
            os.chdir("/")


def map_file(fd: int, size: int, shared: bool, writable: bool) -> mmap.mmap:
    """Map a file, without the descriptor that Python keeps where it can do without."""
    flags = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
    prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    alone: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    return mmap.mmap(fd, size, flags=flags, prot=prot, **alone)
