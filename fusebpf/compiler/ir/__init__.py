# SPDX-License-Identifier: MIT
"""The typed intermediate representation (IR) of a filter set.

Small and explicit, so that two readers agree: the C emitter, and the typed Python run of
``fusebpf.testing``. A reader needs these rules and nothing else.

Values
    A value is a Python ``int`` (integers, booleans as 0/1, verdicts as their number: 0…5 or a
    negative errno), or an opaque reference (Name, Context, struct, Dirents, Dirent).
    Every expression has ``type``; an integer value is always in the range of its type.

Integers
    ``Cast`` takes its operand modulo the width of its type (a widening cast keeps the value).
    ``Unary`` and ``Binary`` have operands of exactly their own type (except the count of a
    shift) and wrap modulo the width of that type. ``//`` and ``%`` floor, as in Python; the
    divisor is proved non-zero by the front end. Shift counts are 0…63; ``>>`` floors.
    ``Compare`` compares the mathematical values whatever the two types are.
    ``Not`` and conditions see any integer: non-zero is true.

Order
    Operands run from left to right; what ``MapSet`` stores runs before its index. ``BoolOp``,
    ``Conditional`` and ``Chain`` stop early as in Python, and evaluate every operand at most once.

Names
    A Name is a byte string without its NUL, 0…255 bytes; a Buffer one of 0…4095. What is said of
    names holds for both. ``NameByte`` with an index outside -len…len-1 is 0. ``NamePart`` cuts its
    ends off as a slice does in Python. ``NameTest`` is true when any of ``values`` matches;
    ``NameGlob`` is ``fnmatch.fnmatchcase`` on bytes. With ``fold`` ASCII letters of the name are
    taken as lower case first.

Records
    A record is the bytes of a dataclass, padding zero. ``MakeRecord`` has a value for each member;
    numbers have the member's type, bytes are cut off or padded with zeros.

Maps
    A map is known by its declared name. Array maps have indices 0…max_entries-1, proved in range
    by the front end. ``MapGet`` of a missing key is ``default``. ``MapAdd`` inserts 0 first
    when the key is missing; on a full map it changes nothing and counts one in ``lost``.
    A per-CPU map is read and written on the running CPU.

Locals
    Function-wide. Optional locals (results of ``m.get(k)``) have a second, Boolean half, read by
    ``IsPresent`` and written by ``MapFetch``; ``Assign`` makes it true. ``Function.frame`` only
    tells the C emitter where a local lives.

Loops
    ``For`` runs k = 0, 1, … below ``count`` (evaluated once; ≤ ``bound``) and assigns
    ``start + k * step`` to ``var`` first; ``start`` and ``count`` are evaluated before the loop.
    ``ForEntries`` runs once per entry of a directory listing that is not left out when its turn
    comes.

A filter that ends without ``Return`` returns 0 (CONTINUE).
"""

from __future__ import annotations

from fusebpf.compiler.ir.expressions import (
    Binary,
    BoolOp,
    Bytes,
    Call,
    Cast,
    Chain,
    Compare,
    CompareOp,
    Conditional,
    Config,
    Const,
    CtxField,
    DirentField,
    DirentName,
    Expr,
    IsPresent,
    Kept,
    Local,
    MakeRecord,
    MapDiscard,
    MapGet,
    MapHas,
    MapItem,
    MapPut,
    MinMax,
    NameByte,
    NameGlob,
    NameJoin,
    NameLen,
    NamePart,
    NameSame,
    NameTest,
    NameTestKind,
    NameWalk,
    Not,
    OneOf,
    Refuse,
    StructField,
    Unary,
)
from fusebpf.compiler.ir.functions import (
    ConfigDecl,
    EventDecl,
    Function,
    LocalVar,
    MapDecl,
    Param,
    Program,
)
from fusebpf.compiler.ir.statements import (
    Assign,
    Break,
    ClearError,
    Continue,
    Debug,
    Do,
    Drop,
    Emit,
    For,
    ForEntries,
    ForgetTag,
    If,
    KeepAnswer,
    MapFetch,
    MapSet,
    MapUpdate,
    RenameEntry,
    Replace,
    Return,
    SetEntryType,
    SetField,
    SetTag,
    Stmt,
    UpdateOp,
)

__all__ = [
    "Assign",
    "Binary",
    "BoolOp",
    "Break",
    "Bytes",
    "Call",
    "Cast",
    "Chain",
    "ClearError",
    "Compare",
    "CompareOp",
    "Conditional",
    "Config",
    "ConfigDecl",
    "Const",
    "Continue",
    "CtxField",
    "Debug",
    "DirentField",
    "DirentName",
    "Do",
    "Drop",
    "Emit",
    "EventDecl",
    "Expr",
    "For",
    "ForEntries",
    "ForgetTag",
    "Function",
    "If",
    "IsPresent",
    "KeepAnswer",
    "Kept",
    "Local",
    "LocalVar",
    "MakeRecord",
    "MapDecl",
    "MapDiscard",
    "MapFetch",
    "MapGet",
    "MapHas",
    "MapItem",
    "MapPut",
    "MapSet",
    "MapUpdate",
    "MinMax",
    "NameByte",
    "NameGlob",
    "NameJoin",
    "NameLen",
    "NamePart",
    "NameSame",
    "NameTest",
    "NameTestKind",
    "NameWalk",
    "Not",
    "OneOf",
    "Param",
    "Program",
    "Refuse",
    "RenameEntry",
    "Replace",
    "Return",
    "SetEntryType",
    "SetField",
    "SetTag",
    "Stmt",
    "StructField",
    "Unary",
    "UpdateOp",
]
