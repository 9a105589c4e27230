# SPDX-License-Identifier: MIT
"""The codes of findings: what happened, the usual cause, and typical mistakes with their fix.

The tables are codes.toml and those of mistakes/ beside this file; docs/errors.md is made from them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import indent

HERE = Path(__file__).parent

#: What an example without a file of its own stands in.
HEAD = """\
from dataclasses import dataclass

from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("example")
opens = filters.hash("opens", key=u32, value=u64, max_entries=64)
slots = filters.array("slots", value=u64, max_entries=8)
limit = filters.config("limit", u64, 100)
ROOT = 0


def long(text: Name, most: int) -> bool:
    return len(text) > most


def decide(text: Name):
    return -EPERM if text == "x" else CONTINUE


"""

_HOOKS = {
    "lookup": "@filters.lookup.pre\ndef example(ctx: Context, name: Name):\n",
    "open": "@filters.open.pre\ndef example(ctx: Context, req: OpenIn):\n",
    "open_post": "@filters.open.post\ndef example(ctx: Context, req: OpenIn, out: OpenOut):\n",
    "read_iter": "@filters.read_iter.pre\ndef example(ctx: Context, req: ReadIn):\n",
}


@dataclass(frozen=True)
class Mistake:
    """A typical mistake: lines that are refused, and those that were meant."""

    code: str
    title: str
    hook: str
    wrong: str
    right: str

    def source(self, lines: str) -> str:
        """A whole filter file around the lines."""
        if self.hook == "file":
            return lines
        if not self.hook:
            return HEAD + lines
        return HEAD + _HOOKS[self.hook] + indent(lines, "    ")


@dataclass(frozen=True)
class Code:
    """One kind of finding; `open` says why no edit can be meant, where that was settled."""

    name: str
    title: str
    cause: str
    mistakes: tuple[Mistake, ...]
    open: str = ""


@cache
def table() -> dict[str, Code]:
    """All codes, in order."""
    codes = tomllib.loads((HERE / "codes.toml").read_text(encoding="utf-8"))
    mistakes: dict[str, list[dict[str, str]]] = {}
    for path in sorted((HERE / "mistakes").glob("*.toml")):
        mistakes |= tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: Code(
            name,
            title,
            cause,
            tuple(Mistake(name, **entry) for entry in mistakes.get(name, ())),
            *why,
        )
        for name, (title, cause, *why) in codes.items()
    }
