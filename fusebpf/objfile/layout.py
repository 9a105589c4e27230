# SPDX-License-Identifier: MIT
"""Which source line an instruction of a loaded program came from.

The kernel counts the instructions of a program with those of the functions that it calls, which
libbpf appends in the order of their first call.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from io import BytesIO
from typing import Any

from fusebpf.objfile.btf import Btf
from fusebpf.objfile.lines import INSTRUCTION_BYTES, SourceLine, source_lines

_CALL = 0x85
_PSEUDO_CALL = 1


class Layout:
    """The programs of an object, as they are loaded."""

    def __init__(self, data: bytes) -> None:
        from elftools.elf.elffile import ELFFile

        self._elf: Any = ELFFile(BytesIO(data))
        self._sections = list(self._elf.iter_sections())
        symtab: Any = self._elf.get_section_by_name(".symtab")
        self._symbols = list(symtab.iter_symbols()) if symtab is not None else []
        btf, ext = (self._elf.get_section_by_name(name) for name in (".BTF", ".BTF.ext"))
        self._lines: dict[str, list[SourceLine]] = {}
        if btf is not None and ext is not None:
            self._lines = source_lines(Btf(btf.data()), ext.data())

    def line(self, program: str, instruction: int, suffix: str = ".py") -> SourceLine | None:
        """The line of an author's file that an instruction of a program came from.

        An instruction of a header belongs to the line before it: what is inlined has no other.
        """
        place = self._place(program, instruction)
        if place is None:
            return None
        section, offset = place
        lines = self._lines.get(section, [])
        last = bisect_right([line.instruction for line in lines], offset // INSTRUCTION_BYTES)
        return next((line for line in lines[:last][::-1] if line.file.endswith(suffix)), None)

    def _place(self, program: str, instruction: int) -> tuple[str, int] | None:
        """Section of an instruction, and its place there in bytes."""
        symbol = next((s for s in self._symbols if s.name == program), None)
        if symbol is None or not isinstance(symbol["st_shndx"], int):
            return None
        section, start = int(symbol["st_shndx"]), int(symbol["st_value"])
        first = 0
        for index, begin, size in self._parts(section, start, int(symbol["st_size"])):
            count = size // INSTRUCTION_BYTES
            if instruction < first + count:
                return self._sections[index].name, begin + (instruction - first) * INSTRUCTION_BYTES
            first += count
        return None

    def _parts(self, section: int, start: int, size: int) -> list[tuple[int, int, int]]:
        """The program and the functions it calls, in the order in which libbpf appends them."""
        order = [(section, start, size)]

        def visit(index: int, begin: int, length: int) -> None:
            code = self._sections[index].data()
            moved = self._relocations(index)
            for at in range(begin, begin + length, INSTRUCTION_BYTES):
                if code[at] != _CALL or code[at + 1] >> 4 != _PSEUDO_CALL:
                    continue
                (imm,) = struct.unpack_from("<i", code, at + 4)
                target, offset = index, at + (imm + 1) * INSTRUCTION_BYTES
                if at in moved:
                    symbol = moved[at]
                    if symbol["st_shndx"] == "SHN_UNDEF":  # a function of the kernel
                        continue
                    target = int(symbol["st_shndx"])
                    named = symbol["st_info"]["type"] == "STT_FUNC"
                    offset = int(symbol["st_value"]) + (
                        0 if named else (imm + 1) * INSTRUCTION_BYTES
                    )
                entry = self._function(target, offset)
                if entry is not None and entry not in order:
                    order.append(entry)
                    visit(*entry)

        visit(section, start, size)
        return order

    def _relocations(self, index: int) -> dict[int, Any]:
        name = f".rel{self._sections[index].name}"
        section = self._elf.get_section_by_name(name)
        if section is None:
            return {}
        return {
            int(entry["r_offset"]): self._symbols[entry["r_info_sym"]]
            for entry in section.iter_relocations()
        }

    def _function(self, index: int, offset: int) -> tuple[int, int, int] | None:
        for symbol in self._symbols:
            if (
                symbol["st_shndx"] == index
                and symbol["st_info"]["type"] == "STT_FUNC"
                and int(symbol["st_value"]) == offset
            ):
                return index, offset, int(symbol["st_size"])
        return None
