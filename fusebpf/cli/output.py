# SPDX-License-Identifier: MIT
"""Data on stdout: JSON as docs/json.md has it, and columns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click


def json_out(value: object, indent: int | None = 2) -> None:
    """Print a value as JSON, paths as text."""
    import json

    click.echo(json.dumps(value, indent=indent, default=str))


def shown(name: bytes | str | Path) -> str:
    """A file name for a terminal: what it might obey stands as an escape."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def record(cell: Any) -> str:
    """A dataclass on one line: `uid=3 name=x`."""
    members = asdict(cell).items()
    return " ".join(f"{k}={shown(v) if isinstance(v, bytes) else v}" for k, v in members)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a head, each column as wide as it has to be; nothing for no rows."""
    if not rows:
        return
    lines = [head, *rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(head))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def count(number: int, noun: str) -> str:
    """`1 map`, `2 maps`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
