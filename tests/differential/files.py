# SPDX-License-Identifier: MIT
"""Operations on descriptors and on what files hold."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import mmap
import os
import stat
import struct

from tests.differential import libc
from tests.differential.registry import (
    below,
    directory_slot,
    length,
    mapping,
    mode,
    offset,
    op,
    open_flags,
    path,
    payload,
    pick,
    plain_path,
    read_length,
    slot,
)
from tests.differential.world import Path, Slot, World, map_file


def _short(data: bytes | bytearray) -> str:
    return f"{len(data)}:{hashlib.sha256(data).hexdigest()[:16]}"


@op(path, open_flags, mode, slot, weight=16)
def _open(w: World, p: Path, flags: int, bits: int, s: Slot) -> None:
    w.put(s, os.open(p.path, flags, bits, dir_fd=w.at(p)))


@op(path, mode, slot, weight=5)
def create_exclusive(w: World, p: Path, bits: int, s: Slot) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
    w.put(s, os.open(p.path, flags, bits, dir_fd=w.at(p)))


@op(path, pick(0, os.O_NOFOLLOW, os.O_PATH), directory_slot, weight=6)
def open_directory(w: World, p: Path, flags: int, s: Slot) -> None:
    w.put(s, os.open(p.path, os.O_RDONLY | os.O_DIRECTORY | flags, dir_fd=w.at(p)))


@op(path, pick(0, os.O_NOFOLLOW), slot)
def open_path(w: World, p: Path, flags: int, s: Slot) -> None:
    w.put(s, os.open(p.path, os.O_PATH | flags, dir_fd=w.at(p)))


@op(slot, open_flags, slot)
def reopen(w: World, s: Slot, flags: int, to: Slot) -> None:
    """The descriptor's file once more, by its name in /proc."""
    flags &= ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
    w.put(to, os.open(f"/proc/self/fd/{w.fd(s)}", flags))


@op(slot, weight=3)
def close(w: World, s: Slot) -> None:
    w.drop(s)


@op(slot, slot)
def dup(w: World, s: Slot, to: Slot) -> None:
    w.put(to, os.dup(w.fd(s)))


@op(slot, read_length, weight=4)
def read(w: World, s: Slot, size: int) -> str:
    return _short(os.read(w.fd(s), size))


@op(slot, read_length, offset, weight=6)
def pread(w: World, s: Slot, size: int, at: int) -> str:
    return _short(os.pread(w.fd(s), size, at))


@op(slot, read_length, length)
def readv(w: World, s: Slot, first: int, second: int) -> tuple[int, str]:
    one, two = bytearray(first), bytearray(second)
    got = os.readv(w.fd(s), [one, two])
    return got, _short(one + two)


@op(slot, below(4), offset)
def preadv_aligned(w: World, s: Slot, pages: int, at: int) -> tuple[int, str]:
    """From memory and positions that O_DIRECT takes."""
    with mmap.mmap(-1, (pages + 1) * 4096) as memory:
        got = os.preadv(w.fd(s), [memory], at if at < 0 else at & ~4095)
        return got, _short(memory[:])


@op(slot, below(1000), length, weight=6)
def write(w: World, s: Slot, seed: int, size: int) -> int:
    return os.write(w.fd(s), payload(seed, size))


@op(slot, below(1000), length, offset, weight=8)
def pwrite(w: World, s: Slot, seed: int, size: int, at: int) -> int:
    return os.pwrite(w.fd(s), payload(seed, size), at)


@op(slot, below(1000), length, length)
def writev(w: World, s: Slot, seed: int, first: int, second: int) -> int:
    return os.writev(w.fd(s), [payload(seed, first), payload(seed + 1, second)])


@op(slot, below(1000), length, offset, pick(0, os.RWF_DSYNC, os.RWF_SYNC, os.RWF_APPEND))
def pwritev2(w: World, s: Slot, seed: int, size: int, at: int, flags: int) -> int:
    return os.pwritev(w.fd(s), [payload(seed, size)], at, flags)


@op(slot, below(250), below(4), offset)
def pwritev_aligned(w: World, s: Slot, seed: int, pages: int, at: int) -> int:
    """From memory and to positions that O_DIRECT takes."""
    with mmap.mmap(-1, (pages + 1) * 4096) as memory:
        memory[:] = bytes([seed + 1]) * len(memory)
        return os.pwritev(w.fd(s), [memory], at if at < 0 else at & ~4095)


