# SPDX-License-Identifier: MIT
"""Diagnostics: what is wrong, where, and how to mend it."""

from __future__ import annotations

from typing import Literal

from fusebpf.compiler.edits import Fix, source_lines
from fusebpf.frozen import dataclass

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Related:
    """Another place that a finding has to do with: the call that led into a helper."""

    message: str
    file: str
    line: int
    col: int
    end_col: int


@dataclass(frozen=True)
class Diagnostic:
    """One finding. Lines and columns count characters from 1; ``end_col`` is behind the last."""

    severity: Severity
    code: str
    message: str
    file: str
    line: int
    col: int
    end_col: int
    help: str | None = None
    notes: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    related: tuple[Related, ...] = ()

    def render(self, source: str) -> str:
        """The text form: position and message, the source line with a caret span, the help."""
        out = [f"{self.file}:{self.line}:{self.col}: {self.severity}: {self.message} [{self.code}]"]
        lines = source_lines(source)
        out += _marked(lines, self.line, self.col, self.end_col)
        if self.help:
            first, *more = self.help.splitlines()
            out.append(f"help: {first}")
            out.extend(f"      {line}" for line in more)
        for other in self.related:
            out.append(f"note: {other.file}:{other.line}:{other.col}: {other.message}")
            if other.file == self.file:
                out += _marked(lines, other.line, other.col, other.end_col)
        out.extend(f"note: {note}" for note in self.notes)
        return "\n".join(out)


def _marked(lines: list[str], line: int, col: int, end_col: int) -> list[str]:
    """A line with carets under a span of it; nothing when there is no such line."""
    if not 0 < line <= len(lines):
        return []
    text = lines[line - 1]
    # A tab stays a tab under the line, so that the carets keep their place.
    lead = "".join(c if c == "\t" else " " for c in text[: col - 1])
    end = min(max(end_col, col + 1), max(len(text), col) + 1)
    number = str(line)
    return [f" {number} | {text}", f" {' ' * len(number)} | {lead}{'^' * (end - col)}"]


def render_all(diagnostics: tuple[Diagnostic, ...], source: str) -> str:
    """All findings, separated by empty lines, with a final count."""
    errors = sum(d.severity == "error" for d in diagnostics)
    warnings = len(diagnostics) - errors
    counts = [
        f"{n} {word}{'s' if n != 1 else ''}"
        for n, word in ((errors, "error"), (warnings, "warning"))
        if n
    ]
    return "\n\n".join([d.render(source) for d in diagnostics] + [", ".join(counts)] * bool(counts))
