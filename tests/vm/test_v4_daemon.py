# SPDX-License-Identifier: MIT
"""A daemon that speaks the bytes of the fuse-bpf RFC v4, with nothing of fusebpf's but a mount.

Numbers and layouts stand here once more, so that a change of ours that breaks such a daemon fails.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from fusebpf.runtime import features
from fusebpf.runtime.fsmount import FsContext, move_mount, umount
from tests.vm import daemonkit
from tests.vm.kernelkit import USER, USER_POSTFILTER, USER_PREFILTER, code_of, opened
from tests.vm.limits import eventually
from tests.vm.test_daemon_filters import DO, SERVED, TOLD, make_files

PREFILTER, POSTFILTER = 0x10000, 0x20000
IN_HEADER = struct.Struct("=IIQQIIIHH")
OUT_HEADER = struct.Struct("=IiQ")
ENTRY_BACKING, ENTRY_BPF, ENTRY_REMOVE_BACKING, ENTRY_REMOVE_BPF = 1, 2, 3, 4
ENTRY_OUT = 128
LOOKUP, FORGET, RELEASE, INIT, BATCH_FORGET = 1, 2, 18, 26, 42


class Op(NamedTuple):
    """The bytes of an operation: opcode, structs before and after, names; which of them return."""

    opcode: int
    in_size: int = 0
    out_size: int = 0
    names: tuple[bytes, ...] = ()
    answered: tuple[bytes, ...] = ()
    """What the answer to a prefilter holds after the struct; padded unless it is the last."""


NEW, FILE, OTHER, EMPTY, LINK = b"new\0", b"file\0", b"other\0", b"empty\0", b"link\0"
OPS = {
    "open": Op(14, 8, 16),
    "opendir": Op(27, 8, 16),
    "create_open": Op(35, 16, 128 + 16, (NEW,)),
    "release": Op(18, 24),
    "releasedir": Op(29, 24),
    "flush": Op(25, 24),
    "lseek": Op(46, 24, 8),
    "copy_file_range": Op(47, 56, 8),
    "fsync": Op(20, 16),
    "dir_fsync": Op(30, 16),
    "getxattr": Op(22, 8, 0, (b"user.a\0",), (b"user.a\0",)),
    "listxattr": Op(23, 8),
    "setxattr": Op(
        *(21, 16, 0, (b"user.c\0", b"value c")), (b"user.c\0".ljust(256, b"\0"), b"value c")
    ),
    "removexattr": Op(24, 0, 0, (b"user.a\0",), (b"user.a\0",)),
    "read_iter": Op(15, 40, 8),
    "write_iter": Op(16, 40, 8),
    "file_fallocate": Op(43, 32),
    "lookup": Op(1, 0, 128, (FILE,), (FILE,)),
    "mknod": Op(8, 16, 0, (NEW,)),
    "mkdir": Op(9, 8, 0, (NEW,)),
    "rmdir": Op(11, 0, 0, (EMPTY,)),
    "rename2": Op(45, 16, 0, (FILE, OTHER)),
    "rename": Op(12, 8, 0, (FILE, OTHER)),
    "unlink": Op(10, 0, 0, (FILE,)),
    "link": Op(13, 8, 0, (NEW,), (NEW,)),
    "getattr": Op(3, 16, 104),
    "setattr": Op(4, 88, 104),
    "statfs": Op(17, 0, 80),
    "get_link": Op(5, 0, 0, (LINK,), (LINK,)),
    "symlink": Op(6, 0, 0, (NEW, b"target\0"), (b"target\0",)),
    "readdir": Op(28, 40, 16),
    "access": Op(34, 8),
}
#: After the struct of the results: what was listed or found, of any length
LISTS = ("getxattr", "listxattr", "readdir")


class Request(NamedTuple):
    opcode: int
    unique: int
    nodeid: int
    extlen: int
    body: bytes


Answer = bytes | int | None
"""A reply without header, a negative errno, or None: the test has answered itself."""


class RawDaemon:
    """Reads and writes the device in a thread. `answer` gives what follows the header."""

    def __init__(self) -> None:
        self.fd = os.open(features.device(), os.O_RDWR)
        self.seen: list[Request] = []
        self.answer: Callable[[Request], Answer] = lambda _request: -errno.ENOSYS
        self.errors: list[int] = []
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            try:
                raw = os.read(self.fd, 1 << 20)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):
                    continue
                return  # ENODEV: unmounted
            length, opcode, unique, nodeid, _uid, _gid, _pid, extlen, _pad = IN_HEADER.unpack_from(
                raw
            )
            assert length == len(raw)
            request = Request(opcode, unique, nodeid, extlen, raw[IN_HEADER.size :])
            if opcode == INIT:
                init = struct.pack("=IIIIHHIIHHII24x", 7, 31, 0, 0, 8, 4, 65536, 1, 0, 0, 0, 0)
                self.reply(request, init)
                continue
            self.seen.append(request)
            if opcode in (FORGET, BATCH_FORGET):  # no answer
                continue
            answer = self.answer(request)
            try:
                if isinstance(answer, int):
                    self.reply(request, b"", answer)
                elif answer is not None:
                    self.reply(request, answer)
            except OSError as error:
                self.errors.append(error.errno or 0)

    def reply(self, request: Request, data: bytes, error: int = 0) -> None:
        header = OUT_HEADER.pack(OUT_HEADER.size + len(data), error, request.unique)
        os.write(self.fd, header + data)

    def respond(self, request: Request, data: bytes, claimed: int | None = None) -> int:
        """A reply by FUSE_DEV_IOC_BPF_RESPONSE(N), which gives N; N is its length unless given."""
        message = OUT_HEADER.pack(OUT_HEADER.size + len(data), 0, request.unique) + data
        size = len(message) if claimed is None else claimed
        number = 0x4000E57D | size << 16
        return int(fcntl.ioctl(self.fd, number, array.array("B", message.ljust(size, b"\0"))))

    def of(self, opcode: int) -> list[Request]:
        return [request for request in self.seen if request.opcode == opcode]

    def forgotten(self) -> set[int]:
        """Nodes that FORGET came for, alone or with others."""
        found = {request.nodeid for request in self.of(FORGET)}
        for request in self.of(BATCH_FORGET):
            found |= {node for node, _times in struct.iter_unpack("=QQ", request.body[8:])}
        return found


class World(SimpleNamespace):
    daemon: RawDaemon
    verdicts: daemonkit.Verdicts
    lower: Path
    mnt: Path


@contextmanager
def served(base: Path) -> Iterator[World]:
    lower, mnt = base / "lower", base / "mnt"
    make_files(lower)
    mnt.mkdir()
    verdicts, daemon = daemonkit.Verdicts(), RawDaemon()
    root = os.open(lower, os.O_RDONLY | os.O_DIRECTORY)
    try:
        verdicts.reset()
        with FsContext(features.require().fs_type) as context:
            options = {"fd": daemon.fd, "root_dir": root, "root_bpf": verdicts.name}
            ids = {"user_id": 0, "group_id": 0, "rootmode": 40000}
            for key, value in {**options, **ids}.items():
                context.set_string(key, str(value))
            mounted = context.mount()
        move_mount(mounted, mnt)
        os.close(mounted)
        daemon.thread.start()
        try:
            yield World(daemon=daemon, verdicts=verdicts, lower=lower, mnt=mnt)
        finally:
            verdicts.reset()
            umount(mnt, lazy=True)
            daemon.thread.join()
    finally:
        os.close(root)
        os.close(daemon.fd)
        verdicts.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with served(tmp_path) as made:
        yield made


def do(world: World, op: str) -> None:
    DO[op](world)  # type: ignore[arg-type]


def names_of(op: str) -> bytes:
    """The names of a request as they are in it, one after the other."""
    return b"".join(OPS[op].names)


def test_every_operation_is_here() -> None:
    assert set(OPS) == {*SERVED, "rename", "dir_fsync"}  # for which a kernel may have no room


@pytest.mark.parametrize("op", SERVED)
def test_prefilter(world: World, op: str) -> None:
    """The inputs come, and go back but for names that cannot change; zero goes on."""
    about = OPS[op]
    daemon, opcode = world.daemon, about.opcode | PREFILTER

    def unchanged(request: Request) -> Answer:
        return request.body[: about.in_size] + b"".join(about.answered)

    daemon.answer = unchanged
    world.verdicts.set(op, USER_PREFILTER)
    do(world, op)
    assert eventually(lambda: bool(daemon.of(opcode)))
    request = daemon.of(opcode)[0]
    assert request.extlen == 0
    assert request.nodeid in (0, 1)
    assert len(request.body) == about.in_size + len(names_of(op))
    assert request.body.endswith(names_of(op))
    assert daemon.errors == []
    assert {seen.opcode for seen in daemon.seen} == {opcode}


@pytest.mark.parametrize("op", [op for op in SERVED if op not in TOLD])
def test_prefilter_refuses(world: World, op: str) -> None:
    """With the errno in the header, and nothing after it."""
    world.daemon.answer = lambda _request: -errno.EDOM
    world.verdicts.set(op, USER_PREFILTER)
    assert code_of(lambda: do(world, op)) == errno.EDOM
    assert (world.lower / "file").read_text() == "0123456789"


@pytest.mark.parametrize("op", SERVED)
def test_postfilter(world: World, op: str) -> None:
    """Inputs, results, 16 bytes of extension with the error; the results go back."""
    about = OPS[op]
    daemon, opcode = world.daemon, about.opcode | POSTFILTER
    before = about.in_size + len(names_of(op))

    def unchanged(request: Request) -> Answer:
        return request.body[before:-16]

    daemon.answer = unchanged
    world.verdicts.set(op, USER_POSTFILTER)
    do(world, op)
    assert eventually(lambda: bool(daemon.of(opcode)))
    request = daemon.of(opcode)[0]
    assert request.extlen == 2
    assert request.body[about.in_size : before] == names_of(op)
    results = request.body[before:-16]
    if op in LISTS:
        assert len(results) > about.out_size
    else:
        assert len(results) == about.out_size
    assert struct.unpack("=IIiI", request.body[-16:]) == (16, 33, 0, 0)
    assert daemon.errors == []


def test_postfilter_gets_the_error(world: World) -> None:
    daemon = world.daemon
    daemon.answer = lambda _request: b""
    world.verdicts.set("removexattr", USER_POSTFILTER)
    remove = lambda: os.removexattr(world.mnt / "file", "user.none")  # noqa: E731
    assert code_of(remove) == errno.ENODATA, "a reply cannot clear it"
    extension = daemon.of(OPS["removexattr"].opcode | POSTFILTER)[0].body[-16:]
    assert struct.unpack("=IIiI", extension) == (16, 33, -errno.ENODATA, 0)
    daemon.answer = lambda _request: -errno.EDOM
    assert code_of(remove) == errno.EDOM


def test_a_prefilter_changes_a_name(world: World) -> None:
    """The last buffer has its own length."""
    world.daemon.answer = lambda request: OTHER if request.body == FILE else request.body
    world.verdicts.set("lookup", USER_PREFILTER)
    assert (world.mnt / "file").stat().st_ino == (world.lower / "other").stat().st_ino


def test_a_prefilter_changes_name_and_value(world: World) -> None:
    """Not the last: padded to its largest size, 256 bytes of a name."""
    world.daemon.answer = lambda request: (
        request.body[:16] + b"user.z\0".ljust(256, b"\0") + b"a longer value"
    )
    world.verdicts.set("setxattr", USER_PREFILTER)
    os.setxattr(world.mnt / "file", "user.c", b"value c")
    assert os.getxattr(world.lower / "file", "user.z") == b"a longer value"


def test_a_postfilter_changes_a_listing(world: World) -> None:
    """fuse_read_out, then entries of 24 bytes and a name, in steps of 8."""

    def without_other(request: Request) -> Answer:
        body = request.body[40:-16]
        out, at, kept = body[:16], 16, b""
        while at < len(body):
            (length,) = struct.unpack_from("=I", body, at + 16)
            size = (24 + length + 7) & ~7
            if body[at + 24 : at + 24 + length] != b"other":
                kept += body[at : at + size]
            at += size
        return out + kept

    world.daemon.answer = without_other
    world.verdicts.set("readdir", USER_POSTFILTER)
    assert set(os.listdir(world.mnt)) == set(os.listdir(world.lower)) - {"other"}


@pytest.mark.parametrize(
    "wrong",
    [b"", bytes(7), bytes(9), bytes(8) + NEW],
    ids=["nothing", "short", "long", "a name too many"],
)
def test_an_answer_of_another_length_is_refused(world: World, wrong: bytes) -> None:
    world.daemon.answer = lambda _request: wrong
    world.verdicts.set("mkdir", USER_PREFILTER)
    assert code_of((world.mnt / "new").mkdir) == errno.EIO
    assert eventually(lambda: world.daemon.errors == [errno.EINVAL])
    assert not (world.lower / "new").exists()


def entry(kind: int, unused: int = 0, fd: int = 0, name: bytes = b"") -> bytes:
    """struct fuse_bpf_entry_out."""
    if name:
        return struct.pack("=II16s", kind, unused, name)
    return struct.pack("=IIQQ", kind, unused, 0, fd)


def look(world: World, *entries: bytes, **how: Any) -> tuple[int, int]:
    """Answer the lookup of a name with entries; errno of the reply, and of who looked."""
    codes: list[int] = []

    def answer(request: Request) -> Answer:
        if request.opcode != LOOKUP:
            return -errno.ENOSYS
        data = struct.pack("=QQ", how.get("nodeid", 5), 0).ljust(ENTRY_OUT, b"\0")
        message = data + b"".join(entries)
        if how.get("written"):
            codes.append(code_of(lambda: world.daemon.reply(request, message)))
        else:
            claimed = how.get("claimed")
            codes.append(code_of(lambda: world.daemon.respond(request, message, claimed)))
        if codes[-1] and how.get("again"):
            world.daemon.reply(request, b"", -errno.ENOENT)
        return None

    world.daemon.answer = answer
    world.verdicts.set("lookup", USER)
    code = code_of(lambda: os.stat(world.mnt / f"name{len(world.daemon.seen)}"))
    assert eventually(lambda: bool(codes)), "the daemon's call ends after the caller's"
    return codes[0], code


def test_a_backing_entry(world: World) -> None:
    """A name of the daemon's shows the file behind a descriptor of the daemon's."""
    with opened(world.lower / "other") as fd:
        assert look(world, entry(ENTRY_BACKING, fd=fd)) == (0, 0)
        assert (world.mnt / "anything").read_text() == "other"


def test_backing_and_program(world: World) -> None:
    """In v4's order; the program is named."""
    own = daemonkit.Verdicts()
    try:
        own.reset()
        own.set("open", -errno.EROFS)
        with opened(world.lower / "other") as fd:
            both = (entry(ENTRY_BPF, name=own.name.encode()), entry(ENTRY_BACKING, fd=fd))
            assert look(world, *both) == (0, 0)
            assert code_of((world.mnt / "anything").read_text) == errno.EROFS
    finally:
        own.close()


