# SPDX-License-Identifier: MIT
"""Fixed-width integers: map keys and values, and casts inside filters.

``u32(x)`` takes ``x`` modulo 2³²; ``s32(x)`` the same in two's complement. The result is a plain
integer. To a type checker they are ``int``: the compiler checks widths itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    u8 = u16 = u32 = u64 = int
    s8 = s16 = s32 = s64 = int
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

__all__ = ["s8", "s16", "s32", "s64", "u8", "u16", "u32", "u64"]
