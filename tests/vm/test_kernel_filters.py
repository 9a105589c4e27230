# SPDX-License-Identifier: MIT
"""Every filter hook of the kernel part, before and after, against its own interface."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm import kernelkit as kit
from tests.vm.limits import eventually


@pytest.fixture
def lower(lower: Path) -> Path:
    (lower / "target").write_text("target's\n")
    (lower / "hidden.key").write_text("secret\n")
    (lower / "tagged").mkdir()
    (lower / "tagged/inner").write_text("inner\n")
    return lower


@pytest.fixture
def every(lower: Path, mnt: Path) -> Iterator[kit.Filters]:
    """A mount with every served member but default_filter."""
    members = tuple(
        f"{op}_{phase}filter"
        for op in ("open", "opendir", "create_open", "release", "releasedir", "lookup", "readdir")
        for phase in ("pre", "post")
    )
    with kit.filtered(lower, mnt, *members) as attached:
        yield attached


def refused(call: Callable[[], object]) -> int:
    """The errno that a call fails with; 0 when it does not."""
    try:
        call()
    except OSError as error:
        return error.errno or 0
    return 0


def do_open(mnt: Path) -> None:
    os.close(os.open(mnt / "file", os.O_RDONLY))


def do_opendir(mnt: Path) -> None:
    os.close(os.open(mnt / "dir", os.O_RDONLY | os.O_DIRECTORY))


def do_create(mnt: Path) -> None:
    os.close(os.open(mnt / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def do_lookup(mnt: Path) -> None:
    os.stat(mnt / "file")


def do_readdir(mnt: Path) -> None:
    with kit.Dirents(mnt / "dir", 4096) as listing:  # readdir(3) takes ENOENT for the end
        listing.all()


OPERATIONS: dict[str, tuple[Callable[[Path], None], int]] = {
    "open": (do_open, 14),
    "opendir": (do_opendir, 27),
    "create": (do_create, 35),
    "lookup": (do_lookup, 1),
    "readdir": (do_readdir, 28),
}


@pytest.mark.parametrize("op", OPERATIONS)
def test_refusing_prefilter(every: kit.Filters, lower: Path, mnt: Path, op: str) -> None:
    """Every errno reaches the caller and nothing happens below."""
    call, opcode = OPERATIONS[op]
    for code in (1, 2, 5, 13, 30, 40, 95, 116, 133):
        every.reset()
        every.set(**{f"{op}_pre": -code, f"{op}_post": -1})
        assert refused(lambda: call(mnt)) == code
        assert every.count(f"{op}_pre") >= 1
        assert every.count(f"{op}_post") == 0
        if op not in ("lookup", "readdir"):  # what ran last was another operation
            assert every.seen("opcode") == opcode | kit.OPCODE_PRE
    assert not (lower / "new").exists()
    assert every.count("release_pre") == 0


@pytest.mark.parametrize("op", OPERATIONS)
def test_postfilter(every: kit.Filters, mnt: Path, op: str) -> None:
    call, opcode = OPERATIONS[op]
    every.set(**{f"{op}_pre": kit.POSTFILTER})
    call(mnt)
    assert every.count(f"{op}_post") >= 1
    if op in ("lookup", "readdir"):
        assert every.seen("opcode") & 0xFFFF in (opcode, 29)  # 29: the listing's releasedir
    every.reset()
    every.set(**{f"{op}_pre": kit.POSTFILTER, f"{op}_post": -errno.EDOM})
    if op == "create":
        (mnt / "new").unlink()
    assert refused(lambda: call(mnt)) == errno.EDOM


@pytest.mark.parametrize("op", OPERATIONS)
def test_strange_verdicts_are_clamped(every: kit.Filters, mnt: Path, op: str) -> None:
    """What is neither a verdict nor an errno that user space may see gives EIO."""
    call, _opcode = OPERATIONS[op]
    for value in (-5000, -4096, -4095, -512, 6, 255, 2**31 - 1, -(2**31)):
        every.reset()
        every.set(**{f"{op}_pre": value})
        assert refused(lambda: call(mnt)) == errno.EIO, value
        every.set(**{f"{op}_pre": kit.POSTFILTER, f"{op}_post": value})
        assert refused(lambda: call(mnt)) == errno.EIO, value
        every.reset()
        (mnt / "new").unlink(missing_ok=True)


@pytest.mark.parametrize("op", OPERATIONS)
def test_verdicts_that_need_a_daemon(every: kit.Filters, mnt: Path, op: str) -> None:
    call, _opcode = OPERATIONS[op]
    for verdict in (kit.USER, kit.USER_PREFILTER, kit.USER_POSTFILTER):
        every.reset()
        every.set(**{f"{op}_pre": verdict})
        assert refused(lambda: call(mnt)) == errno.ECONNREFUSED
    every.reset()
    every.set(**{f"{op}_pre": kit.CALL_DEFAULT})
    call(mnt)


def test_postfilter_sees_and_replaces_the_error(every: kit.Filters, lower: Path, mnt: Path) -> None:
    every.set(lookup_pre=kit.POSTFILTER)
    assert refused(lambda: os.stat(mnt / "none")) == errno.ENOENT
    assert every.seen("error_in") == -errno.ENOENT
    every.set(lookup_post=-errno.EACCES)
    assert refused(lambda: os.stat(mnt / "none")) == errno.EACCES
    every.set(lookup_pre=kit.CONTINUE, lookup_post=0)

    every.set(open_pre=kit.POSTFILTER)
    os.close(os.open(mnt / "file", os.O_RDONLY))
    assert every.count("open_post") == 1


def test_default_filter(lower: Path, mnt: Path) -> None:
    """It stands in for what is missing, in both phases, and is asked by CALL_DEFAULT."""
    with kit.filtered(lower, mnt, "default_filter", "open_prefilter") as f:
        os.stat(mnt / "file")
        assert f.count("default") >= 3  # access of the directory, lookup, getattr
        assert f.seen("opcode") == 3 | kit.OPCODE_PRE
        f.reset()
        f.set(open_pre=kit.CONTINUE)
        fd = os.open(mnt / "file", os.O_RDONLY)
        before = f.count("default")
        os.close(fd)
        assert f.count("open_pre") == 1
        assert f.count("default") == before + 2  # flush and release
        f.set(open_pre=kit.CALL_DEFAULT)
        os.close(os.open(mnt / "file", os.O_RDONLY))
        f.set(default=kit.POSTFILTER)
        os.stat(mnt / "file")
        assert f.seen("opcode") == 3 | kit.OPCODE_POST
        f.set(default=-errno.EXDEV)
        assert refused(lambda: os.stat(mnt / "file")) == errno.EXDEV
        f.set(default=kit.CALL_DEFAULT)
        assert refused(lambda: os.stat(mnt / "file")) == errno.EIO
        f.set(default=0)


def test_postfilter_alone_runs(lower: Path, mnt: Path) -> None:
    with kit.filtered(lower, mnt, "open_postfilter") as f:
        do_open(mnt)
        assert f.count("open_post") == 1
        f.set(open_post=-errno.EROFS)
        assert refused(lambda: do_open(mnt)) == errno.EROFS


def test_open_flags_reach_the_lower_open(every: kit.Filters, lower: Path, mnt: Path) -> None:
    every.set(flags_set=os.O_APPEND)
    fd = os.open(mnt / "file", os.O_RDWR)
    os.pwrite(fd, b"more", 0)
    assert (lower / "file").read_text() == "content\nmore"
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
    os.close(fd)

    # Rights that a filter took are gone from the file, for reading, writing and mapping
    every.set(flags_set=0, flags_clear=os.O_ACCMODE)
    fd = os.open(mnt / "file", os.O_RDWR)
    assert every.seen("flags") & os.O_ACCMODE == os.O_RDWR
    assert refused(lambda: os.write(fd, b"x")) == errno.EBADF
    assert refused(lambda: mmap.mmap(fd, 4)) == errno.EACCES
    assert os.pread(fd, 7, 0) == b"content"
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    os.close(fd)

    every.set(flags_set=os.O_WRONLY)
    fd = os.open(mnt / "file", os.O_RDWR)
    assert refused(lambda: os.pread(fd, 1, 0)) == errno.EBADF
    os.close(fd)
    # Never more than was asked for
    every.set(flags_set=os.O_RDWR, flags_clear=0)
    fd = os.open(mnt / "file", os.O_RDONLY)
    assert refused(lambda: os.write(fd, b"x")) == errno.EBADF
    os.close(fd)
    every.set(flags_set=3)
    assert refused(lambda: do_open(mnt)) == errno.EINVAL

    every.set(flags_set=0, flags_clear=os.O_TRUNC)
    os.close(os.open(mnt / "file", os.O_WRONLY | os.O_TRUNC))
    assert (lower / "file").read_text() == "content\nmore"
    every.set(flags_clear=0)
    os.close(os.open(mnt / "file", os.O_WRONLY | os.O_TRUNC))
    assert (lower / "file").read_text() == ""


def test_caller_is_known(every: kit.Filters, mnt: Path) -> None:
    directory = os.open(mnt, os.O_PATH)
    pid = os.fork()
    if not pid:
        try:
            os.setresgid(77, 78, 77)
            os.setresuid(88, 89, 88)
            os.open("file", os.O_RDONLY, dir_fd=directory)
            os._exit(0)
        except BaseException:
            os._exit(1)
    os.close(directory)
    assert os.waitpid(pid, 0)[1] == 0
    assert (every.seen("fsuid"), every.seen("euid")) == (89, 89)
    assert (every.seen("fsgid"), every.seen("egid")) == (78, 78)
    comm = Path("/proc/self/comm").read_text().strip()[:8]
    assert struct.pack("=q", every.seen("comm")).rstrip(b"\0").decode() == comm
    assert every.seen("set_tag") == -errno.EINVAL


def test_create(every: kit.Filters, lower: Path, mnt: Path) -> None:
    os.umask(0o022)
    every.set(mode_clear=0o111, create_pre=kit.POSTFILTER)
    fd = os.open(mnt / "new", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o777)
    os.write(fd, b"made")
    assert (lower / "new").stat().st_mode & 0o7777 == 0o644
    assert every.seen("mode") & 0o777 == 0o777 or every.seen("mode") & 0o777 == 0o755
    assert every.seen("len") == len("new") + 1
    assert every.seen("rw") == 0
    assert every.seen("set_len") == -errno.EPERM
    assert every.count("open_pre") == 0
    os.close(fd)
    assert every.seen("fh") == 815
    assert every.count("release_pre") == 1
    assert refused(lambda: do_create(mnt)) == errno.EEXIST
    assert every.count("create_pre") == 1
    # A refused postfilter leaves the file: what was done below stays done
    every.set(create_post=-errno.EPERM)
    assert refused(lambda: os.open(mnt / "two", os.O_CREAT | os.O_RDWR)) == errno.EPERM
    assert (lower / "two").exists()
    assert every.count("release_pre") == 1


def test_release_kinds(every: kit.Filters, mnt: Path) -> None:
    every.set(open_pre=kit.POSTFILTER, release_pre=kit.POSTFILTER)
    every.set(releasedir_pre=kit.POSTFILTER)
    fd = os.open(mnt / "file", os.O_RDONLY)
    other = os.dup(fd)
    os.close(fd)
    assert every.count("release_pre") == 0
    os.close(other)
    assert (every.count("release_pre"), every.count("release_post")) == (1, 1)
    assert every.count("releasedir_pre") == 0
    do_opendir(mnt)
    assert (every.count("releasedir_pre"), every.count("releasedir_post")) == (1, 1)
    assert every.count("release_pre") == 1
    # Its verdict changes nothing
    every.set(release_pre=-errno.EPERM)
    do_open(mnt)
    # An open that failed is not released
    count = every.count("release_pre")
    every.set(open_post=-errno.EPERM)
    assert refused(lambda: do_open(mnt)) == errno.EPERM
    assert every.count("release_pre") == count


def test_opens_and_releases_balance(lower: Path, mnt: Path) -> None:
    members = ("open_prefilter", "release_prefilter", "release_postfilter", "create_open_prefilter")
    with kit.filtered(lower, mnt, *members) as f:
        opens = 0
        for number in range(2500):
            fd = os.open(mnt / "file", os.O_RDWR)
            os.close(os.dup(fd))
            os.close(os.open(mnt / "target", os.O_RDONLY))
            kept = kit.map_alone(fd, 8) if number % 100 == 0 else None
            os.close(fd)
            if kept is not None:
                assert kept[:7] == b"content"
                kept[0:7] = b"CONTENT"
                kept[0:7] = b"content"
                kept.close()
            opens += 2
        fds = [os.open(mnt / "file", os.O_RDONLY) for _ in range(500)]
        for _ in range(4):
            pid = os.fork()
            if not pid:
                for _child in range(1125):
                    os.close(os.open(mnt / "file", os.O_RDONLY))
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        opens += 500 + 4500
        for fd in fds:
            os.close(fd)
        assert opens == 10000
        assert f.count("open_pre") == opens
        assert eventually(lambda: f.count("release_pre") == opens)


def test_lookup_hides_and_rewrites(every: kit.Filters, lower: Path, mnt: Path) -> None:
    every.set(hide=1)
    for call in (os.stat, os.lstat, os.listxattr, os.unlink, os.readlink):
        assert refused(lambda call=call: call(mnt / "hidden.key")) == errno.ENOENT  # type: ignore[misc]
    assert refused(lambda: os.open(mnt / "hidden.key", os.O_RDONLY)) == errno.ENOENT
    assert refused(lambda: os.open(mnt / "hidden.new", os.O_CREAT | os.O_RDWR)) == errno.ENOENT
    assert refused(lambda: os.mkdir(mnt / "hidden.dir")) == errno.ENOENT
    assert refused(lambda: os.rename(mnt / "file", mnt / "hidden.key")) == errno.ENOENT
    assert refused(lambda: os.link(mnt / "file", mnt / "hidden.two")) == errno.ENOENT
    assert sorted(p.name for p in lower.iterdir() if p.name.startswith("hidden")) == ["hidden.key"]
    every.set(hide=0)
    assert (mnt / "hidden.key").read_text() == "secret\n"
    every.set(hide=1)  # also when the dentry is cached
    assert refused(lambda: os.stat(mnt / "hidden.key")) == errno.ENOENT
    every.set(hide=0, post_hide=1, lookup_pre=kit.POSTFILTER)
    assert refused(lambda: os.stat(mnt / "hidden.key")) == errno.ENOENT
    assert os.stat(mnt / "file").st_size == 8
    assert every.seen("size") == 8
    assert every.seen("mode") == (lower / "file").stat().st_mode
    assert every.seen("rw") == 0
    assert every.seen("scratch") == 77
    every.set(post_hide=0, lookup_pre=0)

    every.set(rewrite=1)
    assert (mnt / "alias").read_text() == "target's\n"
    assert (mnt / "alias").read_text() == "target's\n"
    every.set(rewrite=0)
    assert refused(lambda: os.stat(mnt / "alias")) == errno.ENOENT
    every.set(rewrite=1)
    (mnt / "alias").write_text("written\n")
    assert (lower / "target").read_text() == "written\n"
    (mnt / "alias").unlink()
    assert not (lower / "target").exists()
    (mnt / "alias").write_text("made\n")
    assert (lower / "target").read_text() == "made\n"
    assert every.seen("ro") == 0
    assert every.seen("set_len") in (-errno.EINVAL, -errno.EPERM)


def test_tags_and_nodeids(every: kit.Filters, lower: Path, mnt: Path) -> None:
    every.set(tag=7)
    fd = os.open(mnt / "tagged/inner", os.O_RDONLY)
    assert every.seen("set_tag") == -errno.EINVAL  # from open_prefilter, which is no lookup
    assert every.seen("tag") == 7  # the file's, from its directory
    os.close(fd)
    os.stat(mnt / "tagged")
    assert every.seen("tag") == 0  # of the directory looked in
    os.stat(mnt / "tagged/inner")
    assert every.seen("tag") == 7
    (mnt / "tagged/new").write_text("x")
    assert every.seen("tag") == 7
    # A directory keeps its tag: to another one it has to be copied
    assert refused(lambda: os.rename(mnt / "dir", mnt / "tagged/dir")) == errno.EXDEV
    os.rename(mnt / "file", mnt / "tagged/file")
    fd = os.open(mnt / "tagged/file", os.O_RDONLY)
    assert every.seen("tag") == 7
    os.close(fd)
    every.set(tag=0)
    fd = os.open(mnt / "tagged/inner", os.O_RDONLY)
    assert every.seen("tag") == 0
    os.close(fd)

    every.set(lookup_pre=kit.POSTFILTER, nodeid=1234)
    os.stat(mnt / "tagged")
    fd = os.open(mnt / "target", os.O_RDONLY)
    assert every.seen("nodeid") == 1234
    os.close(fd)
    every.set(lookup_pre=0, nodeid=0)
    os.stat(mnt / "target")
    assert every.seen("nodeid") == 1  # the root's


def test_a_refusal_does_not_detach_mounts_below(every: kit.Filters, lower: Path, mnt: Path) -> None:
    os.system(f"mount -t tmpfs none {mnt}/dir")
    try:
        (mnt / "dir/inside").write_text("x")
        every.set(lookup_pre=-errno.EACCES)
        assert refused(lambda: os.stat(mnt / "dir/inside")) == errno.EACCES
        every.set(lookup_pre=0)
        assert (mnt / "dir/inside").read_text() == "x"
    finally:
        every.set(lookup_pre=0)
        os.system(f"umount {mnt}/dir")
