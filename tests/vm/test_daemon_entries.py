# SPDX-License-Identifier: MIT
"""Entries of a lookup: a backing file and filters that a daemon gives for a name, and what is wrong
with those that are refused."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fusebpf import USER, USER_POSTFILTER, Attr, AttrOut, EntryOut, Name, WriteIn
from fusebpf.abi import STRUCTS
from fusebpf.abi.protocol import bpf_response_ioctl
from fusebpf.daemon import (
    Backing,
    Call,
    Program,
    RemoveBacking,
    RemoveProgram,
    records,
    wire,
)
from fusebpf.runtime import mountinfo
from fusebpf.runtime.fsmount import umount
from tests.vm import daemonkit as kit
from tests.vm.kernelkit import code_of, opened, piped
from tests.vm.limits import eventually

FICLONE = 0x40049409  # linux/fs.h


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[kit.Mount]:
    with kit.filtered(tmp_path) as made:
        yield made


def file_entry(nodeid: int, mode: int = 0o100644, valid: int = 0) -> EntryOut:
    return EntryOut(nodeid=nodeid, entry_valid=valid, attr=Attr(mode=mode, nlink=1))


def test_a_backing_for_a_name_that_is_the_daemons(mount: kit.Mount) -> None:
    """Its attributes and data are those below; what is in a directory is found below."""
    with opened(mount.lower / "dir/inner") as fd:
        mount.look(USER, lookup=(file_entry(0), [Backing(fd)]))
        assert (mount.mnt / "made-up").read_text() == "inner"
        assert (mount.mnt / "made-up").stat().st_size == 5
        (mount.mnt / "made-up").write_text("changed")
    assert (mount.lower / "dir/inner").read_text() == "changed"
    with opened(mount.lower / "dir") as fd:
        mount.look(USER, lookup=(file_entry(0), [Backing(fd)]))
        assert sorted(os.listdir(mount.mnt / "made-up")) == ["inner", "sub"]
        assert (mount.mnt / "made-up/inner").read_text() == "changed"
        # No filters are inherited from a daemon's answer: the name below was looked up there
        assert len({name for _call, (name,) in mount.daemon._seen("lookup")}) == 1


def test_a_descriptor_that_is_given_away_is_closed(mount: kit.Mount) -> None:
    """The file stays below the name; each lookup has a descriptor of its own."""
    given: list[int] = []

    def backing() -> Backing:
        given.append(os.open(mount.lower / "dir/inner", os.O_RDWR))
        return Backing(given[-1], close=True)

    before = len(os.listdir("/proc/self/fd"))
    mount.look(USER, lookup=lambda _c, _n: (file_entry(0), [backing()]))
    with opened(mount.mnt / "made-up") as fd:
        assert os.read(fd, 9) == b"inner"
    mount.look(USER_POSTFILTER, lookup_post=lambda _c, _n, _o, e: e.append(backing()))
    assert (mount.mnt / "file").read_text() == "inner"
    # Of another file system: refused, and closed all the same.
    mount.daemon._reset(
        lookup_post=lambda _c, _n, _o, e: e.append(Backing(os.open("/proc", os.O_RDONLY), True))
    )
    assert code_of((mount.mnt / "file").read_text) == errno.EIO
    mount.verdicts.reset()
    assert len(given) >= 2
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) == before)


def test_filters_for_a_name(mount: kit.Mount) -> None:
    other = kit.Verdicts()
    try:
        other.reset()
        other.set("open", -errno.EOWNERDEAD)
        with opened(mount.lower / "file") as fd:
            entries = [Program(other.name), Backing(fd)]
            mount.look(USER, lookup=(file_entry(0), entries))
            assert code_of((mount.mnt / "one").read_text) == errno.EOWNERDEAD
            entries[:] = [Backing(fd)]
            assert (mount.mnt / "two").read_text() == "0123456789"
        # Below a backed directory: others than its own, or none
        mount.look(USER_POSTFILTER, lookup_post=lambda _c, _n, _o, e: e.append(Program(other.name)))
        assert code_of((mount.mnt / "file").read_text) == errno.EOWNERDEAD
        mount.verdicts.set("open", -errno.EDOM)
        mount.daemon._reset()
        assert code_of((mount.mnt / "file").read_text) == errno.EDOM
        mount.daemon._reset(lookup_post=lambda _c, _n, _o, e: e.append(RemoveProgram()))
        assert (mount.mnt / "file").read_text() == "0123456789"
        mount.verdicts.reset()
    finally:
        other.close()


def test_a_postfilter_gives_and_takes_the_backing(mount: kit.Mount) -> None:
    with opened(mount.lower / "dir/inner") as fd:
        give = {"lookup_post": lambda _c, _n, _o, e: e.append(Backing(fd))}
        mount.look(USER_POSTFILTER, **give)
        assert (mount.mnt / "file").read_text() == "inner"
        assert (mount.mnt / "nowhere").read_text() == "inner"
    mount.daemon._reset(lookup_post=lambda _c, _n, _o, e: e.append(RemoveBacking()))
    assert code_of((mount.mnt / "file").read_text) == errno.ENOENT
    mount.daemon._reset()
    assert (mount.mnt / "file").read_text() == "0123456789"


def test_a_directory_of_the_daemons_with_backed_files(mount: kit.Mount) -> None:
    """Answers hold as long as the daemon said; asked again, the same answer keeps the same file."""
    valid = 3600
    with opened(mount.lower / "file") as fd:

        def lookup(call: Call, name: Name) -> Any:
            if call.nodeid == kit.ROOT:
                return file_entry(5, 0o40755, 3600)
            if name == "backed":
                return file_entry(0, valid=valid), [Backing(fd)]
            return file_entry(6, valid=valid)

        def getattr_(call: Call, _req: Any) -> AttrOut:
            return AttrOut(attr=Attr(mode=0o40755 if call.nodeid == 5 else 0o100644, nlink=1))

        mount.look(USER, lookup=lookup, getattr=getattr_, flush=None)
        backed = mount.mnt / "virtual/backed"
        assert backed.read_text() == "0123456789"
        assert backed.read_text() == "0123456789"
        inside = [call for call, _args in mount.daemon._seen("lookup") if call and call.nodeid == 5]
        assert len(inside) == 1
        assert (mount.mnt / "virtual/own").stat().st_size == 0

        valid = 0
        mount.daemon._asked.clear()
        with opened(mount.mnt / "virtual/again1") as _held:
            pass
        before = os.stat(backed)
        mount.daemon.notify.inval_entry(5, b"backed")
        os.stat(backed)
        after = os.stat(backed)
        assert (after.st_ino, after.st_dev) == (before.st_ino, before.st_dev)
        assert len(mount.daemon._seen("lookup")) >= 3

        # Out of the daemon's directory, or into it, nothing can be moved
        assert code_of(lambda: os.rename(backed, mount.mnt / "virtual/own")) == errno.EDOM
        mount.verdicts.reset()


def test_nodeids_are_forgotten_as_often_as_they_were_given(mount: kit.Mount) -> None:
    given = 0

    def lookup_post(_call: Call, name: Name, out: EntryOut, _entries: Any) -> None:
        nonlocal given
        if name == "file":
            out.nodeid = 77
            given += 1

    mount.look(USER_POSTFILTER, lookup_post=lookup_post)
    for _ in range(5):
        os.stat(mount.mnt / "file")
    mount.verdicts.reset()
    assert given >= 5

    def forgotten() -> int:
        Path("/proc/sys/vm/drop_caches").write_text("2\n")
        return sum(args[1] for _call, args in mount.daemon._seen("forget") if args[0] == 77)

    assert eventually(lambda: forgotten() == given), (forgotten(), given)


def look_at_own(mount: kit.Mount, content: bytearray, **answers: Any) -> None:
    """Leave LOOKUP to the daemon, which has a file of its own with this content."""

    def attr() -> Attr:
        return Attr(mode=0o100644, nlink=1, size=len(content))

    def write(_call: Call, req: WriteIn, data: bytes) -> int:
        content[req.offset : req.offset + len(data)] = data
        return len(data)

    made = {
        "lookup": lambda *_args: EntryOut(nodeid=9, attr=attr()),
        "getattr": lambda *_args: AttrOut(attr=attr()),
        "setattr": lambda *_args: AttrOut(attr=attr()),
        "read_iter": lambda _call, req: bytes(content[req.offset : req.offset + req.size]),
        "write_iter": write,
        "flush": None,
        "fsync": None,
    }
    mount.look(USER, **made | answers)


def test_a_splice_into_a_file_of_the_daemons_own(mount: kit.Mount) -> None:
    """Its pages are cached, and no older than what was spliced."""
    content = bytearray(b"0123456789")
    look_at_own(mount, content)
    with piped() as (source, sink):
        with opened(mount.mnt / "own", os.O_RDWR) as fd:
            assert os.pread(fd, 20, 0) == content
            os.write(sink, b"piped")
            assert os.splice(source, fd, 5, offset_dst=8) == 5
            assert content == b"01234567piped"
            assert os.pread(fd, 20, 0) == content
        assert not mount.daemon._seen("fsync")
        with opened(mount.mnt / "own", os.O_RDWR | os.O_SYNC) as fd:
            os.write(sink, b"kept")
            assert os.splice(source, fd, 4, offset_dst=0) == 4
            assert mount.daemon._seen("fsync")
    assert content == b"kept4567piped"


def test_a_splice_that_fails_leaves_what_was_not_written_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit.Scripted, "init_flags", ("WRITEBACK_CACHE",))
    content = bytearray(4096)
    with kit.filtered(tmp_path) as made, piped() as (source, sink):
        look_at_own(made, content)
        write = made.daemon._answers["write_iter"]
        with opened(made.mnt / "own", os.O_RDWR) as fd:
            assert os.pwrite(fd, b"A" * 4096, 0) == 4096
            os.write(sink, b"piped")
            made.daemon._answers["write_iter"] = lambda call, req, data: (
                write(call, req, data) if len(data) == len(content) else -errno.ENOSPC
            )
            assert code_of(lambda: os.splice(source, fd, 5, offset_dst=100)) == errno.ENOSPC
            # Newer kernels keep in the page what could not be written; the rest is as it was
            assert os.pread(fd, 100, 0) + os.pread(fd, 4096, 105) == b"A" * 4091
    assert content == b"A" * 4096


def test_a_clone_into_a_file_of_the_daemons_own(mount: kit.Mount) -> None:
    with opened(mount.mnt / "file") as source:
        attr = AttrOut(attr=Attr(mode=0o100644, nlink=1))
        mount.look(USER, lookup=file_entry(9), getattr=attr, flush=None)
        with opened(mount.mnt / "own", os.O_RDWR) as target:
            assert code_of(lambda: fcntl.ioctl(target, FICLONE, source)) == errno.EXDEV
            assert code_of(lambda: fcntl.ioctl(source, FICLONE, target)) != 0


def test_a_name_given_by_the_daemon_stays_when_filters_are_replaced(mount: kit.Mount) -> None:
    with opened(mount.lower / "dir/inner") as fd:
        mount.look(USER, lookup=(file_entry(0, valid=3600), [Backing(fd)]))
        assert (mount.mnt / "given").read_text() == "inner"
        kit.Verdicts().close()
        assert (mount.mnt / "given").read_text() == "inner"


def test_a_directory_that_was_given_elsewhere_is_found_by_its_name(mount: kit.Mount) -> None:
    """Its dentry is where it was seen last; what is mounted in it stays."""
    with opened(mount.lower / "dir") as fd:

        def give(_call: Call, name: Name, _out: EntryOut, entries: list[Any]) -> None:
            if name == "elsewhere":
                entries.append(Backing(fd))

        mount.look(USER_POSTFILTER, lookup_post=give)
        assert (mount.mnt / "elsewhere/inner").read_text() == "inner"
        assert (mount.mnt / "dir/inner").read_text() == "inner"
        inner = mount.mnt / "dir/sub"
        subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True)
        try:
            for _ in range(3):
                assert (mount.mnt / "dir/inner").read_text() == "inner"
            assert mountinfo.at(inner) is not None
        finally:
            mount.verdicts.reset()
            if mountinfo.at(inner) is not None:
                umount(inner)


def test_names_of_the_daemons_stay_its_own(mount: kit.Mount) -> None:
    """What is done to a name that LOOKUP left to the daemon is done by the daemon."""

    def lookup(_call: Call, name: Name) -> EntryOut | None:
        return file_entry(9) if name == "own" else None

    mount.look(USER, lookup=lookup)
    for call, asked in (
        (lambda: (mount.mnt / "own").unlink(), "unlink"),
        (lambda: (mount.mnt / "new").mkdir(), "mkdir"),
        (lambda: os.rename(mount.mnt / "own", mount.mnt / "new"), "rename"),
        (lambda: os.link(mount.mnt / "own", mount.mnt / "new"), "link"),
        (lambda: (mount.mnt / "new").write_text("x"), "create_open"),
        (lambda: os.symlink("x", mount.mnt / "new"), "symlink"),
    ):
        assert code_of(call) == errno.EDOM, asked
        assert mount.daemon._seen(asked), asked
    mount.verdicts.reset()
    assert sorted(os.listdir(mount.lower)) == ["dir", "empty", "file"]


def body(*entries: bytes) -> bytes:
    layout = STRUCTS["fuse_entry_out"]
    return records.pack(layout, file_entry(0)) + b"".join(entries)


def backing(fd: int, unused: int = 0) -> bytes:
    return struct.pack("<IIQQ", 1, unused, 0, fd)


def named(kind: int, name: bytes = b"") -> bytes:
    return struct.pack("<II16s", kind, 0, name)


def answered(mount: kit.Mount, raw: bytes, how: str = "respond") -> tuple[int, int]:
    """Look a name up, answer with raw bytes: the errno that the daemon gets, and the caller's."""
    got: list[int] = []

    def lookup(call: Call, _name: Name) -> None:
        send = getattr(mount.device, how)
        got.append(code_of(lambda: send(wire.reply(call.unique, 0, raw))))

    mount.look(USER, lookup=lookup)
    code = code_of((mount.mnt / "any").read_text)
    mount.verdicts.reset()
    assert eventually(lambda: bool(got))  # the caller may be told first
    return got[0], code


