# SPDX-License-Identifier: MIT
"""Commands that mount or unmount at one place take turns.

What is mounted there is looked at first, and the kernel then acts on what is there by that time:
of two `detach` at once the second would take off what lies beneath.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusebpf.errors import FusebpfError

_PATIENCE = 30.0  # seconds; what takes so long is an umount(2) that waits for a disk or a daemon
_LOOK_SECONDS = 0.05
FLOCK = struct.Struct("@hhqqi4x")  # struct flock of fcntl(2), with 64-bit offsets


@contextmanager
def turn(place: Path, wait: bool = True) -> Iterator[None]:
    """Wait for others at a mount point, given by its path without links, and keep them waiting.

    The kernel ends the turn of a process that ends. Where /run cannot be written nobody waits.
    Without `wait` it goes on beside one that has its turn, whose umount(2) may hang.

    Raises FusebpfError when others take longer than half a minute.
    """
    lock = _lock_file()
    if lock is None:
        yield
        return
    try:
        # A byte for each mount point: that two share one costs no more than waiting. Locks of the
        # open file, as those of a process would not part its threads.
        byte = zlib.crc32(os.fsencode(place))
        end = time.monotonic() + (_PATIENCE if wait else 0)
        while not _locked(lock, fcntl.F_WRLCK, byte):
            if time.monotonic() < end:
                time.sleep(_LOOK_SECONDS)
            elif wait:
                raise FusebpfError(
                    f"another command at {place} does not end",
                    "see what it waits for (ps -ef | grep fusebpf), or end it",
                )
            else:
                break
        try:
            yield
        finally:
            # Not by closing alone: a child that was forked meanwhile has the lock's file open.
            _locked(lock, fcntl.F_UNLCK, byte)
    finally:
        os.close(lock)


def _locked(lock: int, kind: int, byte: int) -> bool:
    """Whether the byte is locked or unlocked now; not, where another has it."""
    try:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _lock_file() -> int | None:
    from fusebpf.runtime import daemons

    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(daemons.directory() / "lock", flags, 0o600)
    except OSError:
        return None
