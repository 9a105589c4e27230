# SPDX-License-Identifier: MIT
"""Types of fixed width: map keys and values, members of dataclasses, and casts inside filters.

``u32(x)`` takes ``x`` modulo 2³²; ``s32(x)`` the same in two's complement. The result is a plain
integer. To a type checker they are ``int``: the compiler checks widths itself. ``bytes16`` …
``bytes256`` are members of dataclasses: that many bytes, a shorter string padded with zeros, a
longer one cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

    from fusebpf.dsl.objects import Bytes

    bytes16: TypeAlias = bytes | str | Bytes
    bytes32: TypeAlias = bytes | str | Bytes
    bytes64: TypeAlias = bytes | str | Bytes
    bytes128: TypeAlias = bytes | str | Bytes
    bytes256: TypeAlias = bytes | str | Bytes
    u8: TypeAlias = int
    u16: TypeAlias = int
    u32: TypeAlias = int
    u64: TypeAlias = int
    s8: TypeAlias = int
    s16: TypeAlias = int
    s32: TypeAlias = int
    s64: TypeAlias = int
else:

    class _Fixed(int):
        bits = 64
        signed = False

        def __new__(cls, value: int = 0) -> int:
            value = int(value) & ((1 << cls.bits) - 1)
            return value - (1 << cls.bits) if cls.signed and value >> (cls.bits - 1) else value

    def _make(name: str, bits: int, signed: bool) -> type:
        doc = f"{'Signed' if signed else 'Unsigned'} integer of {bits} bits."
        body = {"bits": bits, "signed": signed, "__doc__": doc, "__module__": __name__}
        return type(name, (_Fixed,), body)

    u8, u16, u32, u64 = (_make(f"u{n}", n, False) for n in (8, 16, 32, 64))
    s8, s16, s32, s64 = (_make(f"s{n}", n, True) for n in (8, 16, 32, 64))

    def _bytes(size: int) -> type:
        body = {"size": size, "__doc__": f"A string of {size} bytes.", "__module__": __name__}
        return type(f"bytes{size}", (bytes,), body)

    bytes16, bytes32, bytes64, bytes128, bytes256 = map(_bytes, (16, 32, 64, 128, 256))

__all__ = [
    "bytes16",
    "bytes32",
    "bytes64",
    "bytes128",
    "bytes256",
    "s8",
    "s16",
    "s32",
    "s64",
    "u8",
    "u16",
    "u32",
    "u64",
]
