# SPDX-License-Identifier: MIT
"""What is left to the daemon alone: data, flags and attributes of a file that has one below."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fusebpf import (
    CONTINUE,
    USER,
    USER_PREFILTER,
    Attr,
    AttrOut,
    OpenIn,
    OpenOut,
    SetattrIn,
    WriteIn,
)
from fusebpf.daemon import Call, Daemon
from fusebpf.runtime import sysbpf
from tests.vm import daemonkit as kit
from tests.vm import hook_calls, kernelkit
from tests.vm.kernel_twins import file_system
from tests.vm.kernelkit import CAPABILITY, opened, piped
from tests.vm.limits import eventually

SWAPON, SPLICE, OPENAT2 = 167, 275, 437  # their numbers on x86
OPENAT2_REGULAR = 1 << 32  # linux/openat2.h
FICLONE = 0x40049409  # linux/fs.h
FH = 7  # what an open of kit.Scripted gives


@pytest.fixture(scope="module", params=["tmpfs", "ext4"])
def mounted(request: pytest.FixtureRequest) -> Iterator[kit.Mount]:
    """Below, one that knows where a file's blocks are, and one that does not."""
    with file_system(request.param) as directory, kit.filtered(directory) as made:
        yield made


@pytest.fixture
def m(mounted: kit.Mount) -> Iterator[kit.Mount]:
    mounted.verdicts.reset()
    mounted.daemon._reset()
    (mounted.lower / "file").write_text("0123456789")
    (mounted.lower / "file").chmod(0o644)
    yield mounted
    mounted.verdicts.reset()


def leave(m: kit.Mount, op: str, **answers: Any) -> None:
    """Leave an operation to the daemon, which answers so."""
    m.daemon._reset(flush=None, **answers)
    m.verdicts.set(op, USER.value)


def reads(content: bytes) -> Any:
    """What a daemon answers a READ with."""
    return lambda _call, req: content[req.offset : req.offset + req.size]


def test_what_it_opened_is_spliced_and_not_cached(m: kit.Mount, tmp_path: Path) -> None:
    leave(m, "open", read_iter=reads(b"from it"))
    with opened(m.mnt / "file", os.O_RDWR) as fd, (tmp_path / "copy").open("w+b") as copy:
        assert os.sendfile(copy.fileno(), fd, 0, 100) == 7
        m.daemon._answers["read_iter"] = reads(b"another")
        assert os.sendfile(copy.fileno(), fd, 0, 100) == 7
        copy.seek(0)
        assert copy.read() == b"from itanother"


# In another process: while this one waits for a page, no thread of it can answer
MAP = """
import mmap, sys
fd = int(sys.argv[1])
sys.stdout.buffer.write(mmap.mmap(fd, 7, mmap.MAP_PRIVATE, mmap.PROT_READ)[:])
"""


def test_what_it_opened_is_mapped(m: kit.Mount) -> None:
    leave(m, "open", read_iter=reads(b"from it"))
    with opened(m.mnt / "file", os.O_RDWR) as fd:
        command = [sys.executable, "-c", MAP, str(fd)]
        assert subprocess.check_output(command, pass_fds=(fd,), timeout=30) == b"from it"
        assert kernelkit.code_of(lambda: mmap.mmap(fd, 7)) == errno.ENODEV


def test_a_file_from_below_is_no_swap(m: kit.Mount) -> None:
    """Its pages are not ours, and no file of the daemon's stands behind a page that is read."""
    if not Path("/proc/swaps").exists():
        pytest.skip("this kernel has no swap")
    (m.lower / "swap").write_bytes(bytes(1 << 20))
    name = os.fsencode(m.mnt / "swap")
    assert kernelkit.code_of(lambda: sysbpf.syscall(SWAPON, name, 0)) == errno.EIO
    assert not m.daemon._seen("read_iter")


def test_what_it_opened_is_no_swap(m: kit.Mount) -> None:
    """The kernel would write to the blocks that the lower file system told, past the mount."""
    if not Path("/proc/swaps").exists():
        pytest.skip("this kernel has no swap")
    swap = m.lower / "swap"
    swap.write_bytes(bytes(1 << 20))
    swap.chmod(0o600)
    subprocess.run(["mkswap", swap], check=True, stdout=subprocess.DEVNULL)
    leave(m, "open", read_iter=reads(swap.read_bytes()))
    name = os.fsencode(m.mnt / "swap")
    assert kernelkit.code_of(lambda: sysbpf.syscall(SWAPON, name, 0)) == errno.EINVAL
    assert m.daemon._seen("read_iter")


