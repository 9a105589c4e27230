# SPDX-License-Identifier: MIT
"""Undefined symbols that nothing refers to, taken out of an object.

clang drops a call in unreachable code after it has decided to emit the weak symbol of the kernel
function; no BTF describes it then, and libbpf refuses the whole object ("failed to find BTF for
extern").
"""

from __future__ import annotations

import struct
from typing import Final

# elf.h. Not by pyelftools: it takes a tenth of a second for the thousands of relocations of lines.
_SECTIONS: Final = struct.Struct("=40xQ10xHH")
"""Elf64_Ehdr: where the table of sections is, the size of an entry, how many there are."""
_SECTION: Final = struct.Struct("=4xI16xQQ")
"""Elf64_Shdr: type, place in the file, size."""
_SYMBOL: Final = struct.Struct("=6xH16x")
"""Elf64_Sym: its section."""
_RELOCATION: Final = struct.Struct("=12xI")
"""Elf64_Rel: the symbol's number, the upper half of r_info."""
_SHT_SYMTAB, _SHT_REL = 2, 9
_SHN_UNDEF = 0


def drop_dead_externs(data: bytes) -> bytes:
    """An object of clang's with every such symbol made an empty local one; often the same bytes.

    Numbers of symbols stay, so relocations stay right.
    """
    at, width, count = _SECTIONS.unpack_from(data)
    sections = [_SECTION.unpack_from(data, at + width * index) for index in range(count)]
    used = {
        symbol
        for kind, start, size in sections
        if kind == _SHT_REL
        for (symbol,) in _RELOCATION.iter_unpack(data[start : start + size])
    }
    patched = bytearray(data)
    for kind, start, size in sections:
        if kind != _SHT_SYMTAB:
            continue
        for index, (home,) in enumerate(_SYMBOL.iter_unpack(data[start : start + size])):
            if index and home == _SHN_UNDEF and index not in used:
                place = start + index * _SYMBOL.size
                patched[place : place + _SYMBOL.size] = bytes(_SYMBOL.size)
    return bytes(patched)
