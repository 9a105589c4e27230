# SPDX-License-Identifier: MIT
"""One filter set under test: called with simulated arguments, in one of the two runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, get_args

from fusebpf.abi import DEFAULT_FILTER, HOOKS, Hook
from fusebpf.build import CompiledSet, build_compiled, compile_file, compile_fset
from fusebpf.compiler import ir
from fusebpf.dsl import FilterSet
from fusebpf.dsl.parts import members
from fusebpf.errors import FusebpfError, UsageError
from fusebpf.spelling import closest
from fusebpf.testing.arguments import arguments_of, make_case, shown
from fusebpf.testing.asking import Asked, ask
from fusebpf.testing.case import Case, Outcome
from fusebpf.testing.maps import MapView, record_value
from fusebpf.testing.pyrun import PyRun, Step
from fusebpf.testing.result import Decision, Place, Result
from fusebpf.testing.standin import StandIn

Run = Literal["python", "kernel"]

#: Short names of operations, as for decorators.
_SHORT = {"create": "create_open", "rename": "rename2"}


class DisagreementError(FusebpfError):
    """The kernel did another thing than Python: a defect of fusebpf, not of the filter."""


class FilterRun:
    """A filter set that can be called. Close it, or use it in a ``with``.

    ``maps`` holds its maps by name, as a mount does; they keep what calls store in them.
    ``results`` are those of all calls.
    """

    def __init__(self, loaded: _Loaded, run: Run, close: Callable[[], None]) -> None:
        self._loaded = loaded
        self._python = PyRun(loaded.program, loaded.config)
        self._standin = loaded.standin() if run == "kernel" else None
        #: Unload what was loaded for it; nothing when a loader keeps that for others.
        self.close = close
        self.run: Run = run
        self.maps: dict[str, MapView] = {
            decl.name: MapView(decl, *loaded.map_types[decl.name]) for decl in loaded.program.maps
        }
        self.results: list[Result] = []

    @property
    def path(self) -> Path:
        """The filter file."""
        return self._loaded.compiled.path

    def __repr__(self) -> str:
        return f"<filter set {self._loaded.program.name!r} of {self.path}, {self.run} run>"

    def __enter__(self) -> FilterRun:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def call(self, hook: str, /, **given: Any) -> Result:
        """Call the filter of a hook, e.g. ``call("lookup.pre", name=".env", uid=1000)``.

        Arguments have the filter's own names, or those of docs/hooks.md: text for names and
        buffers, a struct (``OpenIn(flags=1)``) for structs, a list of names or of ``Entry`` for
        listings. ``uid``, ``gid``, ``pid``, ``tag``, ``error_in`` and the others of ``Context`` say
        who asks; ``opcode``, of ``call("default", …)`` alone, says for what: "mkdir", or a number.
         What is left out is zero; a name is "x". Where the set has no filter of the
        hook, or that says CALL_DEFAULT, the default filter is asked as on a mount. Raises
        UsageError.
        """
        table = _hook(hook)
        function = self._loaded.functions.get(table.name)
        names = {} if function is None else {p.arg: p.name for p in function.params if p.arg}
        cells = {name: view.cells for name, view in self.maps.items()}
        case = make_case(table, names, given, cells)
        asked = ask(self._loaded.functions, table, case, self._run)
        result = self._result(hook, given, table, names, case, asked)
        for name, view in self.maps.items():
            view.cells = dict(asked.outcome.maps[name])
        self.results.append(result)
        return result

    def _run(self, function: ir.Function, case: Case) -> Asked:
        expected = self._python.run(function, case)
        got = expected if self._standin is None else self._standin.run(function, case)
        if got != expected and not self._forgetting(case):
            raise DisagreementError(
                f"{function.name}: the kernel did another thing than Python with {case}\n"
                f"python: {expected}\nkernel: {got}",
                "this is a defect of fusebpf: please report it with the filter file",
            )
        return Asked(got, self._python.decided, tuple(self._python.steps))

    def _forgetting(self, case: Case) -> bool:
        """Whether the call may have made a map forget an entry, which is the kernel's choice."""
        decls = (view.decl for view in self.maps.values() if view.decl.forgets)
        return any(len(case.maps[decl.name]) >= decl.max_entries for decl in decls)

    def _result(
        self,
        call: str,
        given: Mapping[str, Any],
        table: Hook,
        names: Mapping[str, str],
        case: Case,
        asked: Asked,
    ) -> Result:
        outcome = asked.outcome
        arguments, changed = arguments_of(table, names, case, outcome)
        written = ", ".join(f"{key}={shown(value)}" for key, value in given.items())
        verdict = Decision(outcome.verdict)
        verdict.result = result = Result(
            call=f"{call}({written})",
            run=self.run,
            verdict=verdict,
            arguments=arguments,
            changed=changed,
            entries=outcome.listing,
            tag=outcome.tag,
            cleared=outcome.cleared,
            kept_ns=outcome.kept_ns,
            events={name: self._loaded.events(name, outcome) for name in outcome.events},
            decided=None if asked.decided is None else self._loaded.place(asked.decided),
            trace=tuple(map(self._loaded.place, (s for s in asked.steps if not s[0].composed))),
            idle=self._loaded.idle.get(table.name),
        )
        return result


