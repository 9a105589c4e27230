# SPDX-License-Identifier: MIT
"""Provokes each operation that has filters, from user space, by the names of the opcode table."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fusebpf.abi.opcodes import OPS
from tests.vm import kernelkit as kit

_LIBC = ctypes.CDLL(None, use_errno=True)
NOBODY = 65534
LONG_AGO = 10**9  # seconds: longer than a day, within which relatime keeps an access time


def populate(directory: Path) -> None:
    """Make what the calls need in a lower directory. They want an umask of 0."""
    for name in ("dir", "empty"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "dir/a").write_text("a\n")
    (directory / "dir/b").write_text("b\n")
    read = LONG_AGO * 10**9
    os.utime(directory / "dir", ns=(read, (directory / "dir").stat().st_mtime_ns))
    (directory / "file").write_text("content\n")
    (directory / "file").chmod(0o644)
    (directory / "other").write_text("0123456")
    (directory / "secret").write_text("secret\n")
    (directory / "secret").chmod(0o600)
    (directory / "link").symlink_to("file")
    (directory / "second").symlink_to("dir")
    os.setxattr(directory / "file", "user.one", b"first value")
    os.setxattr(directory / "file", "user.two", b"2nd")
    shutil.copy("/usr/bin/sleep", directory / "program")


def checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def with_fd(path: Path, flags: int, call: Callable[[int], Any]) -> Any:
    fd = os.open(path, flags)
    try:
        return call(fd)
    finally:
        os.close(fd)


def open_file(mnt: Path) -> tuple[int, bytes]:
    def look(fd: int) -> tuple[int, bytes]:
        return fcntl.fcntl(fd, fcntl.F_GETFL), os.pread(fd, 100, 0)

    result: tuple[int, bytes] = with_fd(mnt / "file", os.O_RDONLY, look)
    return result


def open_running(mnt: Path) -> None:
    """The lower file is being executed, which nobody above knows."""
    program = mnt.parent / "lower" / "program"
    pid = os.posix_spawn(program, ["sleep", "60"], {})
    try:
        with_fd(mnt / "program", os.O_WRONLY, lambda fd: None)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def opendir(mnt: Path) -> list[str]:
    """Two calls: the first lists all, the second finds the end."""
    with kit.Dirents(mnt / "dir", 4096) as listing:
        return sorted(name for _ in range(2) for name, _off in listing.read())


def opendir_quietly(mnt: Path) -> list[str]:
    """Its access time, long ago, is to stay."""
    with kit.Dirents(mnt / "dir", 4096, os.O_NOATIME) as listing:
        return sorted(listing.all())


def create(mnt: Path) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
    fd = os.open(mnt / "new", flags, 0o666)
    try:
        return fcntl.fcntl(fd, fcntl.F_GETFL)
    finally:
        os.close(fd)


def close(mnt: Path) -> None:
    os.close(os.open(mnt / "file", os.O_RDONLY))


def lseek(mnt: Path, offset: int = 3, whence: int = os.SEEK_SET) -> tuple[int, int]:
    def seek(fd: int) -> tuple[int, int]:
        found = os.lseek(fd, offset, whence)
        return found, os.lseek(fd, 0, os.SEEK_CUR)

    result: tuple[int, int] = with_fd(mnt / "file", os.O_RDONLY, seek)
    return result


def lseek_past_the_end(mnt: Path) -> Any:
    return with_fd(mnt / "file", os.O_RDONLY, lambda fd: os.lseek(fd, 100, os.SEEK_DATA))


def copy(mnt: Path) -> int:
    with open(mnt / "file", "rb") as source, open(mnt / "other", "r+b") as target:
        return os.copy_file_range(source.fileno(), target.fileno(), 4, 0, 0)


def fsync(mnt: Path) -> None:
    with_fd(mnt / "file", os.O_RDWR, os.fsync)


def fsyncdir(mnt: Path) -> None:
    with_fd(mnt / "dir", os.O_RDONLY | os.O_DIRECTORY, os.fsync)


def getxattr(mnt: Path) -> bytes:
    return os.getxattr(mnt / "file", "user.one")


def getxattr_length(mnt: Path) -> int:
    return checked(_LIBC.getxattr(os.fsencode(mnt / "file"), b"user.one", None, 0))


def listxattr(mnt: Path) -> list[str]:
    return sorted(name for name in os.listxattr(mnt / "file") if name.startswith("user."))


def listxattr_once(mnt: Path) -> int:
    """Python would try again with more memory."""
    buffer = ctypes.create_string_buffer(256)
    return checked(_LIBC.listxattr(os.fsencode(mnt / "file"), buffer, 256))


def setxattr(mnt: Path) -> None:
    os.setxattr(mnt / "file", "user.new", b"value", os.XATTR_CREATE)


def removexattr(mnt: Path) -> None:
    os.removexattr(mnt / "file", "user.one")


def read(mnt: Path) -> tuple[bytes, int]:
    def read(fd: int) -> tuple[bytes, int]:
        return os.read(fd, 5), os.lseek(fd, 0, os.SEEK_CUR)

    result: tuple[bytes, int] = with_fd(mnt / "file", os.O_RDONLY, read)
    return result


def write(mnt: Path) -> tuple[int, int]:
    def write(fd: int) -> tuple[int, int]:
        return os.write(fd, b"WRITE"), os.lseek(fd, 0, os.SEEK_CUR)

    result: tuple[int, int] = with_fd(mnt / "other", os.O_WRONLY, write)
    return result


def fallocate(mnt: Path) -> None:
    with_fd(mnt / "other", os.O_RDWR, lambda fd: os.posix_fallocate(fd, 0, 100))


def fallocate_odd(mnt: Path) -> None:
    def odd(fd: int) -> None:
        args = (fd, 0x08, ctypes.c_long(0), ctypes.c_long(4096))  # FALLOC_FL_COLLAPSE_RANGE
        checked(_LIBC.fallocate(*args))

    with_fd(mnt / "other", os.O_RDWR, odd)


def lookup(mnt: Path) -> int:
    return os.stat(mnt / "file").st_size


def rename(mnt: Path) -> None:
    os.rename(mnt / "file", mnt / "other")


def rename2(mnt: Path) -> None:
    """With a flag where a rename without one has its own pair."""
    if kit.served(OPS["rename"]):
        kit.exchange(mnt / "file", mnt / "other")
    else:
        rename(mnt)


def link(mnt: Path) -> None:
    os.link(mnt / "file", mnt / "hard")


def attributes(mnt: Path) -> os.stat_result:
    return os.stat(mnt / "file")


def chmod(mnt: Path) -> None:
    os.chmod(mnt / "file", 0o640)


def statfs(mnt: Path) -> os.statvfs_result:
    return os.statvfs(mnt)


def readlink(mnt: Path) -> str:
    return os.readlink(mnt / "link")


def symlink(mnt: Path) -> None:
    os.symlink("target", mnt / "made")


def as_nobody(call: Callable[[], bool]) -> bool:
    """Whether a call succeeds for another user; fails the caller with its errno otherwise."""
    pid = os.fork()
    if not pid:
        try:
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os._exit(0 if call() else errno.EACCES)
        except OSError as error:
            os._exit(error.errno or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))
    return True


def try_access(path: Path, mode: int) -> bool:
    checked(_LIBC.access(os.fsencode(path), mode))
    return True


def access(mnt: Path) -> bool:
    directory = os.open(mnt, os.O_PATH)
    try:
        here = Path(f"/proc/self/fd/{directory}")
        return as_nobody(lambda: try_access(here / "file", os.R_OK))
    finally:
        os.close(directory)


def access_secret(mnt: Path) -> bool:
    directory = os.open(mnt, os.O_PATH)
    try:
        here = Path(f"/proc/self/fd/{directory}")
        return as_nobody(lambda: try_access(here / "secret", os.R_OK))
    finally:
        os.close(directory)
