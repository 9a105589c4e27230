# SPDX-License-Identifier: MIT
"""The maps of a set under test: read and written as those of a mount, without one."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from fusebpf.abi.record import Record
from fusebpf.compiler import ir
from fusebpf.compiler.types import IntType, RecordType
from fusebpf.dsl.objects import Bytes
from fusebpf.errors import UsageError
from fusebpf.testing.case import Cell


def record_value(cls: type[Any], record: Record, raw: bytes) -> Any:
    """The instance of a dataclass that a record's bytes stand for."""
    return cls(*record.unpack(raw))


class MapView(MutableMapping[Any, Any]):
    """One map, kept between calls. Keys and values are numbers, or instances of dataclasses.

    An array has every index, 0 where nothing was stored; iterating gives what is not zero.
    """

    def __init__(self, decl: ir.MapDecl, key: type[Any], value: type[Any]) -> None:
        self.decl = decl
        self._classes = (key, value)
        #: As the runs take it.
        self.cells: dict[Cell, Cell] = {}

    def __getitem__(self, key: Any) -> Any:
        cell = self._key(key)
        if self.decl.is_array and cell not in self.cells:
            kind = self.decl.value
            zero = 0 if isinstance(kind, IntType) else bytes(kind.record.size)
            return self._shown(kind, self._classes[1], zero)
        if cell not in self.cells:
            raise KeyError(key)
        return self._shown(self.decl.value, self._classes[1], self.cells[cell])

    def __setitem__(self, key: Any, value: Any) -> None:
        cell = self._key(key)
        if cell not in self.cells and len(self.cells) >= self.decl.max_entries:
            raise UsageError(f"map {self.decl.name} is full: {self.decl.max_entries} entries")
        self.cells[cell] = self._cell(self.decl.value, self._classes[1], value)

    def __delitem__(self, key: Any) -> None:
        del self.cells[self._key(key)]

    def __iter__(self) -> Iterator[Any]:
        return (self._shown(self.decl.key, self._classes[0], cell) for cell in self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def __repr__(self) -> str:
        return f"<map {self.decl.name}: {dict(self)!r}>"

    def _key(self, key: Any) -> Cell:
        cell = self._cell(self.decl.key, self._classes[0], key)
        most = self.decl.max_entries
        if self.decl.is_array and isinstance(cell, int) and not 0 <= cell < most:
            raise UsageError(f"map {self.decl.name} has no index {cell}", f"it has 0 to {most - 1}")
        return cell

    def _cell(self, kind: IntType | RecordType, cls: type[Any], value: Any) -> Cell:
        if isinstance(kind, IntType):
            if not isinstance(value, int) or kind.wrap(value) != value:
                raise UsageError(f"{value!r} in map {self.decl.name} is no {kind}")
            return int(value)
        if isinstance(value, cls):
            value = [getattr(value, member.name) for member in kind.record.members]
        members = value if isinstance(value, list | tuple) else ()
        if len(members) != len(kind.record.members):
            raise UsageError(
                f"{value!r} in map {self.decl.name} is no {cls.__name__}",
                f"give a {cls.__name__}(...), or its members as a tuple",
            )
        return kind.record.pack([m if isinstance(m, int) else Bytes(m).raw for m in members])

    def _shown(self, kind: IntType | RecordType, cls: type[Any], cell: Cell) -> Any:
        if isinstance(cell, bytes) and isinstance(kind, RecordType):
            return record_value(cls, kind.record, cell)
        return cell
