# SPDX-License-Identifier: MIT
"""Messages of the wire protocol to objects and back, per opcode and phase of the table."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from fusebpf import CONTINUE, Dirent, Dirents, EntryOut, Name
from fusebpf.abi.model import Arg, Op
from fusebpf.abi.opcodes import FUSE_POSTFILTER, FUSE_PREFILTER, OPS
from fusebpf.abi.protocol import PROTOCOL_STRUCTS, REQUESTS, Request, bpf_response_ioctl
from fusebpf.daemon import (
    Backing,
    Daemon,
    DaemonError,
    Program,
    ProtocolError,
    RemoveBacking,
    RemoveProgram,
    records,
    wire,
)


def message(opcode: int, body: bytes, extensions: bytes = b"", nodeid: int = 7) -> bytes:
    """A request as the kernel would send it, packed without the code under test."""
    size = 40 + len(body) + len(extensions)
    head = struct.pack(
        "<IIQQIIIHH", size, opcode, 0x1234, nodeid, 1000, 1001, 42, len(extensions) // 8, 0
    )
    return head + body + extensions


def sample(size: int) -> bytes:
    """Bytes that differ from place to place."""
    return bytes(1 + index % 250 for index in range(size))


def test_a_record_keeps_every_member_that_is_seen() -> None:
    for layout in PROTOCOL_STRUCTS.values():
        raw = sample(layout.size)
        again = records.pack(layout, records.unpack(layout, raw))
        hidden = {
            at
            for field in layout.fields
            if field.reserved
            for at in range(field.offset, field.offset + field.size)
        }
        for at in range(layout.size):
            assert again[at] == (0 if at in hidden else raw[at]), (layout.name, at)


def test_filters_and_daemons_share_their_classes() -> None:
    layout = OPS["lookup"].post[1].struct
    assert layout is not None
    assert type(records.new(layout)) is EntryOut
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        records.new(PROTOCOL_STRUCTS["fuse_forget_in"], size=1)


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=lambda r: r.opcode_name)
def test_plain_request(request_: Request) -> None:
    """Every part arrives, in order; cut short it is refused, never misread."""
    body = b""
    for part in request_.ins:
        if part.struct is not None:
            body += sample(part.struct.size)
        elif part.kind == "name":
            body += part.name.encode() + b"\0"
        else:
            body += b"to the end\0"
    parsed = wire.parse(message(request_.opcode, body))
    assert parsed.name == request_.name
    assert (parsed.call.unique, parsed.call.nodeid) == (0x1234, 7)
    assert (parsed.call.uid, parsed.call.gid, parsed.call.pid) == (1000, 1001, 42)
    for part, value in zip(request_.ins, parsed.args, strict=True):
        if part.kind == "name":
            assert value == part.name
        elif part.kind == "data":
            assert value == b"to the end\0"
    tail = b"to the end\0" if request_.ins and request_.ins[-1].kind == "data" else b""
    if len(body) > len(tail):
        with pytest.raises(ProtocolError, match="cut short"):
            wire.parse(message(request_.opcode, body[: len(body) - len(tail) - 1]))


def filter_body(args: tuple[Arg, ...], op: Op) -> bytes:
    """A filter's request body, every buffer filled; GETXATTR and LISTXATTR asked for a value."""
    body = b""
    for arg in args:
        if op.name in ("getxattr", "listxattr") and arg.name == "getxattr_out":
            continue
        if arg.struct is not None:
            body += sample(arg.struct.size)
        elif arg.kind == "name":
            body += arg.name.encode() + b"\0"
        elif arg.kind == "dirents":
            body += struct.pack("<QQII", 5, 9, 3, 8) + b"abc" + bytes(5)
        elif arg.kind == "entries":
            body += b""
        else:
            body += b"value" + (b"\0" if op.name == "symlink" else b"")
    return body


