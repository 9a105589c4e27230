# SPDX-License-Identifier: MIT
"""Locks, leases and notifications: among users of the mount, and between them and those below."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import kernel_twins as twins
from tests.vm import kernelkit as kit
from tests.vm.kernel_twins import Steps, result_of
from tests.vm.limits import eventually

LIBC = ctypes.CDLL(None, use_errno=True)
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
BUSY = "EAGAIN"


@pytest.fixture
def mnt(lower: Path, mnt: Path) -> Iterator[Path]:
    with kit.mounted(lower, mnt):
        yield mnt


def flock(fd: int, how: int) -> object:
    return result_of(lambda: fcntl.flock(fd, how | fcntl.LOCK_NB))


@pytest.mark.parametrize("name", ["file", "dir"])
def test_flock_is_the_lower_files(lower: Path, mnt: Path, name: str) -> None:
    """It holds against users of the directory below, and theirs against it."""
    above, again, below = (os.open(base / name, os.O_RDONLY) for base in (mnt, mnt, lower))
    assert flock(above, fcntl.LOCK_EX) is None
    assert flock(below, fcntl.LOCK_SH) == flock(again, fcntl.LOCK_SH) == BUSY
    assert flock(above, fcntl.LOCK_SH) is None
    assert flock(below, fcntl.LOCK_SH) is flock(again, fcntl.LOCK_SH) is None
    assert flock(again, fcntl.LOCK_UN) is flock(above, fcntl.LOCK_UN) is None
    assert flock(above, fcntl.LOCK_EX) == BUSY
    assert flock(below, fcntl.LOCK_UN) is None
    assert flock(above, fcntl.LOCK_EX) is None
    assert "lock:" not in Path(f"/proc/self/fdinfo/{above}").read_text()
    assert f":{os.stat(lower / name).st_ino} " in Path("/proc/locks").read_text()
    duplicate = os.dup(above)
    os.close(above)
    assert flock(below, fcntl.LOCK_EX) == BUSY
    os.close(duplicate)
    assert flock(below, fcntl.LOCK_EX) is None
    assert flock(again, fcntl.LOCK_EX) == BUSY
    os.close(below)
    assert flock(again, fcntl.LOCK_EX) is None
    os.close(again)


def test_flock_stays_while_the_file_is_mapped(lower: Path, mnt: Path) -> None:
    """As on any file system: a mapping keeps the open file."""
    for base in (lower, mnt):
        fd = os.open(base / "file", os.O_RDWR)
        assert flock(fd, fcntl.LOCK_EX) is None
        mapped = kit.map_alone(fd, 8)
        os.close(fd)
        other = os.open(base / "file", os.O_RDONLY)
        assert flock(other, fcntl.LOCK_SH) == BUSY
        mapped.close()
        assert flock(other, fcntl.LOCK_SH) is None
        os.close(other)


def test_flock_waits_and_is_interrupted(lower: Path, mnt: Path) -> None:
    below = os.open(lower / "file", os.O_RDONLY)
    fcntl.flock(below, fcntl.LOCK_EX)
    script = (
        "import fcntl, os, signal, sys\n"
        "def stop(*_): raise InterruptedError\n"
        "signal.signal(signal.SIGUSR1, stop)\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "for _ in range(2):\n"
        "    print('waits', flush=True)\n"
        "    try:\n"
        "        fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "        print('has it', flush=True)\n"
        "    except InterruptedError:\n"
        "        print('interrupted', flush=True)\n"
    )
    command = [sys.executable, "-c", script, str(mnt / "file")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "waits\n"
        assert eventually(lambda: _sleeps(child.pid))
        child.send_signal(signal.SIGUSR1)
        assert child.stdout.readline() == "interrupted\n"
        assert child.stdout.readline() == "waits\n"
        assert eventually(lambda: _sleeps(child.pid))
        os.close(below)
        assert child.stdout.readline() == "has it\n"


def _sleeps(pid: int) -> bool:
    """Does a process sleep in flock (system call 73)?"""
    return Path(f"/proc/{pid}/syscall").read_text().startswith("73 ")


def record(fd: int, command: int, kind: int, start: int, length: int) -> tuple[int, int, int]:
    """Type, start and length that a lock command leaves in struct flock."""
    asked = struct.pack("=hhxxxxqqixxxx", kind, os.SEEK_SET, start, length, 0)
    left = struct.unpack("=hhxxxxqqixxxx", fcntl.fcntl(fd, command, asked))
    return left[0], left[2], left[3]


def record_lock_steps(s: Steps) -> None:
    path = s.base / "file"
    path.write_bytes(bytes(100))
    one, two = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    read_only = os.open(path, os.O_RDONLY)
    read, write, none = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
    s.do("ofd write", lambda: record(one, F_OFD_SETLK, write, 0, 10))
    s.do("ofd conflict", lambda: record(two, F_OFD_SETLK, read, 5, 10))
    s.do("ofd who", lambda: record(two, F_OFD_GETLK, read, 5, 10))
    s.do("ofd beside", lambda: record(two, F_OFD_SETLK, write, 10, 10))
    s.do("ofd split", lambda: record(one, F_OFD_SETLK, none, 4, 2))
    s.do("ofd who is left", lambda: record(two, F_OFD_GETLK, write, 0, 100))
    s.do("ofd in the gap", lambda: record(two, F_OFD_SETLKW, write, 4, 2))
    s.do("read-only write lock", lambda: record(read_only, F_OFD_SETLK, write, 50, 1))
    s.do("posix against ofd", lambda: record(one, fcntl.F_SETLK, write, 0, 0))
    s.do("posix", lambda: record(one, fcntl.F_SETLK, write, 60, 10))
    child = (
        "import fcntl, os, struct, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "asked = struct.pack('=hhxxxxqqixxxx', fcntl.F_WRLCK, 0, 0, 0, 0)\n"
        "kind, _, start, length, pid = struct.unpack('=hhxxxxqqixxxx',"
        " fcntl.fcntl(fd, fcntl.F_GETLK, asked))\n"
        "print(kind, start, length, pid in (-1, os.getppid()))\n"
    )
    command = [sys.executable, "-c", child, str(path)]
    s.do("in a child", lambda: subprocess.check_output(command))
    os.close(read_only)
    s.do("in a child after any close", lambda: subprocess.check_output(command))
    os.close(one)
    s.do("ofd after close", lambda: record(two, F_OFD_SETLK, write, 0, 100))
    os.close(two)


def test_posix_and_ofd_locks(tmp_path: Path) -> None:
    twins.compare(tmp_path, record_lock_steps)


def test_posix_and_ofd_locks_are_the_mounts(lower: Path, mnt: Path) -> None:
    """They are the VFS's on our inode, as in overlayfs: those below do not see them."""
    above, below = os.open(mnt / "file", os.O_RDWR), os.open(lower / "file", os.O_RDWR)
    for fd in (above, below):
        record(fd, F_OFD_SETLK, fcntl.F_WRLCK, 0, 10)
        record(fd, fcntl.F_SETLK, fcntl.F_WRLCK, 20, 10)
    os.close(above)
    os.close(below)


