# SPDX-License-Identifier: MIT
"""One set: its filters, checked, with the helpers that they call."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from types import FunctionType

from fusebpf.compiler import ir
from fusebpf.compiler.compose import Part, free_name
from fusebpf.compiler.diagnostics import Diagnostic
from fusebpf.compiler.functions import check_filter
from fusebpf.compiler.predicates import expand
from fusebpf.compiler.scope import Declared, Unit
from fusebpf.compiler.sources import Source, line_name
from fusebpf.dsl.filterset import FilterSet
from fusebpf.dsl.hooks import Filter
from fusebpf.dsl.parts import members
from fusebpf.dsl.predicates import Predicate


def at_line(unit: Unit, line: int) -> ast.AST:
    """A node that spans the text of a line."""
    text = unit.lines[line - 1] if line <= len(unit.lines) else ""
    node = ast.Pass()
    node.lineno, node.end_lineno = line, line + 1
    node.col_offset = len(text) - len(text.lstrip())
    node.end_col_offset = 0
    return node


def units_of(
    path: str,
    source: str,
    fset: FilterSet,
    namespace: Mapping[str, object],
    others: Mapping[str, str],
    diagnostics: list[Diagnostic],
) -> tuple[Unit, list[Unit]]:
    """One unit for findings in the main file, and one for each of the joined sets with filters.

    Those are in the order in which they run.
    """
    main = Source(path, source, PurePath(path).name)
    sources = {path: main}
    declared = Declared.by(members(fset))
    whole = Unit(main, namespace, fset, declared, diagnostics)
    units: list[Unit] = []
    for member in members(fset):
        function = first_function(member)
        if function is None:
            continue
        file = function.__code__.co_filename
        if file not in others:
            units.append(Unit(main, namespace, member, declared, diagnostics))
            continue
        if file not in sources:
            module = str(function.__globals__.get("__name__", ""))
            name = line_name(file, module, [s.name for s in sources.values()])
            sources[file] = Source(file, others[file], name)
        units.append(Unit(sources[file], function.__globals__, member, declared, diagnostics))
    return whole, units


def declaration(unit: Unit) -> int:
    """The line that makes the set; 1 when another file than the unit's does."""
    return unit.fset.line if unit.fset.file == unit.source.path else 1


def first_function(fset: FilterSet) -> FunctionType | None:
    """The first function of a set, without those of its parts."""
    found = [f.function for f in fset.filters] + [p.function for p in fset.predicates]
    return found[0] if found else None


def checked(unit: Unit) -> Part:
    """The functions of a set; several filters can be of one hook. Findings go to the unit."""
    expanded = list(expand(unit, [p for p in unit.fset.predicates if _takes_what_it_gets(unit, p)]))
    unit.hooks = frozenset([f.hook for f in unit.fset.filters] + [hook for hook, _ in expanded])
    filters = _check_filters(unit)
    predicates = [_guarded(unit, node, hook) for hook, node in expanded]
    if unit.left_out and all(found.severity != "error" for found in unit.diagnostics):
        # A statement would be missing from the C without a word.
        left_out = AssertionError(f"{unit.segment(unit.left_out)!r} was left out")
        defect(unit, unit.left_out, "this", left_out)
    # Nobody calls them, so they give way: to the author's functions, and to each other where one
    # function is several predicates.
    taken = {function.name for function in (*unit.order, *filters)}
    found: list[ir.Function] = []
    for function in predicates:
        if function is not None:
            found.append(replace(function, name=free_name(function.name, taken)))
            taken.add(found[-1].name)
    return Part(unit.fset.name, tuple(unit.order), tuple(filters), tuple(found))


def _check_filters(unit: Unit) -> list[ir.Function]:
    made: list[ir.Function] = []
    seen: dict[str, Filter] = {}
    for entry in unit.fset.filters:
        name = entry.function.__code__.co_name
        node = unit.source.definitions.get((name, entry.line))
        if node is None:
            unit.report(
                at_line(unit, min(entry.line, len(unit.lines))),
                "E298",
                f"filter {name} is not a function of this file",
                "filters are written with `def`, in the file of the set's first one",
            )
            continue
        if name in seen:
            unit.report(
                at_line(unit, node.lineno),
                "E298",
                *_two_of_one_name(seen[name], entry),
            )
            continue
        seen[name] = entry
        function = _guarded(unit, node, entry.hook, entry.function)
        if function is not None:
            made.append(function)
    return made


def _two_of_one_name(first: Filter, second: Filter) -> tuple[str, str]:
    """Message and help."""
    name = second.function.__code__.co_name
    if first.function is second.function:
        return (
            f"{name} is a filter of two hooks: {first.hook} and {second.hook}",
            "write a function for each; what they share stands in a third, without a decorator",
        )
    return (
        f"two filters are named {name}: {first.hook} and {second.hook}",
        "rename one of the functions",
    )


def _takes_what_it_gets(unit: Unit, predicate: Predicate) -> bool:
    """Whether a predicate has the parameters of its kind; reports it when not."""
    code = predicate.function.__code__
    wanted = "ctx: Context" if predicate.kind == "writable" else "ctx: Context, name: Name"
    count = wanted.count(":")
    node = unit.source.definitions.get((code.co_name, predicate.line))
    if node is None or code.co_argcount == count:
        return True
    unit.report(
        at_line(unit, node.lineno),
        "E290",
        f"a predicate of {predicate.kind} takes {count} argument{'s' * (count > 1)}, "
        f"{node.name} has {code.co_argcount}",
        f"def {node.name}({wanted}) -> bool:",
    )
    return False


def _guarded(
    unit: Unit, node: ast.FunctionDef, hook: str, function: FunctionType | None = None
) -> ir.Function | None:
    try:
        return check_filter(unit, node, hook, function)
    except RecursionError:
        unit.report(
            at_line(unit, node.lineno),
            "E299",
            f"{node.name} is nested too deeply",
            "split long expressions into several lines, with locals",
        )
    except Exception as error:  # a defect of this compiler must not look like a crash
        defect(unit, at_line(unit, node.lineno), node.name, error)
    return None


def defect(unit: Unit, node: ast.AST, what: str, error: Exception) -> None:
    """Report a failure of the compiler itself."""
    unit.report(
        node,
        "E999",
        f"the compiler failed on {what}: {type(error).__name__}: {error}",
        "this is a defect of fusebpf; please report it with this file",
    )
