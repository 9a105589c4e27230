# SPDX-License-Identifier: MIT
"""Dataclasses as map keys, map values and events."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, get_type_hints

from fusebpf.abi.record import BYTES_KINDS, INT_KINDS, Record
from fusebpf.dsl.errors import DslError
from fusebpf.dsl.objects import Bytes

#: The largest key or value of a map in bytes, and the largest event.
MAX_SIZE = 512
MAX_EVENT = 1024

_KINDS = (*INT_KINDS, *BYTES_KINDS)


#: What a member of another type is mostly meant to be.
_WIDE = {"int": "u64", "bool": "u8", "str": "bytes64", "bytes": "bytes64"}


def record_of(owner: str, cls: type[Any], most: int = MAX_SIZE) -> Record:
    """The layout of a dataclass; ``owner`` names the declaration in errors. Raises ``DslError``."""
    word = cls.__name__
    if not dataclasses.is_dataclass(cls):
        raise DslError(
            "E126",
            f"{owner}: {word} is not a dataclass",
            f"put @dataclass above class {word}",
            word=word,
            instead=(f"class {word}", f"@dataclass\nclass {word}"),
            needs=("dataclasses", "dataclass"),
        )
    try:
        hints = get_type_hints(cls, globalns=_globals())
    except NameError as error:
        raise DslError(
            "E126", f"{owner}: {error}", "import the type where the class stands", word=word
        ) from None
    members: list[tuple[str, str]] = []
    for field in dataclasses.fields(cls):
        kind = getattr(hints[field.name], "__name__", str(hints[field.name]))
        if kind not in _KINDS or hints[field.name].__module__ != "fusebpf.types":
            raise DslError(
                "E126",
                f"{owner}: member {field.name!r} of {word} is {kind}, not a type of fixed width",
                f"use one of {', '.join(_KINDS)} from fusebpf.types",
                word=word,
                instead=(f"{field.name}: {kind}", f"{field.name}: {_WIDE[kind]}")
                if kind in _WIDE
                else None,
                needs=("fusebpf.types", _WIDE.get(kind, "u64")),
            )
        members.append((field.name, kind))
    if not members:
        raise DslError("E126", f"{owner}: {word} has no members", "give it one", word=word)
    record = Record.make(word, members)
    if record.size > most:
        raise DslError(
            "E126",
            f"{owner}: a {word} has {record.size} bytes; at most {most} are possible",
            "use shorter bytes members",
            word=word,
        )
    return record


def packed(record: Record, value: object) -> bytes:
    """A dataclass instance as bytes (plain Python only)."""
    members = [getattr(value, member.name) for member in record.members]
    return record.pack([m if isinstance(m, int) else Bytes(m).raw for m in members])


def _globals() -> dict[str, Any]:
    """Globals of the innermost frame outside this package."""
    here = str(Path(__file__).parent)
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        frame = frame.f_back
    return {**frame.f_globals, **frame.f_locals}
