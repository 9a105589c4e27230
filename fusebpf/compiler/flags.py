# SPDX-License-Identifier: MIT
"""`~` of flags of an enum: Python stays within the flags, a number gets all other bits."""

from __future__ import annotations

import ast
from enum import IntFlag
from types import ModuleType

from fusebpf.compiler.mending import Mend
from fusebpf.compiler.scope import Scope


def inverts_flags(scope: Scope, node: ast.UnaryOp) -> bool:
    """Whether flags are inverted, which is reported."""
    found = _flags_in(scope, node.operand)
    if found is None:
        return False
    shown = scope.source_of(node.operand)
    scope.error(
        node,
        "E224",
        f"~ of members of {type(found).__name__} gives its other members in Python, and not all "
        "other bits",
        f"say that a number is meant: ~int({shown})",
        Mend(f"int({shown})", at=node.operand),
    )
    return True


def _flags_in(scope: Scope, node: ast.expr) -> IntFlag | None:
    """A member of an IntFlag that an expression is made of: its value is flags, then, too."""
    match node:
        case ast.Name() | ast.Attribute():
            member = _object(scope, node)
            return member if isinstance(member, IntFlag) else None
        case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() | ast.BitXor(), right=right):
            found = _flags_in(scope, left)
            return _flags_in(scope, right) if found is None else found
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return _flags_in(scope, operand)
    return None


def _object(scope: Scope, node: ast.expr) -> object:
    """The Python object that a name, or a member of a module or an enum, stands for."""
    if isinstance(node, ast.Name):
        own = node.id in scope.local_names or node.id in scope.params
        return None if own else scope.unit.namespace.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _object(scope, node.value)
        if isinstance(base, ModuleType | type):
            return getattr(base, node.attr, None)
    return None
