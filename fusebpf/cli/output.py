# SPDX-License-Identifier: MIT
"""Data on stdout: JSON as docs/json.md has it, and columns."""

from __future__ import annotations

from collections.abc import Sequence

import click


def json_out(value: object, indent: int | None = 2) -> None:
    """Print a value as JSON, paths as text."""
    import json

    click.echo(json.dumps(value, indent=indent, default=str))


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
