# SPDX-License-Identifier: MIT
"""The loop of a daemon, with a socket in place of the device: every request has an answer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from fusebpf import EntryOut, OpenOut
from fusebpf.abi.opcodes import FUSE_POSTFILTER, FUSE_PREFILTER
from fusebpf.abi.protocol import PROTOCOL_STRUCTS, REQUESTS
from fusebpf.abi.structs import STRUCTS
from fusebpf.daemon import Backing, Call, Daemon, Device, Server, records

LOOKUP, GETATTR, STATFS, INIT, READDIR = 1, 3, 17, 26, 28
FSYNC, INTERRUPT, BATCH_FORGET = 20, 36, 42
OPEN, FLUSH, OPENDIR, FSYNCDIR, ACCESS, MKDIR, CREATE = 14, 25, 27, 30, 34, 9, 35
_READ_IN = struct.pack("<QQIIQII", 1, 0, 4096, 0, 0, 0, 0)


class Kernel:
    """The other end: sends requests, takes replies as (unique, error)."""

    def __init__(self, talk: socket.socket, device: Device) -> None:
        self._talk = talk
        self.device = device

    def ask(self, unique: int, opcode: int, body: bytes = b"") -> None:
        head = struct.pack("<IIQQIIIHH", 40 + len(body), opcode, unique, 1, 0, 0, 9, 0, 0)
        self._talk.send(head + body)

    def raw(self) -> bytes:
        return self._talk.recv(4096)

    async def reply(self) -> tuple[int, int]:
        raw = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._talk, 4096), 10)
        _length, error, unique = struct.unpack_from("<IiQ", raw)
        return unique, error


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield Kernel(theirs, Device.adopt(ours.fileno()))


def test_numbers_of_the_requests_used_here() -> None:
    used = {
        "LOOKUP": LOOKUP,
        "GETATTR": GETATTR,
        "STATFS": STATFS,
        "INIT": INIT,
        "READDIR": READDIR,
        "FSYNC": FSYNC,
        "INTERRUPT": INTERRUPT,
        "BATCH_FORGET": BATCH_FORGET,
        "OPEN": OPEN,
        "FLUSH": FLUSH,
        "OPENDIR": OPENDIR,
        "FSYNCDIR": FSYNCDIR,
        "ACCESS": ACCESS,
        "MKDIR": MKDIR,
        "CREATE": CREATE,
    }
    assert used == {REQUESTS[opcode].opcode_name: opcode for opcode in used.values()}


class Wrong(Daemon):
    """Returns what is no answer, plainly and after waiting."""

    def lookup(self, call: Call, name: Any) -> Any:
        return (EntryOut(),)  # the entries are missing

    async def readdir(self, call: Call, request: Any) -> Any:
        return None

    def lookup_pre(self, call: Call, name: Any) -> None:
        name.raw = "text"

    async def getattr(self, call: Call, request: Any) -> Any:
        return records.new(STRUCTS["fuse_attr_out"], attr_valid="soon")

    def statfs(self, call: Call) -> Any:
        raise asyncio.CancelledError


def test_a_result_of_no_use_is_an_error_of_its_caller_alone(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {
        1: (LOOKUP, b"name\0"),
        2: (READDIR, _READ_IN),
        3: (LOOKUP | FUSE_PREFILTER, b"name\0"),
        4: (GETATTR, bytes(16)),
        5: (STATFS, b""),
    }

    async def main() -> None:
        serving = asyncio.create_task(Server(Wrong(), kernel.device).serve())
        for unique, (opcode, body) in asked.items():
            kernel.ask(unique, opcode, body)
            assert await kernel.reply() == (unique, -errno.EIO)
            assert not serving.done()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(main())
    told = [entry.getMessage() for entry in caplog.records if entry.name == "fusebpf.daemon"]
    methods = ("lookup", "readdir", "lookup_pre", "getattr", "statfs")
    assert told == [f"{name} failed" for name in methods]


class Slow(Daemon):
    async def statfs(self, call: Call) -> Any:
        await asyncio.sleep(3600)


class Waiting(Daemon):
    """Waits before and after an fsync until it is let go."""

    def __init__(self) -> None:
        self._go = asyncio.Event()

    async def fsync_pre(self, call: Call, request: Any) -> None:
        await self._go.wait()

    async def fsync_post(self, call: Call, request: Any) -> None:
        await self._go.wait()


def test_a_signal_ends_what_is_not_done_yet_alone(kernel: Kernel) -> None:
    """INTERRUPT comes for each signal that its caller handles, and a postfilter's work is done."""

    async def main() -> None:
        daemon = Waiting()
        serving = asyncio.create_task(Server(daemon, kernel.device).serve())
        for unique, phase in ((2, FUSE_PREFILTER), (4, FUSE_POSTFILTER)):
            kernel.ask(unique, FSYNC | phase, bytes(16))
        for unique in (4, 2):
            kernel.ask(unique + 1, INTERRUPT, struct.pack("<Q", unique))
        assert await kernel.reply() == (2, -errno.EINTR)
        daemon._go.set()
        assert await kernel.reply() == (4, 0)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(main())


