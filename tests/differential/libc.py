# SPDX-License-Identifier: MIT
"""System calls that Python does not wrap, or wraps without their errno or flags."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EACCESS = 0x200
AT_STATX_FORCE_SYNC = 0x2000
AT_STATX_DONT_SYNC = 0x4000
AT_EMPTY_PATH = 0x1000
STATX_ALL = 0xFFF
MS_ASYNC, MS_INVALIDATE, MS_SYNC = 1, 2, 4
MREMAP_MAYMOVE = 1
NR_SETGROUPS, NR_SETFSUID, NR_SETFSGID = 116, 122, 123
NR_GETDENTS64 = 217
NR_OPENAT2 = 437
# include/linux/stat.h
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
# include/uapi/linux/fs.h
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_APPEND_FL = 0x20
FLAGS_SET_BY_USERS = 0xF8  # FS_SYNC_FL to FS_NOATIME_FL
FICLONE = 0x40049409
FICLONERANGE = 0x4020940D
FIDEDUPERANGE = 0xC0189436


def call(name: str, *args: Any) -> int:
    """A function of the C library that returns an int. Raises OSError."""
    result = int(getattr(_LIBC, name)(*args))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def syscall(number: int, *args: Any) -> int:
    """syscall(2); arguments are ctypes values. Raises OSError."""
    return call("syscall", ctypes.c_long(number), *args)


def _address(name: str, *args: Any) -> int:
    """A call that returns an address, which has more bits than an int."""
    call = getattr(_LIBC, name)
    call.restype = ctypes.c_void_p
    result = int(call(*args) or 0)
    if result == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def checked(result: int) -> int:
    """A result as the kernel gives it in a completion. Raises OSError when it is an error."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2); offset and length in bytes. Raises OSError."""
    args = ctypes.c_int(fd), ctypes.c_int(mode), ctypes.c_long(offset), ctypes.c_long(length)
    call("fallocate", *args)


def renameat2(old_at: int, old: str, new_at: int, new: str, flags: int) -> None:
    """renameat2(2): RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4. Raises OSError."""
    old_args = ctypes.c_int(old_at), os.fsencode(old)
    call("renameat2", *old_args, ctypes.c_int(new_at), os.fsencode(new), ctypes.c_uint(flags))


def utimensat(path: str, atime: tuple[int, int], mtime: tuple[int, int]) -> None:
    """utimensat(2); seconds, and nanoseconds or UTIME_NOW or UTIME_OMIT. Raises OSError."""
    times = (ctypes.c_long * 4)(*atime, *mtime)
    call("utimensat", ctypes.c_int(AT_FDCWD), os.fsencode(path), times, ctypes.c_int(0))


def faccessat(at: int, path: str, mode: int, flags: int) -> None:
    """faccessat(2) with AT_EACCESS or AT_SYMLINK_NOFOLLOW. Raises OSError."""
    call("faccessat", ctypes.c_int(at), os.fsencode(path), ctypes.c_int(mode), ctypes.c_int(flags))


def statx(at: int, path: str, flags: int, mask: int) -> bytes:
    """The 256 bytes of struct statx (include/uapi/linux/stat.h). Raises OSError."""
    buffer = ctypes.create_string_buffer(256)
    where = ctypes.c_int(at), os.fsencode(path)
    call("statx", *where, ctypes.c_int(flags), ctypes.c_uint(mask), buffer)
    return buffer.raw


def getxattr(path: str, name: str, size: int) -> int:
    """Length of an attribute as getxattr(2) gives it for a buffer of `size` bytes."""
    buffer = ctypes.create_string_buffer(max(size, 1))
    args = os.fsencode(path), os.fsencode(name)
    return call("getxattr", *args, buffer, ctypes.c_size_t(size))


def listxattr(path: str, size: int) -> int:
    """Length of the attributes' list as listxattr(2) gives it for a buffer of `size` bytes."""
    buffer = ctypes.create_string_buffer(max(size, 1))
    return call("listxattr", os.fsencode(path), buffer, ctypes.c_size_t(size))


def getdents(fd: int, size: int) -> list[tuple[int, int, int, str]]:
    """Inode, next position, type and name of each entry of one getdents64(2). Raises OSError."""
    buffer = ctypes.create_string_buffer(size)
    got = syscall(NR_GETDENTS64, ctypes.c_int(fd), buffer, ctypes.c_size_t(size))
    found: list[tuple[int, int, int, str]] = []
    at = 0
    while at < got:
        ino, off, reclen, kind = struct.unpack_from("=QqHB", buffer.raw, at)
        name = buffer.raw[at + 19 : at + reclen].split(b"\0", 1)[0]
        found.append((ino, off, kind, os.fsdecode(name)))
        at += reclen
    return found


