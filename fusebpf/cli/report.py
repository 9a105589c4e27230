# SPDX-License-Identifier: MIT
"""Errors and diagnostics on stderr; in colour on a terminal only, and never under NO_COLOR."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from fusebpf.build.errors import BuildError
from fusebpf.errors import EXIT_REJECTED, FusebpfError

if TYPE_CHECKING:
    from pathlib import Path

    from fusebpf.build.findings import Findings
    from fusebpf.compiler import Diagnostic

_HEAD = re.compile(r"^(\S.*?:\d+:\d+: )(error|warning)(: .*)$")
_CARETS = re.compile(r"^(\s*\|\s*)(\^+)$")


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _paint(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if match := _HEAD.match(line):
            colour = "red" if match[2] == "error" else "yellow"
            line = (
                click.style(match[1], bold=True)
                + click.style(match[2], fg=colour, bold=True)
                + click.style(match[3], bold=True)
            )
        elif match := _CARETS.match(line):
            line = match[1] + click.style(match[2], fg="green", bold=True)
        elif line.startswith(("error: ", "help: ", "note: ")):
            word, _, rest = line.partition(": ")
            colour = {"error": "red", "help": "cyan", "note": "blue"}[word]
            line = click.style(word, fg=colour, bold=True) + ": " + rest
        lines.append(line)
    return "\n".join(lines)


def _print(text: str) -> None:
    print(_paint(text) if _coloured() else text, file=sys.stderr)


def report(error: FusebpfError) -> None:
    """Print an error, its diagnostics first."""
    diagnostics(error.diagnostics, error.sources)
    _print(f"error: {error}")


def diagnostics(entries: Iterable[Diagnostic], sources: Mapping[str, str]) -> None:
    """Print diagnostics, each followed by an empty line."""
    for entry in entries:
        _print(entry.render(sources.get(entry.file, "")) + "\n")


def conclude(
    path: Path,
    findings: Findings,
    warnings: str = "show",
    shapes: list[dict[str, Any]] | None = None,
) -> None:
    """Show findings, and stop at errors; at warnings, too, when `warnings` is "error".

    `shapes` are the findings as they are printed for machines, on stdout, when it comes to a stop.
    """
    shown = [d for d in findings.diagnostics if d.severity == "error" or warnings != "hide"]
    errors = sum(d.severity == "error" for d in findings.diagnostics)
    others = len(findings.diagnostics) - errors
    if not errors and not (others and warnings == "error"):
        if not shapes:
            diagnostics(shown, findings.texts)
        return
    if shapes:
        print(json.dumps({"ok": False, "files": shapes}))
        raise click.exceptions.Exit(EXIT_REJECTED)
    counts = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((errors, "error"),) if n]
    if others and not errors:
        counts = [f"{others} warning{'s' * (others != 1)}, and --warnings=error"]
    raise BuildError(f"{path}: {', '.join(counts)}", None, shown, findings.texts)
