# SPDX-License-Identifier: MIT
"""A small reader of BTF: structs and their members, and the variables of a data section.

Format: Documentation/bpf/btf.rst. Only what the loader asks is decoded; every type is stepped
over by its size. A module's BTF continues the ids and strings of the kernel's (split BTF).
"""

from __future__ import annotations

import struct
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

from fusebpf.frozen import dataclass

KERNEL_BTF = Path("/sys/kernel/btf")

_MAGIC = 0xEB9F
_KIND_INT = 1
_KIND_ARRAY = 3
_KIND_STRUCT = 4
_KIND_UNION = 5
_KIND_ENUM = 6
_KIND_FUNC_PROTO = 13
_KIND_VAR = 14
_KIND_DATASEC = 15
_KIND_DECL_TAG = 17
_KIND_ENUM64 = 19
# Bytes after the 12-byte type header: (fixed, for each of vlen).
_EXTRA = {
    _KIND_INT: (4, 0),
    _KIND_ARRAY: (12, 0),
    _KIND_STRUCT: (0, 12),
    _KIND_UNION: (0, 12),
    _KIND_ENUM: (0, 8),
    _KIND_FUNC_PROTO: (0, 8),
    _KIND_VAR: (4, 0),
    _KIND_DATASEC: (0, 12),
    _KIND_DECL_TAG: (4, 0),
    _KIND_ENUM64: (0, 12),
}
_NO_EXTRA = (0, 0)
_HEADER = struct.Struct("=III")


@dataclass(frozen=True)
class Field:
    """A struct member or a variable of a section: byte offset, and byte size where known."""

    name: str
    offset: int
    size: int | None


class _Type(NamedTuple):
    name_off: int
    kind: int
    kind_flag: bool
    vlen: int
    size: int
    at: int  # where the data after the header starts


class BtfError(ValueError):
    """The bytes are not BTF of a known version."""


class Btf:
    """One blob of BTF; `base_strings` is the string section of the kernel's BTF for a module's."""

    def __init__(self, raw: bytes, base_strings: bytes = b"") -> None:
        if len(raw) < 24:
            raise BtfError(f"BTF of {len(raw)} bytes is too short for its header")
        magic, version, _flags, hdr_len, type_off, type_len, str_off, str_len = struct.unpack_from(
            "=HBBIIIII", raw, 0
        )
        if magic != _MAGIC or version != 1:
            raise BtfError(f"not BTF of version 1 (magic {magic:#x}, version {version})")
        self._raw = raw
        self._types_start = hdr_len + type_off
        self._types_end = self._types_start + type_len
        self.strings = raw[hdr_len + str_off : hdr_len + str_off + str_len]
        self._base_strings = base_strings

    @property
    def count(self) -> int:
        """How many types it has."""
        return len(self._types)

    def string(self, offset: int) -> str:
        """The name at a string offset; offsets below the base's length are the base's."""
        base = len(self._base_strings)
        text, start = (
            (self._base_strings, offset) if offset < base else (self.strings, offset - base)
        )
        return text[start : text.index(b"\0", start)].decode("utf-8", "replace")

    @cached_property
    def _types(self) -> list[_Type]:
        types: list[_Type] = []
        position = self._types_start
        while position < self._types_end:
            name_off, info, size = struct.unpack_from("=III", self._raw, position)
            kind, vlen = info >> 24 & 0x1F, info & 0xFFFF
            types.append(_Type(name_off, kind, bool(info >> 31), vlen, size, position + 12))
            fixed, each = _EXTRA.get(kind, (0, 0))
            position += 12 + fixed + each * vlen
        return types

    def _struct(self, name: str) -> _Type | None:
        """The struct `name`. A kernel has 50,000 types or more: numbers are compared, no texts."""
        wanted = self._offsets(name)
        position = self._types_start if wanted else self._types_end
        header, extra, raw = _HEADER.unpack_from, _EXTRA, self._raw
        while position < self._types_end:
            name_off, info, size = header(raw, position)
            kind, vlen = info >> 24 & 0x1F, info & 0xFFFF
            if kind == _KIND_STRUCT and name_off in wanted:
                return _Type(name_off, kind, bool(info >> 31), vlen, size, position + 12)
            fixed, each = extra.get(kind, _NO_EXTRA)
            position += 12 + fixed + each * vlen
        return None

    def _offsets(self, name: str) -> set[int]:
        """String offsets at which `name` stands, in the base's strings and in its own."""
        text = b"\0" + name.encode() + b"\0"
        found: set[int] = set()
        for strings, base in ((self._base_strings, 0), (self.strings, len(self._base_strings))):
            # The first string of a kernel's BTF is empty, so a NUL stands before every other one;
            # a module's section goes on without one.
            if strings.startswith(text[1:]):
                found.add(base)
            at = strings.find(text)
            while at >= 0:
                found.add(base + at + 1)
                at = strings.find(text, at + 1)
        return found

    def struct_members(self, name: str) -> list[Field] | None:
        """Members of the struct `name` in order, or None when there is no such struct."""
        found = self._struct(name)
        return None if found is None else self._members(found)

    def struct_size(self, name: str) -> int | None:
        """Size in bytes of the struct `name`, or None."""
        found = self._struct(name)
        return None if found is None else found.size

    def _members(self, kind: _Type) -> list[Field]:
        members: list[Field] = []
        for index in range(kind.vlen):
            name_off, _type, offset = struct.unpack_from("=III", self._raw, kind.at + 12 * index)
            bits = offset & 0xFFFFFF if kind.kind_flag else offset
            members.append(Field(self.string(name_off), bits // 8, None))
        return members

    def section_variables(self, name: str) -> dict[str, Field]:
        """Variables of the data section `name` (".rodata"), by name; empty when there is none."""
        for kind in self._types:
            if kind.kind == _KIND_DATASEC and self.string(kind.name_off) == name:
                return self._variables(kind)
        return {}

    def section_of_id(self, type_id: int) -> dict[str, Field]:
        """Variables of the data section with this type id (ids of a whole BTF start at 1)."""
        if not 1 <= type_id <= len(self._types):
            return {}
        kind = self._types[type_id - 1]
        return self._variables(kind) if kind.kind == _KIND_DATASEC else {}

    def name_of_id(self, type_id: int) -> str:
        """The name of the type with this id, as of a function; "" when there is none."""
        if not 1 <= type_id <= len(self._types):
            return ""
        return self.string(self._types[type_id - 1].name_off)

    def _variables(self, section: _Type) -> dict[str, Field]:
        found: dict[str, Field] = {}
        for index in range(section.vlen):
            var_id, offset, size = struct.unpack_from("=III", self._raw, section.at + 12 * index)
            name = self.string(self._types[var_id - 1].name_off)
            found[name] = Field(name, offset, size)
        return found


@cache
def _kernel_strings() -> bytes:
    """The string section of the kernel's BTF, which a running kernel never changes."""
    with (KERNEL_BTF / "vmlinux").open("rb") as file:
        header = file.read(24)
        _magic, _version, _flags, hdr_len, _types, _len, str_off, str_len = struct.unpack(
            "=HBBIIIII", header
        )
        file.seek(hdr_len + str_off)
        return file.read(str_len)


def module_btf(module: str) -> Btf | None:
    """BTF of a loaded module, or None when the module is not loaded or has none.

    The same object as before while the module is the same.
    """
    try:
        return _module_btf((KERNEL_BTF / module).read_bytes())
    except FileNotFoundError:
        return None


@lru_cache(maxsize=1)
def _module_btf(raw: bytes) -> Btf:
    return Btf(raw, _kernel_strings())
