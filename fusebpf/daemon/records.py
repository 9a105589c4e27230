# SPDX-License-Identifier: MIT
"""Structs of the wire as Python objects, and back, by the layouts of the opcode table.

The objects are those that filters get (`OpenIn`, `EntryOut`, …), and for what filters never see
those of ``structs.py``. Members that are not seen are padding: ignored when read, zero when
written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from operator import attrgetter
from typing import Any

from fusebpf.abi.model import Field, Struct
from fusebpf.abi.protocol import PROTOCOL_STRUCTS
from fusebpf.abi.structs import STRUCTS
from fusebpf.daemon import structs
from fusebpf.dsl import generated

_CODES = {1: "b", 2: "h", 4: "i", 8: "q"}


def _leaves(layout: Struct, prefix: str = "", base: int = 0) -> Iterator[tuple[str, int, Field]]:
    """Scalar members that are seen: dotted path, offset in bytes, field."""
    for member in layout.fields:
        if member.struct is not None:
            yield from _leaves(member.struct, f"{prefix}{member.name}.", base + member.offset)
        elif not member.reserved:
            yield f"{prefix}{member.name}", base + member.offset, member


_STRUCTS = STRUCTS | PROTOCOL_STRUCTS


# By name: hashing a whole layout for every message would cost more than packing it.
@cache
def _packer(name: str) -> tuple[struct.Struct, tuple[str, ...]]:
    layout = _STRUCTS[name]
    form, at, paths = "<", 0, []
    for path, offset, field in _leaves(layout):
        code = _CODES[field.size]
        form += f"{offset - at}x{code if field.signed else code.upper()}"
        at = offset + field.size
        paths.append(path)
    packer = struct.Struct(form + f"{layout.size - at}x")
    return packer, tuple(paths)


def new(layout: Struct, **values: Any) -> Any:
    """An object for a struct, members zero but those given.

    Raises ``TypeError`` for a member that it does not have.
    """
    module = generated if layout.name in STRUCTS else structs
    return getattr(module, layout.py_name)(**values)


def unpack(layout: Struct, raw: bytes | memoryview, offset: int = 0) -> Any:
    """The object that the bytes at ``offset`` stand for. Raises ``struct.error`` when too few."""
    packer, paths = _packer(layout.name)
    found = new(layout)
    for path, value in zip(paths, packer.unpack_from(raw, offset), strict=True):
        owner, _, member = path.rpartition(".")
        setattr(attrgetter(owner)(found) if owner else found, member, value)
    return found


def pack(layout: Struct, value: object) -> bytes:
    """The bytes of an object. Raises ``AttributeError`` when it is not one of this struct."""
    packer, paths = _packer(layout.name)
    return packer.pack(*(attrgetter(path)(value) for path in paths))
