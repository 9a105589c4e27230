# SPDX-License-Identifier: MIT
"""Config values: constants of a set that are chosen when it is attached."""

from __future__ import annotations

from fusebpf.dsl.errors import DslError
from fusebpf.dsl.maps import WIDTHS


class Config(int):
    """A declared value; in plain Python it is its default."""

    name: str
    #: Name of its type: u8…u64, s8…s64 or bool.
    kind: str
    least: int
    most: int


def make_config(
    name: object,
    kind: type[int],
    default: int,
    least: int | None,
    most: int | None,
    taken: dict[str, Config],
) -> Config:
    """Check a declaration. Raises ``DslError``."""
    if not isinstance(name, str) or not name.isascii() or not name.isidentifier():
        raise DslError(
            "E125",
            f"{name!r} cannot be the name of a config value",
            "use letters, digits and _ only, not starting with a digit",
        )
    if name in taken:
        raise DslError(
            "E125",
            f"config value {name!r} is declared twice in this set",
            "give the second one another name",
            word=name,
        )
    shown = getattr(kind, "__name__", str(kind))
    wide = "s64" if isinstance(default, int) and default < 0 else "u64"
    if kind is bool:
        low, high = 0, 1
    elif shown in WIDTHS and hasattr(kind, "bits"):
        bits, signed = int(shown[1:]), shown.startswith("s")
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    else:
        raise DslError(
            "E125",
            f"config value {name!r} is {shown}, not a type of fixed width",
            f"use bool or one of {', '.join(WIDTHS)} from fusebpf.types",
            word=shown,
            instead=("int", wide) if kind is int else None,
            needs=("fusebpf.types", wide),
        )
    for what, value in (("default", default), ("least", least), ("most", most)):
        if not isinstance(value, int) and (value is not None or what == "default"):
            raise DslError(
                "E125",
                f"the {what} of config value {name!r} is {value!r}, not an integer",
                f"a {shown} holds {low} to {high}",
            )
    first = low if least is None else least
    last = high if most is None else most
    if not low <= first <= last <= high:
        raise DslError(
            "E125",
            f"config value {name!r} cannot be from {first} to {last}: {shown} holds {low} to "
            f"{high}",
            "give least and most inside of that, in this order",
            word="least" if least is not None else "most",
        )
    if not first <= default <= last:
        raise DslError(
            "E125",
            f"the default {default} of config value {name!r} is not from {first} to {last}",
            "give a default in that range",
            word=str(default),
            instead=(str(default), str(min(max(default, first), last))),
        )
    made = Config(default)
    made.name, made.kind, made.least, made.most = name, shown, first, last
    return made
