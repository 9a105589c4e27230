# SPDX-License-Identifier: MIT
"""Values that a branch chooses, where many of them wait for each other in one expression.

BPF makes a number of a comparison by a branch, and the verifier follows both ways, each with a
number of its own in the register. In a loop it takes one way for the other only where it holds
every number of the other, so n such values that are added up make 2**n ways. Written to the
operation's memory and read again a value is the same unknown number on both.
"""

from __future__ import annotations

from dataclasses import replace

from fusebpf.compiler import ir
from fusebpf.compiler.types import S64, IntType
from fusebpf.compiler.walk import expressions, mapped, statements

#: More of them than this in one statement go to memory.
MANY_CHOICES = 4

_CHOICES = (
    ir.Compare
    | ir.Chain
    | ir.OneOf
    | ir.BoolOp
    | ir.Conditional
    | ir.MinMax
    | ir.Not
    | ir.NameTest
    | ir.NameGlob
    | ir.NameSame
    | ir.MapGet
    | ir.MapHas
    | ir.MapPut
    | ir.MapDiscard
    | ir.Call
)


def settled(function: ir.Function) -> ir.Function:
    """The function with its choices in memory where a statement has many."""
    if not any(_count(stmt) > MANY_CHOICES for stmt in statements(function.body)):
        return function
    taken = {p.name for p in function.params} | {v.name for v in function.locals}
    names: dict[IntType, str] = {}

    def keep(expr: ir.Expr) -> ir.Expr:
        if not _chooses(expr) or not isinstance(expr.type, IntType):
            return expr
        if expr.type not in names:
            name = "choice" if expr.type.signed else "choice_u"
            while name in taken:
                name += "_"
            taken.add(name)
            names[expr.type] = name
        return ir.Kept(expr.type, names[expr.type], expr)

    def kept(expr: ir.Expr) -> ir.Expr:
        if isinstance(expr, ir.Binary):
            return replace(expr, left=keep(expr.left), right=keep(expr.right))
        return expr

    body = tuple(mapped(stmt, kept) for stmt in function.body)
    made = tuple(ir.LocalVar(name, type_) for type_, name in names.items())
    return replace(
        function,
        body=body,
        locals=function.locals + made,
        frame=function.frame | frozenset(names.values()),
    )


def _count(stmt: ir.Stmt) -> int:
    return sum(
        _chooses(expr.left) + _chooses(expr.right)
        for expr in expressions(stmt)
        if isinstance(expr, ir.Binary)
    )


def _chooses(expr: ir.Expr) -> bool:
    """Whether an operand is a number that a branch chose."""
    while isinstance(expr, ir.Cast | ir.Unary):
        expr = expr.operand
    return isinstance(expr, _CHOICES) or (
        isinstance(expr, ir.Binary) and expr.op in ("//", "%") and expr.type == S64
    )