def test_entries_come_by_the_ioctl_alone(world: World) -> None:
    with opened(world.lower / "other") as fd:
        assert look(world, entry(ENTRY_BACKING, fd=fd), written=True) == (errno.EINVAL, errno.EIO)


def test_an_ordinary_reply_may_come_by_the_ioctl(world: World) -> None:
    def answer(request: Request) -> Answer:
        world.daemon.respond(request, OTHER if request.body == FILE else request.body)
        return None

    world.daemon.answer = answer
    world.verdicts.set("lookup", USER_PREFILTER)
    assert (world.mnt / "file").stat().st_ino == (world.lower / "other").stat().st_ino


def test_wrong_entries(world: World) -> None:
    with opened(world.lower / "other") as fd, opened(world.lower / "other", os.O_PATH) as at:
        backing = entry(ENTRY_BACKING, fd=fd)
        refused = (errno.EINVAL, errno.EIO)
        for wrong in (
            (backing, entry(0)),
            (entry(9),),
            (entry(ENTRY_BACKING, unused=1, fd=fd),),
            (backing, backing),
            (backing, entry(ENTRY_REMOVE_BACKING)),
            (backing, entry(ENTRY_BPF, name=b"nobody.has.it")),
            (entry(ENTRY_REMOVE_BPF), entry(ENTRY_BPF, name=world.verdicts.name.encode())),
            (backing, entry(ENTRY_REMOVE_BPF), entry(ENTRY_REMOVE_BPF)),
            (backing[:12],),
        ):
            assert look(world, *wrong) == refused, wrong
        bad = (errno.EBADF, errno.EIO)
        assert look(world, entry(ENTRY_BACKING, fd=12345)) == bad
        assert look(world, entry(ENTRY_BACKING, fd=at)) == bad


