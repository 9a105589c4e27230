# SPDX-License-Identifier: MIT
"""What the lower file system decides, and what others do below a mount meanwhile."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fusebpf import USER_POSTFILTER, USER_PREFILTER, FsyncIn, Name, SetxattrIn, Verdict
from fusebpf.daemon import Call
from fusebpf.runtime import mountinfo
from fusebpf.runtime.fsmount import umount
from tests.differential import libc
from tests.differential.lowers import lower as lower_fs
from tests.vm import daemonkit, hook_calls
from tests.vm import kernelkit as kit
from tests.vm.hook_calls import NOBODY
from tests.vm.limits import eventually, need_file_system

# Another user is a fork
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

FS_IOC_SETFLAGS, FS_NODUMP_FL = 0x40086602, 0x40
ACL = "system.posix_acl_access"
# struct posix_acl_xattr_header and entries: the owner, another user, the group, the mask, others
ACL_FOR_NOBODY = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, 2**32 - 1), (2, 6, NOBODY), (4, 0, 2**32 - 1), (16, 6, 2**32 - 1))
)
ACL_FOR_NOBODY += struct.pack("<HHI", 32, 0, 2**32 - 1)


def code(call: Callable[[], object]) -> int:
    """What another user gets."""

    def done() -> bool:
        call()
        return True

    return kit.code_of(lambda: hook_calls.as_nobody(done))


# ---- permission


@pytest.mark.parametrize(("creds", "expected"), [("mounter", errno.EACCES), ("caller", 0)])
def test_who_may_is_decided_where_the_lower_file_system_leaves_it_to_the_call(
    tmp_path: Path, mnt: Path, creds: str, expected: int
) -> None:
    """The daemon below lets root do all, and asks nobody else's rights, as NFS does its server."""
    store, low = tmp_path / "store", tmp_path / "low"
    for path in (store, low, tmp_path, *tmp_path.parents[:2]):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    for name in ("secret", "kept"):
        (store / name).write_text(name)
        (store / name).chmod(0o600)
    options = {} if creds == "mounter" else {"creds": creds}
    with (
        daemonkit.served(daemonkit.Passthrough(store), low),
        kit.mounted(low, mnt, **options),
    ):
        assert code((mnt / "secret").read_text) == expected
        assert code((mnt / "kept").unlink) == expected
        assert code(lambda: (mnt / "new").write_text("")) == expected
        assert code(lambda: os.listdir(mnt)) == 0
        assert (mnt / "secret").read_text() == "secret"
    assert (store / "kept").exists() == bool(expected)


class Attributes(daemonkit.Passthrough):
    """Takes any attribute from anybody."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self._set: list[bytes] = []

    def setxattr(self, call: Call, req: SetxattrIn, name: Name, value: bytes) -> None:
        self._set.append(name.raw)


def test_an_attribute_that_the_file_system_rules_over_is_the_owners_to_set(
    tmp_path: Path, mnt: Path
) -> None:
    store, low = tmp_path / "store", tmp_path / "low"
    for path in (store, low, tmp_path, *tmp_path.parents[:2]):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    (store / "file").write_text("")
    (store / "file").chmod(0o666)
    daemon = Attributes(store)
    with daemonkit.served(daemon, low), kit.mounted(low, mnt):
        name = "system.nfs4_acl"
        assert code(lambda: os.setxattr(mnt / "file", name, b"x")) == errno.EPERM
        assert not daemon._set
        os.setxattr(mnt / "file", name, b"x")
        assert daemon._set == [name.encode()]


def test_the_owner_is_the_one_below(lower: Path, mnt: Path) -> None:
    """A descriptor does not keep rights that its file's owner has lost."""
    file = lower / "file"
    os.chown(file, NOBODY, NOBODY)
    with kit.mounted(lower, mnt):
        fd = os.open(mnt / "file", os.O_RDWR)
        flags = struct.pack("I", FS_NODUMP_FL)
        assert code(lambda: os.setxattr(fd, ACL, ACL_FOR_NOBODY)) == 0
        os.removexattr(fd, ACL)
        os.chown(file, 0, 0)
        file.chmod(0o600)
        assert code(lambda: os.setxattr(fd, ACL, ACL_FOR_NOBODY)) == errno.EPERM
        assert code(lambda: fcntl.ioctl(fd, FS_IOC_SETFLAGS, flags)) == errno.EPERM
        os.close(fd)
    assert ACL not in os.listxattr(file)


