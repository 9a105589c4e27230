# SPDX-License-Identifier: MIT
"""From a filter file to C: the compiler's front door. Pure: no I/O, no clang."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fusebpf.compiler import ir
from fusebpf.compiler.compose import joined, replaces
from fusebpf.compiler.costs import MAX_FRAME, MAX_SIZE, MAX_STEPS, MAX_TIME, Cost, cost
from fusebpf.compiler.diagnostics import Diagnostic
from fusebpf.compiler.emit import Emitter
from fusebpf.compiler.functions import check_filter
from fusebpf.compiler.ir import MapDecl, Program
from fusebpf.compiler.lower import place_all
from fusebpf.compiler.predicates import expand
from fusebpf.compiler.purity import LOOKUP, impurity
from fusebpf.compiler.scope import Unit, config_type
from fusebpf.compiler.types import INT_TYPES, VERDICT, RecordType
from fusebpf.compiler.walk import expressions, statements

if TYPE_CHECKING:
    from fusebpf.dsl import FilterSet


@dataclass(frozen=True)
class HookFunction:
    """A filter of the object: ``c_name`` is the C function, its programs are NAME_ops, …_standin.

    ``steps`` and ``size`` are the most loop turns and the estimated instructions of one call.
    ``impure`` says of a lookup prefilter what its answer depends on besides the name; "" when it
    is nothing and the kernel may keep the answer, None for other filters.
    """

    hook: str
    function: str
    c_name: str
    line: int
    steps: int
    size: int
    impure: str | None = None


@dataclass(frozen=True)
class CompileResult:
    """``c_source`` and ``ir`` are None when a diagnostic is an error."""

    c_source: str | None
    diagnostics: tuple[Diagnostic, ...]
    ir: Program | None
    hooks: tuple[HookFunction, ...]
    maps: tuple[MapDecl, ...]


def compile_set(
    path: str, source: str, fset: FilterSet, namespace: Mapping[str, object]
) -> CompileResult:
    """Compile one filter set of an imported file.

    ``source`` is the text that ``namespace`` came from, ``path`` its name for messages and
    ``#line``. Mistakes of the author come back as diagnostics; nothing is raised for them.
    """
    maps = {
        id(m): ir.MapDecl(
            m.name,
            m.kind,
            RecordType(m.key_record) if m.key_record else INT_TYPES[m.key.__name__],
            RecordType(m.value_record) if m.value_record else INT_TYPES[m.value.__name__],
            m.max_entries,
        )
        for m in fset.maps.values()
    }
    unit = Unit(path, source, namespace, fset, {}, maps)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        col = getattr(error, "offset", None) or 1
        text = getattr(error, "msg", str(error))
        found = Diagnostic("error", "E001", f"not Python: {text}", path, line, col, col + 1)
        return CompileResult(None, (found,), None, (), tuple(maps.values()))
    unit.definitions.update(_definitions(tree))
    filters = _check_filters(unit)
    if _failed(unit):
        return _result(unit, None, None, ())
    filters = _join(unit, filters)
    if _failed(unit):
        return _result(unit, None, None, ())
    _idle_postfilters(unit, filters)
    configs = tuple(
        ir.ConfigDecl(c.name, config_type(c.kind), int(c), c.least, c.most)
        for c in fset.configs.values()
    )
    by_name = {f.name: f for f in unit.order}
    impure = {f.name: impurity(f, by_name) or "" for f in filters if f.hook == LOOKUP}
    filters = [replace(f, pure=impure.get(f.name) == "") for f in filters]
    helpers, placed = place_all(tuple(unit.order), tuple(filters))
    program = ir.Program(
        fset.name,
        path,
        tuple(maps.values()),
        helpers,
        placed,
        unit.counts_lost,
        configs,
        tuple(unit.events.values()),
    )
    costs = _costs(unit, program)
    if _failed(unit):
        return _result(unit, None, None, ())
    try:
        emitter = Emitter(program, source, costs)
        text = emitter.program_text()
    except Exception as error:  # a defect of this compiler must not look like a crash
        _defect(unit, _declaration(unit), fset.name, error)
        return _result(unit, None, None, ())
    hooks = tuple(
        HookFunction(
            f.hook or "",
            f.name,
            emitter.functions[f.name],
            f.line,
            costs[f.name].steps,
            costs[f.name].size,
            impure.get(f.name),
        )
        for f in program.filters
    )
    return _result(unit, text, program, hooks)


def _result(
    unit: Unit, text: str | None, program: ir.Program | None, hooks: tuple[HookFunction, ...]
) -> CompileResult:
    found = sorted(unit.diagnostics, key=lambda d: (d.line, d.col, d.code))
    return CompileResult(text, tuple(found), program, hooks, tuple(unit.maps.values()))


def _failed(unit: Unit) -> bool:
    return any(d.severity == "error" for d in unit.diagnostics)


def _definitions(tree: ast.Module) -> dict[tuple[str, int], ast.FunctionDef]:
    """Functions of the file's top level (inside `if` and `try`, too) by name and first line."""
    found: dict[tuple[str, int], ast.FunctionDef] = {}
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef):
            line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found[node.name, line] = node
        elif isinstance(node, ast.If | ast.Try | ast.With):
            for name in ("body", "orelse", "finalbody"):
                pending.extend(getattr(node, name, []))
            for handler in getattr(node, "handlers", []):
                pending.extend(handler.body)
    return found


def _at(unit: Unit, line: int) -> ast.AST:
    """A node that spans the text of a line."""
    text = unit.lines[line - 1] if line <= len(unit.lines) else ""
    node = ast.Pass()
    node.lineno, node.end_lineno = line, line + 1
    node.col_offset = len(text) - len(text.lstrip())
    node.end_col_offset = 0
    return node


