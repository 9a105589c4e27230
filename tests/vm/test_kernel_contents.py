# SPDX-License-Identifier: MIT
"""What programs do with the data of files: holes, ranges, pipes, mappings, limits, syncing."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.differential import libc
from tests.vm import kernel_twins as twins
from tests.vm import kernelkit as kit
from tests.vm.kernel_twins import Steps, result_of
from tests.vm.limits import eventually

LIBC = ctypes.CDLL(None, use_errno=True)
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
NR_CACHESTAT = 451


def call(name: str, *args: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """A libc function with long arguments. Raises OSError."""
    wide = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    function = getattr(LIBC, name)
    function.restype = ctypes.c_long
    result = int(function(*wide))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


KEEP, PUNCH, COLLAPSE, ZERO, INSERT, UNSHARE = 1, 2, 8, 16, 32, 64


def fallocate_steps(s: Steps) -> None:
    fd = os.open(s.base / "file", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b"0123456789abcdef" * 4096, 0)
    modes = {
        "allocate": (0, 60000, 10000),
        "keep": (KEEP, 100000, 10000),
        "punch": (PUNCH | KEEP, 4096, 8192),
        "punch without keep": (PUNCH, 4096, 8192),
        "punch odd": (PUNCH | KEEP, 20001, 77),
        "zero": (ZERO, 30000, 5000),
        "zero keep": (ZERO | KEEP, 60000, 50000),
        "zero beyond": (ZERO, 60000, 60000),
        "collapse": (COLLAPSE, 4096, 4096),
        "collapse odd": (COLLAPSE, 1, 4096),
        "collapse to the end": (COLLAPSE, 8192, 1 << 20),
        "insert": (INSERT, 8192, 4096),
        "insert odd": (INSERT, 8192, 100),
        "unshare": (UNSHARE, 0, 4096),
        "unknown": (128, 0, 4096),
        "negative": (0, -1, 10),
        "nothing": (0, 0, 0),
        "too far": (0, (1 << 62), 4096),
    }
    for name, (mode, offset, length) in modes.items():
        s.do(name, partial(libc.fallocate, fd, mode, offset, length))
        s.do(f"size after {name}", lambda: os.fstat(fd).st_size)
        s.do(f"blocks after {name}", lambda: os.fstat(fd).st_blocks > 0)
    os.ftruncate(fd, 200_000)  # tmpfs goes far, and the tree is hashed
    for at in (0, 4096, 5000, 12288, 200_000):
        s.do(f"data from {at}", partial(os.lseek, fd, at, os.SEEK_DATA))
        s.do(f"hole from {at}", partial(os.lseek, fd, at, os.SEEK_HOLE))
    os.close(fd)
    read_only = os.open(s.base / "file", os.O_RDONLY)
    s.do("read-only", lambda: libc.fallocate(read_only, 0, 0, 10))
    os.close(read_only)
    directory = os.open(s.base, os.O_RDONLY)
    s.do("directory", lambda: libc.fallocate(directory, 0, 0, 10))
    os.close(directory)


def test_fallocate_in_all_modes(place: Path) -> None:
    twins.compare(place, fallocate_steps)


def sparse_steps(s: Steps) -> None:
    fd = os.open(s.base / "file", os.O_RDWR | os.O_CREAT, 0o644)
    far = 5 << 30
    s.do("write far", lambda: os.pwrite(fd, b"far", far))
    s.do("size", lambda: os.fstat(fd).st_size)
    s.do("read", lambda: os.pread(fd, 10, far - 3))
    s.do("first data", lambda: os.lseek(fd, 0, os.SEEK_DATA) // 4096)
    s.do("hole", lambda: os.lseek(fd, far, os.SEEK_HOLE))
    s.do("map", lambda: _map_at(fd, far))
    s.do("truncate", lambda: os.ftruncate(fd, 3 << 30))
    s.do("no data", lambda: os.lseek(fd, 0, os.SEEK_DATA))
    s.do("largest", lambda: os.pwrite(fd, b"x", (1 << 63) - 2))
    s.do("too large", lambda: os.ftruncate(fd, (1 << 63) - 1))
    s.do("negative", lambda: os.pwrite(fd, b"x", -1))
    os.ftruncate(fd, 10)  # the tree is hashed
    os.close(fd)


def _map_at(fd: int, offset: int) -> bytes:
    with mmap.mmap(fd, 3, offset=offset) as mapped:
        mapped[0:1] = b"F"
    return os.pread(fd, 3, offset)


def test_files_over_4_gib_and_sparse(place: Path) -> None:
    twins.compare(place, sparse_steps)


def limit_steps(s: Steps) -> None:
    script = (
        "import errno, os, resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, lambda *_: print('SIGXFSZ'))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)\n"
        "for name, call in (('write', lambda: os.pwrite(fd, bytes(9000), 0)),\n"
        "        ('part', lambda: os.pwrite(fd, bytes(9000), 9000)),\n"
        "        ('none', lambda: os.pwrite(fd, bytes(10), 10000)),\n"
        "        ('truncate', lambda: os.ftruncate(fd, 20000)),\n"
        "        ('allocate', lambda: os.posix_fallocate(fd, 0, 20000))):\n"
        "    try:\n"
        "        print(name, call())\n"
        "    except OSError as error:\n"
        "        print(name, errno.errorcode[error.errno])\n"
    )
    command = [sys.executable, "-c", script, str(s.base / "file")]
    s.do("limited", lambda: subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    s.do("size", lambda: (s.base / "file").stat().st_size)


def test_rlimit_fsize(place: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    twins.compare(place, limit_steps)


def pipe_steps(s: Steps) -> None:
    source = os.open(s.base / "source", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(source, b"0123456789" * 2000, 0)
    target = os.open(s.base / "target", os.O_RDWR | os.O_CREAT, 0o644)
    out, into = os.pipe()
    other_out, other_into = os.pipe()
    s.do("splice in", lambda: os.splice(source, into, 4096, offset_src=100))
    s.do("tee", lambda: call("tee", out, other_into, 4096, 0))
    s.do("splice out", lambda: os.splice(out, target, 4096, offset_dst=10))
    s.do("teed", lambda: os.read(other_out, 4096) == os.pread(target, 4096, 10))
    data = ctypes.create_string_buffer(b"from memory", 11)
    vector = struct.pack("=QQ", ctypes.addressof(data), 11)
    s.do("vmsplice", lambda: call("vmsplice", into, vector, 1, 0))
    s.do("splice append", lambda: os.splice(out, target, 11))
    s.do("sendfile", lambda: os.sendfile(target, source, 50, 5000))
    s.do("sendfile past", lambda: os.sendfile(target, source, 30000, 10))
    s.do("splice past", lambda: os.splice(source, into, 10, offset_src=30000))
    s.do("position", lambda: os.lseek(target, 0, os.SEEK_CUR))
    os.set_blocking(into, False)
    s.do("fill", lambda: os.splice(source, into, 1 << 20, offset_src=0, flags=2) > 0)
    for each in (out, into, other_out, other_into):
        os.close(each)
    appending = os.open(s.base / "target", os.O_WRONLY | os.O_APPEND)
    s.do("sendfile, O_APPEND", lambda: os.sendfile(appending, source, 0, 10))
    os.close(appending)
    s.do("copy", lambda: os.copy_file_range(source, target, 3000, 1000, 20))
    s.do("copy on itself", lambda: os.copy_file_range(source, source, 3000, 0, 100))
    s.do("copy apart", lambda: os.copy_file_range(source, source, 100, 0, 10000))
    s.do("copy past", lambda: os.copy_file_range(source, target, 10, 1 << 20, 0))
    s.do("copy from nothing", lambda: os.copy_file_range(target, target, 10, 1 << 40, 0))
    os.close(source)
    os.close(target)


def test_splice_tee_vmsplice_sendfile_and_copy_file_range(place: Path) -> None:
    twins.compare(place, pipe_steps)


def test_copy_file_range_to_another_file_system(place: Path, tmp_path: Path) -> None:
    """As between any two: EXDEV, after which programs copy by themselves; two mounts do copy."""
    for name in ("lower", "mnt", "second"):
        (place / name).mkdir()
    (place / "lower/file").write_bytes(b"content")
    lower, mnt, second = place / "lower", place / "mnt", place / "second"

    def copy(source: Path, target: Path) -> int:
        with source.open("rb") as a, target.open("wb") as b:
            return os.copy_file_range(a.fileno(), b.fileno(), 100)

    with kit.mounted(lower, mnt), kit.mounted(lower, second):
        assert result_of(lambda: copy(lower / "file", mnt / "new")) == "EXDEV"
        assert result_of(lambda: copy(mnt / "file", lower / "new")) == "EXDEV"
        assert copy(mnt / "file", second / "new") == 7
        subprocess.run(["cp", lower / "file", mnt / "copied"], check=True)
        (tmp_path / "outside").mkdir()
        (tmp_path / "inside").mkdir()
        with kit.mounted(tmp_path / "outside", tmp_path / "inside"):
            got = result_of(lambda: copy(mnt / "file", tmp_path / "inside/new"))
            assert got in (7, "EXDEV")
    assert (lower / "new").read_bytes() == (lower / "copied").read_bytes() == b"content"


def mapping_steps(s: Steps) -> None:
    path = s.base / "file"
    path.write_bytes(b"0123456789" * 2000)
    fd = os.open(path, os.O_RDWR)
    read_only = os.open(path, os.O_RDONLY)
    write_only = os.open(path, os.O_WRONLY)
    read, write, shared, private = (
        mmap.PROT_READ,
        mmap.PROT_WRITE,
        mmap.MAP_SHARED,
        mmap.MAP_PRIVATE,
    )

    def protected(to: int, flags: int, prot: int) -> None:
        mmap.mmap(to, 4096, flags=flags, prot=prot).close()

    for name, to in (("rw", fd), ("ro", read_only), ("wo", write_only)):
        for flags in (shared, private):
            for prot in (read, read | write, read | mmap.PROT_EXEC):
                s.do(f"{name} {flags} {prot}", partial(protected, to, flags, prot))
    # MAP_SHARED_VALIDATE with MAP_SYNC, with an unknown flag
    address = ("mmap", None, 4096, 3)
    s.do("MAP_SYNC", lambda: call(*address, 0x80003, fd, 0) and 0)
    s.do("unknown flag", lambda: call(*address, 0x3 | 1 << 24, fd, 0) and 0)
    with mmap.mmap(fd, 20000, flags=shared) as both, mmap.mmap(fd, 20000, flags=private) as own:
        both[0:6] = b"shared"
        own[6:13] = b"private"
        s.do("seen by read", lambda: os.pread(fd, 13, 0))
        s.do("own", lambda: own[0:13])
        os.pwrite(fd, b"written", 8192)
        s.do("seen by mapping", lambda: both[8192:8199])
        s.do("msync", lambda: both.flush(0, 8192))
        s.do("resize", lambda: both.resize(20000))
        for advice in ("MADV_WILLNEED", "MADV_SEQUENTIAL", "MADV_DONTNEED", "MADV_REMOVE"):
            s.do(advice, partial(both.madvise, getattr(mmap, advice), 4096, 4096))
        s.do("removed", lambda: os.pread(fd, 10, 4096))
        where = ctypes.addressof(ctypes.c_char.from_buffer(both))
        s.do("mlock", lambda: call("mlock", where, 8192))
        resident = ctypes.create_string_buffer(5)
        s.do("mincore", lambda: (call("mincore", where, 20000, resident), resident.raw[0] & 1))
        s.do("mprotect", lambda: call("mprotect", where, 4096, 1))
        names = Path("/proc/self/maps").read_text()
        s.do("name in maps", lambda: str(path) in names)
    s.do("truncated under a mapping", lambda: _bus_error(path))
    for each in (fd, read_only, write_only):
        os.close(each)


def _bus_error(path: Path) -> int:
    script = (
        "import mmap, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "m = mmap.mmap(fd, 20000)\n"
        "os.ftruncate(fd, 4096)\n"
        "m[8192]\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode


def test_mmap_msync_mremap_madvise_mlock(place: Path) -> None:
    twins.compare(place, mapping_steps)
    assert -_bus_error_code(place) == signal.SIGBUS


def _bus_error_code(place: Path) -> int:
    (place / "bus").write_bytes(bytes(20000))
    return _bus_error(place / "bus")


def statx_steps(s: Steps) -> None:
    path = s.base / "file"
    path.write_bytes(bytes(10000))
    os.utime(path, ns=(10**18 + 1, 10**18 + 2))
    os.symlink("file", s.base / "link")
    for name, flags in (("file", 0), ("link", 0x100), ("", 0x1000), ("file", 0x2000)):
        full = str(s.base / name) if name else str(s.base)
        raw = libc.statx(libc.AT_FDCWD, full, flags & 0x2100, 0x2FFF)
        mask, block, attributes = struct.unpack_from("=IIQ", raw)
        has = struct.unpack_from("=Q", raw, 56)[0]
        birth = struct.unpack_from("=Q", raw, 80)[0]
        direct = struct.unpack_from("=II", raw, 152)
        # Ids of the mount, and being its root, are a mount's own
        s.do(f"mask of {name or 'the base'}", lambda mask=mask: hex(mask & ~0x5000))  # type: ignore[misc]
        s.do("block size", partial(int, block))
        s.do("attributes", partial(int, attributes & ~0x2000))
        s.do("which of them", partial(int, has))
        s.do("has a birth", partial(bool, birth))
        s.do("direct I/O alignment", partial(tuple, direct))


def test_statx_with_birth_time_attributes_and_dio_alignment(place: Path) -> None:
    twins.compare(place, statx_steps)


def sync_steps(s: Steps) -> None:
    fd = os.open(s.base / "file", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, bytes(20000))
    s.do("sync_file_range", lambda: call("sync_file_range", fd, 0, 8192, 7))
    s.do("bad flags", lambda: call("sync_file_range", fd, 0, 8192, 64))
    counts = ctypes.create_string_buffer(40)
    ask = struct.pack("=QQ", 0, 8192)
    s.do("cachestat", lambda: call("syscall", NR_CACHESTAT, fd, ask, counts, 0))
    s.do("pages", lambda: struct.unpack_from("=Q", counts)[0])
    s.do("syncfs", lambda: call("syncfs", fd))
    s.do("fsync", lambda: os.fsync(fd))
    s.do("fdatasync", lambda: os.fdatasync(fd))
    s.do("readahead", lambda: call("readahead", fd, 0, 20000))
    for advice in range(6):
        s.do(f"fadvise {advice}", partial(os.posix_fadvise, fd, 0, 0, advice))
    os.close(fd)
    directory = os.open(s.base, os.O_RDONLY)
    s.do("fsync of a directory", lambda: os.fsync(directory))
    os.close(directory)


def test_syncfs_sync_file_range_and_fadvise(place: Path) -> None:
    """The pages are the lower file's: those of ours are none."""
    twins.compare(place, sync_steps, unlike={"pages": 0} if _has_cachestat() else {})


