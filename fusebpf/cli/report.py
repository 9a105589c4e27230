# SPDX-License-Identifier: MIT
"""Errors and diagnostics on stderr; in colour on a terminal only, and never under NO_COLOR."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click

from fusebpf.build.errors import BuildError
from fusebpf.errors import FusebpfError

if TYPE_CHECKING:
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
    if isinstance(error, BuildError) and error.diagnostics:
        diagnostics(error.diagnostics, error.sources)
    _print(f"error: {error}")


def diagnostics(entries: Iterable[Diagnostic], sources: Mapping[str, str]) -> None:
    """Print diagnostics, each followed by an empty line."""
    for entry in entries:
        _print(entry.render(sources.get(entry.file, "")) + "\n")
