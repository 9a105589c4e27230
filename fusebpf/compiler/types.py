# SPDX-License-Identifier: MIT
"""Types of the filter language and how they combine.

Arithmetic happens in ``s64`` or ``u64`` only. The narrower integer types say which values an
expression can have (a ``u32`` field is 0…2³²-1); they widen by value and never wrap on the way.
"""

from __future__ import annotations

from fusebpf.abi.record import Record
from fusebpf.frozen import dataclass


@dataclass(frozen=True)
class IntType:
    """A two's complement integer of ``bits`` (8, 16, 32 or 64) bits."""

    bits: int
    signed: bool

    @property
    def lo(self) -> int:
        """Smallest value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """Largest value."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def wrap(self, value: int) -> int:
        """``value`` modulo 2**bits, in this type's range."""
        value &= (1 << self.bits) - 1
        return value - (1 << self.bits) if value > self.hi else value

    def holds(self, value: int) -> bool:
        """Whether ``value`` is in range."""
        return self.lo <= value <= self.hi

    def contains(self, other: IntType) -> bool:
        """Whether every value of ``other`` is in range."""
        return self.lo <= other.lo and other.hi <= self.hi

    def contains_type(self, other: object) -> bool:
        """Whether every value of any type is in range; True for bool."""
        return isinstance(other, BoolType) or (isinstance(other, IntType) and self.contains(other))

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}"

    @property
    def c_name(self) -> str:
        """The C type, e.g. ``__u32``."""
        return f"__{self}"


@dataclass(frozen=True)
class BoolType:
    """True or False; an integer in arithmetic."""

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True)
class VerdictType:
    """What a filter decides: a constant such as CONTINUE, or a negated errno."""

    def __str__(self) -> str:
        return "Verdict"


@dataclass(frozen=True)
class ErrnoType:
    """An error number such as ENOENT, not yet a verdict."""

    def __str__(self) -> str:
        return "Errno"


@dataclass(frozen=True)
class NameType:
    """A byte string of at most 255 bytes without its NUL."""

    def __str__(self) -> str:
        return "Name"


@dataclass(frozen=True)
class ContextType:
    """The first parameter of every filter."""

    def __str__(self) -> str:
        return "Context"


@dataclass(frozen=True)
class StructType:
    """An argument struct of the opcode table; ``name`` is the C name, ``py_name`` the class."""

    name: str
    py_name: str

    def __str__(self) -> str:
        return self.py_name


@dataclass(frozen=True)
class DirentsType:
    """The entries of one directory listing."""

    def __str__(self) -> str:
        return "Dirents"


@dataclass(frozen=True)
class DirentType:
    """One directory entry, inside a loop over Dirents."""

    def __str__(self) -> str:
        return "Dirent"


@dataclass(frozen=True)
class BufferType:
    """A byte string of at most 4,095 bytes; an ``opaque`` one cannot be looked into."""

    opaque: bool = False

    def __str__(self) -> str:
        return "Buffer"


@dataclass(frozen=True)
class RecordType:
    """A dataclass: a map's key or value, or an event."""

    record: Record

    def __str__(self) -> str:
        return self.record.name


@dataclass(frozen=True)
class NoneType:
    """No value."""

    def __str__(self) -> str:
        return "None"


Type = (
    IntType
    | BoolType
    | VerdictType
    | ErrnoType
    | NameType
    | ContextType
    | StructType
    | DirentsType
    | DirentType
    | BufferType
    | RecordType
    | NoneType
)

U8 = IntType(8, False)
U16 = IntType(16, False)
U32 = IntType(32, False)
U64 = IntType(64, False)
S8 = IntType(8, True)
S16 = IntType(16, True)
S32 = IntType(32, True)
S64 = IntType(64, True)
BOOL = BoolType()
VERDICT = VerdictType()
ERRNO = ErrnoType()
NAME = NameType()
CONTEXT = ContextType()
DIRENTS = DirentsType()
DIRENT = DirentType()
BUFFER = BufferType()
OPAQUE = BufferType(opaque=True)
#: What is compared, sliced and looked into byte by byte.
TEXTS: tuple[Type, ...] = (NAME, BUFFER)
NONE = NoneType()

#: Integer types by the name that a filter's author uses.
INT_TYPES: dict[str, IntType] = {str(t): t for t in (U8, U16, U32, U64, S8, S16, S32, S64)}


def int_type_of(ctype: str) -> IntType:
    """The integer type of a C scalar of the opcode table (``__u32``)."""
    return INT_TYPES[ctype.removeprefix("__")]


def most_bytes(type_: Type) -> int:
    """The longest a Name or Buffer can be."""
    return 255 if isinstance(type_, NameType) else 4095
