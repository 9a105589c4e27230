# SPDX-License-Identifier: MIT
"""Defects of the fuse-bpf RFC v4 where a daemon takes part: each test fails on the defect."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fusebpf import USER, USER_POSTFILTER, USER_PREFILTER, Attr, AttrOut, EntryOut, Name
from fusebpf.daemon import Backing, Call, Device
from tests.vm import daemonkit as kit
from tests.vm.kernelkit import code_of, opened
from tests.vm.limits import eventually
from tests.vm.test_daemon_entries import answered, body, file_entry


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[kit.Mount]:
    with kit.filtered(tmp_path) as made:
        yield made


def user(mount: kit.Mount, op: str, verdict: Any, **answers: Any) -> None:
    mount.daemon._reset(**answers)
    mount.verdicts.reset()
    mount.verdicts.set(op, verdict.value)


def test_defect_8_operations_on_a_file_that_user_opened(mount: kit.Mount) -> None:
    """v4: such a file has no backing file, and every operation on it used one."""
    user(mount, "open", USER, read_iter=b"daemon's", write_iter=3, flush=None)
    fd = os.open(mount.mnt / "file", os.O_RDWR)
    assert os.read(fd, 100) == b"daemon's"
    assert os.write(fd, b"abc") == 3
    assert code_of(lambda: os.fsync(fd)) == errno.EDOM
    os.lseek(fd, 0, os.SEEK_SET)
    os.fstat(fd)
    os.close(fd)
    assert eventually(lambda: bool(mount.daemon._seen("release")))
    assert (mount.lower / "file").read_text() == "0123456789"


def test_defect_9_the_verdict_of_a_user_prefilter_is_used(mount: kit.Mount) -> None:
    """v4: it was always CONTINUE."""
    user(mount, "mkdir", USER_PREFILTER, mkdir_pre=USER_POSTFILTER)
    (mount.mnt / "new").mkdir()
    assert mount.daemon._seen("mkdir_post")
    user(mount, "mkdir", USER_PREFILTER, mkdir_pre=USER)
    assert code_of((mount.mnt / "newer").mkdir) == errno.EDOM
    assert mount.daemon._seen("mkdir")
    assert not (mount.lower / "newer").exists()


def test_defect_9_rename_and_symlink_with_a_user_prefilter(mount: kit.Mount) -> None:
    """v4: ENOMEM, because a name that cannot change was to be in the answer."""
    user(mount, "rename2", USER_PREFILTER)
    os.rename(mount.mnt / "file", mount.mnt / "moved")
    user(mount, "symlink", USER_PREFILTER)
    os.symlink("target", mount.mnt / "link")
    assert os.readlink(mount.lower / "link") == "target"
    assert (mount.lower / "moved").exists()


def test_defect_9_operations_without_inputs_or_with_a_name_alone(mount: kit.Mount) -> None:
    """v4: looked at the argument before the first one."""
    for op, call in (
        ("statfs", lambda: os.statvfs(mount.mnt)),
        ("unlink", (mount.mnt / "file").unlink),
        ("rmdir", (mount.mnt / "empty").rmdir),
    ):
        user(mount, op, USER_PREFILTER)
        assert code_of(call) == 0, op
        assert mount.daemon._seen(f"{op}_pre"), op


def test_defect_10_setxattr_with_a_user_postfilter(mount: kit.Mount) -> None:
    """v4: BUG_ON, as the value looked like a result of variable length."""
    user(mount, "setxattr", USER_POSTFILTER)
    os.setxattr(mount.mnt / "file", "user.a", b"x" * 5000)
    assert mount.daemon._seen("setxattr_post")[0][1][2].raw == b"x" * 5000


def test_defect_10_getxattr_that_fails_with_a_user_postfilter(mount: kit.Mount) -> None:
    """v4: the errno was sent as a length of nearly 4 GiB."""
    user(mount, "getxattr", USER_POSTFILTER)
    assert code_of(lambda: os.getxattr(mount.mnt / "file", "user.none")) == errno.ENODATA
    call, args = mount.daemon._seen("getxattr_post")[-1]
    assert call is not None
    assert call.error_in == -errno.ENODATA
    assert args[2].raw == b""


def test_defect_16_a_name_is_checked_again_without_entries(mount: kit.Mount) -> None:
    """v4: read entries from the stack that no answer had written."""
    getattr_ = {"getattr": lambda _call, _req: AttrOut(attr=Attr(mode=0o40755, nlink=1))}
    numbers = {"virtual": 5, "inner": 6}
    mount.look(
        USER,
        lookup=lambda _call, name: file_entry(numbers[name.raw.decode()], 0o40755),
        **getattr_,
    )
    for _ in range(3):
        os.stat(mount.mnt / "virtual/inner")
    assert len(mount.daemon._seen("lookup")) >= 6


def test_defect_17_a_program_cannot_name_a_descriptor(mount: kit.Mount) -> None:
    """v4: took it from the descriptors of whoever looked the name up."""
    with opened(mount.lower / "file") as fd:
        mount.verdicts.reset()
        mount.verdicts.set("lookup", 3)  # POSTFILTER
        mount.verdicts.entry(struct.pack("<IIQQ", 1, 0, 0, fd))
        assert code_of(lambda: os.stat(mount.mnt / "dir")) == errno.EIO
        # Nor can the daemon be led to name it
        mount.verdicts.set("lookup", 4, "post")
        assert code_of(lambda: os.stat(mount.mnt / "dir")) == errno.EIO
        assert not mount.daemon._seen("lookup_post")
        mount.verdicts.set("lookup", 0, "post")
        mount.verdicts.entry(struct.pack("<IIQQ", 4, 0, 0, 0))
        os.stat(mount.mnt / "dir")


def test_defect_18_a_name_of_filters_that_does_not_end(mount: kit.Mount) -> None:
    """v4: compared past it."""
    entry = struct.pack("<II16s", 2, 0, b"y" * 16)
    assert answered(mount, body(entry)) == (errno.EINVAL, errno.EIO)


def test_defect_19_device_numbers_of_a_daemon(tmp_path: Path) -> None:
    """v4: kept them in their encoding."""
    mnt = tmp_path / "mnt"
    mnt.mkdir()
    # The kernel's encoding: 8 bits of the minor number, 12 of the major, the other 12 of the minor
    rdev = 0x45 | 0x12 << 8 | 0x123 << 20
    attr = Attr(mode=stat.S_IFCHR | 0o600, nlink=1, rdev=rdev)
    daemon = kit.Scripted()
    daemon._reset(
        lookup=EntryOut(nodeid=3, entry_valid=60, attr_valid=60, attr=attr),
        getattr=lambda _call, _req: AttrOut(attr=Attr(mode=0o40755, nlink=2)),
    )
    with kit.served(daemon, mnt):
        number = (mnt / "device").stat().st_rdev
    assert (os.major(number), os.minor(number)) == (0x12, 0x12345)


def test_defect_21_entries_hold_nothing_after_they_were_used(mount: kit.Mount) -> None:
    """v4: kept the path of an answer that was replaced; the file system below stayed busy."""
    before = os.statvfs(mount.lower).f_ffree
    with opened(mount.lower / "file") as fd:
        mount.look(USER, lookup=lambda _call, _name: (file_entry(0), [Backing(fd)]))
        for index in range(50):
            os.stat(mount.mnt / f"name{index}")
        two = struct.pack("<IIQQ", 1, 0, 0, fd)
        assert answered(mount, body(two, two)) == (errno.EINVAL, errno.EIO)
    mount.verdicts.reset()
    (mount.lower / "file").unlink()

    def freed() -> bool:
        Path("/proc/sys/vm/drop_caches").write_text("2\n")
        return os.statvfs(mount.lower).f_ffree == before + 1

    assert eventually(freed)


def test_defect_24_the_ioctl_on_a_device_that_serves_nothing() -> None:
    """v4: went through a null pointer."""
    with Device() as device:
        assert code_of(lambda: device.respond(bytes(16))) == errno.EPERM
        assert code_of(lambda: device.write(bytes(16))) == errno.EPERM


def test_defect_25_a_release_that_is_told_while_the_inode_goes(mount: kit.Mount) -> None:
    """v4: used the inode of a file whose last reader had none."""
    user(mount, "release", USER_POSTFILTER)
    fd = os.open(mount.mnt / "file", os.O_RDONLY)
    (mount.mnt / "file").unlink()
    os.close(fd)
    assert eventually(lambda: bool(mount.daemon._seen("release_post")))


def test_defect_12_errors_reach_a_user_postfilter(mount: kit.Mount) -> None:
    """v4: lseek, copy, fsync and others left error_in 0."""
    user(mount, "lseek", USER_POSTFILTER)
    fd = os.open(mount.mnt / "file", os.O_RDONLY)
    assert code_of(lambda: os.lseek(fd, 1 << 40, os.SEEK_DATA)) == errno.ENXIO
    os.lseek(fd, 4, os.SEEK_SET)
    mount.verdicts.reset()
    assert os.read(fd, 1) == b"4"
    os.close(fd)
    call: Call | None = mount.daemon._seen("lseek_post")[0][0]
    assert call is not None
    assert call.error_in == -errno.ENXIO


def test_names_of_v4_are_what_they_are(mount: kit.Mount) -> None:
    """A name in a request ends with NUL and is no longer than the caller's."""
    user(mount, "lookup", USER_PREFILTER)
    os.stat(mount.mnt / "file")
    assert mount.daemon._seen("lookup_pre")[-1][1][0] == Name("file")
