# SPDX-License-Identifier: MIT
"""AIO and io_uring in all their modes, and the flags of single reads and writes."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.vm import kernel_twins as twins
from tests.vm import kernel_uring as uring
from tests.vm import kernelkit as kit
from tests.vm.kernel_twins import Steps, result_of
from tests.vm.kernel_uring import Aio, Buffer, Ring

SIZE = 8192


def path_of(path: Path) -> tuple[ctypes.Array[ctypes.c_char], int]:
    """A path in memory, and its address."""
    raw = ctypes.create_string_buffer(os.fsencode(path))
    return raw, ctypes.addressof(raw)


def _size(fd: int) -> int:
    return os.fstat(fd).st_size


def aio_steps(s: Steps) -> None:
    memory = Buffer(SIZE)
    with Aio() as aio:
        for name, flags in (("buffered", 0), ("direct", os.O_DIRECT), ("append", os.O_APPEND)):
            fd = os.open(s.base / name, os.O_RDWR | os.O_CREAT | flags, 0o644)
            memory.map[:] = bytes(range(256)) * (SIZE // 256)
            put, get = (partial(aio.do, op, fd, memory.address) for op in (Aio.PWRITE, Aio.PREAD))
            s.do(f"{name} write", partial(put, SIZE, 0))
            s.do(f"{name} write on", partial(put, 4096, SIZE))
            s.do(f"{name} odd", partial(put, 10, 3))
            for what in (Aio.FSYNC, Aio.FDSYNC):
                s.do(f"{name} sync {what}", partial(aio.do, what, fd))
            memory.map[:] = bytes(SIZE)
            s.do(f"{name} read", partial(get, SIZE, 4096))
            s.do(f"{name} data", lambda: bytes(memory.map[:]))
            s.do(f"{name} end", partial(get, SIZE, 1 << 20))
            s.do(f"{name} size", partial(_size, fd))
            os.close(fd)
        fd = os.open(s.base / "direct", os.O_RDONLY)
        s.do("write rdonly", lambda: aio.do(Aio.PWRITE, fd, memory.address, 10))
        os.close(fd)
    memory.close()


def test_aio(place: Path) -> None:
    twins.compare(place, aio_steps)


MODES = {"plain": 0, "sqpoll": uring.SETUP_SQPOLL}


@pytest.mark.parametrize("mode", MODES)
def test_io_uring_data(place: Path, mode: str) -> None:
    """Buffered and direct, registered buffers and files, inline and by a worker."""

    def steps(s: Steps) -> None:
        memory = Buffer(SIZE)
        for name, extra in (("buffered", 0), ("direct", os.O_DIRECT)):
            fd = os.open(s.base / name, os.O_RDWR | os.O_CREAT | extra, 0o644)
            with Ring(MODES[mode]) as ring:
                _data_steps(s, name, ring, fd, memory)
            os.close(fd)
        memory.close()

    twins.compare(place, steps)


def _data_steps(s: Steps, name: str, ring: Ring, fd: int, memory: Buffer) -> None:
    at = memory.address
    memory.map[:] = bytes(range(256)) * (SIZE // 256)
    s.do(f"{name} write", lambda: ring.do(uring.WRITE, fd, at, SIZE, 0))
    s.do(f"{name} write async", lambda: ring.do(uring.WRITE, fd, at, 4096, SIZE, flags=uring.ASYNC))
    s.do(f"{name} append", lambda: ring.do(uring.WRITE, fd, at, 4096, 0, os.RWF_APPEND))
    s.do(f"{name} dsync", lambda: ring.do(uring.WRITE, fd, at, 4096, 0, os.RWF_DSYNC))
    s.do(f"{name} fsync", lambda: ring.do(uring.FSYNC, fd))
    s.do(f"{name} fdatasync", lambda: ring.do(uring.FSYNC, fd, op_flags=1))
    memory.map[:] = bytes(SIZE)
    s.do(f"{name} read", lambda: ring.do(uring.READ, fd, at, SIZE, 4096))
    s.do(f"{name} data", lambda: bytes(memory.map[:]))
    s.do(f"{name} end", lambda: ring.do(uring.READ, fd, at, SIZE, 1 << 30))
    ring.register(0, struct.pack("=QQ", at, SIZE), 1)
    ring.register(2, struct.pack("=i", fd), 1)
    s.do(f"{name} fixed", lambda: ring.do(uring.WRITE_FIXED, fd, at, SIZE, 16384))
    s.do(
        f"{name} fixed both",
        lambda: ring.do(uring.READ_FIXED, 0, at, 4096, 16384, flags=uring.FIXED_FILE),
    )
    vector = ctypes.create_string_buffer(struct.pack("=QQQQ", at, 512, at + 4096, 512))
    where = ctypes.addressof(vector)
    s.do(f"{name} writev", lambda: ring.do(uring.WRITEV, fd, where, 2, 0))
    s.do(f"{name} readv", lambda: ring.do(uring.READV, fd, where, 2, 512))
    s.do(f"{name} size", lambda: os.fstat(fd).st_size)
    s.do(f"{name} content", lambda: (s.base / name).read_bytes())


def iopoll_steps(s: Steps) -> None:
    memory = Buffer(SIZE)
    fd = os.open(s.base / "file", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o644)
    os.posix_fallocate(fd, 0, SIZE)
    with Ring(uring.SETUP_IOPOLL) as ring:
        s.do("read", lambda: ring.do(uring.READ, fd, memory.address, SIZE, 0))
    os.close(fd)
    memory.close()


def test_io_uring_iopoll_is_refused(place: Path) -> None:
    """The kernel's backing files keep the lower request, which polling needs, for themselves."""
    twins.compare(place, iopoll_steps, unlike={"read": "ENOTSUP"} if _polls(place) else {})