def test_no_flag_of_openat2_leaves_a_file_to_it(m: kit.Mount) -> None:
    regular = struct.pack("QQQ", os.O_RDONLY | OPENAT2_REGULAR, 0, 0)
    name = os.fsencode(m.mnt / "file")
    if kernelkit.series() < (7, 3):
        pytest.skip("this kernel has no OPENAT2_REGULAR")

    def opened() -> None:
        os.close(sysbpf.syscall(OPENAT2, -100, name, regular, len(regular)))

    opened()
    m.verdicts.set("open", -errno.EPERM)
    assert kernelkit.code_of(opened) == errno.EPERM
    assert not m.daemon._seen("open")


COPY = """
import os, sys
source, target = (os.open(path, os.O_RDWR) for path in sys.argv[1:])
try:
    print(os.copy_file_range(source, target, 10))
except OSError as error:
    print("errno", error.errno)
"""


def copied(source: Path, target: Path) -> str:
    """What copy_file_range(2) gives, in a process that can be killed."""
    command = [sys.executable, "-c", COPY, str(source), str(target)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=30, check=True, text=True)
    return done.stdout.strip()


def test_a_copy_to_another_mount_is_not_its_own(
    m: kit.Mount, lower: Path, mnt: Path, tmp_path: Path
) -> None:
    refused = f"errno {errno.EXDEV}"
    with kernelkit.mounted(lower, mnt):  # nobody would answer
        leave(m, "copy_file_range", copy_file_range=10)
        assert copied(m.mnt / "file", mnt / "file") == refused
    (tmp_path / "second").mkdir()
    with kit.filtered(tmp_path / "second") as other:
        assert copied(m.mnt / "file", other.mnt / "file") == refused
        assert not other.daemon._asked
    assert not m.daemon._seen("copy_file_range")
    assert copied(m.mnt / "file", m.mnt / "dir/inner") == "10"
    assert m.daemon._seen("copy_file_range")


def test_a_write_is_made_as_the_caller_wants_it(m: kit.Mount) -> None:
    """At the end of the file below, or written through, by a flag of the call or of the file."""
    leave(m, "write_iter", write_iter=lambda _call, _req, data: len(data))

    def last() -> tuple[int, int]:
        _call, args = m.daemon._seen("write_iter")[-1]
        return args[0].offset, args[0].flags & os.O_SYNC

    with opened(m.mnt / "file", os.O_RDWR) as fd:
        assert os.pwritev(fd, [b"XYZ"], 2) == 3
        assert last() == (2, 0)
        assert os.pwritev(fd, [b"XYZ"], 0, os.RWF_APPEND) == 3
        assert last() == (10, 0)
        (m.lower / "file").write_text("grown below")
        assert os.pwritev(fd, [b"XYZ"], 0, os.RWF_APPEND) == 3
        assert last() == (11, 0)
        assert os.pwritev(fd, [b"XYZ"], 0, os.RWF_DSYNC) == 3
        assert last() == (0, os.O_DSYNC)
        assert os.pwritev(fd, [b"XYZ"], 0, os.RWF_SYNC) == 3
        assert last() == (0, os.O_SYNC)

        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
        assert os.pwrite(fd, b"XYZ", 0) == 3
        assert last() == (11, 0)
        source, sink = os.pipe()
        os.write(sink, b"piped")
        os.close(sink)
        assert kernelkit.code_of(lambda: os.splice(source, fd, 5)) == errno.EINVAL
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
        assert os.splice(source, fd, 5, offset_dst=4) == 5
        assert last() == (4, 0)
        os.close(source)


@pytest.mark.parametrize("user", [False, True], ids=["below", "daemon"])
def test_a_splice_of_more_than_32_bits(m: kit.Mount, user: bool) -> None:
    if user:
        leave(m, "write_iter", write_iter=lambda _call, _req, data: len(data))
    source, sink = os.pipe()
    with opened(m.mnt / "file", os.O_RDWR) as fd:
        os.write(sink, b"piped")
        os.close(sink)
        assert os.splice(source, fd, 1 << 32, offset_dst=0) == 5
    os.close(source)
    assert (m.lower / "file").read_text() == ("0123456789" if user else "piped56789")


