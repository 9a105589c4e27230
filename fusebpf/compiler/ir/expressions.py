# SPDX-License-Identifier: MIT
"""Expressions; the package's text has the rules."""

from __future__ import annotations

from typing import Literal

from fusebpf.compiler.types import IntType, RecordType, Type
from fusebpf.frozen import dataclass

CompareOp = Literal["==", "!=", "<", "<=", ">", ">="]
NameTestKind = Literal["equal", "prefix", "suffix", "at"]


@dataclass(frozen=True)
class Const:
    """An integer, Boolean (0/1) or verdict."""

    type: Type
    value: int


@dataclass(frozen=True)
class Config:
    """A value chosen at load, from ``least`` to ``most``; a bool or an integer."""

    type: Type
    name: str
    least: int
    most: int


@dataclass(frozen=True)
class Local:
    """A local variable or parameter, including ctx, names, structs and the loop's Dirent."""

    type: Type
    name: str


@dataclass(frozen=True)
class IsPresent:
    """Whether an optional local holds a value (bool)."""

    type: Type
    name: str


@dataclass(frozen=True)
class CtxField:
    """A member of the context: uid, gid, euid, egid, pid, tid, nodeid, opcode, error_in, tag, tag2
    or ktime."""

    type: Type
    field: str


@dataclass(frozen=True)
class StructField:
    """A member of a struct parameter; ``path`` is e.g. ``("attr", "mode")``."""

    type: Type
    param: str
    struct: str
    path: tuple[str, ...]


@dataclass(frozen=True)
class DirentField:
    """``ino`` (u64) or ``type`` (u32) of the current directory entry."""

    type: Type
    var: str
    field: str


@dataclass(frozen=True)
class DirentName:
    """The name of the current directory entry."""

    type: Type
    var: str


@dataclass(frozen=True)
class NameLen:
    """Length of a name in bytes, 0…255."""

    type: Type
    name: Expr


@dataclass(frozen=True)
class NameByte:
    """One byte of a name; a negative index counts from the end; outside the name it is 0."""

    type: Type
    name: Expr
    index: Expr


@dataclass(frozen=True)
class NameTest:
    """Whether a name matches any of ``values``.

    ``how``: ``equal`` (whole name), ``prefix``, ``suffix``, or ``at`` (the bytes from ``offset``
    on are ``value``, and more may follow). With ``whole`` an ``at`` match must end the name.
    ``values`` are in lower case when ``fold`` is set.
    """

    type: Type
    name: Expr
    how: NameTestKind
    values: tuple[bytes, ...]
    fold: bool = False
    offset: int = 0
    whole: bool = False


@dataclass(frozen=True)
class NamePart:
    """``name[start:stop]``; a ``stop`` of None is the end. Has the type of ``name``."""

    type: Type
    name: Expr
    start: Expr
    stop: Expr | None


@dataclass(frozen=True)
class NameGlob:
    """Whether a name matches a glob pattern; with ``fold`` its ASCII letters in lower case.

    Any of ``patterns`` will do: there are several where the name must not be made again for each.
    """

    type: Type
    name: Expr
    patterns: tuple[bytes, ...]
    fold: bool = False


@dataclass(frozen=True)
class NameSame:
    """Whether two names have the same bytes."""

    type: Type
    left: Expr
    right: Expr


@dataclass(frozen=True)
class NameJoin:
    """The bytes of names and constants one after another: what a name can be replaced by.

    ``folds`` says of each part whether its ASCII letters are taken in lower case.
    """

    type: Type
    parts: tuple[Expr, ...]
    folds: tuple[bool, ...]


@dataclass(frozen=True)
class NameWalk:
    """The state (s64) of the automaton ``map`` after the bytes of a whole name.

    Begins in ``state`` (u64); -22 when a state on the way does not exist.
    """

    type: Type
    name: Expr
    map: str
    state: Expr


@dataclass(frozen=True)
class Cast:
    """The operand modulo the width of ``type`` (an IntType)."""

    type: IntType
    operand: Expr


