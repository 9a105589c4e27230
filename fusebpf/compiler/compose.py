# SPDX-License-Identifier: MIT
"""Several filters of one hook become one: in order, the first refusal wins.

Postfilters run in reverse order, as what was wrapped last is unwrapped first. Where nobody
refuses, the first verdict other than CONTINUE stands.
"""

from __future__ import annotations

from dataclasses import replace

from fusebpf.compiler import ir
from fusebpf.compiler.types import BOOL, VERDICT
from fusebpf.compiler.walk import leaves, statements

_CONTINUE = ir.Const(VERDICT, 0)


def joined(
    helpers: list[ir.Function], filters: list[ir.Function]
) -> tuple[list[ir.Function], list[ir.Function]]:
    """Helpers and filters with one filter for each hook; the parts become helpers."""
    by_hook: dict[str, list[ir.Function]] = {}
    for function in filters:
        by_hook.setdefault(function.hook or "", []).append(function)
    made = list(helpers)
    out: list[ir.Function] = []
    for hook, parts in by_hook.items():
        if len(parts) == 1:
            out += parts
            continue
        made += [_helper(part) for part in parts]
        ordered = parts[::-1] if hook.endswith("_postfilter") else parts
        out.append(_whole(hook, ordered))
    return made, out


def replaces(function: ir.Function) -> int:
    """Line where a filter gives a name or buffer other contents; 0 without one."""
    lines = (s.line for s in statements(function.body) if isinstance(s, ir.Replace))
    return next(lines, 0)


def _helper(part: ir.Function) -> ir.Function:
    body = part.body
    if not leaves(body):
        body = (*body, ir.Return(part.line, _CONTINUE))
    return replace(part, hook=None, body=body)


def _whole(hook: str, parts: list[ir.Function]) -> ir.Function:
    first = parts[0]
    args = tuple(ir.Local(p.type, p.name) for p in first.params)
    body: list[ir.Stmt] = []
    verdicts = [f"verdict{number}" for number in range(1, len(parts) + 1)]
    for part, name in zip(parts, verdicts, strict=True):
        body.append(ir.Assign(part.line, name, ir.Call(VERDICT, part.name, args)))
        refused = ir.Compare(BOOL, "<", ir.Local(VERDICT, name), _CONTINUE)
        leave = ir.Return(part.line, ir.Local(VERDICT, name))
        body.append(ir.If(part.line, refused, (leave,), ()))
    result: ir.Expr = ir.Local(VERDICT, verdicts[-1])
    for name in reversed(verdicts[:-1]):
        local = ir.Local(VERDICT, name)
        asked = ir.Compare(BOOL, "!=", local, _CONTINUE)
        result = ir.Conditional(VERDICT, asked, local, result)
    body.append(ir.Return(first.line, result))
    return ir.Function(
        f"all_{hook.removesuffix('filter')}",
        hook,
        first.line,
        first.params,
        tuple(ir.LocalVar(name, VERDICT) for name in verdicts),
        VERDICT,
        tuple(body),
    )