def test_a_splice_into_what_it_opened(m: kit.Mount) -> None:
    written: list[tuple[int, bytes]] = []

    def write(_call: Call, req: WriteIn, data: bytes) -> int:
        written.append((req.offset, bytes(data)))
        return len(data)

    content = bytes(range(256)) * 40
    leave(m, "open", write_iter=write)
    with piped() as (source, sink), opened(m.mnt / "file", os.O_RDWR) as fd:
        os.write(sink, content)
        assert os.splice(source, fd, 1 << 20, offset_dst=3) == len(content)
        assert written == [(3, content)]
        # What it does not take stays in the pipe
        os.write(sink, b"0123456789")
        m.daemon._answers["write_iter"] = lambda _call, _req, data: min(len(data), 3)
        assert os.splice(source, fd, 4) == 4
        m.daemon._answers["write_iter"] = -errno.ENOSPC
        assert kernelkit.code_of(lambda: os.splice(source, fd, 6)) == errno.ENOSPC
        assert os.read(source, 10) == b"456789"


def _splices() -> bool:
    """Does a thread wait in a splice? (proc_pid_syscall(5))"""
    waiting = [where.read_text() for where in Path("/proc/self/task").glob("*/syscall")]
    return any(text.startswith(f"{SPLICE} ") for text in waiting)


@pytest.mark.parametrize("user", [False, True], ids=["below", "daemon"])
def test_a_splice_from_an_empty_pipe_keeps_nobody(m: kit.Mount, user: bool) -> None:
    """The others at the file, and at its directory: a removal locks both."""
    file = m.mnt / "file"
    if user:
        leave(m, "write_iter", write_iter=lambda _call, _req, data: len(data))
    with piped() as (source, sink), opened(file, os.O_RDWR) as fd, ThreadPoolExecutor() as pool:
        at_once = os.SPLICE_F_NONBLOCK
        assert kernelkit.code_of(lambda: os.splice(source, fd, 5, flags=at_once)) == errno.EAGAIN
        splice = pool.submit(os.splice, source, fd, 5, offset_dst=2)
        try:
            assert eventually(_splices)
            assert os.write(fd, b"abc") == 3
            os.ftruncate(fd, 9)
            file.unlink()
            assert not splice.done()
        finally:
            os.write(sink, b"XYZ")
        assert splice.result() == 3
        assert os.pread(fd, 20, 0) == (b"012345678" if user else b"abXYZ5678")


