# SPDX-License-Identifier: MIT
"""From a filter file to C: the compiler's front door. Pure: no I/O, no clang."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fusebpf.abi import DEFAULT_FILTER
from fusebpf.compiler import ir
from fusebpf.compiler.compose import Part, contests, joined, keeps, replaces, sets_tag
from fusebpf.compiler.costs import MAX_FRAME, MAX_SIZE, MAX_STEPS, MAX_TIME, Cost, cost
from fusebpf.compiler.diagnostics import Diagnostic, Severity
from fusebpf.compiler.emit import Emitter
from fusebpf.compiler.ir import MapDecl, Program
from fusebpf.compiler.lower import place_all
from fusebpf.compiler.mending import Mend, Mending
from fusebpf.compiler.purity import LOOKUP, impurity
from fusebpf.compiler.scope import Unit, config_type
from fusebpf.compiler.shared import share
from fusebpf.compiler.sources import Source
from fusebpf.compiler.units import at_line, checked, declaration, defect, units_of
from fusebpf.compiler.verdicts import ASKING, CALL_DEFAULT, TO_DAEMON, returning, verdicts
from fusebpf.compiler.walk import called, depth
from fusebpf.frozen import dataclass

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
    """``c_source`` and ``ir`` are None when a diagnostic is an error.

    ``sources`` are the files that the filters are written in.
    """

    c_source: str | None
    diagnostics: tuple[Diagnostic, ...]
    ir: Program | None
    hooks: tuple[HookFunction, ...]
    maps: tuple[MapDecl, ...]
    sources: tuple[Source, ...] = ()


def compile_set(
    path: str,
    source: str,
    fset: FilterSet,
    namespace: Mapping[str, object],
    others: Mapping[str, str] | None = None,
) -> CompileResult:
    """Compile one filter set of an imported file, with those that are joined into it.

    ``source`` is the text that ``namespace`` came from, ``path`` its name for messages and
    ``#line``; ``others`` holds the texts of other files, by path, that joined sets are written in.
    Mistakes of the author come back as diagnostics; nothing is raised for them.
    """
    main, units = units_of(path, source, fset, namespace, others or {}, [])
    build = _Build(main, units)
    for unit in (main, *units):
        try:
            _ = unit.source.definitions
        except (SyntaxError, ValueError) as error:
            at = getattr(error, "lineno", None) or 1
            col = getattr(error, "offset", None) or 1
            text = getattr(error, "msg", str(error))
            file = unit.source.path
            found = Diagnostic("error", "E001", f"not Python: {text}", file, at, col, col + 1)
            build.diagnostics.append(found)
            return build.result()
    parts = [checked(unit) for unit in units]
    if build.failed:
        return build.result()
    try:
        return _made(build, units, parts)
    except RecursionError:
        build.too_deep(parts)
    return build.result()


def _made(build: _Build, units: Sequence[Unit], parts: Sequence[Part]) -> CompileResult:
    """Joined, placed and written: the functions of sets without mistakes."""
    main, path = build.main, build.main.source.path
    fset, line = main.fset, declaration(main)
    build.check_joinable(parts)
    if build.failed:
        return build.result()
    made, filters = joined(parts, path, line)
    by_name = {f.name: f for f in made}
    build.idle_postfilters(filters, by_name)
    impure = {f.name: impurity(f, by_name) or "" for f in filters if f.hook == LOOKUP}
    filters = [replace(f, pure=impure.get(f.name) == "") for f in filters]
    helpers, placed = place_all(tuple(made), tuple(filters))
    declared = main.declared
    program = ir.Program(
        fset.name,
        path,
        tuple(declared.maps.values()),
        helpers,
        placed,
        any(unit.counts_lost for unit in units),
        tuple(
            ir.ConfigDecl(c.name, config_type(c.kind), int(c), c.least, c.most)
            for c in declared.configs.values()
        ),
        tuple(declared.events.values()),
    )
    costs = build.costs(program)
    if build.failed:
        return build.result()
    try:
        program = share(program, costs)
        emitter = Emitter(program, build.sources, costs)
        text = emitter.program_text()
    except RecursionError:
        raise
    except Exception as error:  # a defect of this compiler must not look like a crash
        defect(main, at_line(main, line), fset.name, error)
        return build.result()
    hooks = tuple(
        HookFunction(
            f.hook or "",
            f.name,
            emitter.functions[f.name],
            f.line if f.file == path else line,
            costs[f.name].steps,
            costs[f.name].size,
            impure.get(f.name),
        )
        for f in program.filters
    )
    return build.result(text, program, hooks)


class _Build:
    """One compilation: its sets, and what was found in them."""

    def __init__(self, main: Unit, units: list[Unit]) -> None:
        self.main = main
        self.diagnostics = main.diagnostics
        self.by_file = {unit.source.path: unit for unit in (*units, main)}
        self.sources = {unit.source.path: unit.source for unit in (main, *units)}

    @property
    def failed(self) -> bool:
        """Whether an error was found."""
        return any(d.severity == "error" for d in self.diagnostics)

    def result(
        self,
        text: str | None = None,
        program: ir.Program | None = None,
        hooks: tuple[HookFunction, ...] = (),
    ) -> CompileResult:
        """What was found, and what was made where nothing failed."""
        order = list(self.sources)
        found = sorted(self.diagnostics, key=lambda d: (order.index(d.file), d.line, d.col, d.code))
        maps = tuple(self.main.declared.maps.values())
        return CompileResult(text, tuple(found), program, hooks, maps, tuple(self.sources.values()))

    def report(
        self,
        function: ir.Function,
        line: int,
        code: str,
        message: str,
        help: str,
        severity: Severity = "error",
        fix: Mending = None,
    ) -> None:
        """Note a finding at a line of a function's file."""
        unit = self.by_file[function.file]
        unit.report(at_line(unit, line), code, message, help, severity, fix)

    def too_deep(self, parts: Sequence[Part]) -> None:
        """Report the function whose nesting is too much for what follows its check."""
        functions = [f for part in parts for f in (*part.helpers, *part.all_filters)]
        deepest = max(functions, key=lambda function: depth(function.body))
        self.report(
            deepest,
            deepest.line,
            "E299",
            f"{deepest.name} is nested too deeply",
            "split long expressions, and long chains of elif, into several; or use a set or a map",
        )

    def check_joinable(self, parts: Sequence[Part]) -> None:
        """What several filters cannot do together."""
        filters = [f for part in parts for f in part.all_filters]
        if not filters:
            self.main.report(
                at_line(self.main, declaration(self.main)),
                "E297",
                f"filter set {self.main.fset.name!r} has no filters",
                "add one: a function under @filters.lookup.pre",
            )
        for function in filters:
            line = replaces(function)
            if line and sum(f.hook == function.hook for f in filters) > 1:
                self.report(
                    function,
                    line,
                    "E267",
                    f"{function.name} replaces what another filter of {function.hook} sees, too",
                    "make one filter of them, so that the order is said",
                )
        for part in parts:
            for function in part.all_filters:
                self._check_kept(function, part, parts)
        self._check_contests(parts)
        first = ""
        for part in parts:
            tagging = sets_tag((*part.helpers, *part.all_filters))
            if tagging is None:
                continue
            if first:
                self.report(
                    *tagging,
                    "E283",
                    f"{part.name!r} sets ctx.tag, and so does {first!r}",
                    "a tag is one number: set it in one of the joined sets, which the others read",
                )
            first = first or part.name

    def _check_contests(self, parts: Sequence[Part]) -> None:
        """No set may switch off the postfilters that another one relies on."""
        told: set[int] = set()
        for contest in contests(parts):
            function, part = contest.function, contest.part
            if id(function) in told:
                continue
            told.add(id(function))
            hook = contest.hook.removesuffix("_prefilter")
            self.report(
                function,
                returning(function, part.callable, contest.leaves),
                "E285",
                f"{function.name} of {part.name!r} can return {TO_DAEMON[min(contest.leaves)]} for "
                f"{'what has no filter of its own' if hook == DEFAULT_FILTER.name else hook}; the "
                f"postfilters that {contest.asking!r} asks for would not run",
                "return CONTINUE or POSTFILTER there, or leave one of the two out of the joined "
                "set; beside a default filter that means other operations, a filter of this one "
                "that returns CONTINUE",
            )

    def _check_kept(self, function: ir.Function, part: Part, parts: Sequence[Part]) -> None:
        """A time that one filter gives to the answer holds for what the others decided, too."""
        helpers = {f.name: f for f in part.helpers}
        line = keeps(function, helpers)
        if not line:
            return
        for other in parts:
            known = {f.name: f for f in other.helpers}
            for second in other.deciding("lookup"):
                beside = second.hook in (function.hook, DEFAULT_FILTER.name)
                beside = beside or second in part.predicates
                if second is function or (other is part and not beside):
                    continue
                if impurity(second, known):
                    self.report(
                        function,
                        line,
                        "E284",
                        f"{function.name} says how long the answer holds, which {second.name} "
                        "decides, too, for more than the name",
                        "leave ctx.keep_answer out, or make one filter of them",
                    )
                    return

    def idle_postfilters(
        self, filters: Sequence[ir.Function], helpers: Mapping[str, ir.Function]
    ) -> None:
        """Warn about those that no prefilter asks for; one without a prefilter always runs."""
        by_hook = {f.hook: f for f in filters}
        default = by_hook.get(DEFAULT_FILTER.name)
        for function in filters:
            hook = function.hook or ""
            if not hook.endswith("_postfilter"):
                continue
            op = hook.removesuffix("_postfilter")
            before = by_hook.get(f"{op}_prefilter", default)
            if before is None:
                continue
            may = verdicts(before, helpers)
            if default is not None and CALL_DEFAULT in may:
                may |= verdicts(default, helpers)
            if may & ASKING:
                continue
            late_ones = [function]
            if function.composed:  # of the sets, without the default filters that are asked, too
                late_ones = called(function, helpers)
                late_ones = [f for f in late_ones if len(f.params) == len(function.params)]
            for late in late_ones:
                self.report(
                    late,
                    late.line,
                    "W103",
                    f"{late.name} never runs: nothing returns POSTFILTER for {op}",
                    f"return POSTFILTER from a filter of @filters.{op}.pre",
                    "warning",
                    None if before is default else self._asking(before, late.file),
                )

    def _asking(self, before: ir.Function, file: str) -> Mending:
        """A prefilter that asks for the postfilter wherever it let the operation pass."""
        source = self.by_file[file].source
        if before.file != file:
            return None
        passes = [
            Mend("POSTFILTER", value, safe=False, imports=(("fusebpf", "POSTFILTER"),))
            for node in source.definitions.values()
            if node.lineno == before.line
            for stmt in ast.walk(node)
            if isinstance(stmt, ast.Return) and isinstance(value := stmt.value, ast.Name)
            if value.id == "CONTINUE"
        ]
        # One import is enough.
        return [*passes[:1], *(replace(mend, imports=()) for mend in passes[1:])] or None

    def costs(self, program: ir.Program) -> dict[str, Cost]:
        """What every function costs; more than a filter may is an error."""
        costs: dict[str, Cost] = {}
        for function in (*program.helpers, *program.filters):
            costs[function.name] = found = cost(function, costs)
            if function.hook is None:
                continue
            if found.steps > MAX_STEPS:
                self.report(
                    function,
                    found.worst_line,
                    "E244",
                    f"{function.name} can make {found.steps} loop turns in one call, "
                    f"{found.worst_steps} of them here; at most {MAX_STEPS} are possible",
                    "make the loop smaller, or leave it early and keep the rest for another call",
                )
            elif found.time > MAX_TIME:
                self.report(
                    function,
                    found.slow_line,
                    "E247",
                    f"{function.name} can hold a CPU for about {found.time / 1e6:.1f} ms in one "
                    f"call, {found.slow_time / 1e6:.1f} of them here; at most "
                    f"{MAX_TIME / 1e6:.1f} are possible",
                    "make fewer turns, or do less in each: move what stays the same before the "
                    "loop",
                )
            if found.size > MAX_SIZE:
                self.report(
                    function,
                    function.line,
                    "E245",
                    f"{function.name} is too large: about {found.size} instructions with its "
                    f"helpers, at most {MAX_SIZE} are possible",
                    "split it over several hooks, or shorten its sets and helpers",
                )
            if found.frame > MAX_FRAME:
                self.report(
                    function,
                    function.line,
                    "E246",
                    f"{function.name} and its helpers keep {found.frame} bytes of locals in "
                    f"loops; at most {MAX_FRAME} are possible",
                    "use fewer locals, or a map",
                )
        return costs