def _polls(place: Path) -> bool:
    """Does the file system below poll? tmpfs does not."""
    shown = subprocess.run(["stat", "-fc", "%T", place], check=True, stdout=subprocess.PIPE)
    return shown.stdout != b"tmpfs\n"


def name_steps(s: Steps) -> None:
    b = s.base
    keep = {name: path_of(b / name) for name in ("dir", "file", "new", "link", "symlink", "none")}
    where = {name: pair[1] for name, pair in keep.items()}
    cwd = uring.AT_FDCWD
    key, value = ctypes.create_string_buffer(b"user.key"), ctypes.create_string_buffer(b"value")
    name_at, value_at = ctypes.addressof(key), ctypes.addressof(value)
    found = ctypes.create_string_buffer(256)
    with Ring() as ring:
        s.do("mkdirat", lambda: ring.do(uring.MKDIRAT, cwd, where["dir"], 0o750))
        flags = os.O_CREAT | os.O_RDWR
        s.do("openat", lambda: os.close(ring.do(uring.OPENAT, cwd, where["file"], 0o640, 0, flags)))
        how = ctypes.create_string_buffer(struct.pack("=QQQ", os.O_RDWR, 0, 0))
        off = ctypes.addressof(how)
        fd = ring.do(uring.OPENAT2, cwd, where["file"], 24, off)
        s.do("fallocate", lambda: ring.do(uring.FALLOCATE, fd, 20000, 0, 0))
        s.do("fadvise", lambda: ring.do(uring.FADVISE, fd, 0, 20000, 0, os.POSIX_FADV_WILLNEED))
        s.do("ftruncate", lambda: ring.do(uring.FTRUNCATE, fd, 0, 0, 12345))
        s.do("sync_file_range", lambda: ring.do(uring.SYNC_FILE_RANGE, fd, 0, 100, 0, 7))
        s.do("fsetxattr", lambda: ring.do(uring.FSETXATTR, fd, name_at, 5, value_at))
        result = ctypes.addressof(found)
        s.do(
            "getxattr",
            lambda: ring.do(uring.GETXATTR, 0, name_at, 256, result, addr3=where["file"]),
        )
        s.do("value", lambda: found.raw[:5])
        s.do(
            "statx",
            lambda: ring.do(uring.STATX, cwd, where["file"], 0x7FF, result),
        )
        s.do("its size", lambda: struct.unpack_from("=Q", found.raw, 40))
        s.do("statx none", lambda: ring.do(uring.STATX, cwd, where["none"], 0x7FF, result))
        new = (cwd & 0xFFFFFFFF, where["new"])
        s.do("renameat", lambda: ring.do(uring.RENAMEAT, cwd, where["file"], *new))
        link = (cwd & 0xFFFFFFFF, where["link"])
        s.do("linkat", lambda: ring.do(uring.LINKAT, cwd, where["new"], *link))
        s.do("symlinkat", lambda: ring.do(uring.SYMLINKAT, cwd, where["new"], 0, where["symlink"]))
        s.do("unlinkat", lambda: ring.do(uring.UNLINKAT, cwd, where["new"]))
        s.do("unlinkat again", lambda: ring.do(uring.UNLINKAT, cwd, where["new"]))
        s.do("rmdir", lambda: ring.do(uring.UNLINKAT, cwd, where["dir"], op_flags=0x200))
        out, into = os.pipe()
        no = 2**64 - 1
        os.pwrite(fd, b"through a pipe", 0)
        s.do("splice", lambda: ring.do(uring.SPLICE, into, 0, 14, no, 0, 0, fd))
        s.do("spliced", lambda: os.read(out, 100))
        os.write(into, b"and back")
        s.do("splice back", lambda: ring.do(uring.SPLICE, fd, no, 8, 100, 0, 0, out))
        s.do("then", lambda: os.pread(fd, 8, 100))
        s.do("close", lambda: ring.do(uring.CLOSE, fd))
        os.close(out)
        os.close(into)
    (b / "symlink").unlink()


