# SPDX-License-Identifier: MIT
"""Read a compiled object back: what it says of itself, its programs, its sections."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from fusebpf.build.metadata import SECTION, Metadata
from fusebpf.errors import FusebpfError, UsageError
from fusebpf.frozen import dataclass
from fusebpf.objfile import elf
from fusebpf.objfile.btf import Btf
from fusebpf.objfile.lines import INSTRUCTION_BYTES, SourceLine, source_lines

_BUILD = "build it with: fusebpf compile FILE.py -o OUT"
# What pyelftools and struct raise, beside ELFError, for a file cut short or overwritten.
_BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)


class ObjectFileError(FusebpfError):
    """A file that is no object of ours: not ELF, not BPF, or without metadata."""


@dataclass(frozen=True)
class Section:
    """An ELF section; `size` is in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class ProgramEntry:
    """A program: its function's name, its section (`struct_ops/...`), its size in bytes.

    `kfuncs` are the kernel functions it calls, `lines` where its instructions come from, counted
    from its first one.
    """

    name: str
    section: str
    size: int
    kfuncs: tuple[str, ...] = ()
    lines: tuple[SourceLine, ...] = ()


@dataclass(frozen=True)
class ObjectFile:
    """An object: its bytes and what can be told from them alone.

    `btf_types` is how many types its BTF has.
    """

    path: Path
    data: bytes
    metadata: Metadata
    sections: tuple[Section, ...]
    programs: tuple[ProgramEntry, ...]
    btf_types: int


@dataclass(frozen=True)
class ObjectBytes:
    """An object that was read already; `path` is for messages only."""

    path: Path
    data: bytes


def is_object(path: str | os.PathLike[str]) -> bool:
    """Whether a file is ELF, by its first bytes; False for what cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(elf.MAGIC)) == elf.MAGIC
    except OSError:
        return False


def load(path: str | os.PathLike[str]) -> tuple[bytes, Metadata]:
    """The bytes of an object file and what it says of itself: enough to attach it.

    Raises ObjectFileError when it is not one of ours.
    """
    file = Path(path)
    data = _bytes(file)
    return data, _metadata(file, data)


def metadata_of(loaded: ObjectBytes) -> Metadata:
    """What an object says of itself. Raises ObjectFileError when it is not one of ours."""
    return _metadata(loaded.path, loaded.data)


def check_set(path: Path, metadata: Metadata, set_name: str | None) -> None:
    """Raise UsageError when another set is asked for than the one that the object holds."""
    if set_name not in (None, metadata.set):
        raise UsageError(f"{path} has no filter set {set_name!r}", f"it has: {metadata.set}")


def read(path: str | os.PathLike[str]) -> ObjectFile:
    """All of an object file. Raises ObjectFileError when it is not one of ours."""
    file = Path(path)
    return parse(file, _bytes(file))


def parse(path: Path, data: bytes) -> ObjectFile:
    """Read an object from its bytes; `path` is for messages only."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    metadata = _metadata(path, data)
    try:
        sections = [(entry, entry.name) for entry in ELFFile(BytesIO(data)).iter_sections()]
        btf, lines = _debug({name: entry for entry, name in sections if name})
        programs = _programs(sections, lines)
        types = 0 if btf is None else btf.count
        listed = tuple(Section(name, int(entry["sh_size"])) for entry, name in sections if name)
    except (ELFError, *_BROKEN) as error:
        reason = str(error) or type(error).__name__
        raise ObjectFileError(f"{path} is a broken ELF object: {reason}", _BUILD) from None
    return ObjectFile(path, data, metadata, listed, programs, types)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ObjectFileError(f"cannot read {path}: {error.strerror}") from None


def _metadata(path: Path, data: bytes) -> Metadata:
    try:
        raw = elf.section(data, SECTION)
    except elf.ElfError as error:
        raise ObjectFileError(f"{path} is {error}", _BUILD) from None
    if raw is None:
        raise ObjectFileError(f"{path} was not built by fusebpf (no section {SECTION})", _BUILD)
    try:
        return Metadata.from_json(raw.decode("ascii"))
    except (UnicodeDecodeError, ValueError) as error:
        raise ObjectFileError(
            f"{path}: section {SECTION} cannot be read: {error}",
            "build it again with this version: fusebpf compile FILE.py -o OUT",
        ) from None


def _debug(sections: dict[str, Any]) -> tuple[Btf | None, dict[str, list[SourceLine]]]:
    """BTF and the source lines by section."""
    if ".BTF" not in sections:
        return None, {}
    btf = Btf(sections[".BTF"].data())
    extension = sections.get(".BTF.ext")
    return btf, {} if extension is None else source_lines(btf, extension.data())


def _programs(
    sections: list[tuple[Any, str]], lines: dict[str, list[SourceLine]]
) -> tuple[ProgramEntry, ...]:
    """Functions in sections of programs; the order is that of the symbol table."""
    symtab = next((entry for entry, name in sections if name == ".symtab"), None)
    symbols = list(symtab.iter_symbols()) if symtab is not None else []
    calls = _calls(sections, symbols)
    found: list[ProgramEntry] = []
    for symbol in symbols:
        index = symbol["st_shndx"]
        if symbol["st_info"]["type"] != "STT_FUNC" or not isinstance(index, int):
            continue
        name = sections[index][1]
        section = name.lstrip("?")
        if not section.startswith(("struct_ops", "raw_tp")):
            continue
        start, size = int(symbol["st_value"]), int(symbol["st_size"])
        called = {kfunc for at, kfunc in calls.get(index, ()) if start <= at < start + size}
        first = start // INSTRUCTION_BYTES
        own = tuple(
            replace(line, instruction=line.instruction - first)
            for line in lines.get(name, ())
            if 0 <= line.instruction - first < size // INSTRUCTION_BYTES
        )
        found.append(ProgramEntry(symbol.name, section, size, tuple(sorted(called)), own))
    return tuple(found)


def _calls(sections: list[tuple[Any, str]], symbols: list[Any]) -> dict[int, list[tuple[int, str]]]:
    """Calls of kernel functions, by section: the relocations against undefined symbols."""
    found: dict[int, list[tuple[int, str]]] = {}
    for entry, _name in sections:
        if entry["sh_type"] != "SHT_REL":
            continue
        calls = found.setdefault(int(entry["sh_info"]), [])
        for relocation in entry.iter_relocations():
            symbol = symbols[relocation["r_info_sym"]]
            if symbol["st_shndx"] == "SHN_UNDEF":
                calls.append((int(relocation["r_offset"]), symbol.name))
    return found
