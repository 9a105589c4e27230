# SPDX-License-Identifier: MIT
"""Source lines of an object's instructions, from `.BTF.ext` (Documentation/bpf/btf.rst).

Generated C names its Python lines (#line), so most instructions are those of a Python line; the
others come from bpf/fusebpf.h or from "<generated>".
"""

from __future__ import annotations

import struct

from fusebpf.frozen import dataclass
from fusebpf.objfile.btf import Btf, BtfError

INSTRUCTION_BYTES = 8
_MAGIC = 0xEB9F
_HEADER = struct.Struct("=HBBIIIII")
_RECORD = struct.Struct("=IIII")
_COLUMN_BITS = 10


@dataclass(frozen=True)
class SourceLine:
    """Where the instructions from `instruction` on come from; `text` is "" where it is not known.

    Instructions are counted from the start of the section.
    """

    instruction: int
    file: str
    line: int
    text: str


def source_lines(btf: Btf, raw: bytes) -> dict[str, list[SourceLine]]:
    """Lines by section, in the order of the instructions. Raises BtfError, struct.error."""
    magic, _version, _flags, length, _functions, _size, start, size = _HEADER.unpack_from(raw)
    if magic != _MAGIC:
        raise BtfError(f".BTF.ext has magic {magic:#x}")
    at, end = length + start, length + start + size
    found: dict[str, list[SourceLine]] = {}
    if at == end:
        return found
    (record,) = struct.unpack_from("=I", raw, at)
    at += 4
    if record < _RECORD.size:
        raise BtfError(f".BTF.ext has line records of {record} bytes")
    while at < end:
        section, count = struct.unpack_from("=II", raw, at)
        at += 8
        lines = found.setdefault(btf.string(section), [])
        for _ in range(count):
            offset, file, text, place = _RECORD.unpack_from(raw, at)
            at += record
            lines.append(
                SourceLine(
                    offset // INSTRUCTION_BYTES,
                    btf.string(file).removeprefix("./"),
                    place >> _COLUMN_BITS,
                    btf.string(text),
                )
            )
    return found
