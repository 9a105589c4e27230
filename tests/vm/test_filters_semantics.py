# SPDX-License-Identifier: MIT
"""What a filter written in Python can do to an operation on a mount."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import fusebpf
from fusebpf.runtime import Mount

HEAD = """
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import s64, u32, u64
filters = FilterSet("test")
"""


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    """A lower directory with one file."""
    path = tmp_path / "lower"
    path.mkdir()
    (path / "file").write_text("content")
    return path


@pytest.fixture
def attach(tmp_path: Path, lower: Path) -> Iterator[Callable[[str], Mount]]:
    """Attach a set given as source; detached at the end of the test."""
    with ExitStack() as stack:

        def attach(body: str) -> Mount:
            path = tmp_path / "filters.py"
            path.write_text(HEAD + textwrap.dedent(body))
            mnt = tmp_path / "mnt"
            mnt.mkdir()
            mount: Mount = fusebpf.attach(path, lower, mnt)
            return stack.enter_context(mount)

        yield attach


def test_every_errno_of_a_prefilter_reaches_the_caller(
    attach: Callable[[str], Mount], lower: Path
) -> None:
    mount = attach(
        """
        code = filters.array("code", value=u32, max_entries=1)

        @filters.open.pre
        def open_file(ctx: Context, req: OpenIn):
            if code[0] != 0:
                return refuse(code[0])

        @filters.create.pre
        def create_file(ctx: Context, req: CreateIn, name: Name):
            if code[0] != 0:
                return refuse(code[0])
        """
    )
    for number in sorted(errno.errorcode):
        mount.maps["code"][0] = number
        assert open_errno(mount.mountpoint / "file", os.O_RDONLY) == number
        assert open_errno(mount.mountpoint / "new", os.O_CREAT | os.O_WRONLY) == number
        assert not (lower / "new").exists(), "the lower operation ran"
    mount.maps["code"][0] = 0
    assert (mount.mountpoint / "file").read_text() == "content"


def test_flags_changed_by_an_open_prefilter_reach_the_lower_open(
    attach: Callable[[str], Mount], lower: Path
) -> None:
    mount = attach(
        """
        @filters.open.pre
        def append_only(ctx: Context, req: OpenIn):
            req.flags |= O_APPEND
        """
    )
    fd = os.open(mount.mountpoint / "file", os.O_WRONLY)
    os.write(fd, b" and more")
    os.close(fd)
    assert (lower / "file").read_text() == "content and more"


def test_what_filters_are_asked_with(attach: Callable[[str], Mount]) -> None:
    """Flags of open(2) as the kernel leaves them, and what an access check is for."""
    mount = attach(
        """
        masks = filters.hash("masks", key=u32, value=u32, max_entries=64)
        flags = filters.hash("flags", key=u32, value=u32, max_entries=64)

        @filters.access.pre
        def checked(ctx: Context, req: AccessIn):
            masks[req.mask] += 1

        @filters.open.pre
        def opened(ctx: Context, req: OpenIn):
            flags[req.flags] += 1

        @filters.create.pre
        def created(ctx: Context, req: CreateIn, name: Name):
            flags[req.flags] += 1
        """
    )
    masks, flags = mount.maps["masks"], mount.maps["flags"]
    file = mount.mountpoint / "file"
    append, access, to_open, to_chdir = 8, 16, 32, 64
    for act, mask in (
        (lambda: os.access(file, os.W_OK), os.W_OK | access),
        (lambda: os.access(file, os.F_OK), access),
        (lambda: os.chdir(mount.mountpoint), os.X_OK | to_chdir),
        (lambda: os.close(os.open(file, os.O_RDONLY)), os.R_OK | to_open),
        (lambda: os.close(os.open(file, os.O_WRONLY | os.O_APPEND)), os.W_OK | append | to_open),
    ):
        act()
        assert mask in masks, (mask, list(masks))
    os.chdir("/")
    large, all_three = 0o100000, os.O_CREAT | os.O_EXCL | os.O_NOCTTY
    assert {os.O_RDONLY | large, os.O_WRONLY | os.O_APPEND | large} <= set(flags)
    os.close(os.open(mount.mountpoint / "new", os.O_WRONLY | all_three))
    os.close(os.open(mount.mountpoint, os.O_TMPFILE | os.O_RDWR | os.O_EXCL))
    assert {os.O_WRONLY | large, os.O_TMPFILE | os.O_RDWR | large} <= set(flags)
    assert not any(seen & all_three for seen in flags)


def test_a_refused_open_does_not_truncate(attach: Callable[[str], Mount], lower: Path) -> None:
    mount = attach(
        """
        @filters.open.pre
        def refuse_truncation(ctx: Context, req: OpenIn):
            if req.flags & O_TRUNC:
                return -EACCES
        """
    )
    with pytest.raises(PermissionError):
        os.open(mount.mountpoint / "file", os.O_WRONLY | os.O_TRUNC)
    assert (lower / "file").read_text() == "content"


def test_a_postfilter_sees_the_error_and_replaces_it(
    attach: Callable[[str], Mount], lower: Path
) -> None:
    program = lower / "program"
    shutil.copy("/bin/sleep", program)
    mount = attach(
        """
        seen = filters.hash("seen", key=s64, value=u64, max_entries=16)

        @filters.open.pre
        def ask(ctx: Context, req: OpenIn):
            return POSTFILTER

        @filters.open.post
        def after(ctx: Context, req: OpenIn, out: OpenOut):
            seen[s64(ctx.error_in)] += 1
            if ctx.error_in == -ETXTBSY:
                return -ENOSPC
            return CONTINUE
        """
    )
    assert (mount.mountpoint / "file").read_text() == "content"
    assert dict(mount.maps["seen"]) == {0: 1}
    with subprocess.Popen([program, "600"]) as running:
        try:
            # Only the lower file system can know that the file is being executed.
            with pytest.raises(OSError) as caught:
                os.open(mount.mountpoint / "program", os.O_WRONLY)
        finally:
            running.kill()
    assert caught.value.errno == errno.ENOSPC
    assert dict(mount.maps["seen"]) == {0: 1, -errno.ETXTBSY: 1}


def test_a_postfilter_can_refuse_after_success_and_is_told_who_asks(
    attach: Callable[[str], Mount],
) -> None:
    mount = attach(
        """
        @filters.opendir.pre
        def ask(ctx: Context, req: OpenIn):
            return POSTFILTER

        @filters.opendir.post
        def after(ctx: Context, req: OpenIn, out: OpenOut):
            if ctx.error_in == 0 and ctx.uid == 0 and ctx.pid > 1:
                return -EBUSY
            return CONTINUE
        """
    )
    with pytest.raises(OSError) as caught:
        os.listdir(mount.mountpoint)
    assert caught.value.errno == errno.EBUSY
    assert (mount.mountpoint / "file").read_text() == "content"


def test_the_default_filter_covers_what_has_no_filter(attach: Callable[[str], Mount]) -> None:
    mount = attach(
        """
        @filters.default
        def nothing_but_stat(ctx: Context):
            if ctx.opcode == 1 or ctx.opcode == 3 or ctx.opcode == 34:
                return CONTINUE
            return -EPERM

        @filters.opendir.pre
        def listing(ctx: Context, req: OpenIn):
            return CONTINUE
        """
    )
    assert (mount.mountpoint / "file").exists()
    with pytest.raises(PermissionError):
        (mount.mountpoint / "file").read_text()
    with pytest.raises(PermissionError):
        os.listdir(mount.mountpoint)  # opendir has its own filter, readdir has not


def test_listing_with_any_buffer_size_shows_each_name_once(
    attach: Callable[[str], Mount], lower: Path
) -> None:
    wanted = {f"plain-{index:04d}-{'x' * (index % 90)}" for index in range(700)}
    for index, name in enumerate(sorted(wanted)):
        (lower / name).touch()
        (lower / f"secret-{index}").touch()
    (lower / "file").unlink()
    mount = attach(
        """
        @filters.readdir.pre
        def ask(ctx: Context, req: ReadIn):
            return POSTFILTER

        @filters.readdir.post
        def drop(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):
            for entry in entries:
                if entry.name.startswith("secret-"):
                    entry.drop()
        """
    )
    for size in (280, 300, 512, 1000, 4096, 32768, 65536):
        names = getdents(mount.mountpoint, size)
        assert len(names) == len(set(names))
        assert set(names) - {".", ".."} == wanted, f"buffer of {size} bytes"


JOINED = """
def part(name: str, digit: int, asks: bool):
    filters = FilterSet(name)

    @filters.mkdir.pre
    def before(ctx: Context, req: MkdirIn, name: Name):
        order[0] = order[0] * 16 + digit
        if name == "closed":
            return -EPERM if digit == 2 else CONTINUE
        return POSTFILTER if asks and name != "plain" else CONTINUE

    @filters.mkdir.post
    def after(ctx: Context, req: MkdirIn, name: Name):
        order[0] = order[0] * 16 + digit + 8
        if name == "late" and digit == 2:
            return refuse(digit + 19)

    @filters.removexattr.post
    def cleared(ctx: Context, name: Name):
        seen[digit] = u64(0 - ctx.error_in)
        if digit == 3:
            ctx.clear_error()
        elif digit == 1 and name == "user.refused":
            return -EXDEV

    return filters


