# SPDX-License-Identifier: MIT
"""What filters of reads and writes see of each way to move data, and files that read as empty."""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import fcntl
import mmap
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import hookkit
from tests.vm import kernelkit as kit

EMPTY = 1 << 31
FICLONE = 0x40049409


@pytest.fixture
def lower(lower: Path) -> Path:
    (lower / "other").write_text("0123456")
    (lower / "names").mkdir()
    (lower / "names/a-long-name").write_text("")
    (lower / "names/b").write_text("")
    return lower


@pytest.fixture
def reads(lower: Path, mnt: Path) -> Iterator[hookkit.Hooks]:
    """Reads give at most 3 bytes, writes 2."""
    members = [f"{op}_iter_{phase}filter" for op in ("read", "write") for phase in ("pre", "post")]
    with hookkit.hooked(lower, mnt, *members) as hooks:
        hooks.steer("read_iter_prefilter", verdict=kit.POSTFILTER)
        hooks.steer("read_iter_postfilter", read_iter_out__ret=3)
        hooks.steer("write_iter_prefilter", write_in__size=2)
        yield hooks


def test_splice_goes_through_the_read_filter(reads: hookkit.Hooks, mnt: Path) -> None:
    reading, writing = os.pipe()
    with open(mnt / "file", "rb") as source:
        assert os.splice(source.fileno(), writing, 100) == 3
    assert os.read(reading, 100) == b"con"
    assert reads.look("read_iter_prefilter").count == 1


def test_splice_goes_through_the_write_filter(reads: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"pipe")
    with open(mnt / "other", "r+b") as target:
        assert os.splice(reading, target.fileno(), 4) == 2
    assert (lower / "other").read_bytes() == b"pi23456"
    assert os.read(reading, 100) == b"pe"
    assert reads.look("write_iter_prefilter").count == 1


def test_copies_go_through_both(reads: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    with open(mnt / "file", "rb") as source, open(mnt / "other", "r+b") as target:
        copied = os.copy_file_range(source.fileno(), target.fileno(), 8, 0, 0)
        assert 0 < copied <= 3
        with pytest.raises(OSError) as caught:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        assert caught.value.errno in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL)
    assert (lower / "other").read_bytes()[:copied] == b"content"[:copied]
    assert reads.look("read_iter_prefilter").count >= 1
    assert reads.look("write_iter_prefilter").count >= 1


def test_a_mapping_is_not_a_read(reads: hookkit.Hooks, mnt: Path) -> None:
    with open(mnt / "file", "rb") as file, mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ) as view:
        assert view[:] == b"content\n"
    assert reads.look("read_iter_prefilter").count == 0


def test_a_read_without_waiting_is_told_to_wait(reads: hookkit.Hooks, mnt: Path) -> None:
    with open(mnt / "file", "rb", buffering=0) as file:
        buffer = bytearray(8)
        with pytest.raises(OSError) as caught:
            os.preadv(file.fileno(), [buffer], 0, os.RWF_NOWAIT)
        # The latter where the lower file system can never do it
        assert caught.value.errno in (errno.EAGAIN, errno.EOPNOTSUPP)
        assert os.preadv(file.fileno(), [buffer], 0) == 3


def test_aio_is_synchronous(reads: hookkit.Hooks, mnt: Path) -> None:
    """io_submit(2) itself makes the read, and its event has the filter's result."""
    libc = ctypes.CDLL(None, use_errno=True)
    context = ctypes.c_ulong(0)
    assert libc.syscall(206, 1, ctypes.byref(context)) == 0  # io_setup
    buffer = ctypes.create_string_buffer(8)
    with open(mnt / "file", "rb") as file:
        iocb = ctypes.create_string_buffer(64)
        struct.pack_into(
            "=QIiHhIQQq", iocb, 0, 0, 0, 0, 0, 0, file.fileno(), ctypes.addressof(buffer), 8, 0
        )  # IOCB_CMD_PREAD
        pointer = ctypes.c_ulong(ctypes.addressof(iocb))
        assert libc.syscall(209, context, 1, ctypes.byref(pointer)) == 1  # io_submit
        assert reads.look("read_iter_postfilter").count == 1
        event = ctypes.create_string_buffer(32)
        assert libc.syscall(208, context, 1, 1, event, None) == 1  # io_getevents
        assert struct.unpack_from("=q", event.raw, 16)[0] == 3
    libc.syscall(207, context)  # io_destroy


