# SPDX-License-Identifier: MIT
"""io_uring and AIO without a library: one request at a time, as system calls (x86-64 numbers).

Structs are those of include/uapi/linux/io_uring.h and aio_abi.h.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import time
from contextlib import suppress
from pathlib import Path

from tests.differential.libc import checked

_LIBC = ctypes.CDLL(None, use_errno=True)
_SETUP, _ENTER, _REGISTER = 425, 426, 427
_IO_SETUP, _IO_DESTROY, _IO_GETEVENTS, _IO_SUBMIT = 206, 207, 208, 209

SETUP_IOPOLL, SETUP_SQPOLL = 1, 2
FIXED_FILE, ASYNC = 1, 16
_GETEVENTS, _SQ_WAKEUP = 1, 2
_NEED_WAKEUP = 1
_OFF_CQ, _OFF_SQES = 0x8000000, 0x10000000

# enum io_uring_op
READV, WRITEV, FSYNC, READ_FIXED, WRITE_FIXED = 1, 2, 3, 4, 5
SYNC_FILE_RANGE, FALLOCATE, OPENAT, CLOSE, STATX, READ, WRITE, FADVISE = (
    8,
    17,
    18,
    19,
    21,
    22,
    23,
    24,
)
OPENAT2, SPLICE, TEE, RENAMEAT, UNLINKAT, MKDIRAT, SYMLINKAT, LINKAT = (
    28,
    30,
    33,
    35,
    36,
    37,
    38,
    39,
)
FSETXATTR, SETXATTR, FGETXATTR, GETXATTR, FTRUNCATE = 41, 42, 43, 44, 55

AT_FDCWD = -100


def _call(number: int, *args: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    wide = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = int(_LIBC.syscall(ctypes.c_long(number), *wide))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class Buffer:
    """Memory at a fixed, page-aligned address."""

    def __init__(self, size: int) -> None:
        self.map = mmap.mmap(-1, size)
        self._view = ctypes.c_char.from_buffer(self.map)
        self.address = ctypes.addressof(self._view)
        self.size = size

    def close(self) -> None:
        """Give the memory back; no request may use it."""
        del self._view
        self.map.close()


def _poller_runs() -> bool:
    """Whether this process has an SQPOLL thread."""
    for name in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it ended meanwhile
            if name.read_text().startswith("iou-sqp-"):
                return True
    return False


class Ring:
    """An io_uring with room for eight requests. Raises OSError where the kernel refuses it."""

    def __init__(self, flags: int = 0) -> None:
        params = ctypes.create_string_buffer(120)
        struct.pack_into("=II", params, 8, flags, 0)
        struct.pack_into("=I", params, 16, 1000)  # the SQPOLL thread's idle time in ms
        self.fd = _call(_SETUP, 8, params)
        self._flags = flags
        self._sq = struct.unpack_from("=8I", params, 40)
        self._cq = struct.unpack_from("=6I", params, 80)
        # One mapping serves both rings (IORING_FEAT_SINGLE_MMAP, since Linux 5.4)
        size = max(self._sq[6] + 4 * 8, self._cq[5] + 16 * 16)
        self._ring = mmap.mmap(self.fd, size, offset=0)
        self._sqes = mmap.mmap(self.fd, 64 * 8, offset=_OFF_SQES)
        self._registered: list[int] = []

    def close(self) -> None:
        """Let the ring go, with what is registered; no file is held by it afterwards.

        The kernel ends a closed ring in a worker, when it likes: a file system with a file that was
        registered, or that the SQPOLL thread has just used, could be busy for a while.
        """
        for opcode in self._registered:
            _call(_REGISTER, self.fd, opcode + 1, 0, 0)
        self._ring.close()
        self._sqes.close()
        os.close(self.fd)
        if self._flags & SETUP_SQPOLL:
            while _poller_runs():
                time.sleep(0.001)

    def __enter__(self) -> Ring:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def register(self, opcode: int, data: bytes, count: int) -> None:
        """io_uring_register(2): 0 takes buffers (struct iovec), 2 takes files (int)."""
        _call(_REGISTER, self.fd, opcode, data, count)
        self._registered.append(opcode)

    def _word(self, offset: int) -> int:
        return int(struct.unpack_from("=I", self._ring, offset)[0])

    def _store(self, offset: int, value: int) -> None:
        """In one step, as the kernel looks at it any time: pack_into() writes zeros first."""
        ctypes.c_uint32.from_buffer(self._ring, offset).value = value

    def do(
        self,
        opcode: int,
        fd: int,
        addr: int = 0,
        length: int = 0,
        off: int = 0,
        op_flags: int = 0,
        flags: int = 0,
        index: int = 0,
        addr3: int = 0,
        ioprio: int = 0,
    ) -> int:
        """Submit one request and wait for it; its result. Raises OSError with its errno.

        `index` is buf_index or splice_fd_in, whichever the opcode has.
        """
        # splice_fd_in lies behind buf_index and personality
        split = (0, index) if opcode in (SPLICE, TEE) else (index, 0)
        entry = struct.pack(
            "=BBHiQQIIQHHiQQ",
            *(opcode, flags, ioprio, fd, off, addr, length, op_flags, 1),
            *(split[0], 0, split[1], addr3, 0),
        )
        tail = self._word(self._sq[1])
        slot = tail & self._word(self._sq[2])
        self._sqes[slot * 64 : slot * 64 + 64] = entry
        struct.pack_into("=I", self._ring, self._sq[6] + 4 * slot, slot)
        self._store(self._sq[1], tail + 1)
        self._enter(int(not self._flags & SETUP_SQPOLL))
        return checked(self._reap())

    def _enter(self, submit: int) -> None:
        how = _GETEVENTS
        if self._flags & SETUP_SQPOLL and self._word(self._sq[4]) & _NEED_WAKEUP:
            how |= _SQ_WAKEUP
        while True:
            try:
                _call(_ENTER, self.fd, submit, 1, how, 0, 0)
            except InterruptedError:
                submit = 0
                continue
            return

    def _reap(self) -> int:
        while self._word(self._cq[0]) == self._word(self._cq[1]):
            self._enter(0)
        head = self._word(self._cq[0])
        at = self._cq[5] + 16 * (head & self._word(self._cq[2]))
        _user, result, _flags = struct.unpack_from("=QiI", self._ring, at)
        self._store(self._cq[0], head + 1)
        return int(result)


class Aio:
    """A context of io_setup(2)."""

    PREAD, PWRITE, FSYNC, FDSYNC, PREADV, PWRITEV = 0, 1, 2, 3, 7, 8

    def __init__(self) -> None:
        context = ctypes.create_string_buffer(8)
        _call(_IO_SETUP, 8, context)
        self._context = int(struct.unpack("=Q", context.raw)[0])

    def do(
        self, opcode: int, fd: int, addr: int = 0, length: int = 0, off: int = 0, rw_flags: int = 0
    ) -> int:
        """Submit one request and wait for it; its result. Raises OSError with its errno."""
        block = ctypes.create_string_buffer(64)
        struct.pack_into(
            "=QIIHhIQQqQII", block, 0, 1, 0, rw_flags, opcode, 0, fd, addr, length, off, 0, 0, 0
        )
        pointer = ctypes.create_string_buffer(struct.pack("=Q", ctypes.addressof(block)))
        if _call(_IO_SUBMIT, self._context, 1, pointer) != 1:
            raise OSError(errno.EAGAIN, "nothing was submitted")
        event = ctypes.create_string_buffer(32)
        assert _call(_IO_GETEVENTS, self._context, 1, 1, event, 0) == 1
        return checked(int(struct.unpack_from("=QQqq", event.raw)[2]))

    def close(self) -> None:
        """Let the context go."""
        _call(_IO_DESTROY, self._context)

    def __enter__(self) -> Aio:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
