# SPDX-License-Identifier: MIT
"""Maps: tables that filters and user space share.

A map object is its declaration, and in plain Python a working map, so that filters can be called
directly. Keys and values are integers of fixed width, or dataclasses of such; a store wraps to the
width.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection
from functools import cache
from typing import Any, Literal

from fusebpf.abi.record import Record
from fusebpf.dsl.errors import DslError
from fusebpf.dsl.objects import Name
from fusebpf.dsl.records import packed, record_of
from fusebpf.reserved import is_reserved
from fusebpf.types import u16, u32

MapKind = Literal[
    "hash", "lru_hash", "percpu_hash", "lru_percpu_hash", "array", "percpu_array", "lpm_trie"
]


class Map:
    """Declaration of a map. ``key`` and ``value`` are types of ``fusebpf.types`` or dataclasses."""

    kind: MapKind

    def __init__(self, name: str, key: type[Any], value: type[Any], max_entries: int) -> None:
        self.name = name
        self.key = key
        self.value = value
        self.key_record = _record(name, key)
        self.value_record = _record(name, value)
        self.max_entries = max_entries
        self.data: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"<{self.kind} map {self.name!r}, {self.max_entries} entries>"

    def clear(self) -> None:
        """Plain Python only: forget every value."""
        self.data.clear()

    def _slot(self, key: Any) -> Any:
        return self.key(key) if self.key_record is None else packed(self.key_record, key)

    def _stored(self, value: Any) -> Any:
        return self.value(value) if self.value_record is None else copy.copy(value)

    def _zero(self) -> Any:
        if self.value_record is None:
            return 0
        return self.value(*(b"" if m.is_bytes else 0 for m in self.value_record.members))


def _record(name: str, kind: type[Any]) -> Record | None:
    return None if getattr(kind, "__name__", "") in WIDTHS else record_of(f"map {name!r}", kind)


class HashMap(Map):
    """A table from keys to values with room for ``max_entries``."""

    kind: MapKind = "hash"

    def __contains__(self, key: Any) -> bool:
        return self._slot(key) in self.data

    def get(self, key: Any, default: Any = None) -> Any:
        """A copy of the value of ``key``; None, or ``default``, when it is missing."""
        return copy.copy(self.data.get(self._slot(key), default))

    def put(self, key: Any, value: Any) -> bool:
        """Store a value. False when the map is full."""
        slot = self._slot(key)
        if slot not in self.data and len(self.data) >= self.max_entries:
            return self._make_room() and self.put(key, value)
        self.data[slot] = self._stored(value)
        return True

    def discard(self, key: Any) -> bool:
        """Remove a key. False when it was not there."""
        return self.data.pop(self._slot(key), None) is not None

    # `m[k] += n` and `m[k].member += n`: a missing key counts from 0, a full map drops the change.
    def __getitem__(self, key: Any) -> Any:
        slot = self._slot(key)
        if self.value_record is not None and slot not in self.data:
            zero = self._zero()
            return self.data[slot] if self.put(key, zero) else zero
        return self.data.get(slot, 0)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.put(key, value)

    def _make_room(self) -> bool:
        return False


class LruHashMap(HashMap):
    """A hash that forgets what was not used for longest instead of being full."""

    kind: MapKind = "lru_hash"

    def _make_room(self) -> bool:
        self.data.pop(next(iter(self.data)))
        return True


class PerCpuHashMap(HashMap):
    """A hash with one value per CPU and key: counts without contention."""

    kind: MapKind = "percpu_hash"


class LruPerCpuHashMap(LruHashMap):
    """A hash with one value per CPU and key that forgets what was not used for longest."""

    kind: MapKind = "lru_percpu_hash"


class LpmTrie(HashMap):
    """A table whose keys are prefixes: ``get`` finds the longest one that fits.

    A key is a dataclass of ``prefixlen: u32``, the bits that count, and one bytes member.
    """

    kind: MapKind = "lpm_trie"

    def put(self, key: Any, value: Any) -> bool:
        """Store a value. False when the map is full, or ``prefixlen`` too large."""
        slot = self._slot(key)
        if prefix_bits(slot) > 8 * (len(slot) - 4):
            return False
        for old in [k for k in self.data if prefix_bits(k) == prefix_bits(slot) and fits(k, slot)]:
            del self.data[old]
        return super().put(key, value)

    def discard(self, key: Any) -> bool:
        """Remove a prefix. False when it was not there."""
        slot = self._slot(key)
        for old in self.data:
            if prefix_bits(old) == prefix_bits(slot) and fits(old, slot):
                del self.data[old]
                return True
        return False

    def __contains__(self, key: Any) -> bool:
        return longest_prefix(self.data, self._slot(key)) is not None

    def get(self, key: Any, default: Any = None) -> Any:
        """A copy of the value of the longest prefix of ``key``; None, or ``default``, without."""
        found = longest_prefix(self.data, self._slot(key))
        return default if found is None else copy.copy(self.data[found])


def prefix_bits(key: bytes) -> int:
    """How many bits of a packed key of an LPM trie count."""
    return int.from_bytes(key[:4], "little")


def fits(prefix: bytes, key: bytes) -> bool:
    """Whether a packed key begins with a packed prefix."""
    bits = prefix_bits(prefix)
    whole, rest = divmod(bits, 8)
    if bits > prefix_bits(key) or prefix[4 : 4 + whole] != key[4 : 4 + whole]:
        return False
    return not rest or prefix[4 + whole] >> (8 - rest) == key[4 + whole] >> (8 - rest)


def longest_prefix(keys: Any, key: bytes) -> bytes | None:
    """The longest of some packed prefixes that ``key`` begins with."""
    if prefix_bits(key) > 8 * (len(key) - 4):
        return None
    return max((k for k in keys if fits(k, key)), key=prefix_bits, default=None)


class ArrayMap(Map):
    """``max_entries`` values, all 0 at first, indexed from 0."""

    kind: MapKind = "array"

    def __init__(self, name: str, value: type[Any], max_entries: int) -> None:
        super().__init__(name, u32, value, max_entries)

    def __getitem__(self, index: int) -> Any:
        slot = self._index(index)
        if self.value_record is not None:
            return self.data.setdefault(slot, self._zero())
        return self.data.get(slot, 0)

    def __setitem__(self, index: int, value: Any) -> None:
        self.data[self._index(index)] = self._stored(value)

    def __len__(self) -> int:
        return self.max_entries

    def _index(self, index: int) -> int:
        if not 0 <= index < self.max_entries:
            raise IndexError(f"index {index} outside map {self.name!r} of {self.max_entries}")
        return index


class PerCpuArrayMap(ArrayMap):
    """An array with one value per CPU and index: counts without contention."""

    kind: MapKind = "percpu_array"


@cache
def transitions() -> type[Any]:
    """One state of an automaton: the next one for every byte. Made on use: most sets have none."""
    members = [(f"on{byte}", u16) for byte in range(256)]
    return dataclasses.make_dataclass("Transitions", members, namespace={"__module__": __name__})


class Automaton(ArrayMap):
    """States of an automaton over the bytes of names: ``[s]`` holds the next state for each byte.

    States are set by user space, as a tuple of 256 numbers; at first all lead to state 0.
    """

    def __init__(self, name: str, states: int) -> None:
        super().__init__(name, transitions(), states)

    def walk(self, name: Name, state: int = 0) -> int:
        """The state after the bytes of ``name``; -22 when one on the way does not exist."""
        for byte in name.raw:
            if not 0 <= state < self.max_entries:
                return -22
            state = int(self.data[state][byte]) if state in self.data else 0
        return state if 0 <= state < self.max_entries else -22

    def _stored(self, value: Any) -> Any:
        row = tuple(value) if isinstance(value, tuple | list) else dataclasses.astuple(value)
        if len(row) != 256:
            raise ValueError(f"a state has 256 transitions, not {len(row)}")
        return row


WIDTHS = ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64")
#: Names that the kernel can hold in full: 15 characters and a NUL (BPF_OBJ_NAME_LEN).
MAX_NAME = 15
#: More entries than this are a typing error rather than a table.
MAX_ENTRIES = 1 << 24


def identifier(name: str, most: int) -> str:
    """A name that can be used instead of one with other characters."""
    kept = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)[:most].rstrip("_")
    return f"m{kept}"[:most] if not kept or kept[0].isdigit() else kept


def _other(name: str) -> str:
    """A name that is not reserved, for one that is."""
    return f"{name.strip('_')[: MAX_NAME - 4]}_map"


def check_declaration(
    name: object, types: dict[str, object], max_entries: object, taken: Collection[str]
) -> None:
    """Check what every map declaration must hold. Raises ``DslError``."""
    if not isinstance(name, str) or not name.isascii() or not name.isidentifier():
        raise DslError(
            "E120",
            f"{name!r} cannot be the name of a map",
            "use letters, digits and _ only, not starting with a digit",
            instead=(str(name), identifier(str(name), MAX_NAME)),
        )
    if len(name) > MAX_NAME:
        raise DslError(
            "E120",
            f"map name {name!r} has {len(name)} characters; the kernel keeps {MAX_NAME}",
            f"shorten it, e.g. {name[:MAX_NAME].rstrip('_')!r}",
            word=name,
            instead=(name, name[:MAX_NAME].rstrip("_")),
        )
    if name.startswith(("fusebpf_", "bpf_")):
        raise DslError(
            "E120",
            f"map name {name!r} is reserved",
            "names that begin with bpf_ or fusebpf_ belong to the runtime",
            word=name,
            instead=(name, name.removeprefix("fuse").removeprefix("bpf_")),
        )
    if is_reserved(name):
        raise DslError(
            "E120",
            f"map name {name!r} means something in C, which user space finds it by",
            f"give it another name, e.g. {_other(name)!r}",
            word=name,
            instead=(name, _other(name)),
        )
    if name in taken:
        raise DslError(
            "E121",
            f"map {name!r} is declared twice in this set",
            "give the second map another name",
            word=name,
        )
    for what, kind in types.items():
        if getattr(kind, "__name__", "") in WIDTHS and hasattr(kind, "bits"):
            continue
        if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
            raise DslError(
                "E122",
                f"{what} of map {name!r} is {getattr(kind, '__name__', kind)!s}, "
                "not a type of fixed width",
                f"use one of {', '.join(WIDTHS)} from fusebpf.types, e.g. {what}=u64; or a "
                "dataclass, whose members can be names (bytes64), too",
                word=what,
                instead=(f"{what}=int", f"{what}=u64") if kind is int else None,
                needs=("fusebpf.types", "u64"),
            )
    if isinstance(max_entries, bool) or not isinstance(max_entries, int):
        raise DslError("E123", f"max_entries of map {name!r} is not an integer", word="max_entries")
    if not 1 <= max_entries <= MAX_ENTRIES:
        raise DslError(
            "E123",
            f"max_entries of map {name!r} is {max_entries}",
            f"use a number from 1 to {MAX_ENTRIES}",
            word="max_entries",
        )


def check_prefix_key(name: str, record: Record | None) -> None:
    """Check the key of an LPM trie. Raises ``DslError``."""
    kinds = [(m.name, m.kind) for m in record.members] if record else []
    if len(kinds) != 2 or kinds[0] != ("prefixlen", "u32") or not kinds[1][1].startswith("bytes"):
        raise DslError(
            "E127",
            f"the key of LPM trie {name!r} is not a prefixlen and bytes",
            "@dataclass class Prefix: prefixlen: u32; path: bytes64",
            word="key",
        )