def _has_cachestat() -> bool:
    """A kernel may be built without (CONFIG_CACHESTAT_SYSCALL): then no file has its pages told."""
    try:
        call("syscall", NR_CACHESTAT, -1, None, None, 0)
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True


def test_syncfs_reaches_the_lower_file_system(kind: str, place: Path) -> None:
    if kind == "tmpfs":
        pytest.skip("tmpfs has nothing to write back")
    for name in ("lower", "mnt"):
        (place / name).mkdir()
    with kit.mounted(place / "lower", place / "mnt"):
        before = _dirty_extents(place / "lower")
        assert before == 0
        fd = os.open(place / "mnt/file", os.O_RDWR | os.O_CREAT, 0o644)
        os.write(fd, bytes(20000))
        assert _dirty_extents(place / "lower") > 0
        call("syncfs", fd)
        assert _dirty_extents(place / "lower") == 0
        os.close(fd)


def _dirty_extents(directory: Path) -> int:
    """Extents that are not allocated yet, of all files of a directory."""
    count = 0
    for path in directory.iterdir():
        with path.open("rb") as file:
            ask = bytearray(struct.pack("=QQIIII", 0, 2**64 - 1, 0, 0, 16, 0) + bytes(56 * 16))
            fcntl.ioctl(file, 0xC020660B, ask)
            for at in range(struct.unpack_from("=I", ask, 20)[0]):
                count += bool(struct.unpack_from("=I", ask, 32 + 56 * at + 40)[0] & 0x4)
    return count