@op(slot, offset, pick(os.SEEK_SET, os.SEEK_CUR, os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE), weight=6)
def lseek(w: World, s: Slot, at: int, whence: int) -> int:
    return os.lseek(w.fd(s), at, whence)


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
    drop before they refuse, and a mount only when it was done (kernel/README.md)."""
    _refuse_late(w, w.fd(s), how)
    libc.fallocate(w.fd(s), how, at, size)


@op(slot, pick(0x08, 0x20), below(5), below(4))
def shift_range(w: World, s: Slot, how: int, at: int, blocks: int) -> None:
    """COLLAPSE_RANGE and INSERT_RANGE on whole blocks."""
    _refuse_late(w, w.fd(s), how)
    libc.fallocate(w.fd(s), how, at * 4096, blocks * 4096)


def _refuse_late(w: World, fd: int, how: int) -> None:
    if (
        w.rules.set_id_first
        and os.geteuid()
        and how not in (0, 1, 3)
        and os.fstat(fd).st_mode & 0o6000
    ):
        raise NotImplementedError("set-id bits after a failure are the file system's choice")


@op(slot, offset, slot, offset, length, weight=4)
def copy_file_range(w: World, s: Slot, at: int, to: Slot, to_at: int, size: int) -> int:
    return os.copy_file_range(w.fd(s), w.fd(to), size, at, to_at)


@op(slot, slot, pick(None, 0, 100, 5000), read_length, weight=3)
def sendfile(w: World, s: Slot, to: Slot, at: int | None, size: int) -> int:
    return os.sendfile(w.fd(to), w.fd(s), at, size)


@op(slot, offset, slot, offset, read_length, weight=3)
def splice(w: World, s: Slot, at: int, to: Slot, to_at: int, size: int) -> tuple[int, int]:
    """Through a pipe, which takes 64 KiB: nothing waits."""
    source, target = w.fd(s), w.fd(to)
    out, into = os.pipe2(os.O_NONBLOCK)
    try:
        size = min(size, 16384)
        got = os.splice(source, into, size, offset_src=at)
        return got, os.splice(out, target, got, offset_dst=to_at) if got else 0
    finally:
        os.close(out)
        os.close(into)


@op(slot, pick(fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_SH, fcntl.LOCK_UN), weight=3)
def flock(w: World, s: Slot, how: int) -> None:
    fcntl.flock(w.fd(s), how | fcntl.LOCK_NB)


@op(slot, pick(fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK), below(30), below(30), weight=3)
def ofd_lock(w: World, s: Slot, how: int, start: int, size: int) -> None:
    asked = struct.pack("hhqqi4x", how, os.SEEK_SET, start, size, 0)
    fcntl.fcntl(w.fd(s), fcntl.F_OFD_SETLK, asked)


@op(slot, below(30), below(30))
def ofd_test(w: World, s: Slot, start: int, size: int) -> tuple[int, ...]:
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, size, 0)
    found = fcntl.fcntl(w.fd(s), fcntl.F_OFD_GETLK, asked)
    return struct.unpack("hhqqi4x", found)


@op(slot, pick(0, os.O_APPEND, os.O_NOATIME, os.O_DIRECT, os.O_APPEND | os.O_DIRECT))
def set_flags(w: World, s: Slot, flags: int) -> None:
    fcntl.fcntl(w.fd(s), fcntl.F_SETFL, flags | os.O_NONBLOCK)


@op(slot, offset, length, below(6))
def fadvise(w: World, s: Slot, at: int, size: int, advice: int) -> None:
    os.posix_fadvise(w.fd(s), at, size, advice)


@op(slot, mapping, pick(1, 100, 4096, 12288, 30000), pick(True, True, False), weight=4)
def map_shared(w: World, s: Slot, number: int, size: int, writable: bool) -> None:
    _map(w, s, number, size, True, writable)


@op(slot, mapping, pick(1, 4096, 12288), weight=2)
def map_private(w: World, s: Slot, number: int, size: int) -> None:
    _map(w, s, number, size, False, True)


def _map(w: World, s: Slot, number: int, size: int, shared: bool, writable: bool) -> None:
    fd = w.fd(s)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise NotImplementedError("only files are mapped")
    try:
        mapped = map_file(fd, size, shared, writable)
    except ValueError as error:  # Python checks the size before it asks the kernel
        raise NotImplementedError(str(error)) from None
    # The descriptor stays open too: on a mount, locks end with the last descriptor, below they
    # live as long as a mapping (kernel/README.md)
    w.keep_map(number, mapped, os.dup(fd))


@op(mapping, below(30000), length, weight=4)
def map_read(w: World, number: int, at: int, size: int) -> str:
    mapped, inside = w.mapped(number)
    return _short(mapped[min(at, inside) : min(at + size, inside)])


@op(mapping, below(1000), below(30000), length, weight=4)
def map_write(w: World, number: int, seed: int, at: int, size: int) -> int:
    """Written back at once: when the kernel does it decides about times of later stores."""
    mapped, inside = w.mapped(number)
    start, end = min(at, inside), min(at + size, inside)
    try:
        mapped[start:end] = payload(seed, end - start)
    except TypeError:
        raise NotImplementedError("mapped for reading") from None
    mapped.flush()
    return end - start


@op(mapping)
def msync(w: World, number: int) -> None:
    w.mapped(number)[0].flush()


@op(mapping)
def munmap(w: World, number: int) -> None:
    w.drop_map(number)
