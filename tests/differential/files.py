# SPDX-License-Identifier: MIT
"""Operations on descriptors."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable

from tests.differential import libc
from tests.differential.registry import (
    below,
    into,
    into_directory,
    length,
    mode,
    offset,
    op,
    open_flags,
    path,
    pick,
    slot,
)
from tests.differential.script import BELOW, Path, Slot
from tests.differential.world import NotApplicable, World

_FIFO = "a FIFO below has readers and content of its own"


def keep(w: World, s: Slot, opening: Callable[[], int]) -> None:
    """Keep what is opened with O_NONBLOCK, which io_uring would follow on files too."""
    try:
        fd = opening()
    except OSError as error:
        if w.actor == BELOW and error.errno == errno.ENXIO:
            raise NotApplicable(_FIFO) from None
        raise
    kind = stat.S_IFMT(os.fstat(fd).st_mode)
    if w.actor == BELOW and kind == stat.S_IFIFO:
        os.close(fd)
        raise NotApplicable(_FIFO)
    if kind == stat.S_IFREG:
        os.set_blocking(fd, True)
    w.put(s, fd)


@op(path, open_flags, mode, into, weight=16)
def _open(w: World, p: Path, flags: int, bits: int, s: Slot) -> None:
    keep(w, s, lambda: os.open(p.path, flags | os.O_NONBLOCK, bits, dir_fd=w.at(p)))


@op(path, pick(os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_EXCL), mode, into, weight=4)
def open_nameless(w: World, p: Path, flags: int, bits: int, s: Slot) -> None:
    """A file without a name, which link_descriptor and link_open can give one."""
    w.put(s, os.open(p.path, flags | os.O_TMPFILE, bits, dir_fd=w.at(p)))


# RESOLVE_NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT
@op(path, open_flags, mode, pick(0x01, 0x02, 0x04, 0x08, 0x10), into, weight=3)
def openat2(w: World, p: Path, flags: int, bits: int, resolve: int, s: Slot) -> None:
    bits = bits if flags & os.O_CREAT else 0
    keep(w, s, lambda: libc.openat2(w.at(p), p.path, flags | os.O_NONBLOCK, bits, resolve))


@op(path, mode, into, weight=5)
def create_exclusive(w: World, p: Path, bits: int, s: Slot) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
    w.put(s, os.open(p.path, flags, bits, dir_fd=w.at(p)))


@op(path, pick(0, os.O_NOFOLLOW, os.O_PATH), into_directory, weight=6)
def open_directory(w: World, p: Path, flags: int, s: Slot) -> None:
    w.put(s, os.open(p.path, os.O_RDONLY | os.O_DIRECTORY | flags, dir_fd=w.at(p)))


@op(path, pick(0, os.O_NOFOLLOW), into)
def open_path(w: World, p: Path, flags: int, s: Slot) -> None:
    w.put(s, os.open(p.path, os.O_PATH | flags, dir_fd=w.at(p)))


@op(slot, open_flags, into)
def reopen(w: World, s: Slot, flags: int, to: Slot) -> None:
    """The descriptor's file once more, by its name in /proc."""
    flags &= ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
    keep(w, to, lambda: os.open(f"/proc/self/fd/{w.fd(s)}", flags | os.O_NONBLOCK))


@op(slot, weight=3)
def close(w: World, s: Slot) -> None:
    w.drop(s)


@op(slot, into)
def dup(w: World, s: Slot, to: Slot) -> None:
    w.put(to, os.dup(w.fd(s)))


@op(slot, pick(0, os.O_APPEND, os.O_NOATIME, os.O_DIRECT, os.O_APPEND | os.O_DIRECT))
def set_flags(w: World, s: Slot, flags: int) -> None:
    blocking = 0 if stat.S_ISREG(os.fstat(w.fd(s)).st_mode) else os.O_NONBLOCK
    fcntl.fcntl(w.fd(s), fcntl.F_SETFL, flags | blocking)


@op(slot, offset, length, below(6))
def fadvise(w: World, s: Slot, at: int, size: int, advice: int) -> None:
    os.posix_fadvise(w.fd(s), at, size, advice)


@op(slot)
def syncfs(w: World, s: Slot) -> None:
    libc.syncfs(w.fd(s))
