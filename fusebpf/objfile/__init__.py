# SPDX-License-Identifier: MIT
"""Read a compiled object back: what it says of itself, its programs, its sections."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from fusebpf.build.metadata import SECTION, Metadata
from fusebpf.errors import FusebpfError

ELF_MAGIC = b"\x7fELF"
_EM_BPF = "EM_BPF"


class ObjectFileError(FusebpfError):
    """A file that is no object of ours: not ELF, not BPF, or without metadata."""


@dataclass(frozen=True)
class Section:
    """An ELF section; `size` is in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class ProgramEntry:
    """A program: its function's name, its section (`struct_ops/...`), its size in bytes."""

    name: str
    section: str
    size: int


@dataclass(frozen=True)
class ObjectFile:
    """An object: its bytes and what can be told from them alone."""

    path: Path
    data: bytes
    metadata: Metadata
    sections: tuple[Section, ...]
    programs: tuple[ProgramEntry, ...]


def is_object(path: str | os.PathLike[str]) -> bool:
    """Whether a file is ELF, by its first bytes; False for what cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(ELF_MAGIC)) == ELF_MAGIC
    except OSError:
        return False


def read(path: str | os.PathLike[str]) -> ObjectFile:
    """Read an object file. Raises ObjectFileError when it is not one of ours."""
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ObjectFileError(f"cannot read {file}: {error.strerror}") from None
    return parse(file, data)


def parse(path: Path, data: bytes) -> ObjectFile:
    """Read an object from its bytes; `path` is for messages only."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(BytesIO(data))
        if elf["e_machine"] != _EM_BPF:
            raise ObjectFileError(f"{path} is ELF, but not for BPF")
        sections = [(entry, entry.name) for entry in elf.iter_sections()]
        raw = next((entry.data() for entry, name in sections if name == SECTION), None)
        programs = _programs(sections)
        listed = tuple(Section(name, int(entry["sh_size"])) for entry, name in sections if name)
    except (ELFError, UnicodeDecodeError, KeyError, ValueError, IndexError) as error:
        raise ObjectFileError(f"{path} is not an ELF object: {error}") from None
    if raw is None:
        raise ObjectFileError(
            f"{path} was not built by fusebpf (no section {SECTION})",
            "build it with: fusebpf compile FILE.py -o OUT",
        )
    try:
        metadata = Metadata.from_json(raw.decode("ascii"))
    except (UnicodeDecodeError, ValueError) as error:
        raise ObjectFileError(
            f"{path}: section {SECTION} cannot be read: {error}",
            "build it again with this version: fusebpf compile FILE.py -o OUT",
        ) from None
    return ObjectFile(path, data, metadata, listed, programs)


def _programs(sections: list[tuple[Any, str]]) -> tuple[ProgramEntry, ...]:
    """Functions in sections of programs; the order is that of the symbol table."""
    symtab = next((entry for entry, name in sections if name == ".symtab"), None)
    found: list[ProgramEntry] = []
    for symbol in symtab.iter_symbols() if symtab is not None else ():
        index = symbol["st_shndx"]
        if symbol["st_info"]["type"] != "STT_FUNC" or not isinstance(index, int):
            continue
        section = sections[index][1].lstrip("?")
        if section.startswith(("struct_ops", "raw_tp")):
            found.append(ProgramEntry(symbol.name, section, int(symbol["st_size"])))
    return tuple(found)
