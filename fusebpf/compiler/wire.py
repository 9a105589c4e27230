# SPDX-License-Identifier: MIT
"""Diagnostics in the shape of the Language Server Protocol, for editors and `--json`.

Lines and characters count from 0; characters are UTF-16 code units, as the protocol has them
unless both sides agree on another unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusebpf.compiler.diagnostics import Diagnostic
from fusebpf.compiler.edits import Edit, Fix, source_lines

SOURCE = "fusebpf"
_SEVERITIES = {"error": 1, "warning": 2}


def uri(path: str) -> str:
    """A file's URI."""
    return Path(path).resolve().as_uri()


def diagnostic(found: Diagnostic, texts: Mapping[str, str]) -> dict[str, Any]:
    """One finding as the protocol's Diagnostic; what is ours is in its `data`."""
    lines = source_lines(texts.get(found.file, ""))
    shape: dict[str, Any] = {
        "range": _range(lines, found.line, found.col, found.line, found.end_col),
        "severity": _SEVERITIES[found.severity],
        "code": found.code,
        "source": SOURCE,
        "message": found.message,
        "data": {
            "help": found.help,
            "notes": list(found.notes),
            "fixes": [fix(entry, lines) for entry in found.fixes],
        },
    }
    if found.related:
        shape["relatedInformation"] = [
            {
                "location": {
                    "uri": uri(r.file),
                    "range": _range(
                        source_lines(texts.get(r.file, "")), r.line, r.col, r.line, r.end_col
                    ),
                },
                "message": r.message,
            }
            for r in found.related
        ]
    return shape


def fix(entry: Fix, lines: list[str]) -> dict[str, Any]:
    """A fix: its title, whether it is safe, and the protocol's TextEdits."""
    return {
        "title": entry.title,
        "applicability": entry.applicability,
        "edits": [_edit(edit, lines) for edit in entry.edits],
    }


def _edit(edit: Edit, lines: list[str]) -> dict[str, Any]:
    return {
        "range": _range(lines, edit.line, edit.col, edit.end_line, edit.end_col),
        "newText": edit.text,
    }


def _range(lines: list[str], line: int, col: int, end_line: int, end_col: int) -> dict[str, Any]:
    return {"start": _position(lines, line, col), "end": _position(lines, end_line, end_col)}


def _position(lines: list[str], line: int, col: int) -> dict[str, int]:
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    units = len(text[: col - 1].encode("utf-16-le", "surrogatepass")) // 2
    return {"line": line - 1, "character": units}


def files(diagnostics: tuple[Diagnostic, ...], texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """All findings, by file; a file without any has an empty list."""
    found = {path: [d for d in diagnostics if d.file == path] for path in texts}
    found |= {d.file: [e for e in diagnostics if e.file == d.file] for d in diagnostics}
    return [
        {"uri": uri(path), "diagnostics": [diagnostic(d, texts) for d in entries]}
        for path, entries in found.items()
    ]
