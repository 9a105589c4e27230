# SPDX-License-Identifier: MIT
"""Tests whose outcome is known: mostly a test that asks something else than was meant."""

from __future__ import annotations

import ast

from fusebpf.compiler import ir
from fusebpf.compiler.flow import bounds
from fusebpf.compiler.mending import Mend
from fusebpf.compiler.scope import Scope
from fusebpf.compiler.types import BoolType, IntType

#: Outcomes of ``left op right`` where everything on the left is below, or above, the right.
_BELOW = {"==": False, "!=": True, "<": True, "<=": True, ">": False, ">=": False}
_ABOVE = {"==": False, "!=": True, "<": False, "<=": False, ">": True, ">=": True}


def warn_if_known(scope: Scope, node: ast.expr, test: ir.Expr, beside: ast.expr | None) -> None:
    """Warn about a condition that is always true or always false here.

    Constants of the author are no mistake: they switch parts of a filter on and off. ``beside`` is
    the test before it in an ``or``.
    """
    if scope.infer:
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        known: bool | None = bool(node.value)
    else:
        known = _outcome(scope, test)
    if known is None:
        return
    scope.warn(
        node,
        "W104",
        f"this is always {'true' if known else 'false'}: {scope.source_of(node)}",
        _help(scope, node),
        _fix(scope, node, beside),
    )


def _outcome(scope: Scope, test: ir.Expr) -> bool | None:
    match test:
        case ir.Compare(op=op, left=left, right=right):
            sides = (left.type, right.type)
            if not all(isinstance(side, IntType | BoolType) for side in sides):
                return None
            if all(isinstance(side, ir.Const | ir.Config) for side in (left, right)):
                return None
            (low, high), (least, most) = bounds(left, scope.flow), bounds(right, scope.flow)
            if high < least or (high == least and op in ("<=", ">")):
                return _BELOW[op]
            if low > most or (low == most and op in (">=", "<")):
                return _ABOVE[op]
            return None
        case ir.Binary(type=IntType()):
            low, high = bounds(test, scope.flow)
            return False if low == high == 0 else None
    return None


def _help(scope: Scope, node: ast.expr) -> str:
    match node:
        case ast.Constant():
            return "each side of `or` is a test of its own: x == 'a' or x == 'b'"
        case ast.BinOp(op=ast.BitAnd()):
            return "this flag has no bit of its own: compare (flags & O_ACCMODE) == O_RDONLY"
    return "the value cannot be anything else here; leave the test out, or ask something else"


def _fix(scope: Scope, node: ast.expr, beside: ast.expr | None) -> Mend | None:
    match node, beside:
        case ast.Constant(), ast.Compare(left=left, ops=[ast.Eq()]):
            return Mend(f"{scope.source_of(left)} == {scope.source_of(node)}", safe=False)
        case ast.Constant(), ast.Call(func=func, args=[_]):
            return Mend(f"{scope.source_of(func)}({scope.source_of(node)})", safe=False)
        case ast.BinOp(left=left, op=ast.BitAnd(), right=ast.Name(id="O_RDONLY")), _:
            return Mend(
                f"({scope.source_of(left)} & O_ACCMODE) == O_RDONLY",
                safe=False,
                imports=(("fusebpf.constants", "O_ACCMODE"),),
            )
    return None
