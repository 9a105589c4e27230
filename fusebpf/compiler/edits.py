# SPDX-License-Identifier: MIT
"""Edits of a source that mend a mistake, and how they are applied."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from fusebpf.frozen import dataclass

#: "safe": it says what was written in another way, or what alone can have been meant;
#: "unsafe": a guess that the author should look at.
Applicability = Literal["safe", "unsafe"]


@dataclass(frozen=True)
class Edit:
    """Text in the place of a span. Lines and columns count characters from 1, the end excluded."""

    line: int
    col: int
    end_line: int
    end_col: int
    text: str


@dataclass(frozen=True)
class Fix:
    """Edits that belong together, and what they do in a few words."""

    title: str
    edits: tuple[Edit, ...]
    applicability: Applicability = "safe"


def source_lines(source: str) -> list[str]:
    """Lines as Python's parser counts them: form feeds and the like end none."""
    return re.split(r"\r\n|\r|\n", source)


def apply(source: str, fixes: Iterable[Fix]) -> tuple[str, list[Fix]]:
    """The source with as many fixes as do not touch one another, and which those are."""
    starts = _starts(source)
    taken: list[tuple[int, int]] = []
    chosen: list[tuple[int, int, str]] = []
    used: list[Fix] = []
    for fix in fixes:
        spans = [
            (starts[e.line - 1] + e.col - 1, starts[e.end_line - 1] + e.end_col - 1, e.text)
            for e in fix.edits
        ]
        if any(a <= y and x <= b for a, b, _ in spans for x, y in taken):
            continue
        taken += [(a, b) for a, b, _ in spans]
        chosen += spans
        used.append(fix)
    for begin, end, text in sorted(chosen, reverse=True):
        source = source[:begin] + text + source[end:]
    return source, used


def _starts(source: str) -> list[int]:
    """Where each line begins, and one more for the end."""
    return [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", source)), len(source)]
