# SPDX-License-Identifier: MIT
"""Random arguments for generated filters, and what generator and inputs have in common."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from fusebpf.abi.record import Record
from fusebpf.testing.case import Caller, Case, Cell, Entry, Values, hook_of, leaves, struct_args

T = TypeVar("T")

#: Integers where signs, widths and carries change.
EDGES = (0, 1, 2, 3, 7, 8, 63, 64, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)
EDGES_64 = (2**32, 2**33 + 5, 2**62, 2**63 - 1)

NAMES = (
    "a",
    ".env",
    "id_rsa",
    "key.pem",
    ".pem",
    "README.md",
    "x" * 255,
    "é",
    "a.b.c",
    "pem",
    '"?\\\\',
)
PIECES = (".pem", ".", "id_", "READ", "a", "é", ".env", "x" * 20)

#: Dataclasses of generated sets: members by name and kind.
RECORDS = {
    "Pair": (("a", "u32"), ("b", "s64")),
    "Tagged": (("num", "u16"), ("text", "bytes16")),
    "Stat": (("hits", "u64"), ("seen", "s32"), ("flags", "u32"), ("low", "u8")),
    "Note": (("num", "s16"), ("big", "u64"), ("text", "bytes32")),
    "Prefix": (("prefixlen", "u32"), ("text", "bytes16")),
}


class Chooser(Protocol):
    """Where choices come from."""

    def below(self, count: int) -> int:
        """A number from 0 to ``count`` - 1."""


class RandomChooser:
    """Choices from a seeded generator."""

    def __init__(self, number: int) -> None:
        self._random = random.Random(number)

    def below(self, count: int) -> int:
        """A number from 0 to ``count`` - 1."""
        return self._random.randrange(count)


@dataclass
class MapShape:
    """One declared map; keys and values are integer types by name."""

    name: str
    kind: str
    key: str
    value: str
    max_entries: int


@dataclass
class Generated:
    """Source text, the maps it declares, its filters by function name, and what it exercises."""

    source: str
    maps: list[MapShape]
    filters: dict[str, str]
    counts: Counter[str] = field(default_factory=Counter)
    #: Chosen values of config declarations.
    config: dict[str, int] = field(default_factory=dict)


def make_case(chooser: Chooser, generated: Generated, hook_name: str) -> Case:
    """Random arguments for one filter of a generated set."""

    def pick(options: tuple[T, ...] | list[T]) -> T:
        return options[chooser.below(len(options))]

    def number(bits: int, signed: bool) -> int:
        value = pick(EDGES + EDGES_64) + chooser.below(3) - 1
        value = -value if signed and chooser.below(2) else value
        value &= (1 << bits) - 1
        return value - (1 << bits) if signed and value >> (bits - 1) else value

    def a_name() -> bytes:
        form = chooser.below(4)
        if form == 0:
            text = pick(NAMES).encode()
        elif form == 1:
            text = pick(NAMES).encode() + pick(PIECES).encode()
        elif form == 2:
            text = pick(PIECES).encode() + pick(NAMES).encode()
        else:
            text = bytes(pick(range(1, 256)) for _ in range(1 + chooser.below(12)))  # type: ignore[arg-type]
        return text.replace(b"/", b"_")[:255]

    def a_value() -> bytes:
        text = b"/".join(a_name() for _ in range(chooser.below(4)))
        return text + pick((b"", b"\0", b"../", bytes(3000)))

    hook = hook_of(hook_name)
    structs: dict[str, Values] = {
        arg.name: {
            path: number(size * 8, signed)
            for path, _offset, size, signed in leaves(struct)
            if chooser.below(2)
        }
        for arg, struct in struct_args(hook)
    }

    def row(states: int) -> bytes:
        """A state of an automaton: where each byte leads to."""
        return b"".join(chooser.below(states + 1).to_bytes(2, "little") for _ in range(8)) * 32

    def cell(kind: str, key: int | None = None) -> Cell:
        if kind not in RECORDS:
            return number(int(kind[1:]), kind.startswith("s")) if key is None else key
        record = Record.make(kind, RECORDS[kind])
        values: list[int | bytes] = []
        for member in record.members:
            if member.is_bytes:
                values.append(a_name())
            elif member.name == "prefixlen":
                values.append(chooser.below(129))
            else:
                values.append(key or number(8 * member.size, False))
        return record.pack(values)

    maps: dict[str, dict[Cell, Cell]] = {}
    for shape in generated.maps:
        if shape.kind == "automaton":
            states = shape.max_entries
            maps[shape.name] = {state: row(states) for state in range(chooser.below(states + 1))}
            continue
        key_max = shape.max_entries if shape.kind.endswith("array") else 6
        count = chooser.below(min(key_max, shape.max_entries) + 1)
        if shape.kind == "lpm_trie":
            count = min(count, 1)  # two random prefixes may be the same one
        maps[shape.name] = {cell(shape.key, key): cell(shape.value) for key in range(count)}
    return Case(
        structs=structs,
        buffers={
            arg.name: a_name() if arg.kind == "name" else a_value()
            for arg in hook.args
            if arg.kind in ("name", "bytes")
        },
        listing=tuple(
            Entry(a_name(), number(64, False), pick((1, 2, 4, 8, 10)))
            for _ in range(chooser.below(7) if hook.op == "readdir" else 0)
        ),
        caller=Caller(*(pick((0, 1, 1000, 2**32 - 1)) for _ in range(6))),
        nodeid=number(64, False),
        error_in=pick((0, 0, -2, -13)) if hook.phase == "post" else 0,
        tag=number(64, False),
        tag2=number(64, False),
        ktime=max(number(63, False), 1),  # 0 is the real time
        maps=maps,
    )