@pytest.mark.parametrize(("bit", "phase"), [(FUSE_PREFILTER, "pre"), (FUSE_POSTFILTER, "post")])
def test_a_file_without_a_name_asks_as_a_new_one(bit: int, phase: str) -> None:
    """O_TMPFILE: TMPFILE with the parts of CREATE, whose name is empty."""
    (tmpfile,) = (r.opcode for r in REQUESTS.values() if r.opcode_name == "TMPFILE")
    results = sample(128 + 16) if phase == "post" else b""
    parsed = wire.parse(message(tmpfile | bit, sample(16) + b"\0" + results))
    assert (parsed.name, parsed.call.opcode) == (f"create_open_{phase}", tmpfile)
    assert parsed.args[1].raw == b""
    reply, _entries = wire.pack_filter_reply(parsed)
    assert len(reply) == (len(results) or 16)


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_prefilter_gives_its_inputs_back(op: Op) -> None:
    """Structs as they are, buffers that may change padded but the last, the others left out."""
    body = filter_body(op.pre, op)
    parsed = wire.parse(message(op.opcode | FUSE_PREFILTER, body))
    assert parsed.name == f"{op.name}_pre"
    assert parsed.call.phase == "pre"
    assert parsed.call.opcode == op.opcode
    reply, entries = wire.pack_filter_reply(parsed)
    assert not entries
    given = [arg for arg in op.pre if arg.struct is not None or arg.writable]
    want = 0
    for index, arg in enumerate(given):
        last = index == len(given) - 1
        if arg.struct is not None:
            want += arg.struct.size
        elif not last:
            want += arg.max_size
        else:
            want += len(
                {"value": b"value", "path": b"value\0"}.get(arg.name, arg.name.encode() + b"\0")
            )
    assert len(reply) == want


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_postfilter_sees_the_error_and_gives_its_outputs_back(op: Op) -> None:
    body = filter_body(op.post, op)
    extension = struct.pack("<IIiI", 16, 33, -13, 0)
    parsed = wire.parse(message(op.opcode | FUSE_POSTFILTER, body, extension))
    assert parsed.name == f"{op.name}_post"
    assert parsed.call.error_in == -13
    outs = op.post[len(op.pre) :]
    assert len(parsed.args) == len(op.post)
    reply, _entries = wire.pack_filter_reply(parsed)
    outs_raw = filter_body(outs, op)
    assert len(reply) == len(outs_raw)


def test_changes_reach_the_reply() -> None:
    body = (
        records.pack(
            PROTOCOL_STRUCTS["fuse_forget_in"],
            records.new(PROTOCOL_STRUCTS["fuse_forget_in"], nlookup=0),
        )
        * 2
        + b"user.a\0"
        + b"old"
    )
    parsed = wire.parse(message(OPS["setxattr"].opcode | FUSE_PREFILTER, body))
    setxattr_in, name, value = parsed.args
    setxattr_in.flags = 2
    name.raw = b"user.b"
    value.raw = b"longer than before"
    reply, _entries = wire.pack_filter_reply(parsed)
    assert reply[4:8] == b"\2\0\0\0"
    assert reply[16:272] == b"user.b".ljust(256, b"\0")
    assert reply[272:] == b"longer than before"
    name.raw = b"n" * 256
    with pytest.raises(ProtocolError, match="name has 257 bytes, at most 256"):
        wire.pack_filter_reply(parsed)


def test_getxattr_has_a_value_or_a_length() -> None:
    op = OPS["getxattr"]
    for size, out in ((0, struct.pack("<II", 99, 0)), (20, b"value")):
        body = struct.pack("<II", size, 0) + b"user.a\0" + out
        parsed = wire.parse(message(op.opcode | FUSE_POSTFILTER, body))
        assert parsed.args[3].size == (99 if size == 0 else 0)
        assert parsed.args[2].raw == (b"" if size == 0 else b"value")
        assert wire.pack_filter_reply(parsed)[0] == out


def test_a_listing_keeps_positions_and_loses_what_was_dropped() -> None:
    packed = wire.pack_dirents(
        [
            wire.PlacedDirent(name, 5, 8, off)
            for name, off in ((b"a", 10), (b"bcd", 20), (b"e", 30))
        ],
        0,
        4096,
    )
    listing = Dirents(wire.parse_dirents(memoryview(packed)))
    assert [(e.name.raw, e.off) for e in listing] == [(b"a", 10), (b"bcd", 20), (b"e", 30)]  # type: ignore[attr-defined]
    listing.entries[1].drop()
    again = wire.parse_dirents(memoryview(wire.pack_dirents(listing.entries, 0, 4096)))
    assert [e.name.raw for e in again] == [b"a", b"e"]
    plain = [Dirent("one"), Dirent("two")]
    numbered: list[Any] = wire.parse_dirents(memoryview(wire.pack_dirents(plain, 3, 4096)))
    assert [entry.off for entry in numbered] == [4, 5]
    assert len(wire.pack_dirents(plain, 0, 40)) == 32


