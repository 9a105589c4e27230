# SPDX-License-Identifier: MIT
"""Locks and leases, of which one process's are seen by the others."""

from __future__ import annotations

import fcntl
import os
import struct

from tests.differential.registry import below, op, pick, slot
from tests.differential.script import Slot
from tests.differential.world import World

KINDS = pick(fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK)


@op(slot, pick(fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_SH, fcntl.LOCK_UN), weight=4)
def flock(w: World, s: Slot, how: int) -> None:
    fcntl.flock(w.fd(s), how | fcntl.LOCK_NB)


@op(
    slot,
    KINDS,
    below(30),
    below(30),
    weight=4,
    shared=False,
)
def ofd_lock(w: World, s: Slot, how: int, start: int, size: int) -> None:
    asked = struct.pack("hhqqi4x", how, os.SEEK_SET, start, size, 0)
    fcntl.fcntl(w.fd(s), fcntl.F_OFD_SETLK, asked)


@op(slot, below(30), below(30), shared=False)
def ofd_test(w: World, s: Slot, start: int, size: int) -> tuple[object, ...]:
    return _test(w, s, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, start, size)


def _test(w: World, s: Slot, call: int, how: int, start: int, size: int) -> tuple[object, ...]:
    """The first lock in the way; the sides' processes differ in their numbers."""
    asked = struct.pack("hhqqi4x", how, os.SEEK_SET, start, size, 0)
    found = struct.unpack("hhqqi4x", fcntl.fcntl(w.fd(s), call, asked))
    return (*found[:4], found[4] if found[4] <= 0 else "a process")


@op(
    slot,
    KINDS,
    below(30),
    below(30),
    weight=5,
    shared=False,
)
def posix_lock(w: World, s: Slot, how: int, start: int, size: int) -> None:
    """A lock of the process, gone when it closes any descriptor of the file."""
    asked = struct.pack("hhqqi4x", how, os.SEEK_SET, start, size, 0)
    fcntl.fcntl(w.fd(s), fcntl.F_SETLK, asked)


@op(slot, pick(fcntl.F_RDLCK, fcntl.F_WRLCK), below(30), below(30), weight=4, shared=False)
def posix_test(w: World, s: Slot, how: int, start: int, size: int) -> tuple[object, ...]:
    return _test(w, s, fcntl.F_GETLK, how, start, size)


@op(slot, KINDS, weight=6, shared=False)
def set_lease(w: World, s: Slot, how: int) -> None:
    fcntl.fcntl(w.fd(s), fcntl.F_SETLEASE, how)


@op(slot, weight=4, shared=False)
def get_lease(w: World, s: Slot) -> int:
    return fcntl.fcntl(w.fd(s), fcntl.F_GETLEASE)
