# SPDX-License-Identifier: MIT
"""Where locals live, and what a filter costs.

The verifier follows every path with the values it knows. A local that a loop changes, kept in a
register or on the stack, makes each turn a new state; kept in the operation's memory it is an
unknown number that each turn finds again. So such locals go to the frame. The same holds for
locals that several of many branches assign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fusebpf.abi import SCRATCH_SIZE
from fusebpf.compiler import ir
from fusebpf.compiler.types import IntType
from fusebpf.compiler.walk import blocks, expressions, statements

#: More branches than this send locals that are assigned more than once to the frame. Each branch
#: can double the states that differ in such a local.
MANY_BRANCHES = 8

#: Limits of one filter with its helpers.
MAX_STEPS = 65536
MAX_SIZE = 16000
MAX_FRAME = SCRATCH_SIZE


def place_locals(function: ir.Function) -> ir.Function:
    """The function with its frame locals chosen."""
    in_loops: set[str] = set()
    counts: dict[str, int] = {}
    branches = 0
    for stmt, depth in _with_depth(function.body, 0):
        branches += isinstance(stmt, ir.If)
        name = stmt.target if isinstance(stmt, ir.Assign | ir.MapFetch) else None
        if isinstance(stmt, ir.For) and not _private(function, stmt):
            in_loops.add(stmt.var)
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
            if depth:
                in_loops.add(name)
    if branches > MANY_BRANCHES:
        in_loops |= {name for name, count in counts.items() if count > 1}
    return replace(function, frame=frozenset(in_loops))


def _with_depth(body: tuple[ir.Stmt, ...], depth: int) -> list[tuple[ir.Stmt, int]]:
    """Statements with the number of loops around them."""
    out: list[tuple[ir.Stmt, int]] = []
    for stmt in body:
        out.append((stmt, depth))
        inner = depth + isinstance(stmt, ir.For | ir.ForEntries)
        for block in blocks(stmt):
            out.extend(_with_depth(block, inner))
    return out


def private_loops(function: ir.Function) -> frozenset[str]:
    """Loop variables that only exist inside their loops."""
    return frozenset(
        s.var for s in statements(function.body) if isinstance(s, ir.For) and _private(function, s)
    )


def _private(function: ir.Function, loop: ir.For) -> bool:
    """Whether a loop's variable is read inside loops over it only, and never assigned."""
    return not _outside(function.body, loop.var) and not any(
        isinstance(s, ir.Assign | ir.MapFetch) and s.target == loop.var
        for s in statements(function.body)
    )


def _outside(body: tuple[ir.Stmt, ...], var: str) -> bool:
    """Whether ``var`` is read anywhere but in the bodies of loops over it."""
    for stmt in body:
        for expr in expressions(stmt):
            if isinstance(expr, ir.Local) and expr.name == var:
                return True
        if isinstance(stmt, ir.For) and stmt.var == var:
            continue
        if any(_outside(block, var) for block in blocks(stmt)):
            return True
    return False


@dataclass(frozen=True)
class Cost:
    """``steps``: most turns of all loops; ``size``: estimated instructions; ``frame``: bytes."""

    steps: int = 0
    size: int = 0
    frame: int = 0
    #: Line of the loop with the most turns, and its turns.
    worst_line: int = 0
    worst_steps: int = 0


def frame_size(function: ir.Function) -> int:
    """Bytes of a function's own frame, a multiple of 8."""
    total = 0
    for local in sorted(all_locals(function), key=lambda v: -_width(v)):
        if local.name in function.frame:
            total += _width(local) + local.optional
    return -(-total // 8) * 8


def all_locals(function: ir.Function) -> tuple[ir.LocalVar, ...]:
    """Locals, and the parameters that are assigned to."""
    assigned = {s.target for s in statements(function.body) if isinstance(s, ir.Assign)}
    params = tuple(ir.LocalVar(p.name, p.type) for p in function.params if p.name in assigned)
    return function.locals + params


def _width(local: ir.LocalVar) -> int:
    return local.type.bits // 8 if isinstance(local.type, IntType) else 4


#: Estimated instructions by node; anything else counts 2.
_SIZES: dict[type, int] = {
    ir.Const: 1,
    ir.Local: 1,
    ir.NameByte: 10,
    ir.NameSame: 40,
    ir.MapGet: 12,
    ir.MapHas: 9,
    ir.MapItem: 9,
    ir.MapPut: 12,
    ir.MapDiscard: 8,
    ir.MapUpdate: 24,
    ir.MapSet: 10,
    ir.MapFetch: 14,
    ir.CtxField: 4,
    ir.DirentName: 4,
    ir.DirentField: 4,
    ir.Drop: 6,
    ir.For: 16,
    ir.ForEntries: 40,
    ir.Chain: 6,
}


def _size(node: ir.Expr | ir.Stmt) -> int:
    if isinstance(node, ir.NameTest):
        return sum(4 + 5 * (-(-len(value) // 8) + 1) for value in node.values)
    if isinstance(node, ir.OneOf):
        return 1 + 2 * len(node.values)
    if isinstance(node, ir.Binary) and node.op in ("//", "%") and node.type.signed:
        return 14
    return _SIZES.get(type(node), 2)


def cost(function: ir.Function, helpers: Mapping[str, Cost]) -> Cost:
    """What one call costs; ``helpers`` holds the costs of every function that it calls."""
    size, deepest = 0, 0
    for stmt in statements(function.body):
        size += _size(stmt)
        for expr in expressions(stmt):
            size += _size(expr)
            if isinstance(expr, ir.Call):
                size += helpers[expr.function].size
                deepest = max(deepest, helpers[expr.function].frame)
    steps, line, worst = _steps(function.body, helpers)
    return Cost(steps, size, frame_size(function) + deepest, line, worst)


def _steps(body: tuple[ir.Stmt, ...], helpers: Mapping[str, Cost]) -> tuple[int, int, int]:
    """Turns of all loops of a block; line and turns of the loop with the most."""
    total, line, worst = 0, 0, 0
    for stmt in body:
        here = sum(helpers[e.function].steps for e in expressions(stmt) if isinstance(e, ir.Call))
        if here > worst:
            line, worst = stmt.line, here
        for block in blocks(stmt):
            inner, inner_line, inner_worst = _steps(block, helpers)
            if isinstance(stmt, ir.For | ir.ForEntries):
                inner = stmt.bound * max(inner, 1)
                inner_line, inner_worst = stmt.line, inner
            here += inner
            if inner_worst > worst:
                line, worst = inner_line, inner_worst
        total += here
    return total, line, worst
