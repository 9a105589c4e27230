# SPDX-License-Identifier: MIT
"""Does random operations below a directory until a file appears: TOP STOP SEED.

A process of its own, because it can be held by whoever answers. Errors are part of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import struct
import sys
from collections.abc import Callable

_LIBC = ctypes.CDLL(None)
_ACL = struct.pack("=I", 2) + b"".join(
    struct.pack("=HHI", tag, rights, 0xFFFFFFFF)
    for tag, rights in ((0x01, 6), (0x04, 4), (0x20, 4))
)


def operations(top: str, rng: random.Random) -> list[Callable[[], object]]:
    """All operations that have filters, each on random names."""

    def path() -> str:
        return os.path.join(top, rng.choice(["a", "b", "dir", "dir/c", "dir/d/e", "link"]))

    def directory() -> str:
        return rng.choice([top, top + "/dir"])

    def opened(flags: int, call: Callable[[int], object], where: str = "") -> None:
        fd = os.open(where or path(), flags | os.O_NONBLOCK, 0o644)
        try:
            call(fd)
        finally:
            os.close(fd)

    def with_file(call: Callable[[int], object]) -> None:
        opened(os.O_RDWR | os.O_CREAT | rng.choice([0, 0, 0, os.O_APPEND, os.O_TRUNC]), call)

    def with_two(call: Callable[[int, int], object]) -> None:
        with_file(lambda one: with_file(lambda two: call(one, two)))

    return [
        lambda: os.stat(path()),
        lambda: os.listdir(directory()),
        lambda: os.mkdir(path()),
        lambda: os.rmdir(path()),
        lambda: os.mkdir(top + "/dir"),
        lambda: os.unlink(path()),
        lambda: os.rename(path(), path()),
        lambda: _LIBC.renameat2(-100, path().encode(), -100, path().encode(), rng.choice([1, 2])),
        lambda: os.link(path(), path()),
        lambda: os.symlink("a", path()),
        lambda: os.symlink("a", top + "/link"),
        lambda: os.readlink(path()),
        lambda: os.truncate(path(), 9),
        lambda: os.chmod(path(), 0o755),
        lambda: os.utime(path(), (1, 2)),
        lambda: os.setxattr(path(), "user.x", b"y" * rng.randrange(300)),
        lambda: os.setxattr(path(), "system.posix_acl_access", _ACL),
        lambda: os.getxattr(path(), "user.x"),
        lambda: os.getxattr(path(), "system.posix_acl_access"),
        lambda: os.listxattr(path()),
        lambda: os.removexattr(path(), "user.x"),
        lambda: os.removexattr(path(), "system.posix_acl_access"),
        lambda: os.statvfs(path()),
        lambda: os.access(path(), 7),
        lambda: os.mkfifo(path()),
        lambda: opened(os.O_RDONLY | os.O_DIRECTORY, os.fsync, directory()),
        lambda: opened(os.O_RDWR | os.O_TMPFILE, lambda fd: os.write(fd, b"x"), directory()),
        lambda: with_file(lambda fd: os.pread(fd, 100, 0)),
        lambda: with_file(lambda fd: os.read(fd, 100)),
        lambda: with_file(lambda fd: os.pwrite(fd, b"z" * 50, rng.randrange(99))),
        lambda: with_file(os.fsync),
        lambda: with_file(lambda fd: os.lseek(fd, 3, os.SEEK_DATA)),
        lambda: with_file(lambda fd: os.posix_fallocate(fd, 0, 99)),
        lambda: with_file(lambda fd: os.copy_file_range(fd, fd, 3, 0, 10)),
        lambda: with_two(lambda one, two: os.copy_file_range(one, two, 30)),
        lambda: with_two(lambda one, two: os.sendfile(one, two, 0, 30)),
        lambda: with_file(lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)),
        lambda: with_file(lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)),
        lambda: with_file(lambda fd: fcntl.ioctl(fd, 0x80086601, bytes(8))),  # FS_IOC_GETFLAGS
    ]


def main(top: str, stop: str, seed: int) -> None:
    """Until `stop` exists."""
    rng = random.Random(seed)
    choices = operations(top, rng)
    while not os.path.exists(stop):
        with contextlib.suppress(OSError, ValueError):
            rng.choice(choices)()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