def test_wrong_ioctls(world: World) -> None:
    """The request goes on waiting where the reply was not one."""
    with opened(world.lower / "other") as fd:
        backing = entry(ENTRY_BACKING, fd=fd)
        gone = (errno.EINVAL, errno.ENOENT)
        assert look(world, backing, claimed=100, again=True) == gone
        assert look(world, backing, claimed=5000, again=True) == gone
    nothing = Request(LOOKUP, 1 << 40, 1, 0, b"")
    assert code_of(lambda: world.daemon.respond(nothing, b"")) == errno.ENOENT
    with suppress(OSError):
        fcntl.ioctl(world.daemon.fd, 0x4000E57E | 16 << 16, bytes(16))
        pytest.fail("an unknown ioctl was taken")


def test_a_node_is_not_forgotten_before_its_release_is_told(world: World) -> None:
    """Nobody waits for RELEASE: what it is about may be gone when the daemon comes to it."""
    told: list[Request] = []
    nodes = {b"held\0": 5, b"more\0": 6}
    filters = entry(ENTRY_BPF, name=world.verdicts.name.encode())

    def answer(request: Request) -> Answer:
        if request.opcode == RELEASE | PREFILTER:
            told.append(request)
            return None
        data = struct.pack("=QQ", nodes[request.body], 0).ljust(ENTRY_OUT, b"\0")
        world.daemon.respond(request, data + entry(ENTRY_BACKING, fd=fd) + filters)
        return None

    def forgotten() -> bool:
        Path("/proc/sys/vm/drop_caches").write_text("2\n")
        return 5 in world.daemon.forgotten()

    world.daemon.answer = answer
    world.verdicts.set("lookup", USER)
    world.verdicts.set("release", USER_PREFILTER)
    with opened(world.lower / "other") as fd:
        os.close(os.open(world.mnt / "held", os.O_RDONLY))
        assert eventually(lambda: bool(told))
        for _ in range(3):  # the first may only take notice that it was used
            forgotten()
        os.stat(world.mnt / "more")  # is read after what was forgotten before
        assert not forgotten()
        world.daemon.reply(told[0], told[0].body)
        assert eventually(forgotten)


def test_the_device_before_a_mount() -> None:
    """Defect 24 of v4."""
    daemon = RawDaemon()
    try:
        code = code_of(lambda: daemon.respond(Request(LOOKUP, 2, 1, 0, b""), b""))
        assert code == errno.EPERM
    finally:
        os.close(daemon.fd)
