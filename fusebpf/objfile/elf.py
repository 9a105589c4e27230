# SPDX-License-Identifier: MIT
"""The sections of an ELF object (elf(5)), without pyelftools.

To attach needs no more than one of them, and importing pyelftools and reading a whole object with
it took half of the start of `guard run`; to compile needs the thousands of relocations of lines.
"""

from __future__ import annotations

import struct
from typing import Final

MAGIC: Final = b"\x7fELF"
SHT_SYMTAB: Final = 2
SHT_NOBITS: Final = 8
SHT_REL: Final = 9
_CLASS_64, _LITTLE = 2, 1
_EM_BPF = 247
_CUT = "a broken ELF object: cut short"
_HEADER: Final = struct.Struct("<4xBB12xH20xQ10x3H")
"""Elf64_Ehdr: class, order, machine; of the sections' table: place, size of an entry, how many
there are, number of the one with their names."""
_SECTION: Final = struct.Struct("<2I16xQQ24x")
"""Elf64_Shdr: name, type, place in the file, size."""

Section = tuple[int, int, int, int]


class ElfError(ValueError):
    """Not a whole ELF object for BPF, 64-bit and little-endian; its text says what it is."""


def sections(data: bytes) -> list[Section]:
    """Name (as a place among the names), type, place and size of each. Raises ElfError."""
    return _table(data)[0]


def section(data: bytes, name: str) -> bytes | None:
    """What is in the section of this name; None when there is none. Raises ElfError."""
    table, names = _table(data)
    if names >= len(table):
        raise ElfError("a broken ELF object: its sections have no names")
    strings, wanted = _content(data, table[names]), name.encode() + b"\0"
    return next((_content(data, e) for e in table if strings.startswith(wanted, e[0])), None)


def _table(data: bytes) -> tuple[list[Section], int]:
    if not data.startswith(MAGIC):
        raise ElfError("not an ELF object")
    try:
        bits, order, machine, start, width, count, names = _HEADER.unpack_from(data)
        if machine != _EM_BPF:
            raise ElfError("ELF, but not for BPF")
        if (bits, order, width) != (_CLASS_64, _LITTLE, _SECTION.size):
            raise ElfError("a broken ELF object: not 64-bit and little-endian")
        return [_SECTION.unpack_from(data, start + at * width) for at in range(count)], names
    except (struct.error, OverflowError):
        raise ElfError(_CUT) from None


def _content(data: bytes, entry: Section) -> bytes:
    _name, kind, start, size = entry
    if kind == SHT_NOBITS:
        return bytes(0)
    if start + size > len(data):
        raise ElfError(_CUT)
    return data[start : start + size]
