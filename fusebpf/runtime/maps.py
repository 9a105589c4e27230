# SPDX-License-Identifier: MIT
"""Maps of a loaded set as Python mappings, typed by their declaration."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Mapping, MutableMapping

from fusebpf.build.metadata import LOST, MapMeta
from fusebpf.errors import FusebpfError
from fusebpf.runtime import sysbpf

_CODES = {
    "u8": "B",
    "u16": "H",
    "u32": "I",
    "u64": "Q",
    "s8": "b",
    "s16": "h",
    "s32": "i",
    "s64": "q",
}


class MapFullError(FusebpfError):
    """A hash map has no room for another key."""


class MapView(MutableMapping[int, int]):
    """A map in the kernel: `view[key]`, `view[key] = value`, `del`, iteration, `len`, `get`.

    Reading a per-CPU map gives the sum over the CPUs, `per_cpu` the single values. Indices of an
    array are its keys; an array's values can be set but not deleted. OSError where the kernel
    refuses; KeyError for a missing key; OverflowError for a number that the type cannot hold.
    """

    def __init__(self, fd: int, meta: MapMeta) -> None:
        """Take over `fd`, which `close` closes."""
        self._fd = fd
        self.meta = meta
        self._key = struct.Struct("=" + _CODES[meta.key])
        self._value = struct.Struct("=" + _CODES[meta.value])
        self._percpu = meta.kind.startswith("percpu_")
        self._array = meta.kind.endswith("array")
        self._cpus = sysbpf.possible_cpus() if self._percpu else 1

    @property
    def name(self) -> str:
        """Name as declared."""
        return self.meta.name

    @property
    def per_cpu(self) -> Mapping[int, list[int]]:
        """Values of each possible CPU, in the order of CPU numbers; one for other maps."""
        return _PerCpu(self)

    def read(self, key: int) -> list[int]:
        """The value of each CPU (one value, when the map is not per CPU). KeyError."""
        stride = (self._value.size + 7) & ~7 if self._percpu else self._value.size
        raw = None
        if self._in_range(key):
            raw = sysbpf.map_lookup(self._descriptor(), self._packed_key(key), stride * self._cpus)
        if raw is None:
            raise KeyError(key)
        return [self._value.unpack_from(raw, cpu * stride)[0] for cpu in range(self._cpus)]

    def __getitem__(self, key: int) -> int:
        return sum(self.read(key))

    def __setitem__(self, key: int, value: int) -> None:
        """Store a value. In a per-CPU map CPU 0 gets it and the others 0, so that it is the sum."""
        if self._array and not self._in_range(key):
            raise KeyError(key)
        packed = self._packed(self._value, self.meta.value, value, "value")
        if self._percpu:
            stride = (self._value.size + 7) & ~7
            packed = packed.ljust(stride * self._cpus, b"\0")
        try:
            sysbpf.map_update(self._descriptor(), self._packed_key(key), packed)
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise MapFullError(
                    f"map {self.name} is full ({self.meta.max_entries} entries)",
                    "delete keys, or declare it with a larger max_entries",
                ) from None
            raise

    def __delitem__(self, key: int) -> None:
        if self._array:
            raise TypeError(f"{self.name} is an array: its values can be set, not deleted")
        if not sysbpf.map_delete(self._descriptor(), self._packed_key(key)):
            raise KeyError(key)

    def __iter__(self) -> Iterator[int]:
        if self._array:
            yield from range(self.meta.max_entries)
            return
        for raw in sysbpf.map_keys(self._descriptor(), self._key.size):
            yield self._key.unpack(raw)[0]

    def __len__(self) -> int:
        return self.meta.max_entries if self._array else sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, int):
            return False
        try:
            self.read(key)
        except (KeyError, OverflowError):
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

    def _in_range(self, key: int) -> bool:
        return not self._array or 0 <= key < self.meta.max_entries

    def _packed_key(self, key: int) -> bytes:
        return self._packed(self._key, self.meta.key, key, "key")

    def _packed(self, form: struct.Struct, kind: str, number: int, what: str) -> bytes:
        try:
            return form.pack(number)
        except struct.error:
            raise OverflowError(f"{what} {number!r} of map {self.name} is no {kind}") from None


class _PerCpu(Mapping[int, list[int]]):
    def __init__(self, view: MapView) -> None:
        self._view = view

    def __getitem__(self, key: int) -> list[int]:
        return self._view.read(key)

    def __iter__(self) -> Iterator[int]:
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
