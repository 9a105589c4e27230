# SPDX-License-Identifier: MIT
"""Commands that mount or unmount at one place take turns.

What is mounted there is looked at first, and the kernel then acts on what is there by that time:
of two `detach` at once the second would take off what lies beneath.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FLOCK = struct.Struct("@hhqqi4x")  # struct flock of fcntl(2), with 64-bit offsets


@contextmanager
def turn(place: Path) -> Iterator[None]:
    """Wait for others at a mount point, given by its path without links, and keep them waiting.

    The kernel ends the turn of a process that ends. Where /run cannot be written nobody waits.
    """
    lock = _lock_file()
    if lock is None:
        yield
        return
    try:
        # A byte for each mount point: that two share one costs no more than waiting. Locks of the
        # open file, as those of a process would not part its threads.
        byte = zlib.crc32(os.fsencode(place))
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        fcntl.fcntl(lock, fcntl.F_OFD_SETLKW, asked)
        yield
    finally:
        os.close(lock)


def _lock_file() -> int | None:
    from fusebpf.runtime import daemons

    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(daemons.directory() / "lock", flags, 0o600)
    except OSError:
        return None
