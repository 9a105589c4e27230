# SPDX-License-Identifier: MIT
"""Mappings of files."""

from __future__ import annotations

import mmap
import os
import stat

from tests.differential import libc
from tests.differential.registry import (
    below,
    length,
    mapping,
    op,
    payload,
    pick,
    short,
    slot,
)
from tests.differential.script import Slot
from tests.differential.world import NotApplicable, World

SIZES = pick(1, 100, 4096, 12288, 30000)
START = pick(0, 0, 0, 4096)


@op(slot, mapping, SIZES, START, pick(True, True, False), weight=4)
def map_shared(w: World, s: Slot, number: int, size: int, at: int, writable: bool) -> None:
    _map(w, s, number, size, at, mmap.MAP_SHARED, writable)


@op(slot, mapping, SIZES, START, weight=2)
def map_private(w: World, s: Slot, number: int, size: int, at: int) -> None:
    _map(w, s, number, size, at, mmap.MAP_PRIVATE, True)


def _map(w: World, s: Slot, number: int, size: int, at: int, flags: int, writable: bool) -> None:
    fd = w.fd(s)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise NotApplicable("only files are mapped")
    mapped = libc.Mapping(fd, size, at, flags, writable)
    # The descriptor stays open too: on a mount, locks end with the last descriptor, below they
    # live as long as a mapping (docs/kernel.md)
    w.keep_map(number, mapped, os.dup(fd))


@op(mapping, below(30000), length, weight=4)
def map_read(w: World, number: int, at: int, size: int) -> str:
    mapped, inside = w.mapped(number)
    return short(mapped.read(min(at, inside), min(at + size, inside)))


@op(mapping, below(1000), below(30000), length, weight=4)
def map_write(w: World, number: int, seed: int, at: int, size: int) -> int:
    """Written back at once: when the kernel does it decides about times of later stores."""
    mapped, inside = w.mapped(number)
    if not mapped.writable:
        raise NotApplicable("mapped for reading")
    start, end = min(at, inside), min(at + size, inside)
    stored = mapped.write(start, payload(seed, end - start))
    mapped.sync(libc.MS_SYNC)
    return stored


@op(mapping, pick(libc.MS_SYNC, libc.MS_ASYNC, libc.MS_SYNC | libc.MS_INVALIDATE))
def msync(w: World, number: int, flags: int) -> None:
    w.mapped(number)[0].sync(flags)


@op(mapping, SIZES)
def mremap(w: World, number: int, size: int) -> None:
    w.mapped(number)[0].resize(size)


@op(mapping, pick(mmap.MADV_DONTNEED, mmap.MADV_REMOVE, mmap.MADV_REMOVE, mmap.MADV_WILLNEED))
def madvise(w: World, number: int, advice: int) -> None:
    """MADV_REMOVE makes a hole of all that is mapped, through the mapping."""
    w.mapped(number)[0].advise(advice)


@op(mapping)
def munmap(w: World, number: int) -> None:
    w.drop_map(number)