def test_io_uring_names_and_attributes(place: Path) -> None:
    twins.compare(place, name_steps)


RWF_NOAPPEND = 0x20


def _read_uncached(fd: int) -> None:
    """RWF_NOWAIT of what is not cached. A page in use just then stays, so it is dropped again."""
    for _attempt in range(100):
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.preadv(fd, [bytearray(5)], 0, os.RWF_NOWAIT)


def flag_steps(s: Steps) -> None:
    """preadv2 and pwritev2 with every flag."""
    path = s.base / "file"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    appending = os.open(path, os.O_WRONLY | os.O_APPEND)

    def write(to: int, flags: int, at: int, data: bytes = b"data") -> int:
        return os.pwritev(to, [data], at, flags)

    s.do("plain", lambda: write(fd, 0, 0, b"0123456789"))
    for flag in ("RWF_DSYNC", "RWF_SYNC", "RWF_HIPRI", "RWF_APPEND"):
        s.do(flag, partial(write, fd, getattr(os, flag), 2))
    s.do("append, O_APPEND", lambda: write(appending, os.RWF_APPEND, 0))
    s.do("noappend", lambda: write(appending, RWF_NOAPPEND, 4, b"HERE"))
    s.do("noappend, dsync", lambda: write(appending, RWF_NOAPPEND | os.RWF_DSYNC, 1, b"!"))
    s.do("both", lambda: write(appending, RWF_NOAPPEND | os.RWF_APPEND, 4))
    s.do("unknown", lambda: write(fd, 1 << 20, 0))
    s.do("content", lambda: os.pread(fd, 100, 0))
    # EAGAIN where a later tick of the clock has to be noted in the journal (fs/inode.c)
    s.do(
        "nowait write",
        lambda: result_of(lambda: write(fd, os.RWF_NOWAIT, 0, b"n")) in (1, "EAGAIN"),
    )
    s.do("nowait read", lambda: os.preadv(fd, [bytearray(5)], 0, os.RWF_NOWAIT))
    s.do("nowait, not cached", partial(_read_uncached, fd))
    s.do("current position", lambda: os.preadv(fd, [bytearray(5)], -1, 0))
    s.do("position", lambda: os.lseek(fd, 0, os.SEEK_CUR))
    s.do("append at position", lambda: write(appending, 0, -1, b"end"))
    os.chmod(path, 0o6755)
    s.do("noappend by root", lambda: write(appending, RWF_NOAPPEND, 0, b"x"))
    s.do("set-id", lambda: oct(os.stat(path).st_mode))
    os.close(fd)
    os.close(appending)


def test_flags_of_single_reads_and_writes(place: Path) -> None:
    twins.compare(place, flag_steps)


def test_no_write_is_atomic(place: Path) -> None:
    """Not where the file system below could, either."""
    lower, mnt = place / "lower", place / "mnt"
    lower.mkdir()
    mnt.mkdir()
    with kit.mounted(lower, mnt):
        fd = os.open(mnt / "file", os.O_RDWR | os.O_CREAT, 0o644)
        rwf_atomic = 0x40
        with pytest.raises(OSError) as caught:
            os.pwritev(fd, [bytes(4096)], 0, rwf_atomic)
        os.close(fd)
    assert caught.value.errno == errno.EOPNOTSUPP
    assert (lower / "file").stat().st_size == 0
