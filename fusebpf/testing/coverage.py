# SPDX-License-Identifier: MIT
"""Which lines of filter files tests reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fusebpf.build import CompiledSet
from fusebpf.compiler.walk import statements


@dataclass(frozen=True)
class FileCoverage:
    """The lines of one file that have statements of filters, and those that none of them ran."""

    file: str
    lines: tuple[int, ...]
    missed: tuple[int, ...]

    def __str__(self) -> str:
        if not self.lines:
            return f"{self.file}: its filters are all of other files"
        reached = len(self.lines) - len(self.missed)
        text = f"{self.file}: {reached} of {len(self.lines)} lines of filters reached"
        return f"{text}; not: {spans(self.missed)}" if self.missed else text


def filter_lines(sets: Iterable[CompiledSet], path: Path) -> set[int]:
    """The lines of a file that have statements of the filters and helpers of some sets."""
    found: set[int] = set()
    for compiled in sets:
        assert compiled.result.ir is not None
        for function in (*compiled.result.ir.helpers, *compiled.result.ir.filters):
            if not function.composed and Path(function.file).resolve() == path:
                found |= {stmt.line for stmt in statements(function.body)}
    return found


def spans(lines: Iterable[int]) -> str:
    """Numbers for people: ``3, 7-9``."""
    found: list[list[int]] = []
    for line in sorted(lines):
        if found and found[-1][1] == line - 1:
            found[-1][1] = line
        else:
            found.append([line, line])
    return ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in found)
