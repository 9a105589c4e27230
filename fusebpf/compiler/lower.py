# SPDX-License-Identifier: MIT
"""Where locals live, and what a filter costs.

The verifier follows every path with the values it knows. A local that a loop changes, kept in a
register or on the stack, makes each turn a new state; kept in the operation's memory it is an
unknown number that each turn finds again. So such locals go to the frame.

Branches do the same harm: each test of a value that stays in a register splits what is known of
it, and n independent tests make 2**n states when the values are tested again. A function with
many branches therefore keeps all its numbers in the frame and loads members anew for each test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from fusebpf.compiler import ir
from fusebpf.compiler.choices import settled
from fusebpf.compiler.expressions import CONTEXT_FIELDS
from fusebpf.compiler.types import BoolType, IntType, VerdictType
from fusebpf.compiler.walk import blocks, expressions, statements

#: More decisions than this in a filter with its inlined helpers make its functions branchy.
MANY_BRANCHES = 8

_SCALAR = IntType | BoolType | VerdictType

#: Bytes that a new name is made in (FUSEBPF_TEXT of bpf/fusebpf_names.h).
TEXT_BYTES = 256

#: Most arguments of a BPF function.
MAX_ARGS = 5


def place_all(
    helpers: tuple[ir.Function, ...], filters: tuple[ir.Function, ...]
) -> tuple[tuple[ir.Function, ...], tuple[ir.Function, ...]]:
    """The functions with their frame locals chosen. ``helpers`` come before their callers."""
    decisions: dict[str, int] = {}
    alone: set[str] = set()
    by_name = {f.name: f for f in (*helpers, *filters)}
    for function in (*helpers, *filters):
        count = _decisions(function, decisions)
        if _plain(function) and count <= MANY_BRANCHES and set(_called(function)) <= alone:
            alone.add(function.name)
            count = 0
        decisions[function.name] = count
    branchy: set[str] = set()
    pending = [f.name for f in filters if decisions[f.name] > MANY_BRANCHES]
    while pending:
        name = pending.pop()
        if name not in branchy and name not in alone:
            branchy.add(name)
            pending.extend(_called(by_name[name]))

    def placed(functions: tuple[ir.Function, ...]) -> tuple[ir.Function, ...]:
        return tuple(
            replace(f, alone=True) if f.name in alone else _place(settled(f), f.name in branchy)
            for f in functions
        )

    return placed(helpers), placed(filters)


def _called(function: ir.Function) -> list[str]:
    return [
        e.function
        for s in statements(function.body)
        for e in expressions(s)
        if isinstance(e, ir.Call)
    ]


def _decisions(function: ir.Function, helpers: Mapping[str, int]) -> int:
    """Branches that depend on data, those of called helpers included."""
    count = 0
    for stmt in statements(function.body):
        count += isinstance(stmt, ir.If)
        for expr in expressions(stmt):
            if isinstance(expr, ir.BoolOp):
                count += len(expr.operands) - 1
            elif isinstance(expr, ir.Chain):
                count += len(expr.ops) - 1
            elif isinstance(expr, ir.Conditional):
                count += 1
            elif isinstance(expr, ir.Call):
                count += helpers[expr.function]
    return count


def _place(function: ir.Function, branchy: bool) -> ir.Function:
    frame = set(function.frame)
    for stmt, depth in _with_depth(function.body, 0):
        if isinstance(stmt, ir.For) and (not _private(function, stmt) or _has_loop(stmt.body)):
            frame.add(stmt.var)
        if depth or branchy:
            frame.update(assigned(stmt))
    if branchy:
        frame |= {p.name for p in function.params if isinstance(p.type, _SCALAR)}
    return replace(function, frame=frozenset(frame), branchy=branchy)


def _has_loop(body: tuple[ir.Stmt, ...]) -> bool:
    return any(isinstance(s, ir.For | ir.ForEntries) for s in statements(body))


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
        loop.var in assigned(s) for s in statements(function.body)
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


def assigned(stmt: ir.Stmt) -> tuple[str, ...]:
    """Locals that a statement itself assigns, loop variables aside."""
    match stmt:
        case ir.Assign(target=target):
            return (target,)
        case ir.MapFetch(target=target, fields=fields):
            return (target, *(local for _, local in fields))
    return ()


def frame_size(function: ir.Function) -> int:
    """Bytes of a function's own frame, a multiple of 8."""
    total = 0
    for local in all_locals(function):
        if local.name in function.frame:
            total += _width(local) + local.optional
    total += sum(CONTEXT_FIELDS[name].bits // 8 for name in framed_context(function))
    return -(-total // 8) * 8 + text_area(function) + record_area(function)


def text_area(function: ir.Function) -> int:
    """Bytes for a new name, between the locals and the records of a function's frame."""
    made = any(
        isinstance(expr, ir.NameJoin)
        for stmt in statements(function.body)
        for expr in expressions(stmt)
    )
    return TEXT_BYTES if made else 0


def record_area(function: ir.Function) -> int:
    """Bytes for a key and a value that are records, behind the locals of a function's frame."""
    return 2 * max((-(-r.type.record.size // 8) * 8 for r in _records(function)), default=0)


def _records(function: ir.Function) -> Iterator[ir.MakeRecord]:
    """Records that are made in memory of the operation; events are made in their ring."""
    for stmt in statements(function.body):
        events = [stmt.value] if isinstance(stmt, ir.Emit) else []
        for expr in expressions(stmt):
            if isinstance(expr, ir.MakeRecord) and not any(expr is e for e in events):
                yield expr


def all_locals(function: ir.Function) -> tuple[ir.LocalVar, ...]:
    """Locals, loop variables, and the parameters that are numbers."""
    params = tuple(
        ir.LocalVar(p.name, p.type) for p in function.params if isinstance(p.type, _SCALAR)
    )
    return function.locals + params


def framed_context(function: ir.Function) -> tuple[str, ...]:
    """Members of ctx that a branchy function reads once and keeps in its frame."""
    if not function.branchy:
        return ()
    found = {
        e.field
        for s in statements(function.body)
        for e in expressions(s)
        if isinstance(e, ir.CtxField) and e.field not in ("tag", "ktime")
    }
    return tuple(sorted(found))


def _plain(function: ir.Function) -> bool:
    """Whether a helper only knows numbers and makes no loops: it can be verified on its own."""
    return (
        function.hook is None
        and len(function.params) <= MAX_ARGS
        and all(isinstance(p.type, _SCALAR) for p in function.params)
        and not _has_loop(function.body)
        and not record_area(function)
        and not any(isinstance(s, ir.Emit) for s in statements(function.body))
    )


def _width(local: ir.LocalVar) -> int:
    return local.type.bits // 8 if isinstance(local.type, IntType) else 4
