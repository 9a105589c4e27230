# SPDX-License-Identifier: MIT
"""What a filter costs: turns of loops, instructions, memory, and time when all turns are made.

Verified is not cheap: an accepted filter must not hold a CPU for long. Times are estimates by
kind of node, measured on a 3 GHz machine; a test holds the costliest filters against the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fusebpf.abi import SCRATCH_SIZE
from fusebpf.abi.opcodes import PAGE_SIZE
from fusebpf.compiler import ir
from fusebpf.compiler.flow import longest
from fusebpf.compiler.globs import segments
from fusebpf.compiler.loops import MAX_ENTRIES
from fusebpf.compiler.lower import frame_size
from fusebpf.compiler.types import NAME, most_bytes
from fusebpf.compiler.walk import blocks, expressions, statements
from fusebpf.frozen import dataclass

#: Limits of one filter with its helpers.
MAX_STEPS = 65536
MAX_SIZE = 16000
MAX_FRAME = SCRATCH_SIZE
#: Nanoseconds: a millisecond, less what the estimates may be wrong by.
MAX_TIME = 800_000


@dataclass(frozen=True)
class Cost:
    """``steps``: most turns of all loops; ``size``: estimated instructions; ``frame``: bytes;
    ``time``: estimated nanoseconds when every loop makes all of its turns."""

    steps: int = 0
    size: int = 0
    frame: int = 0
    time: int = 0
    #: Line of the loop with the most turns, and its turns.
    worst_line: int = 0
    worst_steps: int = 0
    #: Line of the loop that takes longest, and its time.
    slow_line: int = 0
    slow_time: int = 0


#: Estimated instructions by node; anything else counts 2.
_SIZES: dict[type, int] = {
    ir.Const: 1,
    ir.Local: 1,
    ir.NameByte: 10,
    ir.NameSame: 40,
    ir.NameWalk: 40,
    ir.NamePart: 24,
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
    ir.Replace: 40,
    ir.NameJoin: 40,
    ir.RenameEntry: 40,
    ir.Emit: 30,
    ir.Debug: 12,
    ir.MakeRecord: 24,
    ir.For: 16,
    ir.ForEntries: 40,
    ir.Chain: 6,
}


def _size(node: ir.Expr | ir.Stmt) -> int:
    if isinstance(node, ir.NameTest):
        return sum(4 + 5 * (-(-len(value) // 8) + 1) for value in node.values)
    if isinstance(node, ir.NameGlob):
        parts = [part for pattern in node.patterns for part in segments(pattern)]
        return sum(24 + 8 * len(part.items) + part.size for part in parts)
    if isinstance(node, ir.OneOf):
        return 1 + 2 * len(node.values)
    if isinstance(node, ir.Binary) and node.op in ("//", "%") and node.type.signed:
        return 14
    return _SIZES.get(type(node), 2)


#: Nanoseconds of a node, without what is inside of it; anything else takes _OTHER.
_TIMES: dict[type, float] = {
    ir.Const: 0,
    ir.Local: 0.5,
    ir.MapGet: 25,
    ir.MapHas: 25,
    ir.MapItem: 4,
    ir.MapPut: 220,
    ir.MapDiscard: 150,
    ir.MapUpdate: 220,
    ir.MapSet: 4,
    ir.MapFetch: 25,
    ir.Emit: 150,
    ir.Debug: 2000,
    ir.MakeRecord: 5,
    ir.NamePart: 4,
    ir.NameByte: 2.5,
    ir.DirentName: 8,
    ir.Drop: 8,
    ir.RenameEntry: 60,
    ir.SetEntryType: 8,
}
_OTHER = 0.8
#: All entries of a pass have so many bytes together (docs/kernel.md).
_ENTRY_BYTES = PAGE_SIZE // MAX_ENTRIES
#: One turn of a loop, of the generated ones inside names included.
_TURN = 8


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

    def turns(node: ir.Expr | ir.Stmt) -> float:
        called = helpers[node.function].steps if isinstance(node, ir.Call) else 0
        return called + _hidden_turns(node)

    def time(node: ir.Expr | ir.Stmt) -> float:
        called = helpers[node.function].time if isinstance(node, ir.Call) else 0
        return called + _hidden_turns(node) * _TURN + _own_time(node)

    steps, line, worst = _most(function.body, turns, 1, 0)
    total, slow, longest_time = _most(function.body, time, 0, _TURN)
    return Cost(
        int(steps),
        size,
        frame_size(function) + deepest,
        int(total),
        line,
        int(worst),
        slow,
        int(longest_time),
    )


def _own_time(node: ir.Expr | ir.Stmt) -> float:
    if isinstance(node, ir.NameTest):
        return sum(2 + len(value) / 8 for value in node.values)
    if isinstance(node, ir.CtxField) and node.field == "ktime":
        return 60
    if isinstance(node, ir.Binary) and node.op in ("//", "%"):
        return 4
    return _TIMES.get(type(node), _OTHER)


def _length(name: ir.Expr) -> int:
    """The most bytes of a name; of a directory entry, what each has when a pass is full of them."""
    base = name
    while isinstance(base, ir.NamePart):
        base = base.name
    return min(longest(name), _ENTRY_BYTES if isinstance(base, ir.DirentName) else longest(name))


def _hidden_turns(node: ir.Expr | ir.Stmt) -> int:
    """Turns of the loops that a node becomes."""
    match node:
        case ir.NameSame(left=left, right=right):
            return min(_length(left), _length(right))
        case ir.NameWalk(name=name):
            return _length(name)
        case ir.NameGlob(name=name, patterns=patterns):
            stars = sum(max(len(segments(pattern)) - 2, 0) for pattern in patterns)
            return _length(name) * stars
        case ir.MakeRecord(type=kind, values=values):
            members = zip(kind.record.members, values, strict=True)
            return sum(m.size for m, v in members if m.is_bytes and not isinstance(v, ir.Bytes))
        case ir.NameJoin(parts=parts):
            return sum(len(p.value) if isinstance(p, ir.Bytes) else _length(p) for p in parts)
        case ir.Replace(value=ir.NameJoin()):
            return most_bytes(NAME)
        case ir.Replace(value=value) if not isinstance(value, ir.Bytes):
            return _length(value)
    return 0


def _most(
    body: tuple[ir.Stmt, ...],
    own: Callable[[ir.Expr | ir.Stmt], float],
    least: float,
    turn: float,
) -> tuple[float, int, float]:
    """The sum of ``own`` over a block where every loop makes all its turns.

    Each turn adds ``turn``, and counts ``least`` at the least. Also the line of the costliest
    statement, and what it costs.
    """
    total: float = 0
    line, worst = 0, 0.0
    for stmt in body:
        here = own(stmt) + sum(own(expr) for expr in expressions(stmt))
        if here > worst:
            line, worst = stmt.line, here
        for block in blocks(stmt):
            inner, inner_line, inner_worst = _most(block, own, least, turn)
            if isinstance(stmt, ir.For | ir.ForEntries):
                inner = stmt.bound * (max(inner, least) + turn)
                inner_line, inner_worst = stmt.line, inner
            here += inner
            if inner_worst > worst:
                line, worst = inner_line, inner_worst
        total += here
    return total, line, worst
