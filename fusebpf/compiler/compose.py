# SPDX-License-Identifier: MIT
"""Several filters of one hook become one: in order, the first refusal wins.

Postfilters run in reverse order, as what was wrapped last is unwrapped first. Where nobody
refuses, the first verdict other than CONTINUE stands. A set among others that has no filter of its
own for an operation decides it as it would alone: by its default filter, or by asking for its
postfilter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from fusebpf.abi import DEFAULT_FILTER, HOOKS
from fusebpf.compiler import ir
from fusebpf.compiler.functions import arg_type
from fusebpf.compiler.types import BOOL, CONTEXT, VERDICT
from fusebpf.compiler.verdicts import (
    ASKING,
    CALL_DEFAULT,
    POSTFILTER,
    TO_DAEMON,
    USER_POSTFILTER,
    verdicts,
)
from fusebpf.compiler.walk import expressions, leaves, mapped, statements
from fusebpf.dsl import values
from fusebpf.frozen import dataclass

_CONTINUE = ir.Const(VERDICT, values.CONTINUE.value)
_POSTFILTER = ir.Const(VERDICT, POSTFILTER)
_CALL_DEFAULT = ir.Const(VERDICT, CALL_DEFAULT)
_EIO = ir.Const(VERDICT, -5)
_DEFAULT = DEFAULT_FILTER.name
#: Each part of these reads the tag as it would alone.
_TAGGING = ("lookup_prefilter", "lookup_postfilter")


@dataclass(frozen=True)
class Part:
    """The functions of one of the sets that are joined; several filters can be of one hook.

    ``predicates`` are the filters that its predicates stand for: they are joined to the others as
    if they were a set behind it.
    """

    name: str
    helpers: tuple[ir.Function, ...]
    filters: tuple[ir.Function, ...]
    predicates: tuple[ir.Function, ...] = ()
    #: Helpers that its functions call, and another part has.
    known: tuple[ir.Function, ...] = ()

    @property
    def all_filters(self) -> tuple[ir.Function, ...]:
        """All of them."""
        return self.filters + self.predicates

    def apart(self) -> list[Part]:
        """The set itself, and its predicates."""
        own = [Part(self.name, self.helpers, self.filters)]
        asked = Part(self.name, (), self.predicates, known=self.helpers)
        return [*own, asked] if self.predicates else own

    @property
    def callable(self) -> dict[str, ir.Function]:
        """The helpers that its functions can call, by name."""
        return {f.name: f for f in (*self.helpers, *self.known)}

    def may(self, function: ir.Function) -> frozenset[int]:
        """The verdicts that one of its filters can come to, its default filter asked."""
        found = verdicts(function, self.callable)
        if CALL_DEFAULT not in found:
            return found
        return frozenset().union(found - {CALL_DEFAULT}, *map(self.may, self._asked(function)))

    def asks(self, hook: str) -> bool:
        """Whether it can ask for its postfilter, by what decides a prefilter's hook for it."""
        return any(self.may(f) & ASKING for f in self.of(hook) or self.of(_DEFAULT))

    def deciding(self, op: str) -> list[ir.Function]:
        """What decides an operation, before and after it; the default filter where it is asked."""
        hooks = (f"{op}_prefilter", f"{op}_postfilter")
        before, after = map(self.of, hooks)
        handed = any(CALL_DEFAULT in verdicts(f, self.callable) for f in (*before, *after))
        asked = not before or handed or (not after and self.asks(hooks[0]))
        found = [f for f in self.all_filters if f.hook in hooks]
        return found + (self.of(_DEFAULT) if asked else [])

    def _asked(self, function: ir.Function) -> list[ir.Function]:
        """What CALL_DEFAULT of one of its filters asks; a default filter has no other behind it."""
        return [] if function.hook == _DEFAULT else self.of(_DEFAULT)

    def of(self, hook: str) -> list[ir.Function]:
        """Its filters of a hook."""
        return [f for f in self.filters if f.hook == hook]


@dataclass(frozen=True)
class _Step:
    """What one set contributes to a hook: a function to call, or a constant verdict."""

    part: Part
    does: ir.Function | None

    @property
    def may(self) -> frozenset[int]:
        """The verdicts that it can come to."""
        return frozenset({POSTFILTER}) if self.does is None else self.part.may(self.does)

    def contests(self, leaving: frozenset[int]) -> bool:
        """Whether it can want somebody to be asked whom one of these verdicts leaves out."""
        return any(self.may & ASKING - {verdict} for verdict in leaving)


@dataclass(frozen=True)
class Contest:
    """A filter that can leave an operation to the daemon, and a set that wants another asked."""

    part: Part
    function: ir.Function
    #: The verdicts that do.
    leaves: frozenset[int]
    hook: str
    asking: str


def contests(parts: Sequence[Part]) -> Iterator[Contest]:
    """Where one of several filters of a hook switches off whom another one asks for.

    The kernel takes one verdict: where it names the daemon, no postfilter of the sets runs, and
    the daemon is asked before or after.
    """
    parts = [piece for part in parts for piece in part.apart()]
    for hook in _hooks(parts):
        steps = [] if hook.endswith("_postfilter") else _steps(parts, hook)
        for step in steps:
            found = step.may & set(TO_DAEMON)
            others = [s.part.name for s in steps if s is not step and s.contests(found)]
            if step.does is not None and others:
                yield Contest(step.part, step.does, found, hook, others[0])


