# SPDX-License-Identifier: MIT
"""Walking over the IR."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar, get_args

from fusebpf.compiler import ir

_EXPRS: tuple[type, ...] = get_args(ir.Expr)
#: What changes something.
_ACTING = ir.Call | ir.MapPut | ir.MapDiscard
#: What changes something, or what another CPU changes.
_CHANGING = _ACTING | ir.MapGet | ir.MapHas | ir.MapItem | ir.NameWalk | ir.Kept
N = TypeVar("N", bound=ir.Expr | ir.Stmt)


_FIELDS: dict[type, tuple[str, ...]] = {
    kind: tuple(f.name for f in fields(kind) if f.name != "type")
    for kind in (*_EXPRS, *get_args(ir.Stmt))
}


def parts(node: ir.Expr | ir.Stmt) -> Iterator[ir.Expr]:
    """The expressions directly inside an expression or statement, in order."""
    for name in _FIELDS[type(node)]:
        value: Any = getattr(node, name)
        if isinstance(value, ir.Expr):
            yield value
        elif isinstance(value, tuple):
            for item in value:
                if isinstance(item, ir.Expr):
                    yield item


def expressions(node: ir.Expr | ir.Stmt) -> Iterator[ir.Expr]:
    """Every expression inside a node, itself included; not those of nested statements."""
    if isinstance(node, ir.Expr):
        yield node
    for part in parts(node):
        yield from expressions(part)


def acts(expr: ir.Expr) -> bool:
    """Whether evaluating an expression may change something: a map, or what a helper changes."""
    return any(isinstance(e, _ACTING) for e in expressions(expr))


def repeatable(expr: ir.Expr) -> bool:
    """Whether an expression does nothing, and gives the same when it is evaluated again at once."""
    return not any(
        isinstance(e, _CHANGING) or (isinstance(e, ir.CtxField) and e.field == "ktime")
        for e in expressions(expr)
    )


def mapped(node: N, change: Callable[[ir.Expr], ir.Expr]) -> N:
    """A node with every expression in it, nested statements included, put through ``change``."""

    def one(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(one(item) for item in value)
        return mapped(value, change) if type(value) in _FIELDS else value

    made: Any = replace(node, **{name: one(getattr(node, name)) for name in _FIELDS[type(node)]})
    return change(made) if isinstance(made, ir.Expr) else made  # type: ignore[return-value]


def blocks(stmt: ir.Stmt) -> tuple[tuple[ir.Stmt, ...], ...]:
    """The blocks directly inside a statement."""
    if isinstance(stmt, ir.If):
        return stmt.then, stmt.other
    if isinstance(stmt, ir.For | ir.ForEntries):
        return (stmt.body,)
    return ()


def statements(body: tuple[ir.Stmt, ...]) -> Iterator[ir.Stmt]:
    """Every statement of a block, nested ones included."""
    for stmt in body:
        yield stmt
        for block in blocks(stmt):
            yield from statements(block)


def called(function: ir.Function, helpers: Mapping[str, ir.Function]) -> list[ir.Function]:
    """The helpers that a function itself calls, each once."""
    names = dict.fromkeys(
        expr.function
        for stmt in statements(function.body)
        for expr in expressions(stmt)
        if isinstance(expr, ir.Call)
    )
    return [helpers[name] for name in names]


def depth(body: tuple[ir.Stmt, ...]) -> int:
    """How deep statements and expressions are nested; found without recursion."""
    most = 0
    pending: list[tuple[ir.Expr | ir.Stmt, int]] = [(stmt, 1) for stmt in body]
    while pending:
        node, level = pending.pop()
        most = max(most, level)
        pending += [(part, level + 1) for part in parts(node)]
        if not isinstance(node, ir.Expr):
            pending += [(stmt, level + 1) for block in blocks(node) for stmt in block]
    return most


def returns_in_loop(body: tuple[ir.Stmt, ...]) -> bool:
    """Whether a loop of the block returns a value."""
    return any(
        (isinstance(inner, ir.Return) and inner.value is not None) or isinstance(inner, ir.Replace)
        for stmt in statements(body)
        if isinstance(stmt, ir.For | ir.ForEntries)
        for inner in statements(stmt.body)
    )


def leaves(body: tuple[ir.Stmt, ...]) -> bool:
    """Whether a block never reaches its end."""
    if not body:
        return False
    last = body[-1]
    if isinstance(last, ir.If):
        return leaves(last.then) and leaves(last.other)
    return isinstance(last, ir.Return | ir.Break | ir.Continue)
