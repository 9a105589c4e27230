# SPDX-License-Identifier: MIT
"""What an expression can be while the front end looks at it.

More than typed values: a literal has no width yet, a map or a function is no value at all.
"""

from __future__ import annotations

import ast
from types import FunctionType, ModuleType
from typing import TypeAlias

from fusebpf.abi.record import Record
from fusebpf.compiler import ir
from fusebpf.compiler.types import IntType, StructType
from fusebpf.frozen import dataclass


@dataclass(frozen=True)
class Poison:
    """The result of a mistake that was already reported: nothing more is said about it."""


@dataclass(frozen=True)
class Value:
    """A typed run-time value."""

    expr: ir.Expr


@dataclass(frozen=True)
class Flexible:
    """Inference only: an integer that has so far only seen literals and takes any type."""


@dataclass(frozen=True)
class Lit:
    """An integer known now, without a type: it takes the one of its context."""

    value: int


@dataclass(frozen=True)
class Text:
    """A constant byte string; ``shown`` is how the author wrote it."""

    raw: bytes
    shown: str


@dataclass(frozen=True)
class Group:
    """A constant set, tuple or list."""

    items: tuple[Operand, ...]


@dataclass(frozen=True)
class Nothing:
    """None."""


@dataclass(frozen=True)
class Fetch:
    """``m.get(k)``: a value or None, not yet looked at."""

    map: ir.MapDecl
    key: ir.Expr


@dataclass(frozen=True)
class Optional:
    """A local that holds a value or None; not known which."""

    name: str


@dataclass(frozen=True)
class NameView:
    """A name looked at with ``lower()`` or sliced by constants (``stop`` None: to the end)."""

    name: ir.Expr
    fold: bool = False
    start: int = 0
    stop: int | None = None
    #: Only for ``name[-n:]``: the last ``tail`` bytes.
    tail: int | None = None

    @property
    def sliced(self) -> bool:
        """Whether this is less than the whole name."""
        return self.start != 0 or self.stop is not None or self.tail is not None


@dataclass(frozen=True)
class Joining:
    """Names and constants one after another: only what a name is replaced by can be made so."""

    parts: tuple[NameView | Text, ...]


@dataclass(frozen=True)
class MapRef:
    """A map of the set."""

    decl: ir.MapDecl


@dataclass(frozen=True)
class MapSlot:
    """``m[key]`` of a map whose values are records."""

    decl: ir.MapDecl
    key: ir.Expr


@dataclass(frozen=True)
class EventRef:
    """A kind of event of the set."""

    decl: ir.EventDecl


@dataclass(frozen=True)
class RecordClass:
    """A dataclass that the set uses, called to make a record."""

    record: Record


@dataclass(frozen=True)
class RecordLocal:
    """A local that holds a copy of a map's value; not None here."""

    name: str
    record: Record


@dataclass(frozen=True)
class HelperRef:
    """A function of the same file."""

    node: ast.FunctionDef
    function: FunctionType


@dataclass(frozen=True)
class TypeRef:
    """A fixed-width type, ``int`` or ``bool``, called as a cast."""

    name: str
    type: IntType | None


@dataclass(frozen=True)
class Builtin:
    """len, range, min, max, refuse, Verdict."""

    name: str


@dataclass(frozen=True)
class ClassRef:
    """A class of the language, such as Name or OpenIn."""

    name: str
    struct: StructType | None = None


@dataclass(frozen=True)
class Range:
    """``range(start, stop, step)``."""

    start: Operand
    stop: Operand
    step: int


@dataclass(frozen=True)
class Namespace:
    """A module or enum class: its attributes are constants."""

    object: ModuleType | type
    name: str


@dataclass(frozen=True)
class Method:
    """``base.name``, about to be called."""

    base: Operand
    name: str


Operand: TypeAlias = (
    Poison
    | Value
    | Flexible
    | Lit
    | Text
    | Group
    | Nothing
    | Fetch
    | Optional
    | NameView
    | Joining
    | MapRef
    | MapSlot
    | EventRef
    | RecordClass
    | RecordLocal
    | HelperRef
    | TypeRef
    | Builtin
    | ClassRef
    | Range
    | Namespace
    | Method
)

POISON = Poison()
FLEXIBLE = Flexible()
