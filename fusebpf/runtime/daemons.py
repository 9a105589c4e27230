# SPDX-License-Identifier: MIT
"""Which daemon serves a mount: the records that daemons of `fusebpf attach --daemon` keep.

A record is a file named after the mount's link, whose ids are not used again until reboot. Its
daemon holds a lock on it, which the kernel drops however the daemon ends: no process id is taken
for one that means another process by now.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from fusebpf.errors import FusebpfError
from fusebpf.frozen import dataclass
from fusebpf.runtime import mountinfo, state, sysbpf
from fusebpf.runtime.turns import FLOCK

DIRECTORY = Path("/run/fusebpf")
"""Records and logs. /run is empty after boot, as the kernel is of links."""

_PATIENCE = 5.0  # seconds that a daemon gets to end, before it is told, and then killed
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Record:
    """`served` is what --daemon said, `attach` the command that mounts anew.

    `ops` is the id of the struct_ops map that was in force then: another one is after the filters
    were replaced.
    """

    pid: int
    served: str
    log: str
    attach: str
    ops: int = 0


@dataclass(frozen=True)
class DaemonStatus:
    """The daemon of a mount: "serving", or "ended" while its mount is still there.

    `pid` is 0 for one that serves in another pid namespace, where it is not seen from here.
    """

    served: str
    pid: int
    state: Literal["serving", "ended"]
    log: str


def directory() -> Path:
    """Where records are, made on first use. Raises OSError."""
    DIRECTORY.mkdir(mode=0o755, exist_ok=True)
    return DIRECTORY


def own_log(link_id: int) -> Path:
    """Where the log of a daemon is that was given none."""
    return DIRECTORY / f"{link_id}.log"


def _path(link_id: int) -> Path:
    return DIRECTORY / f"{link_id}.json"


@contextmanager
def unnamed(path: Path) -> Iterator[int]:
    """A file that gets its name when the block ends, and never one when it fails. OSError."""
    fd = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        yield fd
        name(fd, path)
    except BaseException:
        os.close(fd)
        raise


def name(fd: int, path: Path) -> None:
    """Give a file that has none (O_TMPFILE) its name. Raises OSError."""
    # With a directory, which is not used, as without one Python calls link(2), which follows none.
    os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)


_held: dict[int, Record] = {}
"""The records of this process, by link."""


def hold(link_id: int, record: Record) -> int:
    """Write the record of this process and lock it, for as long as the descriptor is open."""
    with unnamed(_path(link_id)) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(fd, json.dumps(asdict(record)).encode())
    _held[link_id] = record
    return fd


def found(link_id: int) -> tuple[DaemonStatus, Record] | None:
    """The daemon of a mount; None when it has none, or one that runs itself."""
    own = _held.get(link_id)
    if own is not None and own.pid == os.getpid():
        # Not to be looked at: with any descriptor that it closes a process gives up its locks.
        return DaemonStatus(own.served, own.pid, "serving", own.log), own
    try:
        with _path(link_id).open("rb") as file:
            record = Record(**json.loads(file.read()))
            asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            lock = FLOCK.unpack(fcntl.fcntl(file.fileno(), fcntl.F_GETLK, asked))
    except (OSError, ValueError, TypeError):
        return None  # there is none, or it ends just now
    # Others may read the file, and with that take a lock for reading.
    if lock[0] != fcntl.F_WRLCK:
        return DaemonStatus(record.served, record.pid, "ended", record.log), record
    # Its number is the kernel's to say: that in the record is of the daemon's own pid namespace.
    return DaemonStatus(record.served, lock[4], "serving", record.log), record


def forget(link_id: int) -> None:
    """Remove a record, and the log beside it."""
    _held.pop(link_id, None)
    for path in (_path(link_id), own_log(link_id)):
        path.unlink(missing_ok=True)


def prune() -> None:
    """Remove records of daemons that were killed and whose mounts went later."""
    for path in DIRECTORY.glob("*.json"):
        if not path.stem.isdigit():
            continue
        link_id = int(path.stem)
        held = found(link_id)
        if (held is None or held[0].state == "ended") and not _loaded(link_id):
            forget(link_id)


def _loaded(link_id: int) -> bool:
    try:
        with state.opened(sysbpf.LINK_GET_FD_BY_ID, link_id):
            return True
    except FileNotFoundError:
        return False


@contextmanager
def ending(link_id: int) -> Iterator[None]:
    """See to it that a mount that the block takes off takes its daemon and its record along.

    The kernel tells the daemon, and it ends; one that does not hear is told by a signal. While
    the mount is elsewhere still (bound to another place, in another namespace), it serves on.

    Raises FusebpfError for one that does not hear and is in another pid namespace.
    """
    pidfd = _serving(link_id)
    try:
        yield
        if any(entry.link_id == link_id for entry in mountinfo.entries() if entry.is_fuse_bpf):
            return
        if pidfd is not None:
            ended = _wait(pidfd)
            if not ended and _loaded(link_id):
                return
            for number in (signal.SIGTERM, signal.SIGKILL):
                if not ended:
                    with suppress(ProcessLookupError):  # just now
                        signal.pidfd_send_signal(pidfd, number)
                    ended = _wait(pidfd)
        elif not _ends_unseen(link_id):
            return
        forget(link_id)
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _serving(link_id: int) -> int | None:
    """A descriptor (pidfd_open(2)) of the process that serves a mount, if that is another one."""
    held = found(link_id)
    if held is None or held[0].state != "serving" or held[0].pid in (0, os.getpid()):
        return None
    try:
        pidfd = os.pidfd_open(held[0].pid)
    except ProcessLookupError:
        return None
    # Asked again: until it was open the number may have become another process's.
    if (again := found(link_id)) is not None and again[0] == held[0]:
        return pidfd
    os.close(pidfd)
    return None


def _ends_unseen(link_id: int) -> bool:
    """Whether the daemon of a mount that is gone ends, which has no number here to be told by.

    False while the mount is elsewhere still.
    """
    end = time.monotonic() + _PATIENCE
    while (held := found(link_id)) is not None and (held[0].state, held[0].pid) == ("serving", 0):
        if time.monotonic() >= end:
            if _loaded(link_id):
                return False
            raise FusebpfError(
                f"the mount is gone, but its daemon {held[0].served} does not end, and is in "
                "another pid namespace than this command",
                f"end it there, where it is process {held[1].pid}: kill -KILL {held[1].pid}",
            )
        time.sleep(_LOOK_SECONDS)
    return True


def _wait(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(_PATIENCE * 1000))