@dataclass(frozen=True)
class Unary:
    """Wrapping ``-`` or ``~``."""

    type: IntType
    op: Literal["-", "~"]
    operand: Expr


@dataclass(frozen=True)
class Not:
    """``not``: 1 when the operand is 0, else 0."""

    type: Type
    operand: Expr


@dataclass(frozen=True)
class Binary:
    """Wrapping arithmetic in ``type``. The count of a shift may have any integer type."""

    type: IntType
    op: Literal["+", "-", "*", "//", "%", "&", "|", "^", "<<", ">>"]
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Compare:
    """Exact comparison of integers, Booleans or verdicts by value."""

    type: Type
    op: CompareOp
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Chain:
    """``a < b < c``: every operand once, left to right, stopping at the first false link."""

    type: Type
    ops: tuple[CompareOp, ...]
    operands: tuple[Expr, ...]


@dataclass(frozen=True)
class OneOf:
    """Whether an integer or verdict is one of some constants."""

    type: Type
    operand: Expr
    values: tuple[int, ...]


@dataclass(frozen=True)
class BoolOp:
    """``and`` / ``or``: the value of the operand that decides; all have this node's type."""

    type: Type
    op: Literal["and", "or"]
    operands: tuple[Expr, ...]


@dataclass(frozen=True)
class Conditional:
    """``then if test else other``."""

    type: Type
    test: Expr
    then: Expr
    other: Expr


@dataclass(frozen=True)
class MinMax:
    """The smallest (``min``) or largest (``max``) of operands of this node's type."""

    type: IntType
    op: Literal["min", "max"]
    operands: tuple[Expr, ...]


@dataclass(frozen=True)
class Kept:
    """The value of ``operand``, by way of the local ``name`` of the frame (choices.py)."""

    type: IntType
    name: str
    operand: Expr


@dataclass(frozen=True)
class Refuse:
    """A verdict made from a number: -clamp(\\|operand\\|, 1, 511)."""

    type: Type
    operand: Expr


@dataclass(frozen=True)
class Bytes:
    """Constant bytes."""

    type: Type
    value: bytes


@dataclass(frozen=True)
class MakeRecord:
    """A record; ``values`` are in the order of its members."""

    type: RecordType
    values: tuple[Expr, ...]


@dataclass(frozen=True)
class MapGet:
    """The value of ``key``, or ``default`` (of the value's type) when it is missing."""

    type: IntType
    map: str
    key: Expr
    default: Expr


@dataclass(frozen=True)
class MapHas:
    """Whether ``key`` is in the map."""

    type: Type
    map: str
    key: Expr


@dataclass(frozen=True)
class MapItem:
    """The value at ``index`` of an array map, or its member ``field``."""

    type: IntType
    map: str
    index: Expr
    field: str = ""


@dataclass(frozen=True)
class MapPut:
    """Store ``value`` under ``key``; true unless the map is full."""

    type: Type
    map: str
    key: Expr
    value: Expr


@dataclass(frozen=True)
class MapDiscard:
    """Remove ``key``; true if it was there."""

    type: Type
    map: str
    key: Expr


@dataclass(frozen=True)
class Call:
    """A helper function of the same file; ``type`` is its return type (NONE: no value)."""

    type: Type
    function: str
    args: tuple[Expr, ...]


Expr = (
    Const
    | Config
    | Local
    | IsPresent
    | CtxField
    | StructField
    | DirentField
    | DirentName
    | NameLen
    | NameByte
    | NameTest
    | NamePart
    | NameGlob
    | NameSame
    | NameJoin
    | NameWalk
    | Cast
    | Unary
    | Not
    | Binary
    | Compare
    | Chain
    | OneOf
    | BoolOp
    | Conditional
    | MinMax
    | Kept
    | Refuse
    | Bytes
    | MakeRecord
    | MapGet
    | MapHas
    | MapItem
    | MapPut
    | MapDiscard
    | Call
)