def lease_steps(s: Steps) -> None:
    path = s.base / "file"
    path.write_text("content\n")
    fd = os.open(path, os.O_RDONLY)
    both = os.open(path, os.O_RDWR)
    read, write, none = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
    busy = os.O_WRONLY | os.O_NONBLOCK
    s.do("none", lambda: fcntl.fcntl(fd, fcntl.F_GETLEASE))
    s.do("read with a writer", lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, read))
    os.close(both)
    s.do("read", lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, read))
    s.do("shown", lambda: fcntl.fcntl(fd, fcntl.F_GETLEASE))
    s.do("open to read", lambda: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)))
    s.do("broken by open", lambda: os.open(path, busy))
    s.do("signal", lambda: signal.sigtimedwait({signal.SIGIO}, 5) is not None)
    s.do("broken", lambda: fcntl.fcntl(fd, fcntl.F_GETLEASE))
    s.do("given up", lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, none))
    s.do("open after", lambda: os.close(os.open(path, busy)))
    s.do("write", lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, write))
    s.do("broken by a reader", lambda: os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    s.do("signal 2", lambda: signal.sigtimedwait({signal.SIGIO}, 5) is not None)
    s.do("given up 2", lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, none))
    os.close(fd)
    directory = os.open(s.base, os.O_RDONLY)
    s.do("directory", lambda: fcntl.fcntl(directory, fcntl.F_SETLEASE, read))
    os.close(directory)
    os.chown(path, 1000, 1000)


