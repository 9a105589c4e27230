# SPDX-License-Identifier: MIT
"""Which verdicts a function can return besides CONTINUE and refusals.

Whoever is asked next depends on them: a postfilter, the daemon or the default filter. What is told
may be more than what happens, as tests of the author's are not looked at, and never less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fusebpf.compiler import ir
from fusebpf.compiler.types import VERDICT
from fusebpf.compiler.walk import blocks
from fusebpf.dsl import values

POSTFILTER = values.POSTFILTER.value
USER_POSTFILTER = values.USER_POSTFILTER.value
CALL_DEFAULT = values.CALL_DEFAULT.value
#: A postfilter may follow: the daemon that is asked first can want one, too.
ASKING = frozenset({POSTFILTER, values.USER_PREFILTER.value})
#: Those that leave an operation to the daemon, as an author writes them.
TO_DAEMON = {
    verdict.value: word
    for word, verdict in (
        ("USER", values.USER),
        ("USER_PREFILTER", values.USER_PREFILTER),
        ("USER_POSTFILTER", values.USER_POSTFILTER),
    )
}


def verdicts(function: ir.Function, helpers: Mapping[str, ir.Function]) -> frozenset[int]:
    """The numbers of those verdicts."""
    return frozenset(
        value
        for stmt in _reached(function.body)
        if isinstance(stmt, ir.Return) and stmt.value is not None
        for value in _values(stmt.value, function, helpers, frozenset())
        if value > 0
    )


def returning(
    function: ir.Function, helpers: Mapping[str, ir.Function], wanted: frozenset[int]
) -> int:
    """The first line that returns one of some verdicts; the function's own where none does."""
    for stmt in _reached(function.body):
        value = stmt.value if isinstance(stmt, ir.Return) else None
        if value is not None and wanted & set(_values(value, function, helpers, frozenset())):
            return stmt.line
    return function.line


def _reached(body: tuple[ir.Stmt, ...]) -> Iterator[ir.Stmt]:
    """Statements, but for those behind a test of constants: of what a factory was called with."""
    for stmt in body:
        yield stmt
        inner = blocks(stmt)
        if isinstance(stmt, ir.If) and isinstance(stmt.test, ir.Const):
            inner = (stmt.then if stmt.test.value else stmt.other,)
        for block in inner:
            yield from _reached(block)


def _values(
    expr: ir.Expr,
    function: ir.Function,
    helpers: Mapping[str, ir.Function],
    seen: frozenset[str],
) -> Iterator[int]:
    """Constants that an expression can come to; ``seen`` are the locals that are looked into."""

    def inner(part: ir.Expr, more: frozenset[str] = frozenset()) -> Iterator[int]:
        return _values(part, function, helpers, seen | more)

    match expr:
        case ir.Conditional(test=ir.Const(value=test), then=then, other=other):
            yield from inner(then if test else other)
        case ir.Const(type=kind, value=value) if kind == VERDICT:
            yield value
        case ir.Conditional(then=then, other=other):
            yield from inner(then)
            yield from inner(other)
        case ir.BoolOp(operands=operands):
            for operand in operands:
                yield from inner(operand)
        case ir.Kept(operand=operand):
            yield from inner(operand)
        case ir.Local(name=name) if name not in seen:
            for stmt in _reached(function.body):
                if isinstance(stmt, ir.Assign) and stmt.target == name:
                    yield from inner(stmt.value, frozenset({name}))
        case ir.Call(function=name, args=args, type=kind) if kind == VERDICT:
            yield from verdicts(helpers[name], helpers)
            # A helper may return what it was given.
            for arg in args:
                if arg.type == VERDICT:
                    yield from inner(arg)
