# SPDX-License-Identifier: MIT
"""ioctls and what the VFS makes of them: the allow-list, file attributes, extents, blocks."""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.vm import kernel_twins as twins
from tests.vm import kernelkit as kit
from tests.vm.kernel_twins import Steps

# include/uapi/linux/fs.h, fiemap.h, fscrypt.h, fsverity.h, ext4.h; ioctl.h on x86
FIONREAD = 0x541B
FIOQSIZE = 0x5460
FIBMAP, FIGETBSZ = 1, 2
FIFREEZE, FITHAW, FITRIM = 0xC0045877, 0xC0045878, 0xC0185879
FICLONE, FICLONERANGE, FIDEDUPERANGE = 0x40049409, 0x4020940D, 0xC0189436
GETFLAGS, SETFLAGS = 0x80086601, 0x40086602
GETVERSION, SETVERSION = 0x80087601, 0x40087602
GETVERSION32 = 0x80047601
FSGETXATTR, FSSETXATTR = 0x801C581F, 0x401C5820
FIEMAP = 0xC020660B
RESVSP = 0x40305828
GETFSUUID, GETFSLABEL = 0x80111500, 0x81009431
GET_POLICY, MEASURE_VERITY = 0x400C6615, 0xC0046686
MOVE_EXT = 0xC028660F
TCGETS = 0x5401

IMMUTABLE, APPEND, NODUMP, NOATIME = 0x10, 0x20, 0x40, 0x80
SETTABLE = IMMUTABLE | APPEND | NODUMP | NOATIME


@pytest.fixture(scope="module", params=twins.KINDS)
def fs(request: pytest.FixtureRequest) -> Iterator[Path]:
    kind = str(request.param)
    make = {"ext4": ("-O", "encrypt,verity"), "xfs": ("-m", "reflink=1")}.get(kind, ())
    with twins.file_system(kind, make=make) as directory:
        yield directory


def get(path: Path, number: int, flags: int = os.O_RDONLY) -> int:
    """A number of 64 bits that an ioctl fills, at least in part."""
    fd = os.open(path, flags | os.O_NONBLOCK)
    try:
        buffer = array.array("Q", [0] * 64)
        fcntl.ioctl(fd, number, buffer)
        return int(buffer[0])
    finally:
        os.close(fd)