def _hooks(parts: Sequence[Part]) -> list[str]:
    """The hooks that joined sets decide."""
    hooks = dict.fromkeys(f.hook or "" for part in parts for f in part.filters)
    for hook in list(hooks):
        if hook.endswith("_postfilter"):
            hooks[hook.replace("_postfilter", "_prefilter")] = None
    for hook in list(hooks):
        # Without a postfilter the kernel asks the default filters of all, whoever wanted it.
        late = hook.replace("_prefilter", "_postfilter")
        if late in HOOKS and _DEFAULT in hooks and any(part.asks(hook) for part in parts):
            hooks[late] = None
    return list(hooks)


def joined(
    parts: Sequence[Part], file: str, line: int
) -> tuple[list[ir.Function], list[ir.Function]]:
    """Helpers and filters of all sets, with one filter for each hook; the parts become helpers.

    ``file`` and ``line`` are where the sets are joined.
    """
    parts = [part for named in _named(parts) for part in named.apart()]
    steps = {hook: _steps(parts, hook) for hook in _hooks(parts)}
    called = {
        step.does.name
        for hook, found in steps.items()
        for step in found
        if step.does is not None and (step.does.hook != hook or _composed(parts, hook, found))
    }
    if any(_may_call_default(part) for part in parts) and len(parts) > 1:
        called |= {f.name for part in parts for f in part.of(_DEFAULT)}
    helpers = [helper for part in parts for helper in part.helpers]
    helpers += [_helper(f) for part in parts for f in part.filters if f.name in called]
    out: list[ir.Function] = []
    taken = {f.name for part in parts for f in (*part.helpers, *part.filters)}
    for hook, found in steps.items():
        if not found and not (len(parts) > 1 and _wanted(parts, hook)):
            continue
        only = found[0].does if found else None
        if only is not None and len(found) == 1 and only.name not in called:
            out.append(only)
            continue
        function = _whole(hook, found, file, line)
        out.append(replace(function, name=free_name(function.name, taken)))
        taken.add(out[-1].name)
    return helpers, out


def replaces(function: ir.Function) -> int:
    """Line where a filter gives a name or buffer other contents; 0 without one."""
    lines = (s.line for s in statements(function.body) if isinstance(s, ir.Replace))
    return next(lines, 0)


def keeps(function: ir.Function, helpers: Mapping[str, ir.Function]) -> int:
    """Line where a filter says how long its answer holds, itself or in a helper; 0 without one."""
    for stmt in statements(function.body):
        if isinstance(stmt, ir.KeepAnswer):
            return stmt.line
        for expr in expressions(stmt):
            if isinstance(expr, ir.Call) and keeps(helpers[expr.function], helpers):
                return stmt.line
    return 0


def sets_tag(functions: Iterable[ir.Function]) -> tuple[ir.Function, int] | None:
    """The first function that sets a tag, and the line where it does."""
    for function in functions:
        for stmt in statements(function.body):
            if isinstance(stmt, ir.SetTag):
                return function, stmt.line
    return None


def _named(parts: Sequence[Part]) -> list[Part]:
    """The parts with names of their own for every function."""
    taken: set[str] = set()
    out: list[Part] = []
    for part in parts:
        names: dict[str, str] = {}
        for function in (*part.helpers, *part.all_filters):
            name = function.name
            if name in taken:
                name = free_name(re.sub(r"\W", "_", f"{part.name}_{name}"), taken)
            names[function.name] = name
            taken.add(name)
        out.append(part if all(k == v for k, v in names.items()) else _renamed(part, names))
    return out


def _renamed(part: Part, names: dict[str, str]) -> Part:
    def call(node: ir.Expr) -> ir.Expr:
        return replace(node, function=names[node.function]) if isinstance(node, ir.Call) else node

    def renamed(function: ir.Function) -> ir.Function:
        body = tuple(mapped(stmt, call) for stmt in function.body)
        return replace(function, name=names[function.name], body=body)

    groups = (part.helpers, part.filters, part.predicates)
    return Part(part.name, *(tuple(map(renamed, functions)) for functions in groups))


def free_name(name: str, taken: set[str]) -> str:
    """``name``, with a number behind it where it is taken."""
    made, number = name, 1
    while made in taken:
        number += 1
        made = f"{name}{number}"
    return made


def _steps(parts: Sequence[Part], hook: str) -> list[_Step]:
    """What a hook does, in order."""
    if hook.endswith("_postfilter"):
        return [_Step(part, f) for part in parts[::-1] for f in _after(part, hook)]
    if hook == _DEFAULT:
        return [_Step(part, f) for part in parts for f in part.of(hook)]
    post = hook.replace("_prefilter", "_postfilter")
    own, defaults, asking = 0, 0, 0
    steps: list[_Step] = []
    for part in parts:
        before, default = part.of(hook), part.of(_DEFAULT)
        steps += [_Step(part, f) for f in before or default]
        own += bool(before)
        if not before and default:
            defaults += 1
        elif not before and part.of(post):
            asking += 1
            steps.append(_Step(part, None))
    # What the kernel does without a prefilter is right for all: it asks the default filters, or
    # else the postfilters.
    return steps if own or (defaults and asking) else []