def test_leases(tmp_path: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
    try:
        twins.compare(tmp_path, lease_steps)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})


def test_open_breaks_a_lease_held_below(lower: Path, mnt: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
    fd = os.open(lower / "file", os.O_RDONLY)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    assert result_of(lambda: os.open(mnt / "file", os.O_WRONLY | os.O_NONBLOCK)) == BUSY
    assert signal.sigtimedwait({signal.SIGIO}, 5) is not None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.close(os.open(mnt / "file", os.O_WRONLY | os.O_NONBLOCK))
    os.close(fd)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})


def notify_steps(s: Steps) -> None:
    directory = os.open(s.base, os.O_RDONLY)
    flags = fcntl.DN_CREATE | fcntl.DN_MODIFY | fcntl.DN_DELETE | fcntl.DN_MULTISHOT
    s.do("F_NOTIFY", lambda: fcntl.fcntl(directory, fcntl.F_NOTIFY, flags))
    s.do("create", lambda: (s.base / "new").touch())
    s.do("told", lambda: signal.sigtimedwait({signal.SIGIO}, 5) is not None)
    s.do("write", lambda: (s.base / "new").write_text("x"))
    s.do("told again", lambda: signal.sigtimedwait({signal.SIGIO}, 5) is not None)
    s.do("unlink", lambda: (s.base / "new").unlink())
    s.do("told of that", lambda: signal.sigtimedwait({signal.SIGIO}, 5) is not None)
    os.close(directory)


def test_dnotify(tmp_path: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
    try:
        twins.compare(tmp_path, notify_steps)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})


class Inotify:
    """Events of a directory or file, as (mask, name)."""

    def __init__(self, path: Path) -> None:
        self.fd = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert LIBC.inotify_add_watch(self.fd, os.fsencode(path), 0xFFF) >= 0

    def events(self) -> list[tuple[int, str]]:
        found = []
        raw = b""
        while isinstance(part := result_of(lambda: os.read(self.fd, 65536)), bytes):
            raw += part
        while raw:
            _wd, mask, _cookie, length = struct.unpack_from("=iIII", raw)
            found.append((mask, raw[16 : 16 + length].rstrip(b"\0").decode()))
            raw = raw[16 + length :]
        return found

    def close(self) -> None:
        os.close(self.fd)


def inotify_steps(s: Steps) -> None:
    (s.base / "dir").mkdir()
    (s.base / "file").write_text("content\n")
    watch = Inotify(s.base)
    steps = (
        lambda: (s.base / "file").read_text(),
        lambda: (s.base / "file").write_text("longer content\n"),
        lambda: (s.base / "file").chmod(0o600),
        lambda: os.truncate(s.base / "file", 3),
        lambda: os.setxattr(s.base / "file", "user.x", b"y"),
        lambda: os.rename(s.base / "file", s.base / "dir/moved"),
        lambda: os.rename(s.base / "dir/moved", s.base / "back"),
        lambda: os.link(s.base / "back", s.base / "link"),
        lambda: os.symlink("back", s.base / "symlink"),
        lambda: os.mkfifo(s.base / "fifo"),
        lambda: (s.base / "sub").mkdir(),
        lambda: (s.base / "sub").rmdir(),
        lambda: os.unlink(s.base / "back"),
        lambda: _map_and_write(s.base / "link"),
        lambda: os.listdir(s.base),
    )
    for number, step in enumerate(steps):
        s.do(f"step {number}", lambda step=step: bool(step()))  # type: ignore[misc]
        s.do(f"events {number}", watch.events)
    watch.close()


def _map_and_write(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 3) as mapped:
        mapped[0:1] = b"m"


def test_inotify(tmp_path: Path) -> None:
    twins.compare(tmp_path, inotify_steps)