def set_flags(path: Path, flags: int) -> None:
    """Set some of the flags and clear the others of them, as chattr does."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        try:
            kept = struct.unpack("=I", fcntl.ioctl(fd, GETFLAGS, bytes(4)))[0] & ~SETTABLE
        except OSError:
            kept = 0
        fcntl.ioctl(fd, SETFLAGS, struct.pack("=I", kept | flags))
    finally:
        os.close(fd)


def fsxattr(path: Path) -> tuple[int, ...]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return struct.unpack("=IIIII8x", fcntl.ioctl(fd, FSGETXATTR, bytes(28)))
    finally:
        os.close(fd)


def set_fsxattr(path: Path, xflags: int, extsize: int, project: int) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, FSSETXATTR, struct.pack("=IIIII8x", xflags, extsize, 0, project, 0))
    finally:
        os.close(fd)


def extents(fd: int) -> list[tuple[int, int, int]]:
    """Offset, length and flags of each extent: where it lies differs between two files."""
    buffer = bytearray(struct.pack("=QQIIII", 0, 2**64 - 1, 1, 0, 16, 0) + bytes(56 * 16))
    fcntl.ioctl(fd, FIEMAP, buffer)
    count = struct.unpack_from("=I", buffer, 20)[0]
    found = [struct.unpack_from("=QQQ16xI", buffer, 32 + 56 * at) for at in range(count)]
    return [(logical, length, flags) for logical, _physical, length, flags in found]


def information_steps(s: Steps) -> None:
    """What programs ask of a file; the VFS answers some, the file system the others."""
    path = s.base / "file"
    path.write_bytes(b"0123456789" * 1000)
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    os.lseek(fd, 100, os.SEEK_SET)
    left = array.array("i", [0])
    s.do("FIONREAD", lambda: (fcntl.ioctl(fd, FIONREAD, left), left[0])[1])
    s.do("FIOQSIZE", lambda: get(path, FIOQSIZE))
    s.do("FIGETBSZ", lambda: get(path, FIGETBSZ))
    s.do("FIBMAP", lambda: bool(struct.unpack("=i", fcntl.ioctl(fd, FIBMAP, bytes(4)))[0]))
    s.do("FIEMAP", lambda: extents(fd))
    s.do("GETVERSION", lambda: get(path, GETVERSION) and "some")
    s.do("GETFLAGS", lambda: get(path, GETFLAGS))
    s.do("FSGETXATTR", lambda: fsxattr(path))
    s.do("GET_POLICY", lambda: get(path, GET_POLICY))
    s.do("MEASURE_VERITY", lambda: get(path, MEASURE_VERITY))
    s.do("FIONCLEX", lambda: fcntl.ioctl(fd, 0x5450))
    s.do("inherited", lambda: os.get_inheritable(fd))
    s.do("FIOCLEX", lambda: fcntl.ioctl(fd, 0x5451))
    s.do("inherited after", lambda: os.get_inheritable(fd))
    s.do("FIONBIO", lambda: fcntl.ioctl(fd, 0x5421, struct.pack("=i", 1)))
    s.do("nonblocking", lambda: os.get_blocking(fd))
    s.do("FIOASYNC", lambda: fcntl.ioctl(fd, 0x5452, struct.pack("=i", 1)))
    s.do("isatty", lambda: fcntl.ioctl(fd, TCGETS, bytes(64)))
    s.do("unknown", lambda: fcntl.ioctl(fd, 0x1234))
    s.do("RESVSP", lambda: fcntl.ioctl(fd, RESVSP, struct.pack("=hhqqiI16x", 0, 0, 0, 20000, 0, 0)))
    s.do("size after", lambda: os.fstat(fd).st_size)
    os.close(fd)
    os.mkdir(s.base / "dir")
    for number in (GETFLAGS, FIGETBSZ, FIONREAD, FIBMAP, TCGETS, FIEMAP):
        s.do(f"directory {number:#x}", partial(get, s.base / "dir", number))
    s.do("directory FSGETXATTR", lambda: fsxattr(s.base / "dir"))
    os.mkfifo(s.base / "fifo")
    os.mknod(s.base / "null", 0o20666, os.makedev(1, 3))
    for name in ("fifo", "null"):
        for number in (GETFLAGS, FIONREAD, FIBMAP):
            s.do(f"{name} {number:#x}", partial(get, s.base / name, number))


def test_ioctl_gives_what_it_gives_below(place: Path) -> None:
    twins.compare(place, information_steps)


def flag_steps(s: Steps) -> None:
    b = s.base
    for name in ("file", "log"):
        (b / name).write_text("x\n")
    (b / "dir").mkdir()
    (b / "dir/file").write_text("x\n")
    fd = os.open(b / "file", os.O_RDWR)
    s.do("nodump", lambda: set_flags(b / "file", NODUMP | NOATIME))
    s.do("is nodump", lambda: get(b / "file", GETFLAGS) & (NODUMP | NOATIME))
    s.do("chattr", lambda: _chattr("-dA", b / "file"))
    s.do("unknown flag", lambda: set_flags(b / "file", 1 << 31))
    s.do("immutable", lambda: set_flags(b / "file", IMMUTABLE))
    s.do("is immutable", lambda: get(b / "file", GETFLAGS) & IMMUTABLE)
    s.do("open to write", lambda: os.open(b / "file", os.O_WRONLY))
    s.do("write to open one", lambda: os.write(fd, b"y"))
    s.do("write nothing to open one", lambda: os.write(fd, b""))
    s.do("truncate open one", lambda: os.ftruncate(fd, 0))
    s.do("chmod", lambda: (b / "file").chmod(0o600))
    s.do("utime", lambda: os.utime(b / "file", (1, 1)))
    s.do("setxattr", lambda: os.setxattr(b / "file", "user.x", b"y"))
    s.do("link", lambda: os.link(b / "file", b / "link"))
    s.do("rename", lambda: os.rename(b / "file", b / "other"))
    s.do("rename over", lambda: os.rename(b / "log", b / "file"))
    s.do("unlink", lambda: os.unlink(b / "file"))
    s.do("read", lambda: (b / "file").read_text())
    s.do("mutable", lambda: set_flags(b / "file", 0))
    s.do("unlink now", lambda: os.unlink(b / "file"))
    os.close(fd)
    appending = os.open(b / "log", os.O_WRONLY | os.O_APPEND)
    left = os.open(b / "log", os.O_RDWR | os.O_APPEND)
    s.do("leave O_APPEND in time", lambda: fcntl.fcntl(left, fcntl.F_SETFL, 0))
    taken = os.open(b / "log", os.O_RDWR)
    s.do("take O_APPEND in time", lambda: fcntl.fcntl(taken, fcntl.F_SETFL, os.O_APPEND))
    s.do("append-only", lambda: set_flags(b / "log", APPEND))
    s.do("append where it was taken", lambda: os.pwrite(taken, b"z\n", 0))
    s.do("append", lambda: os.write(appending, b"y\n"))
    s.do("leave O_APPEND", lambda: fcntl.fcntl(appending, fcntl.F_SETFL, 0))
    s.do("read where it was left", lambda: os.pread(left, 10, 0))
    s.do("open without", lambda: os.open(b / "log", os.O_WRONLY))
    s.do("open with", lambda: os.close(os.open(b / "log", os.O_WRONLY | os.O_APPEND)))
    s.do("open O_TRUNC", lambda: os.open(b / "log", os.O_WRONLY | os.O_APPEND | os.O_TRUNC))
    s.do("truncate", lambda: os.truncate(b / "log", 0))
    s.do("unlink log", lambda: os.unlink(b / "log"))
    s.do("no longer", lambda: set_flags(b / "log", 0))
    os.close(appending)
    os.close(left)
    os.close(taken)
    s.do("immutable directory", lambda: set_flags(b / "dir", IMMUTABLE))
    s.do("create", lambda: (b / "dir/new").write_text("x"))
    s.do("unlink in", lambda: os.unlink(b / "dir/file"))
    s.do("change in", lambda: (b / "dir/file").write_text("y\n"))
    s.do("append-only directory", lambda: set_flags(b / "dir", APPEND))
    s.do("create in it", lambda: (b / "dir/new").write_text("x"))
    s.do("unlink in it", lambda: os.unlink(b / "dir/file"))
    s.do("rename in it", lambda: os.rename(b / "dir/file", b / "dir/other"))
    s.do("directory as before", lambda: set_flags(b / "dir", 0))
    s.do("project", lambda: set_fsxattr(b / "dir", 0, 0, 7))
    s.do("project shown", lambda: fsxattr(b / "dir"))
    s.do("extent size", lambda: set_fsxattr(b / "dir/file", 0x800, 65536, 0))
    s.do("extent size shown", lambda: fsxattr(b / "dir/file"))
    os.mkfifo(b / "fifo")
    os.mknod(b / "null", 0o20666, os.makedev(1, 3))
    s.do("fifo", lambda: set_flags(b / "fifo", NODUMP))
    s.do("device", lambda: set_flags(b / "null", NODUMP))


def _chattr(change: str, path: Path) -> int:
    command = ["chattr", change, str(path)]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode


@pytest.mark.parametrize("creds", ["mounter", "caller"])
def test_flags_act_as_below(fs: Path, creds: str) -> None:
    """Immutable and append-only too: on files that were opened before, on directories."""
    directory = fs / f"flags.{creds}"
    directory.mkdir()
    twins.compare(directory, flag_steps, creds=creds)


USER_SCRIPT = """
import errno, fcntl, os, struct, sys
for name in ("own", "other"):
    fd = os.open(f"{sys.argv[1]}/{name}", os.O_RDONLY)
    for number, value in ((0x40086602, 0x40), (0x40086602, 0x10), (0x40087602, 5)):
        try:
            fcntl.ioctl(fd, number, struct.pack("=Q", value))
            print(name, hex(number), value, "done")
        except OSError as error:
            print(name, hex(number), value, errno.errorcode[error.errno])
