# SPDX-License-Identifier: MIT
"""The loop that reads requests, calls a daemon's methods and sends what they return."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fusebpf.abi.protocol import (
    FUSE_KERNEL_MINOR_VERSION,
    FUSE_KERNEL_VERSION,
    INIT_FLAGS,
    PROTOCOL_STRUCTS,
)
from fusebpf.abi.structs import STRUCTS
from fusebpf.daemon import backings, counting, records, wire
from fusebpf.daemon.device import Device
from fusebpf.daemon.errors import DaemonError, ProtocolError
from fusebpf.daemon.handlers import Daemon
from fusebpf.daemon.notify import Notify
from fusebpf.dsl.values import MAX_ERRNO, Errno, Verdict

log = logging.getLogger("fusebpf.daemon")

_ALWAYS = ("ASYNC_READ", "BIG_WRITES", "PARALLEL_DIROPS", "MAX_PAGES", "SETXATTR_EXT", "INIT_EXT")
_PAGE = 4096
# FUSE takes ENOSYS of these for success, and asks no more while the connection lasts. Beside
# filters that let pass what they left to the daemon. FLUSH is not among them: a close should not
# fail where nothing is to be done.
_NEVER_UNASKED = frozenset({"open", "opendir", "access", "fsync", "dir_fsync"})
_FORGET_ONE = PROTOCOL_STRUCTS["fuse_forget_one"]


class Server:
    """Serves one daemon on one device. INIT, INTERRUPT and forgetting in bulk are handled here."""

    def __init__(self, daemon: Daemon, device: Device) -> None:
        self.daemon = daemon
        self.device = device
        self.daemon.notify = Notify(device)
        #: Set once INIT was answered.
        self.ready = asyncio.Event()
        self._running: dict[int, asyncio.Task[None]] = {}
        #: Those of them that are postfilters: their operation is done.
        self._done_below: set[int] = set()
        self._told_forget = False

    async def serve(self) -> None:
        """Serve until the mount, which has been made, is gone.

        Cancelling it ends running requests with EINTR. Raises DaemonError when nothing is mounted,
        and when kernel and daemon have no protocol in common.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self.device.fd, self._readable, done)
        try:
            await done
        finally:
            loop.remove_reader(self.device.fd)
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _readable(self, done: asyncio.Future[None]) -> None:
        try:
            raw = self.device.read()
            if raw is not None:
                self._begin(raw)
        except EOFError:
            if not done.done():
                done.set_result(None)
        except Exception as error:
            if not done.done():
                done.set_exception(error)

    def _begin(self, raw: bytes) -> None:
        """Start a request; what needs no waiting is done at once."""
        try:
            message = wire.parse(raw)
        except ProtocolError as error:
            log.error("%s", error)
            if len(raw) >= wire.IN_HEADER.size:
                self._send(wire.reply(records.unpack(wire.IN_HEADER, raw).unique, -errno.EIO))
            return
        if message.name == "init":
            self._init(message)
        elif message.name == "interrupt":
            self._interrupt(message.args[0].unique)
        elif message.name == "batch_forget":
            count, packed = message.args
            for index in range(count.count):
                one = records.unpack(_FORGET_ONE, packed, index * _FORGET_ONE.size)
                self._forget(one.nodeid, one.nlookup)
        elif message.name == "forget":
            self._forget(message.call.nodeid, message.args[0].nlookup)
        else:
            self._call(message)

    def _call(self, message: wire.Message) -> None:
        unique = message.call.unique
        handler = getattr(self.daemon, message.name, None) if message.name else None
        if handler is None:
            refused = not self.device.alone and message.name in _NEVER_UNASKED
            self._send(wire.reply(unique, -errno.EOPNOTSUPP if refused else -errno.ENOSYS))
            return
        before = counting.asked_with(message)
        try:
            result = handler(message.call, *message.args)
        except (Exception, asyncio.CancelledError) as error:  # of a task that it looked at
            self._refuse(message, error)
            return
        if not inspect.iscoroutine(result):
            self._answer(message, result, before)
            return
        task = asyncio.get_running_loop().create_task(self._finish(message, result, before))
        self._running[unique] = task
        if message.call.phase == "post":
            self._done_below.add(unique)

        def done(task: asyncio.Task[None]) -> None:
            self._running.pop(unique, None)
            self._done_below.discard(unique)
            if task.cancelled():  # maybe before it began
                result.close()
                backings.close_given(message)
                self._send(wire.reply(unique, -errno.EINTR))

        task.add_done_callback(done)

    async def _finish(
        self, message: wire.Message, running: Coroutine[Any, Any, Any], before: int
    ) -> None:
        try:
            result = await running
        except Exception as error:
            self._refuse(message, error)
        else:
            self._answer(message, result, before)

    def _interrupt(self, unique: int) -> None:
        """The caller got a signal: cancel the handler. One that runs no more has answered already.

        After the operation EINTR would be untrue, and a caller that tries again would do it twice.
        """
        task = self._running.get(unique)
        if task is not None and unique not in self._done_below:
            task.cancel()

    def _forget(self, nodeid: int, nlookup: int) -> None:
        handler = getattr(self.daemon, "forget", None)
        if handler is None:
            return
        try:
            result = handler(nodeid, nlookup)
        except Exception:
            log.exception("forget(%d, %d)", nodeid, nlookup)
            return
        if inspect.iscoroutine(result):  # of one that does not look async: a decorated one
            result.close()
            if not self._told_forget:
                log.error("forget is async and was not called: make it a plain method")
            self._told_forget = True

    def _refuse(self, message: wire.Message, error: BaseException) -> None:
        """Answer for a method that raised."""
        backings.close_given(message)
        self._send(self._refusal(message, error))

    def _refusal(self, message: wire.Message, error: BaseException) -> bytes:
        """The reply for an exception: its errno; what has none is a fault, logged, and EIO."""
        code = error.errno if isinstance(error, OSError) else None
        if not code or not 0 < code <= MAX_ERRNO:
            log.error("%s failed", message.name, exc_info=error)
            code = errno.EIO
        return wire.reply(message.call.unique, -code)

    def _answer(self, message: wire.Message, result: Any, before: int) -> None:
        node = counting.given(message, result, before)
        packed = taken = False
        try:
            if message.op is not None:
                raw, entries = self._filter_reply(message, result)
            else:
                raw, entries = self._plain_reply(message, result)
            packed = True
        except Exception as error:  # what a method returned is of any kind
            raw, entries = self._refusal(message, error), False
        try:
            taken = self._send(raw, entries)
        except OSError as error:
            # The kernel has ended the request; say what it disliked.
            log.error("the reply to %s was refused: %s", message.name, error.strerror)
        if node and not (packed and taken):
            # The kernel, which knows nothing of the node, cannot forget it.
            self._forget(node, 1)
        backings.close_given(message, result)

    def _filter_reply(self, message: wire.Message, result: Any) -> tuple[bytes, bool]:
        unique = message.call.unique
        verdict = _number(0 if result is None else result)
        if verdict is None or not -MAX_ERRNO <= verdict <= 5:
            raise ProtocolError(f"{message.name} returned {result!r}, not a verdict")
        if verdict < 0:
            return wire.reply(unique, verdict), False
        body, entries = wire.pack_filter_reply(message)
        return wire.reply(unique, verdict, body), entries

    def _plain_reply(self, message: wire.Message, result: Any) -> tuple[bytes, bool]:
        request, unique = message.request, message.call.unique
        assert request is not None
        number = _number(result)
        if number is not None and -MAX_ERRNO <= number < 0:
            return wire.reply(unique, number), False
        if request.name == "lookup" and result is None:
            return wire.reply(unique, -errno.ENOENT), False
        if request.name == "lookup" and isinstance(result, tuple):
            body = wire.pack_parts(request.outs, result[:1]) + wire.pack_entries(result[1])
            return wire.reply(unique, 0, body), bool(result[1])
        shape = _SHAPES.get(request.name)
        if shape is not None:
            return shape(message, result), False
        if not request.outs:
            if result is not None:
                raise ProtocolError(f"{request.name} returned {result!r}, where nothing is due")
            values: tuple[Any, ...] = ()
        else:
            values = result if isinstance(result, tuple) else (result,)
        if len(values) != len(request.outs):
            due = ", ".join(part.name for part in request.outs)
            raise ProtocolError(f"{request.name} returned {result!r}; due is: {due}")
        return wire.reply(unique, 0, wire.pack_parts(request.outs, values)), False

    def _send(self, raw: bytes, entries: bool = False) -> bool:
        """Send a reply; False when nobody waits for it any more. Raises OSError."""
        try:
            (self.device.respond if entries else self.device.write)(raw)
            return True
        except OSError as error:
            # Its caller was killed, or the mount is gone; both are ordinary.
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EPERM):
                raise
            return False

    def _init(self, message: wire.Message) -> None:
        offer = message.args[0]
        if offer.major != FUSE_KERNEL_VERSION:
            self._send(wire.reply(message.call.unique, -errno.EPROTO))
            raise DaemonError(f"the kernel speaks FUSE {offer.major}, this package 7")
        names = set(_ALWAYS) | set(self.daemon.init_flags)
        if hasattr(self.daemon, "setlk"):
            names |= {"POSIX_LOCKS", "FLOCK_LOCKS"}
        flags = sum(INIT_FLAGS[name] for name in names) & (offer.flags | offer.flags2 << 32)
        layout = PROTOCOL_STRUCTS["fuse_init_out"]
        # With more the kernel would refuse to be read into the room that the device has.
        max_write = max(min(self.daemon.max_write, self.device.max_write), _PAGE)
        answer = records.new(
            layout,
            major=FUSE_KERNEL_VERSION,
            minor=min(offer.minor, FUSE_KERNEL_MINOR_VERSION),
            max_readahead=offer.max_readahead,
            flags=flags,
            flags2=flags >> 32,
            max_background=self.daemon.max_background,
            congestion_threshold=self.daemon.max_background * 3 // 4,
            max_write=max_write,
            time_gran=1,
            max_pages=-(-max_write // _PAGE),
        )
        self._send(wire.reply(message.call.unique, 0, records.pack(layout, answer)))
        self.ready.set()


def _number(result: object) -> int | None:
    if isinstance(result, Verdict):
        return result.value
    if isinstance(result, Errno):
        raise ProtocolError(f"{result!r} returned: a refusal is -{result!r}")
    return result if isinstance(result, int) and not isinstance(result, bool) else None


def _sized(message: wire.Message, result: Any) -> bytes:
    """GETXATTR, LISTXATTR: a value, or its length when the caller gives no room."""
    room = message.args[0].size
    unique = message.call.unique
    if not isinstance(result, bytes | bytearray | memoryview):
        raise ProtocolError(f"{message.name} returned {result!r}, not bytes")
    if room == 0:
        layout = STRUCTS["fuse_getxattr_out"]
        return wire.reply(unique, 0, records.pack(layout, records.new(layout, size=len(result))))
    if len(result) > room:
        return wire.reply(unique, -errno.ERANGE)
    return wire.reply(unique, 0, bytes(result))


def _data(message: wire.Message, result: Any) -> bytes:
    """READ: at most as many bytes as were asked for. READLINK: any."""
    if not isinstance(result, bytes | bytearray | memoryview):
        raise ProtocolError(f"{message.name} returned {result!r}, not bytes")
    if message.name == "read_iter" and len(result) > message.args[0].size:
        raise ProtocolError(f"{len(result)} bytes read where {message.args[0].size} were wanted")
    return wire.reply(message.call.unique, 0, bytes(result))


def _listing(message: wire.Message, result: Any) -> bytes:
    """READDIR: entries from the wanted position on; those that fit are sent."""
    req = message.args[0]
    body = wire.pack_dirents(result, req.offset, req.size)
    return wire.reply(message.call.unique, 0, body)


def _count(message: wire.Message, result: Any) -> bytes:
    """WRITE, COPY_FILE_RANGE, LSEEK: a plain number will do."""
    assert message.request is not None
    layout = message.request.outs[0].struct
    assert layout is not None
    number = _number(result)
    if number is not None:
        result = records.new(layout, **{layout.fields[0].name: number})
    return wire.reply(message.call.unique, 0, wire.pack_parts(message.request.outs, (result,)))


_SHAPES: dict[str, Callable[[wire.Message, Any], bytes]] = {
    "getxattr": _sized,
    "listxattr": _sized,
    "read_iter": _data,
    "get_link": _data,
    "readdir": _listing,
    "write_iter": _count,
    "copy_file_range": _count,
    "lseek": _count,
}


def serve(daemon: Daemon, device: Device) -> None:
    """Serve until the mount is gone, or Ctrl-C. Raises as `Server.serve`."""

    async def main() -> None:
        await Server(daemon, device).serve()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
