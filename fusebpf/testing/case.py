# SPDX-License-Identifier: MIT
"""One simulated call of a filter: what goes in, what comes out. Both runs speak these types."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusebpf.abi import DEFAULT_FILTER, HOOKS, Arg, Hook, Struct

#: Limits of a stand-in's memory (bpf/fusebpf.h): bytes of a buffer, entries of a listing.
MAX_BUFFER = 4095
MAX_ENTRIES = 32

#: A key or value of a map: a number, or the bytes of a record (``fusebpf.abi.record``).
Cell = int | bytes

#: Values of a struct's members by dotted path, e.g. ``{"flags": 2, "attr.mode": 0o644}``.
Values = dict[str, int]


@dataclass(frozen=True)
class Caller:
    """Who asks. Ids are 32-bit and of the initial user namespace; pid and tid as in user space."""

    uid: int = 0
    gid: int = 0
    euid: int = 0
    egid: int = 0
    pid: int = 1
    tid: int = 1


@dataclass(frozen=True)
class Entry:
    """One directory entry: name of 1 to 255 bytes, inode number, type as in dirent(3)."""

    name: bytes
    ino: int = 1
    type: int = 8

    @property
    def room(self) -> int:
        """Most bytes of another name for it: its place is a multiple of 8 bytes."""
        return min(-(-len(self.name) // 8) * 8, 255)


@dataclass(frozen=True)
class Case:
    """The arguments of one call, by the argument names of the opcode table; the rest is zero.

    ``maps`` holds the contents of maps before the call: name -> key -> value. ``ktime`` is the
    monotonic time in nanoseconds; 0 means the real one. ``opcode`` is that of the operation which a
    default filter decides, and of a file without a name; 0 means the hook's own.
    """

    structs: dict[str, Values] = field(default_factory=dict)
    buffers: dict[str, bytes] = field(default_factory=dict)
    listing: tuple[Entry, ...] = ()
    caller: Caller = Caller()
    nodeid: int = 0
    error_in: int = 0
    tag: int = 0
    tag2: int = 0
    ktime: int = 0
    opcode: int = 0
    maps: dict[str, dict[Cell, Cell]] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a call did. ``structs`` holds every member of every struct after the call; ``listing``
    the entries that stay; ``maps`` every non-zero value (arrays) or present key (hashes);
    ``events`` those sent, as bytes of records, by name."""

    verdict: int
    structs: dict[str, Values]
    listing: tuple[Entry, ...]
    tag: int | None
    maps: dict[str, dict[Cell, Cell]]
    events: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    #: Names and buffers that the filter may change, after the call.
    buffers: dict[str, bytes] = field(default_factory=dict)
    #: Whether an error was cleared, and for how many ns the answer of a lookup holds.
    cleared: bool = False
    kept_ns: int = 0


def hook_of(name: str) -> Hook:
    """The hook ``name`` of the opcode table, ``default_filter`` included.

    Raises ``KeyError`` when there is none.
    """
    return DEFAULT_FILTER if name == DEFAULT_FILTER.name else HOOKS[name]


def struct_args(hook: Hook) -> list[tuple[Arg, Struct]]:
    """The arguments of a hook that are structs, with their struct."""
    return [(arg, arg.struct) for arg in hook.args if arg.struct is not None]


def changeable(hook: Hook) -> list[tuple[int, str]]:
    """Place and name of the names and buffers that a filter of the hook may change."""
    buffers = [arg for arg in hook.args if arg.struct is None]
    return [
        (slot, arg.name)
        for slot, arg in enumerate(buffers)
        if arg.writable and arg.kind in ("name", "bytes")
    ]


def leaves(struct: Struct, prefix: str = "", base: int = 0) -> list[tuple[str, int, int, bool]]:
    """Every scalar member that filters see: dotted path, offset and size in bytes, signedness."""
    found: list[tuple[str, int, int, bool]] = []
    for member in struct.fields:
        if member.reserved or member.count > 1:
            continue
        path = f"{prefix}{member.name}"
        if member.struct is not None:
            found += leaves(member.struct, f"{path}.", base + member.offset)
        else:
            found.append((path, base + member.offset, member.size, member.signed))
    return found


def pack(struct: Struct, values: Values) -> bytes:
    """The struct's bytes.

    Raises ``KeyError`` for a member that filters do not see, ``OverflowError`` for a value that
    does not fit its member.
    """
    raw = bytearray(struct.size)
    known = {path: (offset, size, signed) for path, offset, size, signed in leaves(struct)}
    for path, value in values.items():
        offset, size, signed = known[path]
        raw[offset : offset + size] = value.to_bytes(size, "little", signed=signed)
    return bytes(raw)


def unpack(struct: Struct, raw: bytes) -> Values:
    """Every member that filters see."""
    return {
        path: int.from_bytes(raw[offset : offset + size], "little", signed=signed)
        for path, offset, size, signed in leaves(struct)
    }