def test_entries_that_a_postfilter_adds_are_placed() -> None:
    op = OPS["readdir"]
    lower = [wire.PlacedDirent(b"a", 5, 8, 10), wire.PlacedDirent(b"b", 5, 8, 20)]
    body = bytes(40) + struct.pack("<QII", 30, 0, 0) + wire.pack_dirents(lower, 0, 4096)
    parsed = wire.parse(message(op.opcode | FUSE_POSTFILTER, body))
    listing = parsed.args[2]
    listing.entries.insert(0, Dirent("first"))
    listing.entries.append(Dirent("last"))
    reply, _entries = wire.pack_filter_reply(parsed)
    again: list[Any] = wire.parse_dirents(memoryview(reply)[16:])
    assert [(e.name.raw, e.off) for e in again] == [
        (b"first", 10),
        (b"a", 10),
        (b"b", 20),
        (b"last", 30),
    ]
    listing.entries = [Dirent("x" * 255) for _ in range(20)]
    with pytest.raises(ProtocolError, match="listing has 5600 bytes, at most 4096"):
        wire.pack_filter_reply(parsed)


def test_lookup_entries_have_the_bytes_of_v4() -> None:
    assert wire.pack_entries([Backing(5)]) == struct.pack("<IIQQ", 1, 0, 0, 5)
    assert wire.pack_entries([Program("guard"), RemoveBacking()]) == (
        struct.pack("<II16s", 2, 0, b"guard") + struct.pack("<IIQQ", 3, 0, 0, 0)
    )
    assert wire.pack_entries([RemoveProgram()]) == struct.pack("<IIQQ", 4, 0, 0, 0)
    with pytest.raises(ProtocolError, match="at most 2"):
        wire.pack_entries([Backing(1), Backing(2), Backing(3)])
    for name in ("", "fifteen.letters"):
        with pytest.raises(ProtocolError, match="1 to 14 bytes"):
            wire.pack_entries([Program(name)])
    assert bpf_response_ioctl(0x90) == 0x4090E57D


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(ProtocolError, match="no whole header"):
        wire.parse(b"short")
    with pytest.raises(ProtocolError, match="says that it has"):
        wire.parse(message(1, b"name\0") + b"more")
    longer = bytearray(message(1, b"name\0"))
    struct.pack_into("<H", longer, 36, 100)
    with pytest.raises(ProtocolError, match="longer than it is"):
        wire.parse(bytes(longer))
    with pytest.raises(ProtocolError, match="cut short"):
        wire.parse(message(1, b"no end"))
    assert wire.parse(message(4000, b"")).name == ""
    assert wire.parse(message(4000 | FUSE_PREFILTER, b"")).name == ""


def test_a_misspelt_method_is_refused() -> None:
    with pytest.raises(DaemonError) as info:
        type("Wrong", (Daemon,), {"lookup_prefilter": lambda self, call, name: CONTINUE})
    assert "is lookup_pre meant?" in str(info.value)
    with pytest.raises(DaemonError, match="is dir_fsync_pre meant"):
        type("Wrong", (Daemon,), {"fsyncdir_pre": lambda self, call, req: CONTINUE})
    with pytest.raises(DaemonError, match="unknown NO_SUCH"):
        type("Wrong", (Daemon,), {"init_flags": ("NO_SUCH",)})
    with pytest.raises(DaemonError, match="underscore"):
        type("Wrong", (Daemon,), {"zzz": lambda self: None})
    type("Right", (Daemon,), {"_zzz": lambda self: None, "lookup_pre": lambda self: None})


def test_names_compare_as_in_filters() -> None:
    parsed = wire.parse(message(1, b"id_rsa\0"))
    (name,) = parsed.args
    assert isinstance(name, Name)
    assert name in {"id_rsa", ".env"}