"""


def user_steps(s: Steps) -> None:
    for name in ("own", "other"):
        (s.base / name).write_text("x")
    os.chown(s.base / "own", 1000, 1000)
    command = ["setpriv", "--reuid=1000", "--clear-groups", "--inh-caps=-all", "python3", "-c"]
    s.do(
        "as user",
        lambda: (
            subprocess.run(
                [*command, USER_SCRIPT, str(s.base)], check=True, stdout=subprocess.PIPE
            ).stdout
        ),
    )


def test_flags_belong_to_the_owner(place: Path) -> None:
    """Lower calls have the mount's credentials, the caller's are asked all the same."""
    twins.compare(place, user_steps)


def test_what_is_not_listed_is_refused(place: Path, kind: str) -> None:
    """What acts on the whole file system or names other files passes by no filter."""
    (place / "lower").mkdir()
    (place / "mnt").mkdir()
    (place / "lower/file").write_text("x" * 5000)
    (place / "lower/donor").write_text("y" * 5000)
    with kit.mounted(place / "lower", place / "mnt"):
        for name in ("", "file"):
            fd = os.open(place / "mnt" / name, os.O_RDONLY)
            for number in (FITRIM, GETFSLABEL, GETFSUUID):
                whole = bytearray(struct.pack("=QQQ", 0, 2**64 - 1, 0) + bytes(256))
                assert twins.result_of(partial(fcntl.ioctl, fd, number, whole)) == "ENOTTY"
            os.close(fd)
        with (place / "mnt/file").open("r+b") as file, (place / "lower/donor").open("r+b") as donor:
            ask = struct.pack("=IIQQQQ", 0, donor.fileno(), 0, 0, 1, 0)
            assert twins.result_of(lambda: fcntl.ioctl(file, MOVE_EXT, ask)) == "ENOTTY"
            for number in (FIFREEZE, FITHAW):
                wanted = "EOPNOTSUPP" if number == FIFREEZE else "EINVAL"
                got = twins.result_of(partial(fcntl.ioctl, file, number, 0))
                assert got in (wanted, "ENOTSUP", "EOPNOTSUPP")


@contextmanager
def opened(*paths: Path) -> Iterator[list[int]]:
    fds = [os.open(path, os.O_RDWR | os.O_CREAT, 0o644) for path in paths]
    try:
        yield fds
    finally:
        for fd in fds:
            with suppress(OSError):
                os.close(fd)


def reflink_steps(s: Steps) -> None:
    data = b"0123456789abcdef" * 4096
    with opened(s.base / "from", s.base / "to", s.base / "part", s.base / "same") as fds:
        source, to, part, same = fds
        for fd in (source, same):
            os.pwrite(fd, data, 0)
            os.fsync(fd)
        s.do("clone", lambda: fcntl.ioctl(to, FICLONE, source))
        s.do("shared", lambda: [flags & 0x2000 for _at, _len, flags in extents(to)])
        ask = struct.pack("=qQQQ", source, 4096, 8192, 16384)
        s.do("range", lambda: fcntl.ioctl(part, FICLONERANGE, ask))
        odd = struct.pack("=qQQQ", source, 1, 8192, 3)
        s.do("odd range", lambda: fcntl.ioctl(part, FICLONERANGE, odd))
        s.do("size", lambda: os.fstat(part).st_size)
        dedupe = bytearray(struct.pack("=QQHHIqQQiI", 0, 65536, 1, 0, 0, same, 0, 0, 0, 0))
        s.do("dedupe", lambda: fcntl.ioctl(source, FIDEDUPERANGE, dedupe))
        s.do("deduped", lambda: struct.unpack_from("=Qi", dedupe, 40))
        os.pwrite(to, b"changed", 0)
        s.do("copy on write", lambda: os.pread(source, 7, 0))
        s.do("copied", lambda: os.copy_file_range(source, to, 5000, 100, 200))
    command = ["cp", "--reflink=always", str(s.base / "from"), str(s.base / "copy")]
    s.do("cp", lambda: subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode)


def test_reflink_where_the_lower_has_it(place: Path, kind: str) -> None:
    """FIDEDUPERANGE answers for each target, also that nothing can be shared at all."""
    none = {"dedupe": 0, "deduped": (0, -22)}
    twins.compare(place, reflink_steps, unlike={} if kind == "xfs" else none)


def _ioctl32(fd: int, number: int) -> int:
    """ioctl as a 32-bit program calls it (int 0x80), with a pointer below 4 GiB."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    numbers = [ctypes.c_int] * 3
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *numbers, ctypes.c_long]
    page = libc.mmap(None, 4096, 7, 0x02 | 0x20 | 0x40, -1, 0)  # private, anonymous, 32-bit
    # push rbx; ebx = edi; ecx = esi; eax = 54 (ioctl); int 0x80; pop rbx; ret
    code = bytes.fromhex("53 89fb 89f1 b836000000 cd80 5b c3")
    ctypes.memmove(page, code, len(code))
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)(page)
    return int(call(fd, number, page + 2048))


@pytest.mark.skipif(
    not Path("/proc/sys/abi/vsyscall32").exists(), reason="this kernel runs no 32-bit programs"
)
def test_ioctl_of_32_bit_programs(place: Path) -> None:
    bare, lower, mnt = place / "bare", place / "lower", place / "mnt"
    for directory in (bare, lower, mnt):
        directory.mkdir()
    (bare / "file").write_text("x")
    (lower / "file").write_text("x")
    with kit.mounted(lower, mnt), (bare / "file").open() as want, (mnt / "file").open() as got:
        for number in (GETVERSION32, GETVERSION, 0x80046601, FIGETBSZ, TCGETS, 0xC0045878):
            below = _ioctl32(want.fileno(), number)
            assert _ioctl32(got.fileno(), number) == below, hex(number)
