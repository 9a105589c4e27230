# SPDX-License-Identifier: MIT
"""io_uring (include/uapi/linux/io_uring.h) and Linux AIO (include/uapi/linux/aio_abi.h).

One operation, or a linked few, is submitted and waited for at a time.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from typing import NamedTuple

from tests.differential.libc import syscall

_NR_IO_SETUP, _NR_IO_GETEVENTS, _NR_IO_SUBMIT = 206, 208, 209
_NR_URING_SETUP, _NR_URING_ENTER, _NR_URING_REGISTER = 425, 426, 427
_ENTRIES = 8
_OFF_SQES = 0x10000000
_GETEVENTS = 1

LINK, ASYNC = 1 << 2, 1 << 4


class _Memory:
    """Memory at a fixed place, aligned to a page."""

    def __init__(self, size: int) -> None:
        self._pages = mmap.mmap(-1, size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))

    def fill(self, data: bytes, at: int = 0) -> None:
        self._pages[at : at + len(data)] = data

    def bytes(self, size: int) -> bytes:
        return self._pages[:size]


class Sqe(NamedTuple):
    """The parts of a submission that are used: `off` is addr2 and `flags` rw_flags, too."""

    opcode: int
    how: int
    fd: int
    off: int
    addr: int
    size: int
    flags: int = 0


class Ring:
    """A ring, with memory that is registered as its only buffer."""

    READ_FIXED, WRITE_FIXED = 4, 5
    FSYNC, FALLOCATE, OPENAT, READ, WRITE = 3, 17, 18, 22, 23
    RENAMEAT, UNLINKAT, MKDIRAT = 35, 36, 37
    BUFFER = 32768

    def __init__(self) -> None:
        """Set up. Raises OSError."""
        params = ctypes.create_string_buffer(120)
        self._fd = syscall(_NR_URING_SETUP, ctypes.c_uint(_ENTRIES), params)
        os.set_inheritable(self._fd, False)
        entries, completions = struct.unpack_from("=II", params, 0)
        sq, cq = struct.unpack_from("=7I", params, 40), struct.unpack_from("=7I", params, 80)
        self._tail, self._mask, array = sq[1], entries - 1, sq[6]
        self._cq_head, self._cq_mask, self._cqes = cq[0], completions - 1, cq[5]
        # IORING_FEAT_SINGLE_MMAP, since Linux 5.4: both rings in one mapping
        size = max(array + 4 * entries, self._cqes + 16 * completions)
        self._rings = mmap.mmap(self._fd, size, flags=mmap.MAP_SHARED)
        self._sqes = mmap.mmap(self._fd, entries * 64, flags=mmap.MAP_SHARED, offset=_OFF_SQES)
        for index in range(entries):
            struct.pack_into("=I", self._rings, array + 4 * index, index)
        self._memory = _Memory(self.BUFFER)
        self._strings = _Memory(16384)
        self.buffer = self._memory.address
        vector = struct.pack("=QQ", self.buffer, self.BUFFER)
        number = ctypes.c_uint(0), vector, ctypes.c_uint(1)
        syscall(_NR_URING_REGISTER, ctypes.c_int(self._fd), *number)

    def fill(self, data: bytes) -> None:
        """Put data in the memory."""
        self._memory.fill(data)

    def bytes(self, size: int) -> bytes:
        """What is in the memory."""
        return self._memory.bytes(size)

    def string(self, text: str, second: bool = False) -> int:
        """Address of a path, one of two at a time."""
        at = 8192 if second else 0
        self._strings.fill(os.fsencode(text) + b"\0", at)
        return self._strings.address + at

    def submit(self, *steps: Sqe) -> list[int]:
        """Do operations and wait for them; results in their order. Raises OSError."""
        (tail,) = struct.unpack_from("=I", self._rings, self._tail)
        for index, step in enumerate(steps):
            sqe = struct.pack("=BBHiQQII", *step[:2], 0, *step[2:])
            at = 64 * ((tail + index) & self._mask)
            self._sqes[at : at + 64] = sqe + struct.pack("=Q", index) + bytes(24)
        struct.pack_into("=I", self._rings, self._tail, tail + len(steps))
        results = [0] * len(steps)
        count = ctypes.c_uint(len(steps))
        fd, flags = ctypes.c_int(self._fd), ctypes.c_uint(_GETEVENTS)
        none = ctypes.c_void_p(), ctypes.c_size_t(0)
        syscall(_NR_URING_ENTER, fd, count, count, flags, *none)
        (head,) = struct.unpack_from("=I", self._rings, self._cq_head)
        for _ in steps:
            at = self._cqes + 16 * (head & self._cq_mask)
            index, result = struct.unpack_from("=Qi", self._rings, at)
            results[index] = result
            head += 1
        struct.pack_into("=I", self._rings, self._cq_head, head)
        return results


class Aio:
    """A context for one operation at a time."""

    PREAD, PWRITE, FSYNC, FDSYNC = 0, 1, 2, 3
    BUFFER = 32768

    def __init__(self) -> None:
        """Set up. Raises OSError."""
        context = ctypes.c_ulong(0)
        syscall(_NR_IO_SETUP, ctypes.c_uint(1), ctypes.byref(context))
        self._context = context
        self._memory = _Memory(self.BUFFER)

    def fill(self, data: bytes) -> None:
        """Put data in the memory."""
        self._memory.fill(data)

    def bytes(self, size: int) -> bytes:
        """What is in the memory."""
        return self._memory.bytes(size)

    def submit(self, opcode: int, fd: int, size: int, at: int, flags: int = 0) -> int:
        """Do an operation and wait for it: its result. Raises OSError: it was not begun."""
        address = self._memory.address if size else 0
        where = address, size, at, 0, 0, 0
        iocb = struct.pack("=QIIHhIQQqQII", 0, 0, flags, opcode, 0, fd, *where)
        pointer = ctypes.create_string_buffer(iocb, len(iocb))
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(pointer))
        one = ctypes.c_long(1)
        syscall(_NR_IO_SUBMIT, self._context, one, pointers)
        event = ctypes.create_string_buffer(32)
        syscall(_NR_IO_GETEVENTS, self._context, one, one, event, ctypes.c_void_p())
        return int(struct.unpack_from("=q", event, 16)[0])