def test_freezing_below_blocks_and_thawing_lets_go_on(kind: str, fs: Path, place: Path) -> None:
    if kind == "tmpfs":
        pytest.skip("tmpfs cannot be frozen")
    lower, mnt = place / "lower", place / "mnt"
    lower.mkdir()
    mnt.mkdir()
    (lower / "file").write_text("content")
    with kit.mounted(lower, mnt):
        fd = os.open(mnt / "file", os.O_RDWR)
        top = os.open(fs, os.O_RDONLY)
        done: list[str] = []

        def write() -> None:
            os.pwrite(fd, b"CONTENT", 0)
            done.append("write")

        def create() -> None:
            (mnt / "new").write_text("x")
            done.append("create")

        threads = [threading.Thread(target=body, daemon=True) for body in (write, create)]
        fcntl.ioctl(top, FIFREEZE, 0)
        try:
            for thread in threads:
                thread.start()
            assert eventually(lambda: all(_is_stuck(thread) for thread in threads))
            assert os.pread(fd, 7, 0) == b"content"
            assert (mnt / "file").stat().st_size == 7
            assert done == []
        finally:
            fcntl.ioctl(top, FITHAW, 0)
        for thread in threads:
            thread.join(30)
        assert sorted(done) == ["create", "write"]
        os.close(fd)
        os.close(top)
    assert (lower / "file").read_text() == "CONTENT"


