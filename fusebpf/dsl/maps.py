# SPDX-License-Identifier: MIT
"""Maps: tables that filters and user space share.

A map object is its declaration, and in plain Python a working map, so that filters can be called
directly. Keys and values are integers of fixed width; a store wraps to that width.
"""

from __future__ import annotations

from typing import Literal, overload

from fusebpf.dsl.errors import DslError
from fusebpf.types import u32

MapKind = Literal["hash", "lru_hash", "percpu_hash", "array", "percpu_array"]


class Map:
    """Declaration of a map. ``key`` and ``value`` are types of ``fusebpf.types``."""

    kind: MapKind

    def __init__(self, name: str, key: type[int], value: type[int], max_entries: int) -> None:
        self.name = name
        self.key = key
        self.value = value
        self.max_entries = max_entries
        self.data: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<{self.kind} map {self.name!r}, {self.max_entries} entries>"

    def clear(self) -> None:
        """Plain Python only: forget every value."""
        self.data.clear()


class HashMap(Map):
    """A table from keys to values with room for ``max_entries``."""

    kind: MapKind = "hash"

    def __contains__(self, key: int) -> bool:
        return key in self.data

    @overload
    def get(self, key: int) -> int | None: ...
    @overload
    def get(self, key: int, default: int) -> int: ...
    def get(self, key: int, default: int | None = None) -> int | None:
        """The value of ``key``; None, or ``default``, when it is missing."""
        return self.data.get(key, default)

    def put(self, key: int, value: int) -> bool:
        """Store a value. False when the map is full."""
        if key not in self.data and len(self.data) >= self.max_entries:
            return self._make_room() and self.put(key, value)
        self.data[self.key(key)] = self.value(value)
        return True

    def discard(self, key: int) -> bool:
        """Remove a key. False when it was not there."""
        return self.data.pop(key, None) is not None

    # `m[k] += n` is these two calls; a missing key counts from 0, a full map drops the change.
    def __getitem__(self, key: int) -> int:
        return self.data.get(key, 0)

    def __setitem__(self, key: int, value: int) -> None:
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


class ArrayMap(Map):
    """``max_entries`` values, all 0 at first, indexed from 0."""

    kind: MapKind = "array"

    def __init__(self, name: str, value: type[int], max_entries: int) -> None:
        super().__init__(name, u32, value, max_entries)

    def __getitem__(self, index: int) -> int:
        return self.data.get(self._index(index), 0)

    def __setitem__(self, index: int, value: int) -> None:
        self.data[self._index(index)] = self.value(value)

    def __len__(self) -> int:
        return self.max_entries

    def _index(self, index: int) -> int:
        if not 0 <= index < self.max_entries:
            raise IndexError(f"index {index} outside map {self.name!r} of {self.max_entries}")
        return index


class PerCpuArrayMap(ArrayMap):
    """An array with one value per CPU and index: counts without contention."""

    kind: MapKind = "percpu_array"


WIDTHS = ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64")
#: Names that the kernel can hold in full: 15 characters and a NUL (BPF_OBJ_NAME_LEN).
MAX_NAME = 15
#: More entries than this are a typing error rather than a table.
MAX_ENTRIES = 1 << 24


def check_declaration(
    name: object, types: dict[str, object], max_entries: object, taken: dict[str, Map]
) -> None:
    """Check what every map declaration must hold. Raises ``DslError``."""
    if not isinstance(name, str) or not name.isascii() or not name.isidentifier():
        raise DslError(
            "E120",
            f"{name!r} cannot be the name of a map",
            "use letters, digits and _ only, not starting with a digit",
        )
    if len(name) > MAX_NAME:
        raise DslError(
            "E120",
            f"map name {name!r} has {len(name)} characters; the kernel keeps {MAX_NAME}",
            f"shorten it, e.g. {name[:MAX_NAME].rstrip('_')!r}",
            word=name,
        )
    if name.startswith(("fusebpf_", "bpf_")):
        raise DslError(
            "E120",
            f"map name {name!r} is reserved",
            "names that begin with bpf_ or fusebpf_ belong to the runtime",
            word=name,
        )
    if name in taken:
        raise DslError(
            "E121",
            f"map {name!r} is declared twice in this set",
            "give the second map another name",
            word=name,
        )
    for what, kind in types.items():
        if getattr(kind, "__name__", "") not in WIDTHS or not hasattr(kind, "bits"):
            raise DslError(
                "E122",
                f"{what} of map {name!r} is {getattr(kind, '__name__', kind)!s}, "
                "not a type of fixed width",
                f"use one of {', '.join(WIDTHS)} from fusebpf.types, e.g. {what}=u64",
                word=what,
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
