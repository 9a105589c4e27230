# SPDX-License-Identifier: MIT
"""A daemon in Python serves a whole file system: the protocol without filters."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf import Attr, AttrOut, EntryOut, GetattrIn, Name, OpenIn, OpenOut, ReadIn
from fusebpf.daemon import Call, Daemon, Device, mount
from fusebpf.runtime.fsmount import MountError, umount
from tests.vm import daemonkit as kit
from tests.vm import kernelkit
from tests.vm.limits import eventually


@pytest.fixture
def mnt(tmp_path: Path) -> Path:
    directory = tmp_path / "mnt"
    directory.mkdir()
    return directory


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    directory = tmp_path / "lower"
    (directory / "dir").mkdir(parents=True)
    (directory / "file").write_text("content\n")
    return directory


@pytest.fixture
def tree(lower: Path, mnt: Path) -> Iterator[Path]:
    with kit.served(kit.Passthrough(lower), mnt):
        yield mnt


def test_a_file_system_of_its_own(tree: Path, lower: Path) -> None:
    """What one does to a directory all day arrives below, and comes back as it is there."""
    assert (tree / "file").read_text() == "content\n"
    assert sorted(os.listdir(tree)) == ["dir", "file"]
    with pytest.raises(FileNotFoundError):
        (tree / "none").read_text()

    data = os.urandom(300_000)
    (tree / "dir/new").write_bytes(data)
    assert (lower / "dir/new").read_bytes() == data
    assert (tree / "dir/new").read_bytes() == data
    os.truncate(tree / "dir/new", 100)
    assert (lower / "dir/new").stat().st_size == 100

    os.rename(tree / "dir/new", tree / "moved")
    os.link(tree / "moved", tree / "linked")
    assert (tree / "linked").stat().st_nlink == 2
    os.symlink("moved", tree / "sym")
    assert os.readlink(tree / "sym") == "moved"
    assert (tree / "sym").read_bytes() == data[:100]
    (tree / "dir/sub").mkdir(mode=0o700)
    assert (lower / "dir/sub").stat().st_mode & 0o777 == 0o700
    (tree / "dir/sub").rmdir()
    (tree / "linked").unlink()
    assert not (lower / "linked").exists()
    os.mkfifo(tree / "fifo")
    assert (lower / "fifo").is_fifo()

    os.chmod(tree / "moved", 0o640)
    os.chown(tree / "moved", 12, 34)
    os.utime(tree / "moved", ns=(10**18 + 5, 10**18 + 7))
    below = (lower / "moved").stat()
    assert below.st_mode & 0o777 == 0o640
    assert (below.st_uid, below.st_gid) == (12, 34)
    assert below.st_mtime_ns == 10**18 + 7
    assert (tree / "moved").stat().st_mtime_ns == 10**18 + 7
    assert os.statvfs(tree).f_blocks == os.statvfs(lower).f_blocks
    with open(tree / "moved", "ab") as file:
        file.write(b"tail")
        file.flush()
        os.fsync(file.fileno())
    assert (lower / "moved").read_bytes() == data[:100] + b"tail"


def test_extended_attributes(tree: Path, lower: Path) -> None:
    os.setxattr(tree / "file", "user.colour", b"blue")
    assert os.getxattr(lower / "file", "user.colour") == b"blue"
    assert os.getxattr(tree / "file", "user.colour") == b"blue"
    os.setxattr(tree / "file", "user.long", b"x" * 3000)
    assert os.getxattr(tree / "file", "user.long") == b"x" * 3000
    assert set(os.listxattr(tree / "file")) >= {"user.colour", "user.long"}
    os.removexattr(tree / "file", "user.colour")
    with pytest.raises(OSError) as info:
        os.getxattr(tree / "file", "user.colour")
    assert info.value.errno == errno.ENODATA
    with pytest.raises(FileExistsError):
        os.setxattr(tree / "file", "user.long", b"y", os.XATTR_CREATE)


def test_a_long_listing_comes_in_parts(tree: Path, lower: Path) -> None:
    names = {f"{index:04}-{'x' * 60}" for index in range(500)}
    for name in names:
        (lower / "dir" / name).touch()
    assert set(os.listdir(tree / "dir")) == names


def test_lookups_are_forgotten(lower: Path, mnt: Path) -> None:
    daemon = kit.Passthrough(lower)
    with kit.served(daemon, mnt):
        for index in range(50):
            (mnt / f"f{index}").touch()
        assert len(daemon._nodes) > 50
        Path("/proc/sys/vm/drop_caches").write_text("2\n")
        assert eventually(lambda: len(daemon._nodes) <= 2)
    assert min(daemon._lookups.values(), default=1) > 0


class OneFile(Daemon):
    """One file. What a read gives, or how it fails, is up to the test."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.cancelled = threading.Event()
        self.content: bytes | Exception | None = b"first"
        self.name = "file"

    def lookup(self, _call: Call, name: Name) -> EntryOut | None:
        if name != self.name:
            return None
        attr = Attr(mode=0o100644, nlink=1, size=5)
        return EntryOut(nodeid=2, entry_valid=3600, attr_valid=3600, attr=attr)

    def getattr(self, call: Call, _req: GetattrIn) -> AttrOut:
        mode = 0o40755 if call.nodeid == kit.ROOT else 0o100644
        return AttrOut(attr=Attr(mode=mode, nlink=1, size=5))

    def open(self, _call: Call, _req: OpenIn) -> OpenOut:
        # What is cached is read in the background, where nobody can give it up
        return OpenOut(open_flags=FOPEN_DIRECT_IO if self.content is None else FOPEN_KEEP_CACHE)

    async def read_iter(self, _call: Call, req: ReadIn) -> bytes:
        self.asked.set()
        if self.content is None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.cancelled.set()
        if isinstance(self.content, Exception):
            raise self.content
        assert self.content is not None
        return self.content