def test_append_goes_to_the_end(reads: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    reads.steer("write_iter_prefilter", write_in__offset=0)
    fd = os.open(mnt / "other", os.O_WRONLY | os.O_APPEND)
    assert os.write(fd, b"end") == 3
    os.close(fd)
    assert (lower / "other").read_bytes() == b"0123456end"


def test_a_write_can_be_called_done(reads: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    reads.steer("write_iter_prefilter", verdict=kit.POSTFILTER, write_in__size=0)
    reads.steer("write_iter_postfilter", write_iter_out__ret=5)
    fd = os.open(mnt / "other", os.O_WRONLY)
    assert os.write(fd, b"WRITE") == 5
    assert os.lseek(fd, 0, os.SEEK_CUR) == 5
    # Never more than was asked for, and errors are errors
    reads.steer("write_iter_postfilter", write_iter_out__ret=500)
    assert os.write(fd, b"WRITE") == 5
    reads.steer("write_iter_postfilter", write_iter_out__ret=-errno.EDQUOT)
    with pytest.raises(OSError) as caught:
        os.write(fd, b"WRITE")
    assert caught.value.errno == errno.EDQUOT
    reads.steer("write_iter_postfilter", write_iter_out__ret=-100000)
    with pytest.raises(OSError) as caught:
        os.write(fd, b"WRITE")
    assert caught.value.errno == errno.EIO
    os.close(fd)
    assert (lower / "other").read_bytes() == b"0123456"
    # A read never has more than was read
    reads.steer("read_iter_postfilter", read_iter_out__ret=500)
    assert (mnt / "other").read_bytes() == b"0123456"


@pytest.fixture
def empty(lower: Path, mnt: Path) -> Iterator[hookkit.Hooks]:
    with hookkit.hooked(lower, mnt, "open_prefilter", "open_postfilter") as hooks:
        hooks.steer("open_prefilter", verdict=kit.POSTFILTER)
        hooks.steer("open_postfilter", open_out__open_flags=EMPTY)
        yield hooks


def test_empty_file_reads_splices_seeks_and_copies_as_empty(
    empty: hookkit.Hooks, lower: Path, mnt: Path
) -> None:
    fd = os.open(mnt / "file", os.O_RDONLY)
    assert os.read(fd, 100) == b""
    assert os.pread(fd, 100, 2) == b""
    assert os.lseek(fd, 0, os.SEEK_END) == 0
    assert os.lseek(fd, 4, os.SEEK_SET) == 4
    with pytest.raises(OSError) as caught:
        os.lseek(fd, 0, os.SEEK_DATA)
    assert caught.value.errno == errno.ENXIO
    reading, writing = os.pipe()
    assert os.splice(fd, writing, 100, offset_src=0) == 0
    with open(lower / "other", "r+b") as target:
        assert os.sendfile(target.fileno(), fd, 0, 100) == 0
    empty.steer("open_postfilter")
    with open(mnt / "other", "r+b") as target:
        assert os.copy_file_range(fd, target.fileno(), 8, 0, 0) == 0
    os.close(fd)
    os.close(reading)
    os.close(writing)
    assert (lower / "other").read_bytes() == b"0123456"


def test_empty_file_maps_as_empty(empty: hookkit.Hooks, mnt: Path) -> None:
    fd = os.open(mnt / "file", os.O_RDONLY)
    view = ctypes.CDLL(None, use_errno=True).mmap
    view.restype = ctypes.c_void_p
    address = view(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    assert address != ctypes.c_void_p(-1).value
    pid = os.fork()
    if not pid:
        faulthandler.disable()  # the fault is wanted
        ctypes.string_at(address, 1)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGBUS
    os.close(fd)


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC])
def test_empty_file_cannot_be_written(
    empty: hookkit.Hooks, lower: Path, mnt: Path, flags: int
) -> None:
    with pytest.raises(PermissionError):
        os.open(mnt / "file", flags)
    assert (lower / "file").read_text() == "content\n"


def test_a_new_file_can_be_empty_for_reading_alone(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "create_open_prefilter", "create_open_postfilter") as hooks:
        hooks.steer("create_open_prefilter", verdict=kit.POSTFILTER)
        hooks.steer("create_open_postfilter", open_out__open_flags=EMPTY)
        with pytest.raises(PermissionError):
            os.open(mnt / "new", os.O_CREAT | os.O_RDWR, 0o644)
        fd = os.open(mnt / "second", os.O_CREAT | os.O_RDONLY, 0o644)
        (lower / "second").write_text("content\n")
        assert os.read(fd, 100) == b""
        os.close(fd)
        with pytest.raises(PermissionError):
            os.open(mnt, os.O_TMPFILE | os.O_RDWR, 0o644)
    assert (mnt.parent / "lower/second").read_text() == "content\n"


def test_entries_get_other_names_and_types(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "readdir_postfilter") as hooks:
        hooks.steer("readdir_postfilter", listing=b"ashort\0")  # bytes: which, then the name
        assert sorted(os.listdir(mnt / "names")) == ["b", "short"]
        found = {entry.name: entry for entry in os.scandir(mnt / "names")}
        assert found["short"].inode() == (lower / "names/a-long-name").stat().st_ino
        # As long as the old name's place, a multiple of 8 bytes
        hooks.steer("readdir_postfilter", listing=b"b" + b"x" * 8 + b"\0")
        assert sorted(os.listdir(mnt / "names")) == ["a-long-name", "x" * 8]
        hooks.steer("readdir_postfilter", listing=b"b" + b"x" * 9 + b"\0")
        assert sorted(os.listdir(mnt / "names")) == ["a-long-name", "b"]
        assert hooks.look("readdir_postfilter").set_len[0] == -errno.ENOSPC
        hooks.steer("readdir_postfilter", listing=b"bx/y\0")
        assert sorted(os.listdir(mnt / "names")) == ["a-long-name", "b"]
        assert hooks.look("readdir_postfilter").set_len[0] == -errno.EINVAL


def test_an_entry_that_was_overwritten_gets_no_name(lower: Path, mnt: Path) -> None:
    """Its length is the program's now: nothing may be written as far as that says."""
    with hookkit.hooked(lower, mnt, "readdir_postfilter") as hooks:
        control = hookkit.Control(scribble=1)
        head = struct.pack("<QQII", 0x0101, 1, 1 << 16, 0)  # struct fuse_dirent, and its name
        control.bytes[0][: len(head)] = head
        control.set_len[0] = 4096
        hooks.write_control("readdir_postfilter", control)
        assert os.listdir(mnt / "names") == []
        assert hooks.look("readdir_postfilter").set_len[0] == -errno.EINVAL
    with kit.mounted(lower, mnt):
        assert sorted(os.listdir(mnt / "names")) == ["a-long-name", "b"]


def test_a_copy_is_no_longer_than_was_asked_for(lower: Path, mnt: Path) -> None:
    """A caller counts down by the result."""
    with hookkit.hooked(lower, mnt, "copy_file_range_prefilter") as hooks:
        hooks.steer("copy_file_range_prefilter", copy_file_range_in__len=7)
        with open(mnt / "file", "rb") as source, open(mnt / "other", "r+b") as target:
            assert os.copy_file_range(source.fileno(), target.fileno(), 2, 0, 0) == 2
    assert (lower / "other").read_bytes() == b"co23456"