def test_answers_that_are_refused(mount: kit.Mount) -> None:
    """The daemon is told what is wrong, the caller gets EIO, and the next answer is as good."""
    cases: dict[str, tuple[bytes, int]] = {
        "type 0": (body(named(0)), errno.EINVAL),
        "unknown type": (body(named(5)), errno.EINVAL),
        "unused is set": (body(backing(0, 1)), errno.EINVAL),
        "two backings": (body(named(3), named(3)), errno.EINVAL),
        "two programs": (body(named(4), named(4)), errno.EINVAL),
        "unknown filters": (body(named(2, b"no.such")), errno.EINVAL),
        "a name without an end": (body(named(2, b"x" * 16)), errno.EINVAL),
        "half an entry": (body(named(4)[:12]), errno.EINVAL),
        "three entries": (body(named(3), named(4), named(4)), errno.EINVAL),
        "no such descriptor": (body(backing(12345)), errno.EBADF),
        "a descriptor past int": (body(backing(1 << 40)), errno.EBADF),
        "too short": (body()[:-1], errno.EINVAL),
    }
    for what, (raw, code) in cases.items():
        assert answered(mount, raw) == (code, errno.EIO), what
    with opened(mount.lower / "file", os.O_PATH) as fd:
        assert answered(mount, body(backing(fd))) == (errno.EBADF, errno.EIO)
    with opened(Path("/proc/self/status")) as fd:
        assert answered(mount, body(backing(fd))) == (errno.EXDEV, errno.EIO)
    with opened(mount.lower / "file") as fd:
        # By a plain write no descriptor is taken
        assert answered(mount, body(backing(fd)), "write") == (errno.EINVAL, errno.EIO)
        # Without a backing there is nothing to run filters for
        assert answered(mount, body(named(4))) == (0, errno.EINVAL)
        mount.look(USER, lookup=(file_entry(0), [Backing(fd)]))
        assert (mount.mnt / "any").read_text() == "0123456789"


def test_the_ioctl_itself(mount: kit.Mount) -> None:
    device = mount.device.fileno()
    for size, number, code in (
        (0, bpf_response_ioctl(0), errno.EINVAL),
        (5000, bpf_response_ioctl(5000), errno.EINVAL),
        (16, bpf_response_ioctl(16) + 1, errno.ENOTTY),
    ):
        with pytest.raises(OSError) as info:
            fcntl.ioctl(device, number, bytearray(size))
        assert info.value.errno == code
    nobody = wire.reply(1 << 40)
    assert code_of(lambda: mount.device.respond(nobody)) == errno.ENOENT
    short = struct.pack("<IiQ", 99, 0, 2)
    assert code_of(lambda: mount.device.respond(short)) == errno.EINVAL
