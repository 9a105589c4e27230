# SPDX-License-Identifier: MIT
"""Which lookup filters answer by the name and constants alone, so that the kernel may keep it.

An answer that is kept is not asked for again until the filters are replaced. It must therefore be
the same for every caller at every time, and making it must leave no trace that someone counts on.
"""

from __future__ import annotations

from collections.abc import Mapping

from fusebpf.compiler import ir
from fusebpf.compiler.types import VERDICT
from fusebpf.compiler.walk import expressions, statements

LOOKUP = "lookup_prefilter"


def impurity(function: ir.Function, helpers: Mapping[str, ir.Function]) -> str | None:
    """Why an answer of the function may not be kept, with the line; None when it may."""
    for stmt in statements(function.body):
        found = _statement(stmt)
        if found is None:
            for expr in expressions(stmt):
                found = _expression(expr, helpers)
                if found is not None:
                    break
        if found is not None:
            return found if "(line" in found else f"{found} (line {stmt.line})"
    return None


def _statement(stmt: ir.Stmt) -> str | None:
    match stmt:
        case ir.MapFetch(map=name) | ir.MapSet(map=name) | ir.MapUpdate(map=name):
            return f"map {name}"
        case ir.Emit(event=name):
            return f"it sends events {name}"
        case ir.Debug():
            return "it prints"
        case ir.SetTag():
            return "it sets ctx.tag"
        case ir.KeepAnswer():
            return "it says itself how long"
        case ir.SetField(param=param) | ir.Replace(param=param):
            return f"it changes {param}"
    return None


def _expression(expr: ir.Expr, helpers: Mapping[str, ir.Function]) -> str | None:
    match expr:
        case ir.Const(type=kind, value=value) if kind == VERDICT and value > 0:
            # Only going on and refusing are answers; the rest asks someone else.
            return "it leaves the answer to a postfilter, the daemon or the default filter"
        case ir.CtxField(field=name):
            return f"ctx.{name}"
        case (
            ir.MapGet(map=name)
            | ir.MapHas(map=name)
            | ir.MapItem(map=name)
            | ir.MapPut(map=name)
            | ir.MapDiscard(map=name)
            | ir.NameWalk(map=name)
        ):
            return f"map {name}"
        case ir.Call(function=name):
            return impurity(helpers[name], helpers)
    return None
