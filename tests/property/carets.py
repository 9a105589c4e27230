# SPDX-License-Identifier: MIT
"""One damaged token in an example, and whether the caret of what is found is on it."""

from __future__ import annotations

import io
import keyword
import random
import tokenize
from dataclasses import dataclass
from pathlib import Path

from fusebpf.build.findings import findings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

#: What stands in the place of an operator or a keyword: one that cannot be meant there.
_OTHER = {
    "==": "=",
    ":": ";",
    "and": "&&",
    "or": "||",
    "not": "!",
    "//": "/",
    "%": "**",
    "in": "is",
    "return": "retrun",
    "if": "fi",
    "for": "fro",
    "def": "dfe",
    "from": "form",
    "import": "imort",
    "elif": "elsif",
}


@dataclass(frozen=True)
class Damage:
    """A source with one other token, and where that stands (characters from 1)."""

    path: Path
    source: str
    line: int
    col: int
    old: str
    new: str


def damage(rng: random.Random) -> Damage | None:
    """Misspell a name, or take another operator or keyword; None where that makes no sense."""
    path = rng.choice(EXAMPLES)
    source = path.read_text(encoding="utf-8")
    tokens = [
        t
        for t in tokenize.generate_tokens(io.StringIO(source).readline)
        if t.string in _OTHER
        or (t.type == tokenize.NAME and not keyword.iskeyword(t.string) and len(t.string) > 2)
    ]
    token = rng.choice(tokens)
    new = _OTHER.get(token.string) or _misspelled(token.string, rng)
    if new is None:
        return None
    line, col = token.start
    lines = source.splitlines(keepends=True)
    text = lines[line - 1]
    lines[line - 1] = text[:col] + new + text[col + len(token.string) :]
    return Damage(path, "".join(lines), line, col + 1, token.string, new)


def _misspelled(word: str, rng: random.Random) -> str | None:
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        other = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif kind == 1:
        other = word[:at] + word[at + 1 :]
    else:
        other = word[:at] + rng.choice("aeioqxz") + word[at:]
    return None if other == word or keyword.iskeyword(other) else other


def hit(made: Damage) -> str | None:
    """Where the carets are: "here" on the token, "note" on it in a note, "" elsewhere.

    None when the damaged source means something.
    """
    found = findings(made.path, made.source)
    errors = [d for d in found.diagnostics if d.severity == "error"]
    if not errors:
        return None
    if any(_covers(made, d.line, d.col, d.end_col) for d in errors):
        return "here"
    notes = [r for d in errors for r in d.related]
    return "note" if any(_covers(made, r.line, r.col, r.end_col) for r in notes) else ""


def _covers(made: Damage, line: int, col: int, end_col: int) -> bool:
    return line == made.line and col < made.col + len(made.new) and made.col < max(end_col, col + 1)
