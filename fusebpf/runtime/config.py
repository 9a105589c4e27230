# SPDX-License-Identifier: MIT
"""Config values of a set: checked against its metadata, and as bytes of its `.rodata`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fusebpf.build.metadata import ConfigMeta, Metadata
from fusebpf.errors import UsageError
from fusebpf.spelling import closest

#: Config values are constants of the object: this and the name.
CONFIG_PREFIX = "fusebpf_config_"

_WORDS = {"true": 1, "yes": 1, "on": 1, "false": 0, "no": 0, "off": 0}


def parse(settings: Iterable[str], option: str = "--set ") -> dict[str, int]:
    """Values by name, from `NAME=VALUE` texts; `option` is how they were given. UsageError."""
    found: dict[str, int] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"{option}{setting} is no NAME=VALUE", f"e.g. {option}limit=20")
        if name in found:
            raise UsageError(f"{option}{name} is given twice", "leave one out")
        try:
            found[name] = _WORDS[text.lower()] if text.lower() in _WORDS else int(text, 0)
        except ValueError:
            raise UsageError(
                f"{option}{setting}: {text!r} is no number", "write 20, 0x14, true or false"
            ) from None
    return found


def choose(metadata: Metadata, values: Mapping[str, int]) -> dict[str, bytes]:
    """The constants of an object to set, by symbol. Raises UsageError: unknown, out of range."""
    known = {entry.name: entry for entry in metadata.config}
    chosen: dict[str, bytes] = {}
    for name, value in values.items():
        entry = known.get(name)
        if entry is None:
            near = closest(name, known)
            listed = f"it has: {', '.join(map(_shown, known.values()))}" if known else "it has none"
            raise UsageError(
                f"filter set {metadata.set} has no config value {name!r}",
                f"did you mean {near!r}?" if near else listed,
            )
        if not isinstance(value, int) or not entry.least <= value <= entry.most:
            raise UsageError(
                f"config value {name}={value!r} is not from {entry.least} to {entry.most}",
                f"{_shown(entry)}; by default it is {entry.default}",
            )
        chosen[CONFIG_PREFIX + name] = pack_config(entry.type, value)
    return chosen


def pack_config(kind: str, value: int) -> bytes:
    """A value of a type ("u64", "bool") as the object holds it."""
    size = 1 if kind == "bool" else int(kind[1:]) // 8
    return int(value).to_bytes(size, "little", signed=kind.startswith("s"))


def _shown(entry: ConfigMeta) -> str:
    return f"{entry.name} ({entry.type}, {entry.least} to {entry.most})"