def _declaration(unit: Unit) -> ast.AST:
    """The line that makes the set."""
    for number, text in enumerate(unit.lines, 1):
        if "FilterSet(" in text and unit.fset.name in text:
            return _at(unit, number)
    return _at(unit, 1)


def _check_filters(unit: Unit) -> list[ir.Function]:
    if not unit.fset.filters and not unit.fset.predicates:
        unit.report(
            _declaration(unit),
            "E297",
            f"filter set {unit.fset.name!r} has no filters",
            "add one: a function under @filters.lookup.pre",
        )
    expanded = list(expand(unit))
    unit.hooks = frozenset([f.hook for f in unit.fset.filters] + [hook for hook, _ in expanded])
    made: list[ir.Function] = []
    seen: dict[str, str] = {}
    for entry in unit.fset.filters:
        name = entry.function.__code__.co_name
        node = unit.definitions.get((name, entry.line))
        if node is None:
            unit.report(
                _at(unit, min(entry.line, len(unit.lines))),
                "E298",
                f"filter {name} is not a function at the top level of this file",
                "filters are written with `def`, in the file that declares the set",
            )
            continue
        if name in seen:
            unit.report(
                _at(unit, node.lineno),
                "E298",
                f"two filters are named {name}: {seen[name]} and {entry.hook}",
                "rename one of the functions",
            )
            continue
        seen[name] = entry.hook
        function = _guarded(unit, node, entry.hook)
        if function is not None:
            made.append(function)
    for hook, node in expanded:
        function = _guarded(unit, node, hook)
        if function is not None:
            made.append(function)
    return made


def _join(unit: Unit, filters: list[ir.Function]) -> list[ir.Function]:
    """One filter for each hook; the others become helpers."""
    for function in filters:
        line = replaces(function)
        if line and sum(f.hook == function.hook for f in filters) > 1:
            unit.report(
                _at(unit, line),
                "E267",
                f"{function.name} replaces what another filter of {function.hook} sees, too",
                "make one filter of them, so that the order is said",
            )
    unit.order, made = joined(unit.order, filters)
    return made


def _idle_postfilters(unit: Unit, filters: list[ir.Function]) -> None:
    """Warn about postfilters that no prefilter asks for; one without a prefilter always runs."""
    by_hook = {f.hook: f for f in filters}
    default = by_hook.get("default_filter")
    for function in filters:
        hook = function.hook or ""
        if not hook.endswith("_postfilter"):
            continue
        op = hook.removesuffix("_postfilter")
        before = by_hook.get(f"{op}_prefilter", default)
        if before is None or _may_ask(before) or (default and _may_ask(default)):
            continue
        unit.report(
            _at(unit, function.line),
            "W103",
            f"{function.name} never runs: nothing returns POSTFILTER for {op}",
            f"return POSTFILTER from a filter of @filters.{op}.pre",
            "warning",
        )


def _may_ask(function: ir.Function) -> bool:
    """Whether a filter may return POSTFILTER: says so, or returns what it computed."""
    for stmt in statements(function.body):
        if isinstance(stmt, ir.Return):
            for expr in expressions(stmt):
                if isinstance(expr, ir.Const) and expr.type == VERDICT and expr.value == 3:
                    return True
                if isinstance(expr, ir.Local | ir.Call) and expr.type == VERDICT:
                    return True
    return False


def _guarded(unit: Unit, node: ast.FunctionDef, hook: str) -> ir.Function | None:
    try:
        return check_filter(unit, node, hook)
    except RecursionError:
        unit.stack.clear()
        unit.report(
            _at(unit, node.lineno),
            "E299",
            f"{node.name} is nested too deeply",
            "split long expressions into several lines, with locals",
        )
    except Exception as error:  # a defect of this compiler must not look like a crash
        unit.stack.clear()
        _defect(unit, _at(unit, node.lineno), node.name, error)
    return None


def _defect(unit: Unit, node: ast.AST, what: str, error: Exception) -> None:
    unit.report(
        node,
        "E999",
        f"the compiler failed on {what}: {type(error).__name__}: {error}",
        "this is a defect of fusebpf; please report it with this file",
    )


def _costs(unit: Unit, program: ir.Program) -> dict[str, Cost]:
    costs: dict[str, Cost] = {}
    for function in (*program.helpers, *program.filters):
        costs[function.name] = found = cost(function, costs)
        if function.hook is None:
            continue
        if found.steps > MAX_STEPS:
            unit.report(
                _at(unit, found.worst_line),
                "E244",
                f"{function.name} can make {found.steps} loop turns in one call, "
                f"{found.worst_steps} of them here; at most {MAX_STEPS} are possible",
                "make the loop smaller, or leave it early and keep the rest for another call",
            )
        elif found.time > MAX_TIME:
            unit.report(
                _at(unit, found.slow_line),
                "E247",
                f"{function.name} can hold a CPU for about {found.time / 1e6:.1f} ms in one call, "
                f"{found.slow_time / 1e6:.1f} of them here; at most {MAX_TIME / 1e6:.1f} are "
                "possible",
                "make fewer turns, or do less in each: move what stays the same before the loop",
            )
        if found.size > MAX_SIZE:
            unit.report(
                _at(unit, function.line),
                "E245",
                f"{function.name} is too large: about {found.size} instructions with its helpers, "
                f"at most {MAX_SIZE} are possible",
                "split it over several hooks, or shorten its sets and helpers",
            )
        if found.frame > MAX_FRAME:
            unit.report(
                _at(unit, function.line),
                "E246",
                f"{function.name} and its helpers keep {found.frame} bytes of locals in loops; "
                f"at most {MAX_FRAME} are possible",
                "use fewer locals, or a map",
            )
    return costs
