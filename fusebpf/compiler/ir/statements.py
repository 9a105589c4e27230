# SPDX-License-Identifier: MIT
"""Statements; the package's text has the rules."""

from __future__ import annotations

from typing import Literal

from fusebpf.compiler.ir.expressions import Expr, MakeRecord, NameJoin
from fusebpf.compiler.types import IntType
from fusebpf.frozen import dataclass

UpdateOp = Literal["+", "-", "&", "|", "^"]


@dataclass(frozen=True)
class Assign:
    """``target = value``; the value has the local's type."""

    line: int
    target: str
    value: Expr


@dataclass(frozen=True)
class MapFetch:
    """``target = m.get(key)``: both halves of an optional local.

    Of a record, ``fields`` names the members that are read and the locals that get them (0 when
    the key is missing); the first half of ``target`` is not used.
    """

    line: int
    target: str
    map: str
    key: Expr
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class SetField:
    """Store to a member of a struct parameter; the value has the member's type."""

    line: int
    param: str
    struct: str
    path: tuple[str, ...]
    value: Expr


@dataclass(frozen=True)
class SetTag:
    """Give the looked-up inode a tag (u64)."""

    line: int
    value: Expr


@dataclass(frozen=True)
class ForgetTag:
    """From here on the tag is read as the operation began with it, whatever was set."""

    line: int


@dataclass(frozen=True)
class KeepAnswer:
    """The answer of this lookup holds for ``value`` nanoseconds (u64)."""

    line: int
    value: Expr


@dataclass(frozen=True)
class ClearError:
    """The operation succeeds where it failed, unless the verdict is a refusal."""

    line: int


@dataclass(frozen=True)
class Replace:
    """Give a name or buffer argument other contents.

    A name that would be empty or have more than 255 bytes ends the filter with -EINVAL.
    """

    line: int
    param: str
    value: Expr


@dataclass(frozen=True)
class MapSet:
    """``array[index] = value``, or ``array[index].field = value``; ``value`` comes first."""

    line: int
    map: str
    index: Expr
    value: Expr
    field: str = ""


@dataclass(frozen=True)
class MapUpdate:
    """``m[key] op= value`` or ``m[key].field op= value``: atomic, wrapping in the type changed.

    On a hash the key is inserted with zeros first when it is missing.
    """

    line: int
    map: str
    key: Expr
    op: UpdateOp
    value: Expr
    field: str = ""


@dataclass(frozen=True)
class Emit:
    """Send an event to user space."""

    line: int
    event: str
    value: MakeRecord


@dataclass(frozen=True)
class Debug:
    """Print; ``format`` is as of printf, with one 64-bit number for each of ``values``."""

    line: int
    format: str
    values: tuple[Expr, ...]


@dataclass(frozen=True)
class Drop:
    """Remove the current directory entry from the listing."""

    line: int
    var: str


@dataclass(frozen=True)
class RenameEntry:
    """Give the current directory entry another name, a ``NameJoin``.

    An entry whose new name is empty, or has more bytes than its first name rounded up to a multiple
    of 8, is left out instead.
    """

    line: int
    var: str
    value: NameJoin


@dataclass(frozen=True)
class SetEntryType:
    """Give the current directory entry another DT_* type: the value (u64) modulo 16."""

    line: int
    var: str
    value: Expr


@dataclass(frozen=True)
class Do:
    """An expression for its effect (a call, put or discard)."""

    line: int
    value: Expr


@dataclass(frozen=True)
class If:
    """``test`` is an integer or Boolean; non-zero is true."""

    line: int
    test: Expr
    then: tuple[Stmt, ...]
    other: tuple[Stmt, ...]


@dataclass(frozen=True)
class For:
    """A counted loop; see the module's text. ``start`` has the type of ``var``."""

    line: int
    var: str
    var_type: IntType
    start: Expr
    step: int
    count: Expr
    bound: int
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class ForEntries:
    """A loop over the entries of a directory listing."""

    line: int
    var: str
    param: str
    bound: int
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class Break:
    """Leave the innermost loop."""

    line: int


@dataclass(frozen=True)
class Continue:
    """Next turn of the innermost loop."""

    line: int


@dataclass(frozen=True)
class Return:
    """End the function; ``value`` is None in a helper without a value."""

    line: int
    value: Expr | None


Stmt = (
    Assign
    | MapFetch
    | SetField
    | SetTag
    | ForgetTag
    | KeepAnswer
    | ClearError
    | Replace
    | MapSet
    | MapUpdate
    | Emit
    | Debug
    | Drop
    | RenameEntry
    | SetEntryType
    | Do
    | If
    | For
    | ForEntries
    | Break
    | Continue
    | Return
)
