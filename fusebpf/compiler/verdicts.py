# SPDX-License-Identifier: MIT
"""Which verdicts a function can return besides CONTINUE and refusals.

Whoever is asked next depends on them: a postfilter, the daemon or the default filter. What is told
may be more than what happens, as tests of the author's are not looked at, and never less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fusebpf.compiler import ir
from fusebpf.compiler.types import VERDICT
from fusebpf.compiler.walk import statements
from fusebpf.dsl import values

POSTFILTER = values.POSTFILTER.value
CALL_DEFAULT = values.CALL_DEFAULT.value
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
        for stmt in statements(function.body)
        if isinstance(stmt, ir.Return) and stmt.value is not None
        for value in _values(stmt.value, function, helpers, frozenset())
        if value > 0
    )


def returning(
    function: ir.Function, helpers: Mapping[str, ir.Function], wanted: frozenset[int]
) -> int:
    """The first line that returns one of some verdicts; the function's own where none does."""
    for stmt in statements(function.body):
        value = stmt.value if isinstance(stmt, ir.Return) else None
        if value is not None and wanted & set(_values(value, function, helpers, frozenset())):
            return stmt.line
    return function.line


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
            for stmt in statements(function.body):
                if isinstance(stmt, ir.Assign) and stmt.target == name:
                    yield from inner(stmt.value, frozenset({name}))
        case ir.Call(function=name, args=args, type=kind) if kind == VERDICT:
            yield from verdicts(helpers[name], helpers)
            # A helper may return what it was given.
            for arg in args:
                if arg.type == VERDICT:
                    yield from inner(arg)