FOPEN_DIRECT_IO, FOPEN_KEEP_CACHE = 1, 2


def error_of(path: Path) -> int:
    """The errno that reading a file ends with."""
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno or 0
    return 0


def test_handlers_that_are_missing_or_wrong(mnt: Path, caplog: pytest.LogCaptureFixture) -> None:
    daemon = OneFile()
    with kit.served(daemon, mnt):
        with pytest.raises(OSError) as info:
            (mnt / "new").mkdir()
        assert info.value.errno == errno.ENOSYS
        daemon.content = b"more than was asked for" * 10_000
        assert error_of(mnt / "file") == errno.EIO
        assert "bytes read where" in caplog.text
        daemon.content = ZeroDivisionError("a fault in a handler")
        assert error_of(mnt / "file") == errno.EIO
        assert "a fault in a handler" in caplog.text
        daemon.content = PermissionError(errno.EACCES, "not this one")
        # FUSE reads by iomap since 7.x, for which every error is one
        told = errno.EIO if kernelkit.series() >= (7, 3) else errno.EACCES
        assert error_of(mnt / "file") == told
        daemon.content = b"first"
        assert (mnt / "file").read_bytes() == b"first"


def test_a_killed_caller_cancels_the_handler(mnt: Path) -> None:
    daemon = OneFile()
    daemon.content = None
    with kit.served(daemon, mnt):
        reader = subprocess.Popen(["cat", mnt / "file"])
        assert daemon.asked.wait(30)
        reader.kill()
        assert daemon.cancelled.wait(30)
        assert reader.wait(30) == -signal.SIGKILL
        daemon.content = b"first"
        assert (mnt / "file").read_bytes() == b"first"


def test_notifications(mnt: Path) -> None:
    """Data and names that the kernel caches are dropped, or filled in, when the daemon says so."""
    daemon = OneFile()
    with kit.served(daemon, mnt):
        assert (mnt / "file").read_bytes() == b"first"
        daemon.content = b"later"
        assert (mnt / "file").read_bytes() == b"first"
        daemon.notify.inval_inode(2)
        assert (mnt / "file").read_bytes() == b"later"
        daemon.notify.store(2, 0, b"given")
        assert (mnt / "file").read_bytes() == b"given"
        daemon.name = "other"
        assert (mnt / "file").exists()
        daemon.notify.inval_entry(kit.ROOT, b"file")
        assert not (mnt / "file").exists()
        with pytest.raises(OSError) as info:
            daemon.notify.inval_inode(12345)
        assert info.value.errno == errno.ENOENT


DYING = """
import sys
from pathlib import Path
from fusebpf.daemon import Device, mount, serve
from tests.vm.test_daemon import OneFile

class Asked(OneFile):
    async def read_iter(self, call, req):
        print("asked", flush=True)
        return await super().read_iter(call, req)

daemon = Asked()
daemon.content = None
with Device() as device:
    mount(device, Path(sys.argv[1]), allow_other=True)
    print("mounted", flush=True)
    serve(daemon, device)
"""


def test_a_daemon_that_dies_leaves_nobody_waiting(mnt: Path) -> None:
    command = [sys.executable, "-c", DYING, str(mnt)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as dying:
        assert dying.stdout is not None
        assert dying.stdout.readline() == "mounted\n"
        reader = subprocess.Popen(["cat", mnt / "file"], stderr=subprocess.PIPE, text=True)
        try:
            # Not earlier: what comes after an answered LOOKUP finds no connection
            assert dying.stdout.readline() == "asked\n"
        finally:
            dying.kill()
        _out, text = reader.communicate(timeout=30)
        assert reader.returncode == 1
        assert os.strerror(errno.ECONNABORTED) in text
    try:
        assert error_of(mnt / "file") == errno.ENOTCONN
    finally:
        umount(mnt)


def test_what_mounting_refuses(mnt: Path) -> None:
    with Device() as device, pytest.raises(MountError) as info:
        mount(device, mnt, no_such_option=True)
    assert "no_such_option" in str(info.value)