def test_it_hears_of_what_an_open_below_is_to_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it cuts files itself when it opens them."""
    monkeypatch.setattr(kit.Scripted, "init_flags", ("ATOMIC_O_TRUNC",))
    with kit.filtered(tmp_path) as made:
        made.daemon._reset(setattr=AttrOut(attr=Attr(mode=0o100644, nlink=1)))
        made.verdicts.set("setattr", USER.value)
        with opened(made.mnt / "file", os.O_WRONLY | os.O_TRUNC):
            pass
        (_call, (req,)) = made.daemon._seen("setattr")[-1]
        assert req.size == 0
        assert (made.lower / "file").read_text() == "0123456789"  # it did nothing


def test_a_clone_into_what_it_opened(m: kit.Mount) -> None:
    (m.lower / "other").touch()
    with opened(m.mnt / "file", os.O_RDWR) as source:
        leave(m, "open")
        with opened(m.mnt / "other", os.O_RDWR) as target:
            assert kernelkit.code_of(lambda: fcntl.ioctl(target, FICLONE, source)) == errno.EXDEV
            assert kernelkit.code_of(lambda: fcntl.ioctl(source, FICLONE, target)) != 0


def test_splices_from_one_pipe_do_not_wait_for_each_other(m: kit.Mount) -> None:
    """Some go below, some to the daemon: both take the inode's lock first, then the pipe's."""
    done = threading.Event()
    each = 300

    def splice() -> int:
        with opened(m.mnt / "file", os.O_RDWR) as fd:
            taken = 0
            for _ in range(each):
                os.write(sink, b"12345")
                taken += os.splice(source, fd, 5, offset_dst=0)
        return taken

    def change() -> None:
        while not done.is_set():
            for verdict in (USER, CONTINUE):
                m.verdicts.set("write_iter", verdict.value)

    m.daemon._reset(flush=None, write_iter=lambda _call, _req, data: len(data))
    with piped() as (source, sink), ThreadPoolExecutor() as pool:
        changing = pool.submit(change)
        try:
            splicing = [pool.submit(splice) for _ in range(4)]
            assert [job.result() for job in splicing] == [5 * each] * 4
        finally:
            done.set()
        changing.result()


def test_an_open_keeps_to_the_end_of_an_append_only_file(m: kit.Mount) -> None:
    def prefilter(_call: Call, req: OpenIn) -> None:
        req.flags = os.O_RDWR

    subprocess.run(["chattr", "+a", m.lower / "file"], check=True)
    try:
        m.daemon._reset(open_pre=prefilter)
        m.verdicts.set("open", USER_PREFILTER.value)
        with opened(m.mnt / "file", os.O_WRONLY | os.O_APPEND) as fd:
            assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
            assert os.pwrite(fd, b"XYZ", 0) == 3
        assert (m.lower / "file").read_text() == "0123456789XYZ"
        with opened(m.mnt / "file", os.O_RDONLY) as fd:
            assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
    finally:
        subprocess.run(["chattr", "-a", m.lower / "file"], check=True)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # another user is a fork
def test_an_open_only_takes_o_noatime(m: kit.Mount) -> None:
    stored = os.O_NOATIME

    def prefilter(_call: Call, req: OpenIn) -> None:
        req.flags = req.flags & ~os.O_NOATIME | stored

    def flags(asked: int) -> int:
        with opened(m.mnt / "file", os.O_RDONLY | asked) as fd:
            return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NOATIME

    m.daemon._reset(open_pre=prefilter)
    m.verdicts.set("open", USER_PREFILTER.value)
    assert hook_calls.as_nobody(lambda: not flags(0))
    assert flags(os.O_NOATIME)
    stored = 0
    assert not flags(os.O_NOATIME)


def test_a_file_that_it_opened_has_its_handle(m: kit.Mount) -> None:
    leave(m, "open")
    with opened(m.mnt / "file", os.O_RDWR) as fd:
        m.verdicts.set("setattr", USER_PREFILTER.value)
        os.ftruncate(fd, 5)
    _call, (req,) = m.daemon._seen("setattr_pre")[-1]
    assert req.fh == FH
    assert (m.lower / "file").read_text() == "01234"


FATTRS = {
    "mode": kit.FATTR_MODE,
    "uid": kit.FATTR_UID,
    "gid": kit.FATTR_GID,
    "mtime": kit.FATTR_MTIME,
}


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # another user is a fork
@pytest.mark.parametrize("what", FATTRS)
@pytest.mark.parametrize("taken", ["set-id", "capability"])
def test_what_is_added_to_what_the_kernel_takes_is_checked(
    m: kit.Mount, what: str, taken: str
) -> None:
    """A truncation that takes a file's rights is forced; what a filter adds to it is not."""
    file = m.lower / "file"

    def give() -> None:
        file.chmod(0o4666 if taken == "set-id" else 0o666)
        if taken == "capability":
            os.setxattr(file, "security.capability", CAPABILITY)
        os.utime(file, (1000, 1000))

    def prefilter(_call: Call, req: SetattrIn) -> None:
        req.valid = (req.valid | FATTRS[what]) & ~kit.FATTR_MTIME_NOW
        setattr(req, what, 0o600 if what == "mode" else hook_calls.NOBODY)

    def truncate(size: int) -> bool:
        os.truncate(here / "file", size)
        return True

    os.chown(file, 12, 34)
    give()
    with opened(m.mnt, os.O_PATH) as fd:  # which everyone can walk from
        here = Path(f"/proc/self/fd/{fd}")
        m.daemon._reset(setattr_pre=prefilter)
        m.verdicts.set("setattr", USER_PREFILTER.value)
        code = kernelkit.code_of(lambda: hook_calls.as_nobody(lambda: truncate(5)))
        st = file.stat()
        if (what, taken) == ("mode", "set-id"):
            # It follows from the bits that go, whatever a filter says
            assert (code, st.st_mode & 0o7777) == (0, 0o666)
            return
        assert code == errno.EPERM
        assert (st.st_uid, st.st_gid, st.st_mtime) == (12, 34, 1000)
        assert (st.st_mode & 0o777, st.st_size) == (0o666, 10)

        # Nothing added, it goes on; and the owner of all may do all of it
        m.daemon._reset()
        assert hook_calls.as_nobody(lambda: truncate(5))
        assert file.stat().st_mode & 0o7777 == 0o666
        assert "security.capability" not in os.listxattr(file)
        give()
        m.daemon._reset(setattr_pre=prefilter)
        truncate(5)  # as it is: with another size a tmpfs takes the time itself
        st = file.stat()
        found = st.st_mode & 0o777 if what == "mode" else getattr(st, f"st_{what}")
        assert found == (0o600 if what == "mode" else hook_calls.NOBODY)


