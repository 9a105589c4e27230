# SPDX-License-Identifier: MIT
"""System calls that Python does not wrap, or wraps without their errno or flags."""

from __future__ import annotations

import ctypes
import os
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EACCESS = 0x200
AT_EMPTY_PATH = 0x1000
STATX_ALL = 0xFFF
NR_GETDENTS64 = 217


def _call(name: str, *args: ctypes._SimpleCData[int] | bytes | ctypes.Array[ctypes.c_char]) -> int:
    result = int(getattr(_LIBC, name)(*args))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2); offset and length in bytes. Raises OSError."""
    args = ctypes.c_int(fd), ctypes.c_int(mode), ctypes.c_long(offset), ctypes.c_long(length)
    _call("fallocate", *args)


def renameat2(old_at: int, old: str, new_at: int, new: str, flags: int) -> None:
    """renameat2(2) with RENAME_NOREPLACE 1 or RENAME_EXCHANGE 2. Raises OSError."""
    old_args = ctypes.c_int(old_at), os.fsencode(old)
    _call("renameat2", *old_args, ctypes.c_int(new_at), os.fsencode(new), ctypes.c_uint(flags))


def faccessat(at: int, path: str, mode: int, flags: int) -> None:
    """faccessat(2) with AT_EACCESS or AT_SYMLINK_NOFOLLOW. Raises OSError."""
    _call("faccessat", ctypes.c_int(at), os.fsencode(path), ctypes.c_int(mode), ctypes.c_int(flags))


def statx(at: int, path: str, flags: int, mask: int) -> bytes:
    """The 256 bytes of struct statx (include/uapi/linux/stat.h). Raises OSError."""
    buffer = ctypes.create_string_buffer(256)
    where = ctypes.c_int(at), os.fsencode(path)
    _call("statx", *where, ctypes.c_int(flags), ctypes.c_uint(mask), buffer)
    return buffer.raw


def getxattr(path: str, name: str, size: int) -> int:
    """Length of an attribute as getxattr(2) gives it for a buffer of `size` bytes."""
    buffer = ctypes.create_string_buffer(max(size, 1))
    args = os.fsencode(path), os.fsencode(name)
    return _call("getxattr", *args, buffer, ctypes.c_size_t(size))


def listxattr(path: str, size: int) -> int:
    """Length of the attributes' list as listxattr(2) gives it for a buffer of `size` bytes."""
    buffer = ctypes.create_string_buffer(max(size, 1))
    return _call("listxattr", os.fsencode(path), buffer, ctypes.c_size_t(size))


def getdents(fd: int, size: int) -> list[tuple[int, int, int, str]]:
    """Inode, next position, type and name of each entry of one getdents64(2). Raises OSError."""
    buffer = ctypes.create_string_buffer(size)
    number = ctypes.c_long(NR_GETDENTS64)
    got = _call("syscall", number, ctypes.c_int(fd), buffer, ctypes.c_size_t(size))
    found: list[tuple[int, int, int, str]] = []
    at = 0
    while at < got:
        ino, off, reclen, kind = struct.unpack_from("=QqHB", buffer.raw, at)
        name = buffer.raw[at + 19 : at + reclen].split(b"\0", 1)[0]
        found.append((ino, off, kind, os.fsdecode(name)))
        at += reclen
    return found
