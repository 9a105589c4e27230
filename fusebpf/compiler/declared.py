# SPDX-License-Identifier: MIT
"""Mistakes in declarations, found while a file was imported, as diagnostics."""

from __future__ import annotations

import ast
import re

from fusebpf.compiler.diagnostics import Diagnostic
from fusebpf.compiler.edits import Edit, Fix
from fusebpf.compiler.mending import imported
from fusebpf.compiler.sources import Source
from fusebpf.dsl.errors import DslError


def declaration_error(error: DslError, source: str) -> Diagnostic:
    """The diagnostic of a declaration's error, at the word at fault."""
    file = Source(error.file, source, error.file)
    line, start, end = _place(file, error.line, error.word)
    return Diagnostic(
        "error",
        error.code,
        error.message,
        error.file,
        line,
        start + 1,
        max(end, start + 1) + 1,
        error.help,
        fixes=_fixes(file, error),
    )


def _place(file: Source, line: int, word: str) -> tuple[int, int, int]:
    """Line and columns, from 0, of a word in the statement at a line; of the line without it."""
    lines = _lines(file, line) if word else ()
    for pattern in (_quoted(word), rf"(?<!\w){re.escape(word)}(?!\w)"):
        for number in lines:
            found = re.search(pattern, _text(file, number))
            if found:
                return number, *found.span()
    text = _text(file, line)
    return line, len(text) - len(text.lstrip()), len(text.rstrip())


def _quoted(word: str) -> str:
    """A word in quotes: the name of what is declared, not of the variable that often has it too."""
    return rf"(?<=[\"']){re.escape(word)}(?=[\"'])"


def _text(file: Source, line: int) -> str:
    return file.lines[line - 1] if 0 < line <= len(file.lines) else ""


def _lines(file: Source, line: int) -> range:
    """The lines of the statement that begins at or before a line; of a function, its head."""
    first, last = line, line
    for node in ast.walk(file.tree):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            inner = getattr(node, "body", None)
            if not inner:
                first, last = node.lineno, node.end_lineno or line
    return range(first, last + 1)


def _fixes(file: Source, error: DslError) -> tuple[Fix, ...]:
    if error.instead is None or not error.instead[0]:
        return ()
    old, new = error.instead
    # A class stands anywhere; everything else where the declaration is.
    near = _lines(file, error.line)
    before = r"(?<!\w)" if old[0].isalnum() else ""
    pattern = rf"{before}{re.escape(old)}(?!\w)"
    places = [(number, _quoted(old)) for number in near]
    places += [(number, pattern) for number in (*near, *range(1, len(file.lines) + 1))]
    for number, pattern in places:
        found = re.search(pattern, _text(file, number))
        if found is None:
            continue
        change = Edit(number, found.start() + 1, number, found.end() + 1, new)
        edits = (change, *(imported(file, *error.needs) if error.needs else ()))
        return (Fix(f"write {' '.join(new.split())}", edits, "safe"),)
    return ()