def _wanted(parts: Sequence[Part], hook: str) -> bool:
    """Whether a postfilter is asked for that no set has, and the default filters instead of it."""
    before = hook.replace("_postfilter", "_prefilter")
    return (
        before != hook and any(p.of(_DEFAULT) for p in parts) and any(p.asks(before) for p in parts)
    )


def _after(part: Part, hook: str) -> list[ir.Function]:
    """A set's postfilters; its default filter is asked where it wants one and has none."""
    own = part.of(hook)[::-1]
    if own or not part.asks(hook.replace("_postfilter", "_prefilter")):
        return own
    return part.of(_DEFAULT)


def _composed(parts: Sequence[Part], hook: str, steps: list[_Step]) -> bool:
    return len(steps) > 1 or (
        len(parts) > 1 and hook != _DEFAULT and any(_may_call_default(s.part) for s in steps)
    )


def _may_call_default(part: Part) -> bool:
    return any(
        expr == _CALL_DEFAULT
        for function in (*part.helpers, *part.filters)
        for stmt in statements(function.body)
        for expr in expressions(stmt)
    )


def _helper(part: ir.Function) -> ir.Function:
    body = part.body
    if not leaves(body):
        body = (*body, ir.Return(part.line, _CONTINUE))
    return replace(part, hook=None, body=body)


def _whole(hook: str, steps: list[_Step], file: str, line: int) -> ir.Function:
    functions = [step.does for step in steps if step.does is not None]
    if functions and all(function.file == file for function in functions):
        line = functions[0].line
    params = next((f.params for f in functions if f.hook == hook), None) or _params(hook)
    body: list[ir.Stmt] = []
    names = [f"verdict{number}" for number in range(1, len(steps) + 1)]
    tagged = False
    for step, name in zip(steps, names, strict=True):
        at = step.does.line if step.does is not None and step.does.file == file else line
        if tagged:
            body.append(ir.ForgetTag(at))
        body.append(ir.Assign(at, name, _verdict(step.does, params)))
        local = ir.Local(VERDICT, name)
        default = step.part.of(_DEFAULT)
        tags = hook in _TAGGING and sets_tag((*step.part.helpers, *step.part.filters)) is not None
        tagged = tagged or tags
        if hook != _DEFAULT and step.does is not None and _may_call_default(step.part):
            left = ir.Compare(BOOL, "==", local, _CALL_DEFAULT)
            if step.does.hook != _DEFAULT:
                decided = _verdict(default[0], params) if default else _CONTINUE
                forget = (ir.ForgetTag(at),) if tags else ()
                body.append(ir.If(at, left, (*forget, ir.Assign(at, name, decided)), ()))
            # The default filter has nobody to hand on to.
            if default and CALL_DEFAULT in verdicts(default[0], step.part.callable):
                body.append(ir.If(at, left, (ir.Assign(at, name, _EIO),), ()))
        refused = ir.Compare(BOOL, "<", local, _CONTINUE)
        body.append(ir.If(at, refused, (ir.Return(at, local),), ()))
    late = hook.endswith("_postfilter") and any(step.may - {USER_POSTFILTER} for step in steps)
    body.append(ir.Return(line, _first_that_stands(names, late)))
    return ir.Function(
        "all_default" if hook == _DEFAULT else f"all_{hook.removesuffix('filter')}",
        hook,
        line,
        params,
        tuple(ir.LocalVar(name, VERDICT) for name in names),
        VERDICT,
        tuple(body),
        file,
        composed=True,
    )


def _first_that_stands(names: list[str], late: bool) -> ir.Expr:
    """The first verdict other than CONTINUE; ``late`` takes none that means nothing afterwards."""
    result: ir.Expr = _CONTINUE
    for name in reversed(names):
        local = ir.Local(VERDICT, name)
        stands = ir.Compare(BOOL, "!=", local, _CONTINUE)
        if late:
            stands = ir.Compare(BOOL, "==", local, ir.Const(VERDICT, USER_POSTFILTER))
        elif name == names[-1]:
            result = local
            continue
        result = ir.Conditional(VERDICT, stands, local, result)
    return result


def _params(hook: str) -> tuple[ir.Param, ...]:
    given = [ir.Param(a.name, arg_type(a), a.name, a.writable) for a in HOOKS[hook].args]
    return (ir.Param("ctx", CONTEXT), *given)


def _verdict(function: ir.Function | None, params: tuple[ir.Param, ...]) -> ir.Expr:
    """A call of a part with the arguments of the whole: all that it has, in the same order."""
    if function is None:
        return _POSTFILTER
    given = params[: len(function.params)]
    return ir.Call(VERDICT, function.name, tuple(ir.Local(p.type, p.name) for p in given))
