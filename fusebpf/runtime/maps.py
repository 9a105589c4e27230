# SPDX-License-Identifier: MIT
"""Maps of a loaded set as Python mappings, typed by their declaration."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from dataclasses import astuple, make_dataclass
from functools import cache
from typing import Any

from fusebpf.abi.record import Record
from fusebpf.build.metadata import LOST, MapMeta
from fusebpf.errors import FusebpfError
from fusebpf.runtime import sysbpf

Cell = Any
"""A key or value: an int, or of a dataclass an instance of `record_class`."""


class _Codec:
    """One type of a map, by its name in the metadata: "u32", or a record as `Record.text`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.record = Record.parse(kind)
        self.size = int(kind[1:]) // 8 if self.record is None else self.record.size

    def pack(self, cell: Cell, what: str) -> bytes:
        """The bytes of a number, or of a record given as dataclass, tuple or bytes already.

        Raises OverflowError.
        """
        if self.record is None:
            try:
                return int(cell).to_bytes(self.size, sys.byteorder, signed=self.kind[0] == "s")
            except (OverflowError, TypeError, ValueError):
                raise OverflowError(f"{what} {cell!r} is no {self.kind}") from None
        if isinstance(cell, bytes):
            if len(cell) != self.size:
                raise OverflowError(f"{what} has {len(cell)} bytes, not {self.size}")
            return cell
        values = cell
        if not isinstance(cell, tuple):
            values = tuple(getattr(cell, member.name) for member in self.record.members)
        raw = [v.encode("utf-8", "surrogateescape") if isinstance(v, str) else v for v in values]
        return self.record.pack(raw)

    def unpack(self, raw: bytes) -> Cell:
        """The inverse of `pack`."""
        if self.record is None:
            return int.from_bytes(raw, sys.byteorder, signed=self.kind[0] == "s")
        return record_class(self.kind)(*self.record.unpack(raw))


@cache
def record_class(text: str) -> type[Any]:
    """A frozen dataclass with the members of a record, which `Record.text` names."""
    record = Record.parse(text)
    if record is None:
        raise ValueError(f"{text} is no record")
    members = [(m.name, bytes if m.is_bytes else int) for m in record.members]
    return make_dataclass(record.name, members, frozen=True)


class MapFullError(FusebpfError):
    """A map has no room for another key."""