def test_what_only_grows_now_is_not_cut(lower: Path, mnt: Path) -> None:
    with kit.mounted(lower, mnt), kit.opened(mnt / "file", os.O_WRONLY | os.O_APPEND) as fd:
        subprocess.run(["chattr", "+a", lower / "file"], check=True)
        try:
            assert kit.code_of(lambda: os.ftruncate(fd, 0)) == errno.EPERM
            assert os.write(fd, b"more") == 4
        finally:
            subprocess.run(["chattr", "-a", lower / "file"], check=True)
    assert (lower / "file").read_text() == "content\nmore"


def test_capabilities_go_with_the_content(lower: Path, mnt: Path) -> None:
    """Also when they came below, after the mount had seen that there are none."""
    with kit.mounted(lower, mnt):
        (mnt / "file").write_text("once")
        with (mnt / "file").open("ab") as file:
            file.write(b"twice")
        os.setxattr(lower / "file", "security.capability", kit.CAPABILITY)
        os.truncate(mnt / "file", 3)
        assert "security.capability" not in os.listxattr(lower / "file")


# ---- what a file system below does by the way


def test_an_emptied_script_can_be_run(tmp_path: Path, mnt: Path) -> None:
    """XFS takes the size out of what it is asked to change when there is nothing to cut."""
    need_file_system("xfs")
    with lower_fs("xfs") as low, kit.mounted(low, mnt):
        script = mnt / "script"
        script.write_text("")
        script.write_text("#!/bin/sh\necho ran\n")
        script.chmod(0o755)
        assert subprocess.run([script], capture_output=True, check=True).stdout == b"ran\n"


def test_failed_writeback_is_told_by_syncfs(tmp_path: Path, mnt: Path) -> None:
    """On a disk whose own store is full, but for what is there already."""
    store, low = tmp_path / "store", tmp_path / "low"
    store.mkdir()
    low.mkdir()
    subprocess.run(["modprobe", "loop"], check=False)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", store], check=True)
    try:
        with (store / "image").open("wb") as image:
            image.truncate(64 << 20)
        make = ["mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1"]
        subprocess.run([*make, store / "image"], check=True)
        subprocess.run(["mount", "-o", "loop", store / "image", low], check=True)
        try:
            with kit.mounted(low, mnt), (mnt / "file").open("wb", buffering=0) as file:
                os.posix_fallocate(file.fileno(), 0, 1 << 20)
                assert kit.code_of(lambda: libc.syncfs(file.fileno())) == 0
                fill = ["dd", "if=/dev/zero", f"of={store / 'rest'}", "bs=64k"]
                assert subprocess.run(fill, stderr=subprocess.DEVNULL, check=False).returncode == 1
                file.write(bytes([1]) * (1 << 20))
                assert kit.code_of(lambda: libc.syncfs(file.fileno())) == errno.ENOSPC
                assert kit.code_of(lambda: libc.syncfs(file.fileno())) == 0  # told once
        finally:
            umount(low)
    finally:
        umount(store)