class Bare(Daemon):
    """Has no method at all."""


class Opening(Daemon):
    """Has the one that what is done to an open file needs first."""

    def open(self, _call: Call, _req: OpenIn) -> OpenOut:
        return OpenOut(fh=FH)


def test_what_it_has_no_method_for_does_not_pass(tmp_path: Path) -> None:
    """Neither the first time nor later, but for a close, of which nobody wants an error."""
    lower, mnt = tmp_path / "lower", tmp_path / "mnt"
    (lower / "dir").mkdir(parents=True)
    (lower / "file").touch()
    mnt.mkdir()
    verdicts = kit.Verdicts()

    def twice(op: str, call: Callable[[int], Any]) -> list[int]:
        verdicts.reset()
        with opened(mnt / "file", os.O_RDWR) as fd:
            verdicts.set(op, USER.value)
            return [kernelkit.code_of(lambda: call(fd)) for _ in range(2)]

    def closed(fd: int) -> None:
        os.close(os.dup(fd))

    never = [errno.EOPNOTSUPP] * 2
    try:
        with kit.served(Bare(), mnt, lower=lower, link=verdicts.link.fd):
            assert twice("access", lambda _fd: os.chdir(mnt / "dir")) == never
            assert twice("opendir", lambda _fd: os.listdir(mnt / "dir")) == never
            assert twice("open", lambda _fd: (mnt / "file").read_bytes()) == never
            assert twice("read_iter", lambda fd: os.read(fd, 1)) == never
            verdicts.reset()
        with kit.served(Opening(), mnt, lower=lower, link=verdicts.link.fd):
            assert twice("fsync", os.fsync) == never
            assert twice("flush", closed) == [0, 0]
            verdicts.reset()
    finally:
        verdicts.close()


def ino_of(fd: int) -> int:
    """The number that an open file's inode has for the kernel."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("ino:"))


@pytest.mark.parametrize("op", ["access", "getattr", "lseek"])
def test_attributes_of_its_stay_nowhere(m: kit.Mount, op: str) -> None:
    """Whatever it says of a file, also another kind: the inode is that of the file below."""
    calls: dict[str, Callable[[int], Any]] = {
        "access": lambda fd: os.access(f"/proc/self/fd/{fd}", os.X_OK),
        "getattr": os.fstat,
        "lseek": lambda fd: os.lseek(fd, 0, os.SEEK_END),
    }
    ino = (m.lower / "file").stat().st_ino

    def answered(attr: Attr) -> int:
        m.daemon._answers["getattr"] = AttrOut(attr=attr)
        return kernelkit.code_of(lambda: calls[op](fd))

    def size() -> int:
        return len(os.pread(fd, 100, 0))

    with opened(m.mnt / "file", os.O_RDWR) as fd:
        leave(m, op)
        m.verdicts.set("access", USER.value)
        assert answered(Attr(mode=0o100755, ino=99, size=1000, blksize=1 << 16, nlink=3)) == 0
        assert m.daemon._seen("getattr")
        assert (ino_of(fd), size()) == (ino, 10)
        asked = len(m.daemon._seen("getattr"))
        answered(Attr(mode=0o40755, ino=99, nlink=3))
        assert len(m.daemon._seen("getattr")) > asked
        assert answered(Attr(mode=0o100755, size=1000, nlink=1)) == 0
        assert len(m.daemon._seen("getattr")) > asked + 1
        assert (ino_of(fd), size()) == (ino, 10)
        m.verdicts.reset()
        assert os.fstat(fd).st_size == 10
        with opened(m.mnt / "file", os.O_RDWR):
            assert kernelkit.code_of(lambda: os.setxattr(fd, "user.a", b"value")) == 0


def test_attributes_of_its_are_asked_for_each_time(m: kit.Mount) -> None:
    """However long it says that they hold: the inode has those of the file below."""
    attr = Attr(mode=0o100644, ino=99, size=1000, nlink=1)
    leave(m, "getattr", getattr=AttrOut(attr=attr, attr_valid=1000))
    with opened(m.mnt / "file", os.O_RDWR) as fd:
        assert [os.fstat(fd).st_size for _ in range(2)] == [1000, 1000]
