# SPDX-License-Identifier: MIT
"""Attempts to get around `fusebpf guard run`, made inside of it: those on files.

Each has a directory of its own, with `.env` (hidden), `denied` (deny), `kept` (read-only),
`log.empty` (empty) and `plain`, `sub` with the same, and `vault` with a `key` that is hidden by its
whole path.
It returns what came of each call, which stands beside it. Where root's differs it is a pair.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import mmap
import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.differential import libc

Expected = str | tuple[str, str]
_EXECUTE = 322  # execveat(2), x86-64


@dataclass(frozen=True)
class Place:
    """Where an attempt is made. `outside` is a process that has files of the tree open."""

    tree: Path
    here: Path
    outside: int


Attempt = Callable[[Place], list[str]]
ATTEMPTS: dict[str, Attempt] = {}
EXPECTED: dict[str, tuple[Expected, ...]] = {}


def attempt(*expected: Expected) -> Callable[[Attempt], Attempt]:
    """Put it into the table, with what its calls give."""

    def add(function: Attempt) -> Attempt:
        ATTEMPTS[function.__name__] = function
        EXPECTED[function.__name__] = expected
        return function

    return add


def outcome(call: Callable[[], object]) -> str:
    """An errno, what was read, or done."""
    try:
        result = call()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except (ValueError, EOFError) as error:
        return type(error).__name__
    if isinstance(result, bytes):
        return f"read {result.decode('ascii', 'replace')}".strip()
    return result if isinstance(result, str) else "done"


def tried(*calls: Callable[[], object]) -> list[str]:
    """What came of each."""
    return [outcome(call) for call in calls]


def opened(path: str, flags: int = os.O_RDONLY) -> None:
    os.close(os.open(path, flags, 0o600))


def read(path: str | Path, flags: int = os.O_RDONLY) -> bytes:
    fd = os.open(path, flags)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def with_fd(path: str, flags: int, use: Callable[[int], object]) -> object:
    fd = os.open(path, flags)
    try:
        return use(fd)
    finally:
        os.close(fd)


def renamed(old: str, new: str, flags: int) -> None:
    libc.syscall(316, libc.AT_FDCWD, old.encode(), libc.AT_FDCWD, new.encode(), flags)


@attempt("ENOENT", "EACCES", "read", "ENOENT", "ENOENT", "ENOENT", "EACCES")
def by_name(place: Place) -> list[str]:
    paths = (".env", "denied", "log.empty", "vault/key", "sub/.env", str(place.here / ".env"))
    return tried(*(lambda p=p: read(p) for p in (*paths, str(place.here / "denied"))))


@attempt("ENOENT", "EACCES", "EROFS", "EACCES", "EACCES")
def hard_link(place: Place) -> list[str]:
    def from_descriptor() -> object:
        def use(fd: int) -> None:
            os.link(f"/proc/self/fd/{fd}", "x", src_dir_fd=fd, follow_symlinks=True)

        return with_fd("denied", os.O_PATH, use)

    names = (".env", "denied", "kept", "log.empty")
    return tried(*(lambda n=n: os.link(n, "x") for n in names), from_descriptor)


@attempt("ENOENT", "EEXIST", "EEXIST")
def hard_link_over(place: Place) -> list[str]:
    return tried(*(lambda n=n: os.link("plain", n) for n in (".env", "denied", "kept")))


@attempt("ENOENT", "EACCES", "EROFS", "EACCES", "ENOENT")
def rename_over(place: Place) -> list[str]:
    names = (".env", "denied", "kept", "log.empty", "sub/.env")
    return tried(*(lambda n=n: os.rename("plain", n) for n in names))


@attempt("ENOENT", "EACCES", "EROFS", "EACCES", "ENOENT")
def rename_away(place: Place) -> list[str]:
    names = (".env", "denied", "kept", "log.empty", "vault/key")
    return tried(*(lambda n=n: os.rename(n, "visible") for n in names))


@attempt("ENOENT", "EACCES", "EROFS", "EACCES", "ENOENT")
def rename_exchange(place: Place) -> list[str]:
    pairs = [(".env", "plain"), ("plain", "denied"), ("kept", "plain"), ("log.empty", "plain")]
    pairs.append(("sub/.env", "plain"))
    return tried(*(lambda p=p: renamed(p[0], p[1], 2) for p in pairs))


@attempt("done", "ENOENT", "EXDEV", "EXDEV", "ENOENT")
def rename_of_a_directory(place: Place) -> list[str]:
    return tried(
        lambda: os.rename("sub", "other"),
        lambda: read("other/.env"),
        lambda: os.rename("vault", "open"),
        lambda: renamed("vault", "other", 2),
        lambda: read("vault/key"),
    )


@attempt("EBUSY", "done", "ENOENT", "ENOENT", "done", "EBUSY")
def rename_of_what_is_above(place: Place) -> list[str]:
    top = place.tree.parent
    moved = top.with_name("moved")
    below = place.here.relative_to(top)
    return tried(
        lambda: os.rename(place.tree, top / "elsewhere"),
        lambda: os.rename(top, moved),
        lambda: read(moved / below / ".env"),
        lambda: read(".env"),
        lambda: os.rename(moved, top),
        lambda: os.rmdir(place.tree),
    )


@attempt("ENOENT", "ENOENT", "ENOENT", "EACCES", "EACCES")
def symlinks(place: Place) -> list[str]:
    for name, target in (
        ("a", ".env"),
        ("b", str(place.here / ".env")),
        ("c", "/proc/self/cwd/.env"),
        ("d", "sub/../denied"),
    ):
        os.symlink(target, name)
    os.link("d", "e")  # of the link itself
    return tried(*(lambda n=n: read(n) for n in "abcde"))


@attempt("ENOENT", "ENOENT", "ENOENT", "ENOENT", "EXDEV", "ENOENT")
def dot_dot(place: Place) -> list[str]:
    def resolved(how: int) -> object:
        def use(fd: int) -> bytes:
            path = str(place.here.relative_to(place.tree.parent) / ".env").encode()
            given = struct.pack("=QQQ", os.O_RDONLY, 0, how)
            return read(f"/proc/self/fd/{libc.syscall(libc.NR_OPENAT2, fd, path, given, 24)}")

        return with_fd(str(place.tree.parent), os.O_PATH, use)

    paths = (f"../{place.here.name}/.env", "sub/../.env", ".env/.", "./sub/../sub/../.env")
    return tried(*(lambda p=p: read(p) for p in paths), lambda: resolved(1), lambda: resolved(16))


@attempt("ENOENT", "EEXIST", "EEXIST", "ENOENT")
def file_without_a_name(place: Place) -> list[str]:
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR)
    os.write(fd, b"mine")

    def named(name: str) -> None:
        os.link(f"/proc/self/fd/{fd}", name, src_dir_fd=fd, follow_symlinks=True)

    return tried(
        *(lambda n=n: named(n) for n in (".env", "denied", "kept", "vault/key")),
    )


@attempt("done", "EROFS", "EACCES", "ENOENT", "EBADF")
def copy_file_range(place: Place) -> list[str]:
    def copied(source: str, target: str, flags: int = os.O_RDONLY) -> object:
        src = os.open(source, flags)
        dst = os.open(target, os.O_WRONLY | os.O_CREAT, 0o600)
        os.copy_file_range(src, dst, 100)
        return None

    return tried(
        lambda: copied("log.empty", "x") or unless_empty("x"),
        lambda: copied("plain", "kept"),
        lambda: copied("denied", "x"),
        lambda: copied(".env", "x"),
        lambda: copied("denied", "x", os.O_PATH),
    )


def unless_empty(path: str) -> object:
    found = read(path)
    return found if found else None


@attempt("ENOTSUP", "ENOTSUP", "EINVAL", "EBADF", "EROFS")
def reflink(place: Place) -> list[str]:
    """Of an empty file, which has blocks below: the whole, a range, blocks with the same bytes."""

    def cloned(request: int, source: str, target: str, flags: int = os.O_RDONLY) -> object:
        src = os.open(source, flags)
        dst = os.open(target, os.O_RDWR | os.O_CREAT, 0o600)
        if request == libc.FICLONE:
            fcntl.ioctl(dst, request, src)
        elif request == libc.FICLONERANGE:
            fcntl.ioctl(dst, request, struct.pack("=qQQQ", src, 0, 0, 0))
        else:
            asked = struct.pack("=QQHHIqQQiI", 0, 4096, 1, 0, 0, dst, 0, 0, 0, 0)
            fcntl.ioctl(src, request, asked)
        return unless_empty(target)

    return tried(
        lambda: cloned(libc.FICLONE, "log.empty", "x"),
        lambda: cloned(libc.FICLONERANGE, "log.empty", "y"),
        lambda: cloned(libc.FIDEDUPERANGE, "log.empty", "plain"),
        lambda: cloned(libc.FICLONE, "denied", "z", os.O_PATH),
        lambda: cloned(libc.FICLONE, "plain", "kept"),
    )


@attempt("read", "read", "read", "read", "read")
def sendfile_and_splice(place: Place) -> list[str]:
    def moved(how: Callable[[int, int], object]) -> bytes:
        with open("log.empty", "rb") as source:
            end, start = os.pipe()
            how(start, source.fileno())
            os.close(start)
            found = os.read(end, 100)
            os.close(end)
            return found

    return tried(
        lambda: moved(lambda out, src: os.sendfile(out, src, 0, 100)),
        lambda: moved(lambda out, src: os.splice(src, out, 100)),
        lambda: moved(lambda out, src: os.splice(src, out, 100, offset_src=0)),
        lambda: with_fd("log.empty", os.O_RDONLY, lambda fd: os.pread(fd, 100, 0)),
        lambda: with_fd("log.empty", os.O_RDONLY | os.O_DIRECT, lambda fd: os.pread(fd, 0, 0)),
    )


@attempt("signal 7")
def mapping_of_an_empty_file(place: Place) -> list[str]:
    address = mapped(os.open("log.empty", os.O_RDONLY))
    return ["read " + ctypes.string_at(address, 6).decode("ascii", "replace")]


@attempt("EACCES", "EACCES", "EROFS")
def mapping_for_writing(place: Place) -> list[str]:
    def upgraded() -> int:
        address = mapped(os.open("kept", os.O_RDONLY), shared=True)
        return libc.syscall(10, ctypes.c_void_p(address), ctypes.c_size_t(4096), 3)  # mprotect

    return tried(
        lambda: with_fd("kept", os.O_RDONLY, lambda fd: mmap.mmap(fd, 5, prot=3).close()),
        upgraded,
        lambda: with_fd("kept", os.O_RDWR, lambda fd: mmap.mmap(fd, 5, prot=3).close()),
    )


def mapped(fd: int, shared: bool = False) -> int:
    """The address of a page of a file, whatever its size, to be read."""
    size, offset = ctypes.c_size_t(4096), ctypes.c_size_t(0)
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    address = call(None, size, mmap.PROT_READ, 1 if shared else 2, fd, offset)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return int(address)


@attempt("EROFS", "ENOENT", "EACCES", "EACCES", "EINVAL", "EBADF", "EROFS", "EROFS")
def truncate_and_fallocate(place: Place) -> list[str]:
    return tried(
        *(lambda n=n: os.truncate(n, 1) for n in ("kept", ".env", "denied", "log.empty")),
        lambda: with_fd("kept", os.O_RDONLY, lambda fd: os.ftruncate(fd, 1)),
        lambda: with_fd("kept", os.O_RDONLY, lambda fd: os.posix_fallocate(fd, 0, 10)),
        lambda: opened("kept", os.O_RDONLY | os.O_TRUNC),
        lambda: opened("kept", os.O_WRONLY | os.O_APPEND),
    )


@attempt("EROFS", "EACCES", "ENOENT", "EACCES", "EACCES", "read []", "ENOENT", "EROFS", "EROFS")
def xattrs(place: Place) -> list[str]:
    def fd_set(fd: int) -> None:
        os.setxattr(fd, "user.a", b"x")

    names = ("kept", "denied", ".env", "log.empty")
    return tried(
        *(lambda n=n: os.setxattr(n, "user.a", b"x") for n in names),
        lambda: os.getxattr("denied", "user.secret"),
        lambda: f"read {os.listxattr('denied')}",
        lambda: os.getxattr(".env", "user.secret"),
        lambda: with_fd("kept", os.O_RDONLY, fd_set),
        lambda: os.removexattr("kept", "user.secret"),
    )


@attempt("EROFS", "EACCES", "ENOENT", "EACCES")
def acls(place: Place) -> list[str]:
    entry = struct.pack("<HHI", 1, 6, 0xFFFFFFFF), struct.pack("<HHI", 4, 6, 0xFFFFFFFF)
    acl = struct.pack("<I", 2) + entry[0] + entry[1] + struct.pack("<HHI", 0x20, 6, 0xFFFFFFFF)
    names = ("kept", "denied", ".env", "log.empty")
    return tried(*(lambda n=n: os.setxattr(n, "system.posix_acl_access", acl) for n in names))


@attempt(*["EROFS", "EACCES", "ENOENT", "EACCES"] * 3, "EROFS", "EROFS")
def attributes(place: Place) -> list[str]:
    names = ("kept", "denied", ".env", "log.empty")
    return tried(
        *(lambda n=n: os.chmod(n, 0o777) for n in names),
        *(lambda n=n: os.chown(n, -1, os.getgid()) for n in names),
        *(lambda n=n: os.utime(n, (1, 1)) for n in names),
        lambda: with_fd("kept", os.O_RDONLY, lambda fd: os.fchmod(fd, 0o777)),
        # fchmodat2(2) of a descriptor without rights
        lambda: with_fd("kept", os.O_PATH, lambda fd: libc.syscall(452, fd, b"", 0o777, 0x1000)),
    )


@attempt("EPERM", "EPERM", "EACCES", "ENOENT")
def inode_flags(place: Place) -> list[str]:
    def flagged(name: str, flags: int) -> object:
        given = struct.pack("=I", flags)
        return with_fd(name, os.O_RDONLY, lambda fd: fcntl.ioctl(fd, libc.FS_IOC_SETFLAGS, given))

    immutable = 0x10
    return tried(
        lambda: flagged("kept", libc.FS_APPEND_FL),
        lambda: flagged("plain", immutable),
        lambda: flagged("denied", 0x40),
        lambda: flagged(".env", 0x40),
    )


@attempt(*["ENOENT"] * 9, "ENOTDIR")
def case_and_unicode(place: Place) -> list[str]:
    names = (".ENV", ".Env", ".env ", ".env\u200b", ".e\u0301nv", "\u2024env", ".env\\", "/.env")
    paths = [*names[:-1], f"{place.here}//.env", "./././.env", "plain/../.env"]
    return tried(*(lambda p=p: read(p) for p in paths))


@attempt("ENAMETOOLONG", "ENAMETOOLONG", "ENOENT", "ENOENT", "ENOENT")
def long_names(place: Place) -> list[str]:
    def deep() -> bytes:
        for _ in range(18):  # further down than a path can say
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
        return read(".env", os.O_RDWR | os.O_CREAT)

    return tried(
        lambda: read(".env" + "x" * 252),
        lambda: read("./" * 2050 + ".env"),
        lambda: read("./" * 2000 + ".env"),
        lambda: read("x" * 255),
        deep,
    )


@attempt("ENOENT", "EACCES", "ENOEXEC", "EACCES", "ENOENT")
def execute(place: Place) -> list[str]:
    def ran(path: str) -> None:
        os.execv(path, [path])

    def by_descriptor(path: str) -> object:
        nothing = struct.pack("=Q", 0)
        return with_fd(
            path, os.O_PATH, lambda fd: libc.syscall(_EXECUTE, fd, b"", nothing, nothing, 0x1000)
        )

    return tried(
        lambda: ran("./.env"),
        lambda: ran("./denied"),
        lambda: ran("./log.empty"),
        lambda: by_descriptor("denied"),
        lambda: by_descriptor(".env"),
    )


@attempt(*["ENOENT"] * 8, "EACCES", "EROFS", "EACCES", "ENOENT")
def create_and_remove(place: Place) -> list[str]:
    return tried(
        lambda: opened(".env", os.O_RDWR | os.O_CREAT | os.O_EXCL),
        lambda: opened(".env", os.O_RDWR | os.O_CREAT | os.O_TRUNC),
        lambda: os.mkdir(".env"),
        lambda: os.mkfifo(".env"),
        lambda: os.symlink("plain", ".env"),
        lambda: socket.socket(socket.AF_UNIX).bind(".env"),
        lambda: os.mkdir("sub/.env"),
        lambda: os.unlink(".env"),
        lambda: os.unlink("denied"),
        lambda: os.unlink("kept"),
        lambda: os.unlink("log.empty"),
        lambda: os.rmdir(".env"),
    )


@attempt("no", "no", "no", "no", "ENOTEMPTY")
def listings(place: Place) -> list[str]:
    def entries(size: int) -> str:
        buffer = bytearray(size)
        found = b""
        fd = os.open(".", os.O_RDONLY)
        address = (ctypes.c_char * size).from_buffer(buffer)
        while (count := libc.syscall(libc.NR_GETDENTS64, fd, address, size)) > 0:
            found += bytes(buffer[:count])
        os.close(fd)
        return "yes" if b".env" in found else "no"

    os.mkdir("full")
    os.rename("plain", "full/.x")
    return tried(
        lambda: "yes" if ".env" in os.listdir() else "no",
        lambda: "yes" if ".env" in [e.name for e in os.scandir()] else "no",
        lambda: entries(40),
        lambda: entries(32768),
        lambda: os.rmdir("vault"),
    )


@attempt("ENOENT", "ENOENT", "ENOENT", "ENOENT", "ENOENT", "0 0")
def facts(place: Place) -> list[str]:
    info = os.stat("log.empty")
    return tried(
        lambda: os.stat(".env"),
        lambda: os.lstat(".env"),
        lambda: os.statvfs(".env"),
        lambda: opened(".env", os.O_PATH),
        lambda: os.readlink(".env"),
        lambda: f"{info.st_size} {info.st_blocks}",
    )


@attempt("no", "ENOENT", "EACCES", "EPERM", "done")
def watching(place: Place) -> list[str]:
    """Somebody outside changes the hidden file all the time."""

    def seen() -> str:
        fd = libc.syscall(294, os.O_NONBLOCK)  # inotify_init1
        for path in (".", "sub", str(place.tree), str(place.tree.parent)):
            libc.syscall(254, fd, path.encode(), 0xFFF)
        found, end = b"", time.monotonic() + 0.5
        while time.monotonic() < end:
            with suppress(BlockingIOError):
                found += os.read(fd, 4096)
            time.sleep(0.01)
        return "yes" if b".env" in found else "no"

    def watched(path: str) -> None:
        libc.syscall(254, libc.syscall(294, 0), path.encode(), 0xFFF)

    def marked() -> None:
        fd = libc.syscall(300, 0x200, 0)  # fanotify_init with FAN_REPORT_FID
        libc.syscall(301, fd, 1, 0x100, libc.AT_FDCWD, b".")

    return tried(
        seen,
        lambda: watched(".env"),
        lambda: watched("denied"),
        lambda: libc.syscall(300, 0, 0),
        marked,
    )


@attempt("EACCES", "EACCES", "ENOENT")
def descriptors_over_a_socket(place: Place) -> list[str]:
    """One without rights gets none on its way."""
    left, right = socket.socketpair(socket.AF_UNIX)
    for name in ("denied", "."):
        fd = os.open(name, os.O_PATH)
        left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        os.close(fd)

    def received() -> int:
        _data, ancillary, _flags, _address = right.recvmsg(1, socket.CMSG_SPACE(4))
        return int(array.array("i", ancillary[0][2])[0])

    fd, directory = received(), received()
    return tried(
        lambda: read(f"/proc/self/fd/{fd}"),
        lambda: os.link(f"/proc/self/fd/{fd}", "x", src_dir_fd=fd, follow_symlinks=True),
        lambda: read(f"/proc/self/fd/{directory}/.env"),
    )


@attempt("ENOENT", "EACCES", "ENOENT", "EROFS", "ENOENT", "EACCES")
def io_uring(place: Place) -> list[str]:
    from tests.vm.kernel_uring import AT_FDCWD, LINKAT, OPENAT, RENAMEAT, Buffer, Ring

    area = Buffer(4096)

    def at(offset: int, path: str) -> int:
        raw = path.encode() + b"\0"
        area.map[offset : offset + len(raw)] = raw
        return area.address + offset

    with Ring() as ring:

        def got(path: str, flags: int = 0) -> bytes:
            return read(f"/proc/self/fd/{ring.do(OPENAT, AT_FDCWD, at(0, path), 0, 0, flags)}")

        def pair(opcode: int, old: str, new: str) -> int:
            target = AT_FDCWD & 0xFFFFFFFF
            return ring.do(opcode, AT_FDCWD, at(0, old), target, at(512, new))

        return tried(
            lambda: got(".env"),
            lambda: got("denied"),
            lambda: got("vault/key"),
            lambda: got("kept", os.O_RDWR),
            lambda: pair(LINKAT, ".env", "x"),
            lambda: pair(RENAMEAT, "plain", "denied"),
        )
