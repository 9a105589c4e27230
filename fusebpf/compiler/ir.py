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
    Operands run from left to right. ``BoolOp``, ``Conditional`` and ``Chain`` stop early as in
    Python, and evaluate every operand at most once.

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
    ``IsPresent`` and written by ``MapFetch``. ``Function.frame`` only tells the C emitter where a
    local lives.

Loops
    ``For`` runs k = 0, 1, … below ``count`` (evaluated once; ≤ ``bound``) and assigns
    ``start + k * step`` to ``var`` first; ``start`` and ``count`` are evaluated before the loop.
    ``ForEntries`` runs once per entry of a directory listing.

A filter that ends without ``Return`` returns 0 (CONTINUE).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fusebpf.abi.record import Record
from fusebpf.compiler.types import IntType, RecordType, Type

CompareOp = Literal["==", "!=", "<", "<=", ">", ">="]
UpdateOp = Literal["+", "-", "&", "|", "^"]
NameTestKind = Literal["equal", "prefix", "suffix", "at"]

# ---------------------------------------------------------------- expressions


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
    """Whether a name matches a glob pattern; with ``fold`` its ASCII letters in lower case."""

    type: Type
    name: Expr
    pattern: bytes
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

# ---------------------------------------------------------------- statements


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
    """``array[index] = value``, or ``array[index].field = value``."""

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

# ---------------------------------------------------------------- functions and the set


@dataclass(frozen=True)
class Param:
    """One parameter; ``arg`` is its name in the opcode table ("" for ctx and in helpers)."""

    name: str
    type: Type
    arg: str = ""
    writable: bool = False


@dataclass(frozen=True)
class LocalVar:
    """A local variable; ``optional`` ones have a Boolean half."""

    name: str
    type: Type
    optional: bool = False


@dataclass(frozen=True)
class Function:
    """A filter (``hook`` is set, returns a verdict) or a helper (``hook`` is None)."""

    name: str
    hook: str | None
    line: int
    params: tuple[Param, ...]
    locals: tuple[LocalVar, ...]
    returns: Type
    body: tuple[Stmt, ...]
    #: Path of the file that its lines are in.
    file: str = ""
    #: Names of locals that live in the operation's frame memory.
    frame: frozenset[str] = frozenset()
    #: Emitter only: many branches, so that values are loaded anew for each test.
    branchy: bool = False
    #: Lookup filters: the answer depends on the name and constants alone, and may be kept.
    pure: bool = False
    #: Emitter only: a function of its own, verified once for all callers; else it is inlined.
    alone: bool = False


@dataclass(frozen=True)
class MapDecl:
    """A map; sizes in entries."""

    name: str
    kind: str
    key: IntType | RecordType
    value: IntType | RecordType
    max_entries: int

    @property
    def is_array(self) -> bool:
        """Whether keys are indices and every one of them has a value."""
        return self.kind in ("array", "percpu_array")


@dataclass(frozen=True)
class EventDecl:
    """A kind of event; ``size`` is that of its ring in bytes."""

    name: str
    record: Record
    size: int


@dataclass(frozen=True)
class ConfigDecl:
    """A value chosen at load; its default."""

    name: str
    type: Type
    default: int
    least: int
    most: int


@dataclass(frozen=True)
class Program:
    """A filter set: helpers come before the functions that call them."""

    name: str
    file: str
    maps: tuple[MapDecl, ...]
    helpers: tuple[Function, ...]
    filters: tuple[Function, ...]
    #: Whether a ``+=`` on a hash may count in the set's ``lost`` counter.
    counts_lost: bool = field(default=False)
    configs: tuple[ConfigDecl, ...] = ()
    events: tuple[EventDecl, ...] = ()