def openat2(at: int, path: str, flags: int, mode: int, resolve: int) -> int:
    """openat2(2). Raises OSError."""
    how = struct.pack("=QQQ", flags, mode, resolve)
    args = ctypes.c_int(at), os.fsencode(path), how, ctypes.c_size_t(len(how))
    return syscall(NR_OPENAT2, *args)


def linkat(old_at: int, old: str, new_at: int, new: str, flags: int) -> None:
    """linkat(2), for AT_EMPTY_PATH. Raises OSError."""
    old_args = ctypes.c_int(old_at), os.fsencode(old)
    call("linkat", *old_args, ctypes.c_int(new_at), os.fsencode(new), ctypes.c_int(flags))


def syncfs(fd: int) -> None:
    """syncfs(2). Raises OSError."""
    call("syncfs", ctypes.c_int(fd))


def clone(to: int, source: int) -> None:
    """ioctl_ficlone(2) of a whole file. Raises OSError."""
    fcntl.ioctl(to, FICLONE, source)


def clone_range(to: int, source: int, at: int, size: int, to_at: int) -> None:
    """ioctl_ficlonerange(2); positions and size in bytes. Raises OSError."""
    fcntl.ioctl(to, FICLONERANGE, struct.pack("=qQQQ", source, at, size, to_at))


def dedupe(source: int, at: int, size: int, to: int, to_at: int) -> tuple[int, int]:
    """ioctl_fideduperange(2) with one target: bytes and status. Raises OSError."""
    asked = struct.pack("=QQHHIqQQiI", at, size, 1, 0, 0, to, to_at, 0, 0, 0)
    found = struct.unpack("=QQHHIqQQiI", fcntl.ioctl(source, FIDEDUPERANGE, asked))
    return found[7], found[8]


class Mapping:
    """A mapping without a descriptor of its own, as mmap(2) makes it.

    Python's mmap keeps one, checks sizes before the kernel does, and truncates when it resizes.
    """

    def __init__(self, fd: int, size: int, at: int, flags: int, writable: bool) -> None:
        """Map `size` bytes from position `at`. Raises OSError."""
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        args = ctypes.c_int(prot), ctypes.c_int(flags), ctypes.c_int(fd), ctypes.c_long(at)
        self._address = _address("mmap", ctypes.c_void_p(), ctypes.c_size_t(size), *args)
        self.size, self.at, self.writable = size, at, writable

    def read(self, start: int, end: int) -> bytes:
        """Bytes of the mapping; SIGBUS ends the process where the file has none."""
        return ctypes.string_at(self._address + start, end - start)

    def write(self, start: int, data: bytes) -> int:
        """Store bytes; how many were.

        The kernel stores them, so that a file that is immutable by now gives no SIGBUS.
        Raises OSError: EFAULT when not one can be stored.
        """
        place = (ctypes.c_char * len(data)).from_address(self._address + start)
        with open(os.memfd_create("data"), "r+b", buffering=0) as memory:
            memory.write(data)
            return os.preadv(memory.fileno(), [place], 0)

    def sync(self, flags: int) -> None:
        """msync(2) of all. Raises OSError."""
        call("msync", *self._range(), ctypes.c_int(flags))

    def advise(self, advice: int) -> None:
        """madvise(2) of all. Raises OSError."""
        call("madvise", *self._range(), ctypes.c_int(advice))

    def resize(self, size: int) -> None:
        """mremap(2), which may move it. Raises OSError."""
        self._address = _address(
            "mremap", *self._range(), ctypes.c_size_t(size), ctypes.c_int(MREMAP_MAYMOVE)
        )
        self.size = size

    def close(self) -> None:
        """munmap(2)."""
        call("munmap", *self._range())

    def _range(self) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
        return ctypes.c_void_p(self._address), ctypes.c_size_t(self.size)


def get_flags(fd: int) -> int:
    """FS_IOC_GETFLAGS, as lsattr(1) shows them. Raises OSError."""
    return int(struct.unpack("=i", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(4)))[0])


def set_flags(fd: int, flags: int) -> None:
    """FS_IOC_SETFLAGS. Raises OSError."""
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("=i", flags))