shared = FilterSet("shared")
order = shared.array("order", value=u64, max_entries=1)
seen = shared.array("seen", value=u64, max_entries=4)
filters = FilterSet("all", shared, part("a", 1, False), part("b", 2, True), part("c", 3, False))
"""


def test_joined_sets_go_in_order_and_back(attach: Callable[[str], Mount], lower: Path) -> None:
    mount = attach(JOINED)
    top = mount.mountpoint

    def made(name: str) -> tuple[int, str]:
        """Errno of a mkdir, and whose filters ran: a, b, c have 1, 2, 3 and 9, a, b."""
        mount.maps["order"][0] = 0
        try:
            os.mkdir(top / name)
        except OSError as error:
            return error.errno or 0, f"{mount.maps['order'][0]:x}"
        return 0, f"{mount.maps['order'][0]:x}"

    # One that asks has all postfilters run, in reverse; none where nobody asks.
    assert made("new") == (0, "123ba9")
    assert made("plain") == (0, "123")
    # The first refusal is the last that runs. What a postfilter refuses was done.
    assert made("closed") == (errno.EPERM, "12")
    assert made("late") == (21, "123ba")
    assert sorted(os.listdir(lower)) == ["file", "late", "new", "plain"]

    def removed(name: str) -> int:
        try:
            os.removexattr(top / "file", name)
        except OSError as error:
            return error.errno or 0
        return 0

    # Every postfilter sees the error of the operation, also behind one that cleared it; a refusal
    # counts for more than that.
    for name, code in (("user.none", 0), ("user.refused", errno.EXDEV)):
        assert removed(name) == code
        assert [mount.maps["seen"][digit] for digit in (1, 2, 3)] == [errno.ENODATA] * 3


def open_errno(path: Path, flags: int) -> int:
    """Errno of open(2) itself: os.open would try again after EINTR. 0 when it succeeds."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.open(os.fsencode(path), flags, 0o600)
    if fd < 0:
        return ctypes.get_errno()
    os.close(fd)
    return 0


def getdents(path: Path, size: int) -> list[str]:
    """Names of a directory, read by getdents64(2) with a buffer of ``size`` bytes."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(size)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    names: list[str] = []
    try:
        while True:
            got = libc.syscall(217, fd, buffer, size)
            if got < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            if got == 0:
                return names
            at = 0
            while at < got:
                length = int.from_bytes(buffer.raw[at + 16 : at + 18], "little")
                names.append(buffer.raw[at + 19 : at + length].split(b"\0", 1)[0].decode())
                at += length
    finally:
        os.close(fd)
