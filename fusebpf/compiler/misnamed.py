# SPDX-License-Identifier: MIT
"""Whether a name that is not defined is misspelled where it is used, or where it is made."""

from __future__ import annotations

import ast

from fusebpf.abi import HOOKS
from fusebpf.compiler.mending import definition
from fusebpf.frozen import dataclass

#: What the documents call the arguments of filters, a set, and what a loop goes through.
_USUAL = {"ctx", "filters", "entry", *(arg.name for hook in HOOKS.values() for arg in hook.args)}


@dataclass(frozen=True)
class Misnamed:
    """Where a name is made that nothing uses, and the first use of what it was meant to be."""

    made: ast.AST
    used: ast.Name


def misnamed(scope: ast.AST, used: str, made: str) -> Misnamed | None:
    """The definition of ``made`` inside of ``scope`` when that is what has to change.

    So it is when nothing uses ``made``, and ``used``, which is not defined, is the usual word or
    stands in several places: one slip is likelier than the same one twice.
    """
    if made in _USUAL:
        return None
    uses: list[ast.Name] = []
    for node in ast.walk(scope):
        match node:
            case ast.FunctionDef(name=name, decorator_list=[_, *_]) if name == made:
                return None  # a filter is used where it stands
            case ast.Name(id=name, ctx=ast.Load()) if name == made:
                return None
            case ast.Name(id=name, ctx=ast.Load()) if name == used:
                uses.append(node)
    at = definition(scope, made)
    if not uses or at is None or isinstance(at, ast.alias):
        return None
    if len(uses) < 2 and used not in _USUAL:
        return None
    return Misnamed(at, min(uses, key=lambda use: (use.lineno, use.col_offset)))
