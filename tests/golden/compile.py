# SPDX-License-Identifier: MIT
"""Compile one file as the build does, without clang and without leaving traces."""

from __future__ import annotations

from pathlib import Path

from fusebpf.compiler import CompileResult, compile_set, declaration_error
from fusebpf.dsl import DslError, FilterSet


def compile_path(path: Path) -> tuple[CompileResult, str]:
    """The result of a file's first set that is no part of another, and the file's text."""
    source = path.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "golden"}
    try:
        exec(compile(source, path.name, "exec", dont_inherit=True), namespace)
    except DslError as error:
        return CompileResult(None, (declaration_error(error, source),), None, (), ()), source
    sets = [value for value in namespace.values() if isinstance(value, FilterSet)]
    fset = next(found for found in sets if not found.part_of)
    return compile_set(path.name, source, fset, namespace), source