class Forgetful(Daemon):
    """Its forget is async, which shows when it is called only."""

    def __init__(self) -> None:
        async def late(nodeid: int, nlookup: int) -> None: ...

        self._seen: list[tuple[int, int]] = []
        self._late = late

    def forget(self, nodeid: int, nlookup: int) -> Any:
        self._seen.append((nodeid, nlookup))
        return self._late(nodeid, nlookup)


def test_a_late_forget_ends_nothing(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    """Each node of a batch is told, the fault once; no coroutine is left behind."""
    daemon = Forgetful()
    server = Server(daemon, kernel.device)
    nodes = struct.pack("<QQQQ", 5, 1, 6, 2)
    for unique in (2, 4):
        kernel.ask(unique, BATCH_FORGET, struct.pack("<II", 2, 0) + nodes)
        server._begin(kernel.device.read() or b"")
    assert daemon._seen == [(5, 1), (6, 2)] * 2
    assert [entry.getMessage() for entry in caplog.records] == [
        "forget is async and was not called: make it a plain method"
    ]


class Bare(Daemon):
    """Has no method at all."""


def test_no_method_is_no_success_beside_filters(kernel: Kernel) -> None:
    """FUSE takes ENOSYS for success of some, which a filter has left to the daemon."""
    asked = {
        OPEN: bytes(8),
        OPENDIR: bytes(8),
        ACCESS: bytes(8),
        FSYNC: bytes(16),
        FSYNCDIR: bytes(16),
        FLUSH: bytes(24),
        MKDIR: bytes(8) + b"name\0",
        OPEN | FUSE_PREFILTER: bytes(8),
    }
    told: dict[bool, list[int]] = {}
    for alone in (False, True):
        kernel.device.alone = alone
        server = Server(Bare(), kernel.device)
        told[alone] = []
        for opcode, body in asked.items():
            kernel.ask(2, opcode, body)
            server._begin(kernel.device.read() or b"")
            told[alone].append(-struct.unpack_from("<i", kernel.raw(), 4)[0])
    assert told[False] == [errno.EOPNOTSUPP] * 5 + [errno.ENOSYS] * 3
    assert told[True] == [errno.ENOSYS] * 8


class Counting(Daemon):
    """Gives nodes away in the ways that there are; what it hears of them again."""

    def __init__(self) -> None:
        self._valid: Any = 0
        self._gone: list[tuple[int, int]] = []

    async def lookup(self, call: Call, name: Any) -> Any:
        return EntryOut(nodeid=5, entry_valid=self._valid)

    def mkdir(self, call: Call, req: Any, name: Any) -> Any:
        return EntryOut(nodeid=6, entry_valid=self._valid) if name != "no" else -errno.EACCES

    def create_open(self, call: Call, req: Any, name: Any) -> Any:
        return EntryOut(nodeid=7, entry_valid=self._valid), OpenOut()

    def lookup_post(self, call: Call, name: Any, out: Any, entries: Any) -> Any:
        out.nodeid, out.entry_valid = 8, self._valid
        return -errno.EACCES if name == "no" else None

    def create_open_post(self, call: Call, req: Any, name: Any, out: Any, opened: Any) -> None:
        out.entry_valid = self._valid  # and the node that a program gave

    def forget(self, nodeid: int, nlookup: int) -> None:
        self._gone.append((nodeid, nlookup))


GIVING = {
    LOOKUP: b"name\0",
    MKDIR: bytes(8) + b"name\0",
    CREATE: bytes(16) + b"name\0",
    LOOKUP | FUSE_POSTFILTER: b"name\0" + bytes(128),
}
REFUSING = {
    MKDIR: bytes(8) + b"no\0",
    LOOKUP | FUSE_POSTFILTER: b"no\0" + bytes(128),
    CREATE | FUSE_POSTFILTER: bytes(16) + b"name\0" + b"\x09" + bytes(127 + 16),
}


@pytest.mark.parametrize("case", ["taken", "not packed", "refused", "nobody waits"])
def test_a_node_that_did_not_arrive_is_forgotten(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """The daemon has counted it, and the kernel, which does not know it, never will."""
    if case in ("refused", "nobody waits"):
        code = errno.EINVAL if case == "refused" else errno.ENOENT

        def write(message: bytes) -> None:
            raise OSError(code, "not taken")

        monkeypatch.setattr(kernel.device, "write", write)

    async def main() -> list[tuple[int, int]]:
        daemon = Counting()
        if case == "not packed":
            daemon._valid = "soon"
        server = Server(daemon, kernel.device)
        for unique, (opcode, body) in enumerate([*GIVING.items(), *REFUSING.items()], 1):
            kernel.ask(2 * unique, opcode, body)
            server._begin(kernel.device.read() or b"")
            await asyncio.gather(*server._running.values())
        return daemon._gone

    gone = asyncio.run(main())
    assert gone == ([] if case == "taken" else [(node, 1) for node in (5, 6, 7, 8)])


class Giving(Daemon):
    """Gives a file to each lookup, and does what its name says."""

    def __init__(self, close: bool) -> None:
        self._close = close
        self._fds: list[int] = []

    def _entry(self) -> Backing:
        self._fds.append(os.open("/", os.O_RDONLY))
        return Backing(self._fds[-1], self._close)

    async def lookup(self, call: Call, name: Any) -> Any:
        return EntryOut(), [self._entry() for _ in range(3 if name == "many" else 1)]

    async def lookup_post(self, call: Call, name: Any, out: Any, entries: Any) -> Any:
        entries[:] = [self._entry()] * 2  # the second is no other descriptor
        if name == "raises":
            raise OSError(errno.EACCES, "not this one")
        if name == "waits":
            await asyncio.sleep(3600)
        return -errno.EACCES if name == "no" else None


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("taken", [True, False])
def test_a_descriptor_is_closed_when_its_reply_was_sent(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, close: bool, taken: bool
) -> None:
    """Not before, also when none was sent with it; and only when that was asked for."""
    daemon = Giving(close)

    def respond(message: bytes) -> None:
        assert is_open(daemon._fds[-1])
        if not taken:
            raise OSError(errno.EXDEV, "not taken")

    monkeypatch.setattr(kernel.device, "respond", respond)
    asked = [(LOOKUP, name, b"") for name in ("one", "many")]
    asked += [
        (LOOKUP | FUSE_POSTFILTER, name, bytes(128)) for name in ("one", "raises", "no", "waits")
    ]

    async def main() -> None:
        server = Server(daemon, kernel.device)
        for unique, (opcode, name, rest) in enumerate(asked, 1):
            kernel.ask(2 * unique, opcode, name.encode() + b"\0" + rest)
            server._begin(kernel.device.read() or b"")
            await asyncio.sleep(0)
            for task in server._running.values():
                task.cancel()  # as at the end
            await asyncio.gather(*server._running.values(), return_exceptions=True)
            while server._running:
                await asyncio.sleep(0)

    try:
        asyncio.run(main())
        assert len(daemon._fds) == 1 + 3 + 4
        assert [is_open(fd) for fd in daemon._fds] == [not close] * len(daemon._fds)
    finally:
        for fd in set(daemon._fds):
            with contextlib.suppress(OSError):
                os.close(fd)


class Large(Daemon):
    max_write = 4 << 20


def test_no_larger_write_is_agreed_on_than_the_device_has_room_for(kernel: Kernel) -> None:
    """The kernel refuses to be read with less room than for the largest write."""
    offered = struct.pack("<IIIII44x", 7, 41, 0, 0xFFFFFFFF, 0xFFFFFFFF)
    sizes = {}
    for room in (8 << 20, 2 << 20, 0):
        device = Device.adopt(kernel.device.fd, room)
        server = Server(Large(), device)
        kernel.ask(1, INIT, offered)
        server._begin(device.read() or b"")
        answer = records.unpack(PROTOCOL_STRUCTS["fuse_init_out"], kernel.raw(), 16)
        sizes[room] = (answer.max_write, answer.max_pages)
    assert sizes == {8 << 20: (4 << 20, 1024), 2 << 20: (2 << 20, 512), 0: (4096, 1)}


def test_what_runs_at_the_end_is_answered(kernel: Kernel) -> None:
    """Also what was read in the turn in which the server was told to end."""

    async def main() -> None:
        server = Server(Slow(), kernel.device)
        serving = asyncio.create_task(server.serve())
        kernel.ask(1, STATFS)
        while not server._running:
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # the first has begun
        serving.cancel()
        kernel.ask(2, STATFS)
        server._begin(kernel.device.read() or b"")
        assert len(server._running) == 2
        await asyncio.gather(serving, return_exceptions=True)
        assert sorted([await kernel.reply(), await kernel.reply()]) == [
            (1, -errno.EINTR),
            (2, -errno.EINTR),
        ]

    asyncio.run(main())