def _hook(text: str) -> Hook:
    op, _, phase = text.partition(".")
    if text == "default":
        return DEFAULT_FILTER
    op = _SHORT.get(op, op)
    ops = {hook.op for hook in HOOKS.values()}
    if op not in ops:
        near = closest(op, [*ops, *_SHORT])
        raise UsageError(
            f"there is no operation {op!r} to filter",
            f"did you mean {near!r}?" if near else "docs/hooks.md lists them",
        )
    if phase not in ("pre", "post"):
        raise UsageError(f"{text!r} is no hook", f'say when: "{op}.pre" or "{op}.post"')
    return HOOKS[f"{op}_{phase}filter"]


class _Loaded:
    """A compiled set with its config values, and its stand-ins once they are asked for."""

    def __init__(self, compiled: CompiledSet, config: Mapping[str, int]) -> None:
        assert compiled.result.ir is not None
        self.compiled = compiled
        self.program: ir.Program = compiled.result.ir
        self.config = config
        _check_config(self.program, config)
        self.functions: dict[str | None, ir.Function] = {f.hook: f for f in self.program.filters}
        #: Postfilters that no mount asks, by hook: what the compiler says of them.
        self.idle = {
            f.hook: found.message
            for f in self.program.filters
            for found in compiled.result.diagnostics
            if found.code == "W103" and found.message.startswith(f"{f.name} ")
        }
        sets = members(compiled.fset)
        self.map_types = {m.name: (m.key, m.value) for s in sets for m in s.maps.values()}
        self._event_kinds = {k: v for s in sets for k, v in s.event_kinds.items()}
        self._lines = {source.path: source.lines for source in compiled.result.sources}
        self._places: dict[Step, Place] = {}
        self._standin: StandIn | None = None

    def standin(self) -> StandIn:
        """The object on this kernel, loaded once."""
        if self._standin is None:
            data = build_compiled(self.compiled).data
            self._standin = StandIn(data, self.program, self.config)
        return self._standin

    def close(self) -> None:
        if self._standin is not None:
            self._standin.close()
            self._standin = None

    def events(self, name: str, outcome: Outcome) -> tuple[Any, ...]:
        kind = self._event_kinds[name]
        return tuple(record_value(kind.cls, kind.record, raw) for raw in outcome.events[name])

    def place(self, step: Step) -> Place:
        function, line = step
        key = (function, line)
        if key not in self._places:
            lines = self._lines.get(function.file, [])
            text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
            self._places[key] = Place(function.file, line, text)
        return self._places[key]


def _check_config(program: ir.Program, config: Mapping[str, int]) -> None:
    known = {entry.name: entry for entry in program.configs}
    for name, value in config.items():
        entry = known.get(name)
        if entry is None:
            listed = f"it has: {', '.join(known)}" if known else "it has none"
            raise UsageError(f"filter set {program.name} has no config value {name!r}", listed)
        if not entry.least <= value <= entry.most:
            raise UsageError(
                f"config value {name}={value!r} is not from {entry.least} to {entry.most}"
            )


class LoadFilters(Protocol):
    """The fixture ``load_filters``: a filter file, from beside the test, in the test's run."""

    def __call__(
        self,
        filters: str | os.PathLike[str] | FilterSet,
        *,
        name: str | None = None,
        config: Mapping[str, int] | None = None,
    ) -> FilterRun:
        """As ``fusebpf.testing.load``."""
        ...


class Loader:
    """Compiles filter files, and loads them on the kernel, each once: for many tests of them."""

    def __init__(self) -> None:
        self._compiled: dict[object, CompiledSet] = {}
        self._loaded: dict[object, _Loaded] = {}

    def compile(
        self, filters: str | os.PathLike[str] | FilterSet, name: str | None = None
    ) -> CompiledSet:
        """A set as C. Raises BuildError."""
        if isinstance(filters, FilterSet):
            return compile_fset(filters)
        key = (Path(filters).resolve(), name)
        if key not in self._compiled:
            self._compiled[key] = compile_file(filters, name)
        return self._compiled[key]

    def load(
        self,
        filters: str | os.PathLike[str] | FilterSet,
        *,
        run: Run = "python",
        name: str | None = None,
        config: Mapping[str, int] | None = None,
    ) -> FilterRun:
        """As the function ``load``. What it gives is closed with the loader."""
        path: object = filters if isinstance(filters, FilterSet) else Path(filters).resolve()
        key = (path, name, tuple(sorted((config or {}).items())))
        loaded = self._loaded.get(key)
        if loaded is None:
            loaded = self._loaded[key] = _Loaded(self.compile(filters, name), config or {})
        return FilterRun(loaded, run, lambda: None)

    def close(self) -> None:
        """Unload everything."""
        for loaded in self._loaded.values():
            loaded.close()
        self._loaded.clear()


def load(
    filters: str | os.PathLike[str] | FilterSet,
    *,
    run: Run = "python",
    name: str | None = None,
    config: Mapping[str, int] | None = None,
) -> FilterRun:
    """A filter file, or a FilterSet of this program, to be called without a mount.

    ``run`` is "python" (needs nothing), or "kernel": the compiled object on this host's kernel
    too, which needs root, clang and Linux 6.4; both must do the same. ``name`` says which set of
    the file; ``config`` replaces defaults of config values. Raises BuildError for a rejected file.
    """
    if run not in get_args(Run):
        raise UsageError(f"there is no run {run!r}", 'give "python", or "kernel", which does both')
    loaded = _Loaded(Loader().compile(filters, name), config or {})
    return FilterRun(loaded, run, loaded.close)