def _is_stuck(thread: threading.Thread) -> bool:
    """Does a thread wait in the kernel where no signal wakes it?"""
    state = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rsplit(")", 1)[1]
    return state.split()[0] == "D"


def test_remounting_read_only_below(fs: Path, place: Path) -> None:
    """Refused while the mount has a file open for writing; then every change is EROFS."""
    lower, mnt = place / "lower", place / "mnt"
    lower.mkdir()
    mnt.mkdir()
    (lower / "file").write_text("content")
    remount = ["mount", "-o", "remount,ro", str(fs)]
    with kit.mounted(lower, mnt):
        fd = os.open(mnt / "file", os.O_RDWR)
        assert subprocess.run(remount, check=False, stderr=subprocess.DEVNULL).returncode != 0
        os.close(fd)
        assert subprocess.run(remount, check=False).returncode == 0
        try:
            changes = (
                lambda: os.open(mnt / "file", os.O_WRONLY),
                lambda: os.open(mnt / "new", os.O_WRONLY | os.O_CREAT),
                lambda: os.open(mnt, os.O_TMPFILE | os.O_RDWR),
                lambda: (mnt / "dir").mkdir(),
                lambda: os.unlink(mnt / "file"),
                lambda: os.rename(mnt / "file", mnt / "other"),
                lambda: os.link(mnt / "file", mnt / "link"),
                lambda: (mnt / "file").chmod(0o600),
                lambda: os.utime(mnt / "file"),
                lambda: os.setxattr(mnt / "file", "user.x", b"y"),
                lambda: os.truncate(mnt / "file", 0),
            )
            for number, change in enumerate(changes):
                assert result_of(change) == "EROFS", number
            assert (mnt / "file").read_text() == "content"
        finally:
            subprocess.run(["mount", "-o", "remount,rw", fs], check=True)
        (mnt / "new").write_text("x")
