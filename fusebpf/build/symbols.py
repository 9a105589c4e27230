# SPDX-License-Identifier: MIT
"""Undefined symbols that nothing refers to, taken out of an object.

clang drops a call in unreachable code after it has decided to emit the weak symbol of the kernel
function; no BTF describes it then, and libbpf refuses the whole object ("failed to find BTF for
extern").
"""

from __future__ import annotations

import io

_SYMBOL_SIZE = 24
"""sizeof(Elf64_Sym): name (4), info, other, section (2), value (8), size (8)."""


def drop_dead_externs(data: bytes) -> bytes:
    """The object with every such symbol made an empty local one; often the same bytes.

    Numbers of symbols stay, so relocations stay right. Raises ``ELFError`` for no ELF file.
    """
    from elftools.elf.elffile import ELFFile
    from elftools.elf.relocation import RelocationSection
    from elftools.elf.sections import SymbolTableSection

    elf = ELFFile(io.BytesIO(data))
    used = {
        relocation["r_info_sym"]
        for section in elf.iter_sections()
        if isinstance(section, RelocationSection)
        for relocation in section.iter_relocations()
    }
    patched = bytearray(data)
    for section in elf.iter_sections():
        if not isinstance(section, SymbolTableSection):
            continue
        for index, symbol in enumerate(section.iter_symbols()):
            dead = symbol["st_shndx"] == "SHN_UNDEF" and index not in used
            if index and dead:
                at = section["sh_offset"] + index * _SYMBOL_SIZE
                patched[at : at + _SYMBOL_SIZE] = bytes(_SYMBOL_SIZE)
    return bytes(patched)
