# SPDX-License-Identifier: MIT
"""Undefined symbols that nothing refers to, taken out of an object.

clang drops a call in unreachable code after it has decided to emit the weak symbol of the kernel
function; no BTF describes it then, and libbpf refuses the whole object ("failed to find BTF for
extern").
"""

from __future__ import annotations

import struct
from typing import Final

from fusebpf.objfile import elf

# elf(5)
_SYMBOL: Final = struct.Struct("=6xH16x")
"""Elf64_Sym: its section."""
_RELOCATION: Final = struct.Struct("=12xI")
"""Elf64_Rel: the symbol's number, the upper half of r_info."""
_SHN_UNDEF = 0


def drop_dead_externs(data: bytes) -> bytes:
    """An object of clang's with every such symbol made an empty local one; often the same bytes.

    Numbers of symbols stay, so relocations stay right.
    """
    sections = elf.sections(data)
    used = {
        symbol
        for _name, kind, start, size in sections
        if kind == elf.SHT_REL
        for (symbol,) in _RELOCATION.iter_unpack(data[start : start + size])
    }
    patched = bytearray(data)
    for _name, kind, start, size in sections:
        if kind != elf.SHT_SYMTAB:
            continue
        for index, (home,) in enumerate(_SYMBOL.iter_unpack(data[start : start + size])):
            if index and home == _SHN_UNDEF and index not in used:
                place = start + index * _SYMBOL.size
                patched[place : place + _SYMBOL.size] = bytes(_SYMBOL.size)
    return bytes(patched)
