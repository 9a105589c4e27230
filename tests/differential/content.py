# SPDX-License-Identifier: MIT
"""Operations on what files hold."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import stat

from tests.differential import libc
from tests.differential.registry import (
    below,
    length,
    offset,
    op,
    payload,
    pick,
    plain_path,
    read_length,
    short,
    slot,
)
from tests.differential.script import Path, Slot
from tests.differential.world import NotApplicable, World


@op(slot, read_length, weight=4)
def read(w: World, s: Slot, size: int) -> str:
    return short(os.read(w.fd(s), size))


@op(slot, read_length, offset, weight=6)
def pread(w: World, s: Slot, size: int, at: int) -> str:
    return short(os.pread(w.fd(s), size, at))


@op(slot, read_length, length)
def readv(w: World, s: Slot, first: int, second: int) -> tuple[int, str]:
    one, two = bytearray(first), bytearray(second)
    got = os.readv(w.fd(s), [one, two])
    return got, short(one + two)


@op(slot, below(4), offset)
def preadv_aligned(w: World, s: Slot, pages: int, at: int) -> tuple[int, str]:
    """From memory and positions that O_DIRECT takes."""
    with mmap.mmap(-1, (pages + 1) * 4096) as memory:
        got = os.preadv(w.fd(s), [memory], at if at < 0 else at & ~4095)
        return got, short(memory[:])


def to_write(w: World, s: Slot) -> int:
    """The descriptor, unless a write to it may be refused and take set-id bits on a mount only, or
    a mount refuses it because the file is append-only by now (docs/kernel.md)."""
    fd = w.fd(s)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    # Taken away by whichever process has the open file, too
    if not flags & os.O_APPEND and _append_only(fd):
        raise NotApplicable("O_APPEND may have been taken away before the file became append-only")
    _refuse_late(fd, late=w.rules.aligned_first and bool(flags & os.O_DIRECT))
    return fd


def _append_only(fd: int) -> bool:
    try:
        return bool(libc.get_flags(fd) & libc.FS_APPEND_FL)
    except OSError:  # no flags here
        return False


@op(slot, below(1000), length, weight=6)
def write(w: World, s: Slot, seed: int, size: int) -> int:
    return os.write(to_write(w, s), payload(seed, size))


@op(slot, below(1000), length, offset, weight=8)
def pwrite(w: World, s: Slot, seed: int, size: int, at: int) -> int:
    return os.pwrite(to_write(w, s), payload(seed, size), at)


@op(slot, below(1000), length, length)
def writev(w: World, s: Slot, seed: int, first: int, second: int) -> int:
    return os.writev(to_write(w, s), [payload(seed, first), payload(seed + 1, second)])


@op(slot, below(1000), length, offset, pick(0, os.RWF_DSYNC, os.RWF_SYNC, os.RWF_APPEND))
def pwritev2(w: World, s: Slot, seed: int, size: int, at: int, flags: int) -> int:
    return os.pwritev(to_write(w, s), [payload(seed, size)], at, flags)


@op(slot, below(250), below(4), offset)
def pwritev_aligned(w: World, s: Slot, seed: int, pages: int, at: int) -> int:
    """From memory and to positions that O_DIRECT takes."""
    with mmap.mmap(-1, (pages + 1) * 4096) as memory:
        memory[:] = bytes([seed + 1]) * len(memory)
        return os.pwritev(to_write(w, s), [memory], at if at < 0 else at & ~4095)


@op(slot, offset, pick(os.SEEK_SET, os.SEEK_CUR, os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE), weight=6)
def lseek(w: World, s: Slot, at: int, whence: int) -> int:
    fd = w.fd(s)
    found = os.lseek(fd, at, whence)
    if not w.rules.order and stat.S_ISDIR(os.fstat(fd).st_mode):
        # What follows a position that no listing gave depends on the age of dentries, too
        os.lseek(fd, 0, os.SEEK_SET)
    return found


@op(slot, offset, weight=4)
def ftruncate(w: World, s: Slot, size: int) -> None:
    os.ftruncate(w.fd(s), size)


@op(plain_path, offset, weight=3)
def truncate(w: World, p: Path, size: int) -> None:
    os.truncate(p.path, size)


@op(slot)
def fsync(w: World, s: Slot) -> None:
    os.fsync(w.fd(s))


@op(slot)
def fdatasync(w: World, s: Slot) -> None:
    os.fdatasync(w.fd(s))


@op(slot, offset, length, below(8))
def sync_file_range(w: World, s: Slot, at: int, size: int, flags: int) -> int:
    lib = ctypes.CDLL(None, use_errno=True)
    args = ctypes.c_int(w.fd(s)), ctypes.c_long(at), ctypes.c_long(size), ctypes.c_uint(flags)
    return ctypes.get_errno() if lib.sync_file_range(*args) < 0 else 0


# Plain, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE, ZERO_RANGE|KEEP_SIZE, COLLAPSE, INSERT, bad
@op(slot, pick(0, 1, 3, 3, 0x10, 0x11, 0x08, 0x20, 0x80), offset, length, weight=5)
def fallocate(w: World, s: Slot, how: int, at: int, size: int) -> None:
    """Modes that can fail late: not on a set-id file of another user, whose bits some file systems
    drop before they refuse, and a mount only when it was done (docs/kernel.md)."""
    _refuse_late(w.fd(s), _late(w, how))
    libc.fallocate(w.fd(s), how, at, size)


@op(slot, pick(0x08, 0x20), below(5), below(4))
def shift_range(w: World, s: Slot, how: int, at: int, blocks: int) -> None:
    """COLLAPSE_RANGE and INSERT_RANGE on whole blocks."""
    _refuse_late(w.fd(s), _late(w, how))
    libc.fallocate(w.fd(s), how, at * 4096, blocks * 4096)


def to_copy(w: World, s: Slot) -> int:
    """The descriptor as the target of a copy that may be refused; see `to_write`."""
    fd = to_write(w, s)
    _refuse_late(fd, late=w.rules.copies_late)
    return fd


def _late(w: World, how: int) -> bool:
    return w.rules.set_id_first and how not in (0, 1, 3)


def _refuse_late(fd: int, late: bool) -> None:
    """What can fail `late` is not tried on a file whose set-id bits it would take."""
    if late and os.geteuid() and os.fstat(fd).st_mode & 0o6000:
        raise NotApplicable("set-id bits after a failure are the file system's choice")


@op(slot, offset, slot, offset, length, weight=4)
def copy_file_range(w: World, s: Slot, at: int, to: Slot, to_at: int, size: int) -> int:
    return os.copy_file_range(w.fd(s), to_copy(w, to), size, at, to_at)


@op(slot, slot, pick(None, 0, 100, 5000), read_length, weight=3)
def sendfile(w: World, s: Slot, to: Slot, at: int | None, size: int) -> int:
    """Not from a directory, which gives nothing; the kernel notes an access, as of 0 bytes read."""
    if stat.S_ISDIR(os.fstat(w.fd(s)).st_mode):
        raise NotApplicable("a directory")
    return os.sendfile(to_write(w, to), w.fd(s), at, size)


@op(slot, offset, slot, offset, read_length, weight=3)
def splice(w: World, s: Slot, at: int, to: Slot, to_at: int, size: int) -> tuple[int, int]:
    """Through a pipe, which takes 64 KiB: nothing waits."""
    source, target = w.fd(s), to_write(w, to)
    out, into = os.pipe2(os.O_NONBLOCK)
    try:
        size = min(size, 16384)
        got = os.splice(source, into, size, offset_src=at)
        return got, os.splice(out, target, got, offset_dst=to_at) if got else 0
    finally:
        os.close(out)
        os.close(into)


@op(slot, slot)
def clone(w: World, s: Slot, to: Slot) -> None:
    libc.clone(to_copy(w, to), w.fd(s))


@op(slot, below(5), slot, below(5), below(4), pick(0, 0, 1, 100))
def clone_range(w: World, s: Slot, at: int, to: Slot, to_at: int, blocks: int, more: int) -> None:
    """Whole blocks, which are what can be shared; rarely some bytes more."""
    libc.clone_range(to_copy(w, to), w.fd(s), at * 4096, blocks * 4096 + more, to_at * 4096)


@op(slot, below(5), slot, below(5), below(4))
def dedupe(w: World, s: Slot, at: int, to: Slot, to_at: int, blocks: int) -> object:
    """Where the file system cannot share, a mount says so after the kernel's own checks."""
    try:
        got = libc.dedupe(w.fd(s), at * 4096, blocks * 4096, to_write(w, to), to_at * 4096)
    except OSError as error:
        if not w.rules.shares and error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return "cannot share"
        raise
    return got if w.rules.shares or got[0] else "cannot share"
