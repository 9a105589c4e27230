# SPDX-License-Identifier: MIT
"""Operations without a pair of filters: default_filter is asked, before and after.

Its verdicts come by opcode and phase, so that opening the files that they need is let through.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fusebpf.abi.opcodes import VERDICTS
from tests.vm import daemonkit
from tests.vm import kernelkit as kit
from tests.vm.kernel_twins import file_system
from tests.vm.kernelkit import code_of

_LIBC = ctypes.CDLL(None, use_errno=True)
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FIEMAP, FIBMAP = 0x80086601, 0x40086602, 0xC020660B, 1
NODUMP, EXTENTS = 0x40, 0x80000
GETLK, SETLK, SETLKW, BMAP, IOCTL, SYNCFS = 31, 32, 33, 37, 39, 50
LOCK = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def get_flags(fd: int) -> int:
    return int(struct.unpack_from("=i", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8)))[0])


def set_flags(fd: int) -> None:
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("=i", NODUMP | EXTENTS))


def fiemap(fd: int) -> int:
    """How many extents there are."""
    raw = fcntl.ioctl(fd, FS_IOC_FIEMAP, struct.pack("=QQIIII", 0, 1 << 40, 1, 0, 0, 0))
    return int(struct.unpack("=QQIIII", raw)[3])


def fibmap(fd: int) -> int:
    return int(struct.unpack("=i", fcntl.ioctl(fd, FIBMAP, struct.pack("=i", 0)))[0])


def get_lock(fd: int) -> int:
    return int(struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, LOCK))[0])


def syncfs(fd: int) -> None:
    if _LIBC.syncfs(fd) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@dataclass(frozen=True)
class Unpaired:
    """An operation on an open file, the opcode of its filter, whether it was done below."""

    opcode: int
    do: Callable[[int], Any]
    done: Callable[[Path], bool] | None = None


def flags_are_set(lower: Path) -> bool:
    fd = os.open(lower / "file", os.O_RDONLY)
    try:
        return get_flags(fd) & NODUMP != 0
    finally:
        os.close(fd)


def is_locked(lower: Path) -> bool:
    """Whether somebody has a flock on the lower file."""
    fd = os.open(lower / "file", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


CASES: dict[str, Unpaired] = {
    "get flags": Unpaired(IOCTL, get_flags),
    "set flags": Unpaired(IOCTL, set_flags, flags_are_set),
    "fiemap": Unpaired(IOCTL, fiemap),
    "flock": Unpaired(SETLK, lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB), is_locked),
    "flock that waits": Unpaired(SETLKW, lambda fd: fcntl.flock(fd, fcntl.LOCK_EX), is_locked),
    "lock": Unpaired(SETLK, lambda fd: fcntl.fcntl(fd, fcntl.F_SETLK, LOCK)),
    "lock that waits": Unpaired(SETLKW, lambda fd: fcntl.fcntl(fd, fcntl.F_SETLKW, LOCK)),
    "look for a lock": Unpaired(GETLK, get_lock),
    "syncfs": Unpaired(SYNCFS, syncfs),
}


@dataclass
class Asked:
    """A file of a mount, whose default filter says what the test sets."""

    verdicts: daemonkit.Verdicts
    lower: Path
    fd: int

    def say(self, opcode: int, pre: int, post: int = 0) -> None:
        for number, verdict in ((opcode, pre), (opcode + 64, post)):
            self.verdicts.put(number, verdict)


@pytest.fixture(scope="module")
def verdicts() -> Iterator[daemonkit.Verdicts]:
    attached = daemonkit.Verdicts()
    yield attached
    attached.close()


@pytest.fixture(scope="module")
def ext4() -> Iterator[Path]:
    """A file system that has all of them."""
    with file_system("ext4") as directory:
        yield directory


@contextmanager
def opened(verdicts: daemonkit.Verdicts, base: Path, number: int) -> Iterator[Asked]:
    lower, mnt = base / f"lower{number}", base / f"mnt{number}"
    lower.mkdir()
    mnt.mkdir()
    (lower / "file").write_text("content\n")
    with kit.mounted(lower, mnt, root_bpf_link=verdicts.link.fd):
        fd = os.open(mnt / "file", os.O_RDWR)
        try:
            os.fsync(fd)  # for blocks to be shown
            yield Asked(verdicts, lower, fd)
        finally:
            for opcode in range(128):
                verdicts.put(opcode, 0)
            os.close(fd)


@pytest.fixture
def asked(
    verdicts: daemonkit.Verdicts, ext4: Path, request: pytest.FixtureRequest
) -> Iterator[Asked]:
    number = len(list(ext4.iterdir()))
    with opened(verdicts, ext4, number) as asked:
        yield asked


@pytest.mark.parametrize("name", CASES)
def test_default_filter_is_asked(asked: Asked, name: str) -> None:
    """It refuses before and after; what it lets through is done."""
    case = CASES[name]
    asked.say(case.opcode, -errno.EDOM)
    assert code_of(lambda: case.do(asked.fd)) == errno.EDOM
    assert case.done is None or not case.done(asked.lower)
    # After the fact: what was done stays done
    asked.say(case.opcode, VERDICTS["POSTFILTER"], -errno.ELOOP)
    assert code_of(lambda: case.do(asked.fd)) == errno.ELOOP
    for verdict in (VERDICTS["POSTFILTER"], VERDICTS["CONTINUE"]):
        asked.say(case.opcode, verdict)
        assert code_of(lambda: case.do(asked.fd)) == 0
    assert case.done is None or case.done(asked.lower)


@pytest.mark.parametrize("name", CASES)
def test_verdicts(asked: Asked, name: str) -> None:
    """There is no daemon, and nothing further to defer to."""
    case = CASES[name]
    for verdict, code in (
        (VERDICTS["USER"], errno.ECONNREFUSED),
        (VERDICTS["USER_PREFILTER"], errno.ECONNREFUSED),
        (VERDICTS["USER_POSTFILTER"], errno.ECONNREFUSED),
        (VERDICTS["CALL_DEFAULT"], errno.EIO),
        (6, errno.EIO),
        (-4096, errno.EIO),
        (1 << 31, errno.EIO),
    ):
        asked.say(case.opcode, verdict)
        assert code_of(lambda: case.do(asked.fd)) == code, verdict
    assert case.done is None or not case.done(asked.lower)


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf])
def test_releasing_a_lock_asks_nobody(asked: Asked, lock: Callable[[int, int], None]) -> None:
    lock(asked.fd, fcntl.LOCK_EX)
    for opcode in (GETLK, SETLK, SETLKW):
        asked.say(opcode, -errno.EDOM)
    lock(asked.fd, fcntl.LOCK_UN)
    assert not is_locked(asked.lower)


def test_no_blocks_are_shown_where_fibmap_is_refused(asked: Asked) -> None:
    """0 stands for a hole: the call itself cannot fail."""
    block = fibmap(asked.fd)
    assert block > 0
    asked.say(BMAP, -errno.EDOM)
    assert fibmap(asked.fd) == 0
    asked.say(BMAP, 0)
    assert fibmap(asked.fd) == block


def test_a_daemon_is_no_answer(verdicts: daemonkit.Verdicts, tmp_path: Path) -> None:
    """There is no request that it would understand: EOPNOTSUPP, with nothing done."""
    lower, mnt = tmp_path / "lower", tmp_path / "mnt"
    lower.mkdir()
    mnt.mkdir()
    (lower / "file").write_text("content\n")
    with daemonkit.served(daemonkit.Scripted(), mnt, lower=lower, link=verdicts.link.fd):
        fd = os.open(mnt / "file", os.O_RDWR)
        asked = Asked(verdicts, lower, fd)
        try:
            for verdict in ("USER", "USER_PREFILTER", "USER_POSTFILTER"):
                asked.say(SETLK, VERDICTS[verdict])
                code = code_of(lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
                assert code == errno.EOPNOTSUPP
                assert not is_locked(lower)
            asked.say(SETLK, VERDICTS["POSTFILTER"], VERDICTS["USER_POSTFILTER"])
            code = code_of(lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
            assert code == errno.EOPNOTSUPP
        finally:
            asked.say(SETLK, 0)
            os.close(fd)
