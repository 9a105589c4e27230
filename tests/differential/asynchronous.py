# SPDX-License-Identifier: MIT
"""Operations by Linux AIO and by io_uring."""

from __future__ import annotations

import errno
import fcntl
import os

from tests.differential.content import to_write
from tests.differential.files import keep
from tests.differential.libc import checked
from tests.differential.registry import (
    below,
    into,
    length,
    mode,
    offset,
    op,
    open_flags,
    path,
    payload,
    pick,
    read_length,
    short,
    slot,
)
from tests.differential.rings import ASYNC, LINK, Aio, Ring, Sqe
from tests.differential.script import Path, Slot
from tests.differential.world import NotApplicable, World

HOW = pick(0, 0, 0, 0, ASYNC)


def _named(result: int) -> int | str:
    return result if result >= 0 else errno.errorcode[-result]


def _ring(w: World) -> Ring:
    if w.ring is None:
        w.ring = Ring()
    return w.ring


def _aio(w: World) -> Aio:
    if w.aio is None:
        w.aio = Aio()
    return w.aio


def _waiting(w: World, s: Slot) -> int:
    """A descriptor on which io_uring waits: with O_NONBLOCK, what is cached decides on EAGAIN."""
    fd = w.fd(s)
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK:
        raise NotApplicable("O_NONBLOCK")
    return fd


@op(slot, read_length, offset, HOW, pick(False, True), weight=3)
def uring_read(w: World, s: Slot, size: int, at: int, how: int, fixed: bool) -> object:
    """From a position, into memory that can be registered."""
    ring, size = _ring(w), min(size, Ring.BUFFER)
    code = Ring.READ_FIXED if fixed else Ring.READ
    sqe = Sqe(code, how, _waiting(w, s), max(at, 0), ring.buffer, size)
    (got,) = ring.submit(sqe)
    return _named(got), short(ring.bytes(max(got, 0)))


@op(slot, below(1000), length, offset, HOW, pick(False, True), pick(False, True), weight=4)
def uring_write(
    w: World, s: Slot, seed: int, size: int, at: int, how: int, fixed: bool, sync: bool
) -> object:
    """To a position; with a linked fsync at times."""
    ring, size = _ring(w), min(size, Ring.BUFFER)
    fd = _waiting(w, s)
    to_write(w, s)
    ring.fill(payload(seed, size))
    code = Ring.WRITE_FIXED if fixed else Ring.WRITE
    flags = how | LINK if sync else how
    steps = [Sqe(code, flags, fd, max(at, 0), ring.buffer, size)]
    if sync:
        steps.append(Sqe(Ring.FSYNC, how, fd, 0, 0, 0))
    return [_named(got) for got in ring.submit(*steps)]


@op(slot, pick(0, 1, 3, 0x10), offset, length, HOW)
def uring_fallocate(w: World, s: Slot, mode_: int, at: int, size: int, how: int) -> object:
    sqe = Sqe(Ring.FALLOCATE, how, _waiting(w, s), max(at, 0), size, mode_)
    return _named(_ring(w).submit(sqe)[0])


@op(path, open_flags, mode, HOW, into, weight=3)
def uring_open(w: World, p: Path, flags: int, bits: int, how: int, s: Slot) -> None:
    ring = _ring(w)
    flags |= os.O_NONBLOCK
    sqe = Sqe(Ring.OPENAT, how, w.at(p), 0, ring.string(p.path), bits, flags)
    keep(w, s, lambda: checked(*ring.submit(sqe)))


@op(path, mode, HOW)
def uring_mkdir(w: World, p: Path, bits: int, how: int) -> object:
    ring = _ring(w)
    sqe = Sqe(Ring.MKDIRAT, how, w.at(p), 0, ring.string(p.path), bits)
    return _named(ring.submit(sqe)[0])


@op(path, pick(0, 0, 0x200), HOW)
def uring_unlink(w: World, p: Path, flags: int, how: int) -> object:
    """AT_REMOVEDIR at times."""
    ring = _ring(w)
    sqe = Sqe(Ring.UNLINKAT, how, w.at(p), 0, ring.string(p.path), 0, flags)
    return _named(ring.submit(sqe)[0])


@op(path, path, pick(0, 1, 2), HOW)
def uring_rename(w: World, old: Path, new: Path, flags: int, how: int) -> object:
    ring = _ring(w)
    to = w.at(new) & 0xFFFFFFFF
    texts = ring.string(old.path), ring.string(new.path, second=True)
    sqe = Sqe(Ring.RENAMEAT, how, w.at(old), texts[1], texts[0], to, flags)
    result = ring.submit(sqe)[0]
    if result == -errno.ESTALE:
        w.look_up(old, new)
        result = ring.submit(sqe)[0]
    return _named(result)


@op(slot, read_length, offset, weight=2)
def aio_read(w: World, s: Slot, size: int, at: int) -> object:
    aio, size = _aio(w), min(size, Aio.BUFFER)
    got = aio.submit(Aio.PREAD, w.fd(s), size, at)
    return _named(got), short(aio.bytes(max(got, 0)))


@op(slot, below(1000), length, offset, pick(0, os.RWF_DSYNC, os.RWF_APPEND), weight=2)
def aio_write(w: World, s: Slot, seed: int, size: int, at: int, flags: int) -> object:
    aio, size = _aio(w), min(size, Aio.BUFFER)
    aio.fill(payload(seed, size))
    return _named(aio.submit(Aio.PWRITE, to_write(w, s), size, at, flags))


@op(slot, below(250), below(4), offset, pick(False, True), weight=2)
def aio_write_aligned(w: World, s: Slot, seed: int, pages: int, at: int, sync: bool) -> object:
    """From memory and to positions that O_DIRECT takes."""
    aio = _aio(w)
    aio.fill(bytes([seed + 1]) * ((pages + 1) * 4096))
    flags = os.RWF_SYNC if sync else 0
    fd = to_write(w, s)
    return _named(aio.submit(Aio.PWRITE, fd, (pages + 1) * 4096, max(at, 0) & ~4095, flags))


@op(slot, pick(Aio.FSYNC, Aio.FDSYNC), weight=1)
def aio_sync(w: World, s: Slot, how: int) -> object:
    return _named(_aio(w).submit(how, w.fd(s), 0, 0))
