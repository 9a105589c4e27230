# SPDX-License-Identifier: MIT
"""Records: the memory of map keys, map values and events that have several members.

A record is laid out as C lays out a struct of the same members: naturally aligned, little endian,
padding zero. Its kinds are ``u8`` … ``u64``, ``s8`` … ``s64`` and ``bytes16`` … ``bytes256``: that
many bytes, a shorter string padded with zeros, a longer one cut off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fusebpf.frozen import dataclass

INT_KINDS = ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64")
BYTES_KINDS = {f"bytes{size}": size for size in (16, 32, 64, 128, 256)}

Value = int | bytes


@dataclass(frozen=True)
class Member:
    """One member; ``offset`` and ``size`` are in bytes."""

    name: str
    kind: str
    offset: int
    size: int

    @property
    def is_bytes(self) -> bool:
        """Whether it holds bytes, not a number."""
        return self.kind in BYTES_KINDS


@dataclass(frozen=True)
class Record:
    """A layout; ``size`` in bytes, with padding."""

    name: str
    members: tuple[Member, ...]
    size: int

    @classmethod
    def make(cls, name: str, members: Iterable[tuple[str, str]]) -> Record:
        """Lay out members given as name and kind. Raises KeyError for an unknown kind."""
        found: list[Member] = []
        at, widest = 0, 1
        for member, kind in members:
            size = BYTES_KINDS[kind] if kind in BYTES_KINDS else int(kind[1:]) // 8
            if kind not in BYTES_KINDS and kind not in INT_KINDS:
                raise KeyError(kind)
            align = 1 if kind in BYTES_KINDS else size
            at = -(-at // align) * align
            widest = max(widest, align)
            found.append(Member(member, kind, at, size))
            at += size
        return cls(name, tuple(found), -(-at // widest) * widest)

    @property
    def text(self) -> str:
        """One word for it: ``Name{uid:u32,path:bytes64}``."""
        return f"{self.name}{{{','.join(f'{m.name}:{m.kind}' for m in self.members)}}}"

    @classmethod
    def parse(cls, text: str) -> Record | None:
        """Inverse of ``text``; None for a text that names a plain type."""
        match = re.fullmatch(r"(\w+)\{(.*)\}", text)
        if match is None:
            return None
        pairs = [member.split(":") for member in match[2].split(",") if member]
        return cls.make(match[1], [(name, kind) for name, kind in pairs])

    def pack(self, values: Sequence[Value]) -> bytes:
        """The bytes of a record; numbers are taken modulo their width."""
        raw = bytearray(self.size)
        for member, value in zip(self.members, values, strict=True):
            if isinstance(value, int):
                bits = 8 * member.size
                part = (int(value) & ((1 << bits) - 1)).to_bytes(member.size, "little")
            else:
                part = value[: member.size].ljust(member.size, b"\0")
            raw[member.offset : member.offset + member.size] = part
        return bytes(raw)

    def unpack(self, raw: bytes) -> tuple[Value, ...]:
        """The members' values; bytes without the zeros at their end."""
        found: list[Value] = []
        for member in self.members:
            part = raw[member.offset : member.offset + member.size]
            if member.is_bytes:
                found.append(part.rstrip(b"\0"))
            else:
                signed = member.kind.startswith("s")
                found.append(int.from_bytes(part, "little", signed=signed))
        return tuple(found)
