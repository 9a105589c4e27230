# SPDX-License-Identifier: MIT
"""Messages of the FUSE wire protocol with fuse-bpf's filter requests, to objects and back.

Pure functions of bytes: nothing here reads a device. A request is plain, or it is a filter's: then
its opcode carries a phase bit and its parts are the hook's arguments, as filters get them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fusebpf.abi.model import Arg, Op
from fusebpf.abi.opcodes import FUSE_OPCODE_FILTER, FUSE_POSTFILTER, FUSE_PREFILTER, OPS, PAGE_SIZE
from fusebpf.abi.protocol import (
    BPF_ENTRIES,
    BPF_ENTRY_NAME_SIZE,
    ERROR_IN_SIZE,
    FUSE_BPF_MAX_ENTRIES,
    FUSE_ERROR_IN,
    PROTOCOL_STRUCTS,
    REQUESTS,
    Part,
    Request,
)
from fusebpf.daemon import records
from fusebpf.daemon.errors import ProtocolError
from fusebpf.dsl.objects import Buffer, Dirent, Dirents, Name

IN_HEADER = PROTOCOL_STRUCTS["fuse_in_header"]
OUT_HEADER = PROTOCOL_STRUCTS["fuse_out_header"]
DIRENT = PROTOCOL_STRUCTS["fuse_dirent"]
BPF_ENTRY = PROTOCOL_STRUCTS["fuse_bpf_entry_out"]

Phase = Literal["", "pre", "post"]

_TMPFILE = 51
_OPS_BY_OPCODE = {op.opcode: op for op in OPS.values()}
# O_TMPFILE asks the filters of CREATE, with an empty name.
_OPS_BY_OPCODE[_TMPFILE] = OPS["create_open"]


@dataclass(frozen=True)
class Call:
    """Who asks, for what: the header of a request.

    ``opcode`` is without the phase bit, ``phase`` is "" for a plain request. ``uid``, ``gid`` and
    ``pid`` are the caller's, in the namespaces of the mount. ``error_in`` is 0, or in a postfilter
    the negated errno of the operation.
    """

    unique: int
    nodeid: int
    opcode: int
    phase: Phase
    uid: int
    gid: int
    pid: int
    error_in: int = 0


@dataclass(frozen=True)
class Backing:
    """Lookup entry: what an open descriptor (not O_PATH) refers to lies below the name.

    With ``close`` the server closes it when the reply was sent, or could not be.
    """

    fd: int
    close: bool = False


@dataclass(frozen=True)
class Program:
    """Lookup entry: the filters that are attached under a name run for the file found."""

    name: str


@dataclass(frozen=True)
class RemoveBacking:
    """Lookup entry: nothing lies below the name."""


@dataclass(frozen=True)
class RemoveProgram:
    """Lookup entry: no filters run for the file found."""


Entry = Backing | Program | RemoveBacking | RemoveProgram


class PlacedDirent(Dirent):
    """A directory entry with its position: what a listing that goes on after it begins with."""

    __slots__ = ("off",)

    def __init__(self, name: bytes, ino: int, type: int, off: int) -> None:
        super().__init__(name, ino, type)
        self.off = off


@dataclass(frozen=True)
class Message:
    """A parsed request. ``args`` are the handler's arguments after the call."""

    call: Call
    name: str
    args: tuple[Any, ...]
    op: Op | None = None
    request: Request | None = None


def parse(raw: bytes) -> Message:
    """Parse one request as it was read from the device.

    Raises ``ProtocolError`` for what is not a request of this protocol. A request with an unknown
    opcode is one; its ``name`` is empty.
    """
    if len(raw) < IN_HEADER.size:
        raise ProtocolError(f"a request of {len(raw)} bytes has no whole header")
    header = records.unpack(IN_HEADER, raw)
    if header.len != len(raw):
        raise ProtocolError(f"a request of {len(raw)} bytes says that it has {header.len}")
    end = len(raw) - header.total_extlen * 8
    if end < IN_HEADER.size:
        raise ProtocolError("the extensions of a request are longer than it is")
    phase: Phase = ""
    if header.opcode & FUSE_PREFILTER:
        phase = "pre"
    elif header.opcode & FUSE_POSTFILTER:
        phase = "post"
    call = Call(
        header.unique,
        header.nodeid,
        header.opcode & FUSE_OPCODE_FILTER,
        phase,
        header.uid,
        header.gid,
        header.pid,
        _error_in(raw[end:]) if phase == "post" else 0,
    )
    body = memoryview(raw)[IN_HEADER.size : end]
    try:
        if phase:
            op = _OPS_BY_OPCODE.get(call.opcode)
            if op is None:
                return Message(call, "", ())
            return Message(call, f"{op.name}_{phase}", _filter_args(op, phase, body), op=op)
        request = REQUESTS.get(call.opcode)
        if request is None:
            return Message(call, "", ())
        return Message(call, request.name, _plain_args(request, body), request=request)
    except (struct.error, ValueError) as error:
        raise ProtocolError(f"the body of opcode {call.opcode} is cut short: {error}") from None