def test_inotify_sees_what_happens_through_its_own_side(lower: Path, mnt: Path) -> None:
    """A watch below sees both sides, a watch on the mount what goes through the mount."""
    (mnt / "file").stat()
    above, below = Inotify(mnt), Inotify(lower)
    (mnt / "file").chmod(0o600)
    assert above.events()
    assert below.events()
    (lower / "file").chmod(0o644)
    assert below.events()
    assert above.events() == []
    above.close()
    below.close()


def _fanotify(path: Path, init: int, what: int, mask: int) -> int:
    """A fanotify descriptor with one mark, or the negative errno."""
    fd = LIBC.fanotify_init(init, os.O_RDONLY)
    if fd < 0:
        return -ctypes.get_errno()
    args = ctypes.c_int(fd), ctypes.c_uint(1 | what), ctypes.c_uint64(mask)
    if LIBC.fanotify_mark(*args, ctypes.c_int(-100), os.fsencode(path)) < 0:
        code = ctypes.get_errno()
        os.close(fd)
        return -code
    return int(fd)


def test_fanotify(mnt: Path) -> None:
    """Descriptors and permission events; handles (FID) of a whole mount cannot be opened again."""
    notify, content, report_fid = 0, 0x4, 0x200
    mount, file_system, inode = 0x10, 0x100, 0
    opened, open_permission = 0x20, 0x10000
    fd = _fanotify(mnt, notify | 0x2, mount, opened)
    assert fd > 0
    (mnt / "file").read_text()
    _length, _version, _r, _m, mask, event, pid = struct.unpack_from("=IBBHQii", os.read(fd, 4096))
    assert (mask, pid) == (opened, os.getpid())
    assert os.readlink(f"/proc/self/fd/{event}") == str(mnt / "file")
    os.close(event)
    os.close(fd)

    fd = _fanotify(mnt / "file", content | 0x2, inode, open_permission)
    assert fd > 0
    with subprocess.Popen(["cat", mnt / "file"], stdout=-3, stderr=-3) as reader:
        event = struct.unpack_from("=IBBHQii", os.read(fd, 4096) if _ready(fd) else b"")[5]
        os.write(fd, struct.pack("=iI", event, 2))  # deny
        os.close(event)
        assert reader.wait() != 0
    os.close(fd)

    assert _fanotify(mnt, report_fid, file_system, opened) < 0


def _ready(fd: int) -> bool:
    return bool(select.select([fd], [], [], 30)[0])


def socket_steps(s: Steps) -> None:
    os.chdir(s.base)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        s.do("bind", lambda: server.bind("sock"))
        s.do("bind again", lambda: client.bind("sock"))
        s.do("refused", lambda: client.connect("sock"))
        server.listen()
        s.do("connect", lambda: client.connect("sock"))
        peer, _address = server.accept()
        s.do("send", lambda: client.send(b"hello"))
        s.do("receive", lambda: peer.recv(10))
        s.do("name", lambda: peer.getsockname())
        peer.close()
    s.do("open", lambda: os.open("sock", os.O_RDWR))
    with socket.socket(socket.AF_UNIX) as client:
        s.do("nobody there", lambda: client.connect("sock"))
    os.mkfifo("fifo")
    s.do("no reader", lambda: os.open("fifo", os.O_WRONLY | os.O_NONBLOCK))
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("fifo", os.O_WRONLY)
    s.do("write", lambda: os.write(writer, b"through"))
    s.do("read", lambda: os.read(reader, 10))
    s.do("empty", lambda: os.read(reader, 10))
    os.close(writer)
    s.do("end", lambda: os.read(reader, 10))
    os.close(reader)
    os.chdir("/")


def test_sockets_and_fifos(tmp_path: Path) -> None:
    twins.compare(tmp_path, socket_steps)


def test_sockets_and_fifos_are_the_mounts(lower: Path, mnt: Path) -> None:
    """Their two ends meet on one inode, so both must use the mount."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(mnt / "sock"))
        server.listen()
        assert result_of(lambda: client.connect(str(lower / "sock"))) == "ECONNREFUSED"
        client.connect(str(mnt / "sock"))
    os.mkfifo(lower / "fifo")
    reader = os.open(lower / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    assert result_of(lambda: os.open(mnt / "fifo", os.O_WRONLY | os.O_NONBLOCK)) == "ENXIO"
    os.close(reader)
