# SPDX-License-Identifier: MIT
"""The files that filters are written in."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cached_property
from pathlib import PurePath

from fusebpf.compiler.edits import source_lines
from fusebpf.frozen import dataclass


@dataclass(frozen=True)
class Source:
    """A file: ``path`` names it in findings, ``name`` in ``#line``, where it is relative."""

    path: str
    text: str
    name: str

    @cached_property
    def lines(self) -> list[str]:
        """The file's lines."""
        return source_lines(self.text)

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree. Raises SyntaxError or ValueError when it is no Python."""
        return ast.parse(self.text)

    @cached_property
    def definitions(self) -> dict[tuple[str, int], ast.FunctionDef]:
        """Every function of the file by name and first line.

        Raises SyntaxError or ValueError when it is no Python.
        """
        found: dict[tuple[str, int], ast.FunctionDef] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef):
                line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                found[node.name, line] = node
        return found


def line_name(path: str, module: str, taken: Iterable[str]) -> str:
    """A name for ``#line`` that ends with the file's own; that of its module where it has one."""
    plain = PurePath(path)
    parts = module.split(".")
    name = f"{'/'.join(parts)}{plain.suffix}" if parts[-1] == plain.stem else plain.name
    used = set(taken)
    number = 1
    while name in used:
        number += 1
        name = f"{plain.stem}~{number}{plain.suffix}"
    return name