class MapView(MutableMapping[Cell, Cell]):
    """A map in the kernel: `view[key]`, `view[key] = value`, `del`, iteration, `len`, `get`.

    Reading a per-CPU map gives the sum over the CPUs, `per_cpu` the single values. Indices of an
    array are its keys; an array's values can be set but not deleted. Records are dataclasses of
    the declared members; they may be stored as tuples, or as their bytes, which is faster. OSError
    where the kernel refuses; KeyError for a missing key; OverflowError for what the type cannot
    hold.
    """

    def __init__(self, fd: int, meta: MapMeta) -> None:
        """Take over `fd`, which `close` closes."""
        self._fd = fd
        self.meta = meta
        self._key = _Codec(meta.key)
        self._value = _Codec(meta.value)
        self._percpu = "percpu" in meta.kind
        self._array = meta.kind.endswith("array")
        self._cpus = sysbpf.possible_cpus() if self._percpu else 1

    @property
    def name(self) -> str:
        """Name as declared."""
        return self.meta.name

    @property
    def id(self) -> int:
        """Id in the kernel."""
        return sysbpf.map_info(self._descriptor()).id

    @property
    def per_cpu(self) -> Mapping[Cell, list[Cell]]:
        """Values of each possible CPU, in the order of CPU numbers; one for other maps."""
        return _PerCpu(self)

    def read(self, key: Cell) -> list[Cell]:
        """The value of each CPU (one value, when the map is not per CPU). KeyError."""
        stride = (self._value.size + 7) & ~7 if self._percpu else self._value.size
        raw = None
        if self._in_range(key):
            raw = sysbpf.map_lookup(self._descriptor(), self._packed_key(key), stride * self._cpus)
        if raw is None:
            raise KeyError(key)
        size = self._value.size
        return [
            self._value.unpack(raw[cpu * stride : cpu * stride + size]) for cpu in range(self._cpus)
        ]

    def __getitem__(self, key: Cell) -> Cell:
        values = self.read(key)
        if self._value.record is None:
            return sum(values)
        if len(values) == 1:
            return values[0]
        columns = zip(*(astuple(value) for value in values), strict=True)
        # Bytes cannot be added up: those of the first CPU that has some.
        totals = (sum(c) if isinstance(c[0], int) else next(filter(None, c), b"") for c in columns)
        return record_class(self._value.kind)(*totals)

    def __setitem__(self, key: Cell, value: Cell) -> None:
        """Store a value. In a per-CPU map CPU 0 gets it and the others 0, so that it is the sum."""
        if self._array and not self._in_range(key):
            raise KeyError(key)
        packed = self._value.pack(value, f"value of map {self.name}")
        if self._percpu:
            stride = (self._value.size + 7) & ~7
            packed = packed.ljust(stride * self._cpus, b"\0")
        try:
            sysbpf.map_update(self._descriptor(), self._packed_key(key), packed)
        except OSError as error:
            if error.errno in (errno.E2BIG, errno.ENOSPC):  # the latter of an lpm_trie
                raise MapFullError(
                    f"map {self.name} is full ({self.meta.max_entries} entries)",
                    "delete keys, or declare it with a larger max_entries",
                ) from None
            raise

    def __delitem__(self, key: Cell) -> None:
        if self._array:
            raise TypeError(f"{self.name} is an array: its values can be set, not deleted")
        if not sysbpf.map_delete(self._descriptor(), self._packed_key(key)):
            raise KeyError(key)

    def __iter__(self) -> Iterator[Cell]:
        if self._array:
            yield from range(self.meta.max_entries)
            return
        for raw in sysbpf.map_keys(self._descriptor(), self._key.size):
            yield self._key.unpack(raw)

    def items(self) -> ItemsView[Cell, Cell]:
        """Keys with their values; without those that a filter removes meanwhile."""
        return _Items(self)

    def values(self) -> ValuesView[Cell]:
        """The values of `items`."""
        return _Values(self)

    def __len__(self) -> int:
        return self.meta.max_entries if self._array else sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        try:
            self.read(key)
        except (KeyError, OverflowError, AttributeError, TypeError):
            return False
        return True

    def __repr__(self) -> str:
        return f"<{self.meta.kind} map {self.name} {self.meta.key} -> {self.meta.value}>"

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _descriptor(self) -> int:
        if self._fd < 0:
            raise FusebpfError(
                f"map {self.name} is closed",
                "read it inside the `with`, or open the mount again: fusebpf.mounts.open(MNT)",
            )
        return self._fd

    def _in_range(self, key: Cell) -> bool:
        return not self._array or 0 <= key < self.meta.max_entries

    def _packed_key(self, key: Cell) -> bytes:
        return self._key.pack(key, f"key of map {self.name}")


class _Items(ItemsView[Cell, Cell]):
    _mapping: MapView

    def __iter__(self) -> Iterator[tuple[Cell, Cell]]:
        for key in self._mapping:
            try:
                value = self._mapping[key]
            except KeyError:
                continue
            yield key, value


class _Values(ValuesView[Cell]):
    _mapping: MapView

    def __iter__(self) -> Iterator[Cell]:
        return (value for _key, value in self._mapping.items())


class _PerCpu(Mapping[Cell, list[Cell]]):
    def __init__(self, view: MapView) -> None:
        self._view = view

    def __getitem__(self, key: Cell) -> list[Cell]:
        return self._view.read(key)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._view)

    def __len__(self) -> int:
        return len(self._view)


class Maps(Mapping[str, MapView]):
    """The maps of a set by name; closes them all."""

    def __init__(self, views: Mapping[str, MapView]) -> None:
        self._views = dict(views)
        self._lost = self._views.pop(LOST.name, None)

    @property
    def lost(self) -> int:
        """How many `m[k] += n` of the filters were lost because a map was full."""
        return 0 if self._lost is None else self._lost[0]

    def __getitem__(self, name: str) -> MapView:
        try:
            return self._views[name]
        except KeyError:
            known = ", ".join(self._views) or "none"
            raise KeyError(f"no map {name!r} (maps of this set: {known})") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def close(self) -> None:
        """Give every descriptor back."""
        for view in self._views.values():
            view.close()
        if self._lost is not None:
            self._lost.close()