class SlowDisk(daemonkit.Passthrough):
    """A disk whose flushes wait for the test."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self._slow, self._waits = threading.Event(), threading.Event()

    async def fsync(  # type: ignore[override]  # methods may be either
        self, call: Call, req: FsyncIn
    ) -> None:
        while self._slow.is_set():
            self._waits.set()
            await asyncio.sleep(0.01)
        super().fsync(call, req)


def test_who_waits_for_the_disk_keeps_nobody_from_the_file(tmp_path: Path, mnt: Path) -> None:
    """Of many that write synchronously, all that came meanwhile share the next commit."""
    store, disk, low = (tmp_path / name for name in ("store", "disk", "low"))
    for path in (store, disk, low):
        path.mkdir()
    with (store / "image").open("wb") as image:
        image.truncate(64 << 20)
    subprocess.run(["modprobe", "loop"], check=False)
    subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=1", store / "image"], check=True)
    daemon = SlowDisk(store)
    with daemonkit.served(daemon, disk):
        subprocess.run(["mount", "-o", "loop", disk / "image", low], check=True)
        try:
            with kit.mounted(low, mnt), ThreadPoolExecutor(2) as pool:
                (mnt / "file").write_bytes(bytes(1 << 16))
                with (
                    kit.opened(mnt / "file", os.O_WRONLY | os.O_SYNC) as waiting,
                    kit.opened(mnt / "file", os.O_WRONLY) as other,
                ):
                    daemon._slow.set()
                    first = pool.submit(os.write, waiting, b"first")
                    try:
                        assert daemon._waits.wait(30)
                        moved = pool.submit(os.lseek, other, 1 << 15, os.SEEK_SET)
                        assert moved.result(30) == 1 << 15
                        assert pool.submit(os.write, other, b"other").result(30) == 5
                        assert not first.done()
                    finally:
                        daemon._slow.clear()
                    assert first.result(30) == 5
                data = (mnt / "file").read_bytes()
        finally:
            umount(low)
    assert (data[:5], data[1 << 15 : (1 << 15) + 5]) == (b"first", b"other")


@pytest.mark.parametrize(("option", "kept"), [("relatime", False), ("noatime", True), ("ro", True)])
@pytest.mark.parametrize("opened", ["before", "after"])
def test_access_times_are_the_mounts_to_keep(
    lower: Path, mnt: Path, option: str, kept: bool, opened: str
) -> None:
    old = 10**18
    with kit.mounted(lower, mnt):
        before = os.open(mnt / "file", os.O_RDONLY)
        subprocess.run(["mount", "-o", f"remount,bind,{option}", mnt], check=True)
        fd = before if opened == "before" else os.open(mnt / "file", os.O_RDONLY)
        os.utime(lower / "file", ns=(old, old + 10**9))
        assert os.read(fd, 100) == b"content\n"
        assert ((lower / "file").stat().st_atime_ns == old) is kept
        for each in {fd, before}:
            os.close(each)


def test_directories_alone_can_keep_theirs(lower: Path, mnt: Path) -> None:
    old = 10**18
    with kit.mounted(lower, mnt):
        subprocess.run(["mount", "-o", "remount,bind,nodiratime", mnt], check=True)
        for name in ("dir", "file"):
            os.utime(lower / name, ns=(old, old + 10**9))
        assert os.listdir(mnt / "dir") == []
        assert (mnt / "file").read_text() == "content\n"
        assert (lower / "dir").stat().st_atime_ns == old
        assert (lower / "file").stat().st_atime_ns != old


# ---- meanwhile


@pytest.fixture
def world(tmp_path: Path) -> Iterator[daemonkit.Mount]:
    with daemonkit.filtered(tmp_path) as made:
        yield made


def asked(world: daemonkit.Mount, op: str, verdict: Verdict, answer: Any) -> None:
    """Have an operation wait for what happens meanwhile."""
    world.daemon._reset(**answer)
    world.verdicts.set(op, verdict.value)


def test_another_file_is_not_removed_in_the_place_of_a_moved_one(world: daemonkit.Mount) -> None:
    draft, kept = world.lower / "draft", world.lower / "kept"
    draft.write_text("the report")

    def move(*_args: object) -> None:
        draft.rename(kept)

    asked(world, "unlink", USER_PREFILTER, {"unlink_pre": move})
    assert kit.code_of((world.mnt / "draft").unlink) == errno.ENOENT
    assert kept.read_text() == "the report"


def test_another_file_is_not_moved_in_the_place_of_a_moved_one(world: daemonkit.Mount) -> None:
    draft, kept = world.lower / "draft", world.lower / "kept"
    draft.write_text("the report")

    def move(*_args: object) -> None:
        draft.rename(kept)

    op = "rename" if kit.form().in_kernel else "rename2"
    asked(world, op, USER_PREFILTER, {f"{op}_pre": move})
    assert kit.code_of(lambda: (world.mnt / "draft").rename(world.mnt / "final")) == errno.ENOENT
    assert kept.read_text() == "the report"


def test_a_file_made_while_its_name_is_asked_about_is_asked_about(world: daemonkit.Mount) -> None:
    """Filters that hide files by what they are had agreed that the name is free."""
    made = world.mnt / "made"
    makers: list[subprocess.Popen[bytes]] = []
    makes = False

    async def hide(call: Call, name: Name, *_args: object) -> int | None:
        if name.raw != b"made":
            return None
        if call.error_in == 0 and call.pid == os.getpid():
            return -errno.ENOENT
        if makes and not makers:
            makers.append(subprocess.Popen(["touch", made]))
            while makers[0].poll() is None:
                await asyncio.sleep(0.01)
        return None

    asked(world, "lookup", USER_POSTFILTER, {"lookup_post": hide})
    try:
        assert not made.exists()
        makes = True
        assert not made.exists()
        assert makers[0].wait() == 0
    finally:
        world.verdicts.reset()
    assert (world.lower / "made").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_a_rename_under_way_detaches_no_mount(world: daemonkit.Mount, fails: bool) -> None:
    """Who walks by after the rename below and before that above finds the old name."""
    inner = world.mnt / "dir/sub"
    subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True)
    walks: list[subprocess.Popen[bytes]] = []

    def walk(*_args: object) -> int | None:
        assert (world.lower / "empty/dir").is_dir()
        walks.append(subprocess.Popen(["stat", world.mnt / "dir/inner"], stdout=-3))
        eventually(lambda: walks[0].poll() is not None, 10)
        return -errno.EDOM if fails else None

    op = "rename" if kit.form().in_kernel else "rename2"
    asked(world, op, USER_POSTFILTER, {f"{op}_post": walk})
    try:
        done = kit.code_of(lambda: (world.mnt / "dir").rename(world.mnt / "empty/dir"))
        assert done == (errno.EDOM if fails else 0)
        assert walks[0].wait() == 0
        world.verdicts.reset()
        if fails:  # what the filter calls a failure is done below, and seen from now on
            assert not (world.mnt / "dir").exists()
            assert (world.mnt / "empty/dir/inner").read_text() == "inner"
        else:
            assert mountinfo.at(world.mnt / "empty/dir/sub") is not None
    finally:
        for place in (world.mnt / "empty/dir/sub", inner):
            if place.exists() and mountinfo.at(place) is not None:
                umount(place)


def test_a_rename_that_ends_while_its_name_is_asked_about_detaches_no_mount(
    world: daemonkit.Mount,
) -> None:
    """The walk found the old name, and goes on; the answer comes when it has the new one."""
    inner = world.mnt / "dir/sub"
    subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True)
    renames: list[subprocess.Popen[bytes]] = []

    async def rename(_call: Call, name: Name) -> None:
        if name.raw != b"dir" or renames:
            return
        renames.append(subprocess.Popen(["mv", "-T", world.mnt / "dir", world.mnt / "empty/moved"]))
        while renames[0].poll() is None:
            await asyncio.sleep(0.01)

    asked(world, "lookup", USER_PREFILTER, {"lookup_pre": rename})
    try:
        assert inner.is_dir()
        assert renames[0].wait() == 0
        world.verdicts.reset()
        assert mountinfo.at(world.mnt / "empty/moved/sub") is not None
    finally:
        world.verdicts.reset()
        for place in (world.mnt / "empty/moved/sub", inner):
            if place.exists() and mountinfo.at(place) is not None:
                umount(place)