def _error_in(extensions: bytes) -> int:
    at = 0
    while at + 8 <= len(extensions):
        size, kind = struct.unpack_from("<II", extensions, at)
        if kind == FUSE_ERROR_IN and size >= ERROR_IN_SIZE:
            return int(struct.unpack_from("<i", extensions, at + 8)[0])
        if size < 8:
            break
        at += -(-size // 8) * 8
    return 0


def _plain_args(request: Request, body: memoryview) -> tuple[Any, ...]:
    args: list[Any] = []
    at = 0
    for part in request.ins:
        if part.struct is not None:
            args.append(records.unpack(part.struct, body, at))
            at += part.struct.size
        elif part.kind == "name":
            raw = _text(body, at)
            args.append(Name(raw))
            at += len(raw) + 1
        else:
            args.append(bytes(body[at:]))
            at = len(body)
    return tuple(args)


def _text(body: memoryview, at: int) -> bytes:
    return bytes(body[at : at + bytes(body[at:]).index(b"\0")])


def _filter_args(op: Op, phase: Phase, body: memoryview) -> tuple[Any, ...]:
    args: list[Any] = []
    at = 0
    for arg in op.pre if phase == "pre" else op.post:
        if _absent(op, arg, args):
            args.append(records.new(arg.struct) if arg.struct else Buffer())
        elif arg.struct is not None:
            args.append(records.unpack(arg.struct, body, at))
            at += arg.struct.size
        elif arg.kind == "name":
            raw = _text(body, at)
            args.append(Name(raw))
            at += len(raw) + 1
        elif arg.kind == "dirents":
            args.append(Dirents(parse_dirents(body[at:])))
            at = len(body)
        elif arg.kind == "entries":
            args.append(_parse_entries(body[at:]))
            at = len(body)
        elif op.name == "symlink":
            raw = _text(body, at)
            args.append(Buffer(raw))
            at += len(raw) + 1
        else:
            args.append(Buffer(bytes(body[at:])))
            at = len(body)
    return tuple(args)


def _absent(op: Op, arg: Arg, before: Sequence[Any]) -> bool:
    """GETXATTR and LISTXATTR have either a value or, when asked for the length only, a length."""
    if op.name not in ("getxattr", "listxattr") or arg.direction != "out":
        return False
    return (arg.struct is None) is (before[0].size == 0)


def _parse_entries(body: memoryview) -> list[Entry]:
    entries: list[Entry] = []
    kinds = {value: name for name, value in BPF_ENTRIES.items()}
    for at in range(0, len(body) - BPF_ENTRY.size + 1, BPF_ENTRY.size):
        record = records.unpack(BPF_ENTRY, body, at)
        kind = kinds.get(record.entry_type)
        if kind == "FUSE_ENTRY_BACKING":
            entries.append(Backing(record.fd))
        elif kind == "FUSE_ENTRY_BPF":
            raw = bytes(body[at + 8 : at + 8 + BPF_ENTRY_NAME_SIZE])
            entries.append(Program(raw.split(b"\0", 1)[0].decode("ascii", "replace")))
        elif kind == "FUSE_ENTRY_REMOVE_BACKING":
            entries.append(RemoveBacking())
        elif kind == "FUSE_ENTRY_REMOVE_BPF":
            entries.append(RemoveProgram())
        else:
            raise ValueError(f"entry type {record.entry_type}")
    return entries


def parse_dirents(body: memoryview) -> list[Dirent]:
    """Packed ``struct fuse_dirent``s as objects; a cut one at the end is left out."""
    found: list[Dirent] = []
    at = 0
    while at + DIRENT.size <= len(body):
        head = records.unpack(DIRENT, body, at)
        end = at + DIRENT.size + head.namelen
        if end > len(body):
            break
        name = bytes(body[at + DIRENT.size : end])
        found.append(PlacedDirent(name, head.ino, head.type, head.off))
        at = -(-end // 8) * 8
    return found


def pack_dirents(entries: Iterable[Dirent], start: int, limit: int) -> bytes:
    """Entries as ``struct fuse_dirent``s, as many as fit into ``limit`` bytes.

    One without a position of its own gets the next after ``start``, counted in entries.
    """
    out = b""
    off = start
    for entry in entries:
        off = entry.off if isinstance(entry, PlacedDirent) else off + 1
        if entry.dropped:
            continue
        raw = entry.name.raw
        head = records.new(DIRENT, ino=entry.ino, off=off, namelen=len(raw), type=entry.type)
        packed = records.pack(DIRENT, head) + raw
        packed += bytes(-len(packed) % 8)
        if len(out) + len(packed) > limit:
            break
        out += packed
    return out


def pack_entries(entries: Sequence[Entry]) -> bytes:
    """Entries of a lookup's result.

    Raises ``ProtocolError`` for more than two, or a name of more than 14 bytes.
    """
    if len(entries) > FUSE_BPF_MAX_ENTRIES:
        raise ProtocolError(f"{len(entries)} lookup entries: at most {FUSE_BPF_MAX_ENTRIES}")
    out = b""
    for entry in entries:
        if isinstance(entry, Program):
            name = entry.name.encode()
            if not 0 < len(name) < BPF_ENTRY_NAME_SIZE - 1:
                raise ProtocolError(f"filters are named with 1 to 14 bytes, not {entry.name!r}")
            kind = struct.pack("<II", BPF_ENTRIES["FUSE_ENTRY_BPF"], 0)
            out += kind + name.ljust(BPF_ENTRY_NAME_SIZE, b"\0")
            continue
        kinds = {
            Backing: "FUSE_ENTRY_BACKING",
            RemoveBacking: "FUSE_ENTRY_REMOVE_BACKING",
            RemoveProgram: "FUSE_ENTRY_REMOVE_BPF",
        }
        fd = entry.fd if isinstance(entry, Backing) else 0
        record = records.new(BPF_ENTRY, entry_type=BPF_ENTRIES[kinds[type(entry)]], fd=fd)
        out += records.pack(BPF_ENTRY, record)
    return out


def reply(unique: int, error: int = 0, body: bytes = b"") -> bytes:
    """A whole reply: header with ``error`` (0, a negative errno, a verdict) and body."""
    header = records.new(OUT_HEADER, len=OUT_HEADER.size + len(body), error=error, unique=unique)
    return records.pack(OUT_HEADER, header) + body


def pack_parts(parts: Sequence[Part], values: Sequence[Any]) -> bytes:
    """The body of a plain reply. Raises ``ProtocolError`` for values of another kind."""
    out = b""
    for part, value in zip(parts, values, strict=True):
        try:
            out += bytes(value) if part.struct is None else records.pack(part.struct, value)
        except (AttributeError, TypeError, struct.error):
            raise ProtocolError(f"{value!r} given for {part.name}") from None
    return out


def pack_filter_reply(message: Message) -> tuple[bytes, bool]:
    """The body of a filter's reply from its arguments as the handler left them.

    A prefilter gives all inputs back but the buffers that it may not change; a postfilter all
    outputs. A buffer that is not the last part is padded to its largest size.

    Returns the body and whether it holds lookup entries, which only the ioctl may carry. Raises
    ``ProtocolError`` for a value that is too long.
    """
    op, call = message.op, message.call
    assert op is not None
    args = op.pre if call.phase == "pre" else op.post
    before = message.args
    wanted = [
        (arg, value)
        for arg, value in zip(args, before, strict=True)
        if (call.phase == "pre" and (arg.struct is not None or arg.writable))
        or (arg.direction == "out" and not _absent(op, arg, before))
    ]
    out = b""
    for index, (arg, value) in enumerate(wanted):
        if arg.struct is not None:
            out += records.pack(arg.struct, value)
            continue
        raw = _pack_dirents(before) if arg.kind == "dirents" else _pack_buffer(op, arg, value)
        if len(raw) > arg.max_size:
            raise ProtocolError(f"{arg.name} has {len(raw)} bytes, at most {arg.max_size}")
        out += raw if index == len(wanted) - 1 else raw.ljust(arg.max_size, b"\0")
    entries = op.name == "lookup" and call.phase == "post" and bool(before[-1])
    return out, entries


def _pack_dirents(args: Sequence[Any]) -> bytes:
    """The entries of a READDIR postfilter. One that was added has the position of the next one.

    A caller whose buffer it does not fit into goes on there; so added entries are best put first.
    """
    _req, out, listing = args
    placed: list[Dirent] = []
    off = out.offset
    for entry in reversed(listing.entries):
        if isinstance(entry, PlacedDirent):
            off = entry.off
            placed.append(entry)
        elif not entry.dropped:
            placed.append(PlacedDirent(entry.name.raw, entry.ino, entry.type, off))
    return pack_dirents(placed[::-1], 0, 2 * PAGE_SIZE)


def _pack_buffer(op: Op, arg: Arg, value: Any) -> bytes:
    if arg.kind == "name":
        return bytes(value.raw) + b"\0"
    if arg.kind == "entries":
        return pack_entries(value)
    return bytes(value.raw) + (b"\0" if op.name == "symlink" else b"")
