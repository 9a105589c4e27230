# SPDX-License-Identifier: MIT
"""The shapes of the opcode table: fields, structs, arguments, operations and hooks.

Sizes and offsets are computed here by the C rules of 64-bit little-endian kernels
(natural alignment) and compared with the real UAPI header by a compiled probe in the tests.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from fusebpf.frozen import dataclass

ArgKind = Literal["struct", "name", "bytes", "dirents", "entries"]
Phase = Literal["pre", "post"]

#: C scalar types: size in bytes and signedness.
SCALARS: dict[str, tuple[int, bool]] = {
    "__u8": (1, False),
    "__u16": (2, False),
    "__u32": (4, False),
    "__u64": (8, False),
    "__s8": (1, True),
    "__s16": (2, True),
    "__s32": (4, True),
    "__s64": (8, True),
}


@dataclass(frozen=True)
class Field:
    """One member of a struct; ``offset`` and ``size`` (of all ``count`` elements) are in bytes."""

    name: str
    ctype: str
    offset: int
    size: int
    count: int = 1
    struct: Struct | None = None
    reserved: bool = False

    @property
    def signed(self) -> bool:
        """Whether the scalar is signed; False for a nested struct."""
        return self.struct is None and SCALARS[self.ctype][1]

    @property
    def bits(self) -> int:
        """Width of one element in bits; 0 for a nested struct."""
        return 0 if self.struct else SCALARS[self.ctype][0] * 8


@dataclass(frozen=True)
class Struct:
    """A C struct of the FUSE wire format. ``size`` is in bytes."""

    name: str
    py_name: str
    doc: str
    fields: tuple[Field, ...]
    size: int
    align: int
    #: False for the structs that fuse-bpf adds to include/uapi/linux/fuse.h.
    stock: bool = True

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """Fields by name."""
        return {field.name: field for field in self.fields}


@dataclass(frozen=True)
class Arg:
    """One argument of a filter after the context.

    ``max_size`` is the largest size in bytes of a buffer (names include their NUL), 0 for a struct.
    ``writable`` is the contract's "W": a filter may change it, and the operation uses the change.
    """

    name: str
    kind: ArgKind
    struct: Struct | None
    writable: bool
    max_size: int = 0

    @property
    def direction(self) -> Literal["in", "out"]:
        """Whether the operation reads ("in") or produces ("out") this argument."""
        if self.struct is not None:
            return "out" if self.struct.name.endswith("_out") else "in"
        return "out" if self.kind in ("dirents", "entries") or self.name == "result" else "in"


@dataclass(frozen=True)
class Op:
    """One operation with a pair of hooks.

    ``form_a`` is False where a kernel limited to 64 struct_ops members has no slot (rename, which
    rename2 serves). ``error_in`` tells whether a failure of the lower call reaches the postfilter.
    """

    name: str
    opcode_name: str
    opcode: int
    doc: str
    deciding: str
    pre: tuple[Arg, ...]
    post: tuple[Arg, ...]
    form_a: bool = True


@dataclass(frozen=True)
class Hook:
    """One function member of ``struct fuse_ops``."""

    name: str
    op: str
    phase: Phase
    opcode: int
    args: tuple[Arg, ...]
    doc: str
    form_a: bool = True


def make_struct(
    name: str, py_name: str, doc: str, members: str, known: dict[str, Struct], stock: bool = True
) -> Struct:
    """Lay out a struct from ``"type name; type name[n]; …"`` by natural alignment.

    A leading ``-`` on a name marks it reserved: kept in the layout, hidden from filters.

    Raises ``KeyError`` for an unknown type.
    """
    fields: list[Field] = []
    offset = 0
    align = 1
    for member in (part.split() for part in members.split(";") if part.strip()):
        ctype, field_name = member
        reserved = field_name.startswith("-")
        field_name = field_name.lstrip("-")
        count = 1
        if field_name.endswith("]"):
            field_name, _, digits = field_name[:-1].partition("[")
            count = int(digits)
        nested = known.get(ctype)
        one = nested.size if nested else SCALARS[ctype][0]
        one_align = nested.align if nested else one
        offset = -(-offset // one_align) * one_align
        align = max(align, one_align)
        fields.append(Field(field_name, ctype, offset, one * count, count, nested, reserved))
        offset += one * count
    size = -(-offset // align) * align
    return Struct(name, py_name, doc, tuple(fields), size, align, stock)
