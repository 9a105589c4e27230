# SPDX-License-Identifier: MIT
"""What is known at a point of a function: assigned locals, values that are not None, ranges.

Ranges prove that a divisor is not zero, a shift count is below 64, an index is inside its array
and a loop is bounded. They come from types, constants and the conditions around a statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field, replace

from fusebpf.compiler import ir
from fusebpf.compiler.types import (
    BoolType,
    ErrnoType,
    IntType,
    Type,
    VerdictType,
    most_bytes,
)
from fusebpf.frozen import dataclass

Bounds = tuple[int, int]

_FLIP = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATE = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


@dataclass(frozen=True)
class Flow:
    """Facts that hold at one point. A dead flow (code that cannot be reached) knows nothing."""

    alive: bool = True
    #: False in a branch that a constant of the file rules out: it is checked like any other, but
    #: that it does nothing is no mistake.
    possible: bool = True
    assigned: frozenset[str] = frozenset()
    present: frozenset[str] = frozenset()
    nonzero: frozenset[str] = frozenset()
    ranges: dict[str, Bounds] = field(default_factory=dict)

    def join(self, other: Flow) -> Flow:
        """What holds after two paths meet."""
        if not self.alive:
            return other
        if not other.alive:
            return self
        ranges = {
            k: (min(lo, other.ranges[k][0]), max(hi, other.ranges[k][1]))
            for k, (lo, hi) in self.ranges.items()
            if k in other.ranges
        }
        return Flow(
            True,
            self.possible or other.possible,
            self.assigned & other.assigned,
            self.present & other.present,
            self.nonzero & other.nonzero,
            ranges,
        )

    def dead(self) -> Flow:
        """Behind a return, break or continue."""
        return replace(self, alive=False)

    def forget(self, *places: str) -> Flow:
        """Drop what was known about the values of these locals or members (and their members)."""
        if not places:
            return self

        def keep(key: str) -> bool:
            return not any(key == p or key.startswith(p + ".") for p in places)

        return replace(
            self,
            present=frozenset(filter(keep, self.present)),
            nonzero=frozenset(filter(keep, self.nonzero)),
            ranges={k: v for k, v in self.ranges.items() if keep(k)},
        )

    def assign(self, name: str, value: Bounds | None = None) -> Flow:
        """After an assignment to a local; ``value`` bounds what it holds now."""
        flow = self.forget(name)
        ranges = dict(flow.ranges)
        if value is not None:
            ranges[name] = value
        return replace(flow, assigned=flow.assigned | {name}, ranges=ranges)

    def narrow(self, place: str, bounds: Bounds) -> Flow:
        """Learn that a place is within ``bounds``. An empty range means a dead path: kept alive."""
        lo, hi = self.ranges.get(place, bounds)
        lo, hi = max(lo, bounds[0]), min(hi, bounds[1])
        if lo > hi:
            return self
        return replace(self, ranges={**self.ranges, place: (lo, hi)})


def place(expr: ir.Expr) -> str | None:
    """The key of a value that stays the same until it is assigned; None for anything else."""
    match expr:
        case ir.Local(name=name):
            return name
        case ir.StructField(param=param, path=path):
            return ".".join((param, *path))
        case ir.CtxField(field=name) if name not in ("ktime", "tag"):
            return f"<ctx>.{name}"
        case ir.NameLen(name=name_expr):
            inner = place(name_expr)
            return None if inner is None else f"{inner}.<len>"
        case ir.DirentName(var=var):
            return f"{var}.name"
        case ir.DirentField(var=var, field=name):
            return f"{var}.{name}"
        case ir.Cast(type=type_, operand=inner_expr):
            if isinstance(inner_expr.type, IntType) and type_.contains(inner_expr.type):
                return place(inner_expr)
    return None


def type_bounds(type_: Type) -> Bounds:
    """The range of a type's values."""
    if isinstance(type_, IntType):
        return type_.lo, type_.hi
    if isinstance(type_, BoolType):
        return 0, 1
    if isinstance(type_, VerdictType):
        return -511, 5
    if isinstance(type_, ErrnoType):
        return 1, 511
    return -(1 << 63), (1 << 64) - 1


def bounds(expr: ir.Expr, flow: Flow) -> Bounds:
    """A range that holds every value the expression can have here."""
    lo, hi = type_bounds(expr.type)
    found = _structural(expr, flow)
    if found is not None and lo <= found[0] and found[1] <= hi:
        lo, hi = found
    key = place(expr)
    if key is not None and key in flow.ranges:
        known = flow.ranges[key]
        lo, hi = max(lo, known[0]), min(hi, known[1])
        if lo > hi:
            return type_bounds(expr.type)
    return lo, hi


def _structural(expr: ir.Expr, flow: Flow) -> Bounds | None:
    match expr:
        case ir.Const(value=value):
            return value, value
        case ir.Config(least=least, most=most):
            return least, most
        case ir.NameLen(name=name):
            return 0, longest(name)
        case ir.NameByte():
            return 0, 255
        case ir.Cast(operand=operand) | ir.Kept(operand=operand):
            return bounds(operand, flow)
        case ir.Conditional(then=then, other=other):
            a, b = bounds(then, flow), bounds(other, flow)
            return min(a[0], b[0]), max(a[1], b[1])
        case ir.MinMax(op=op, operands=operands):
            all_ = [bounds(o, flow) for o in operands]
            pick = min if op == "min" else max
            return pick(b[0] for b in all_), pick(b[1] for b in all_)
        case ir.Unary(op="-", operand=operand):
            lo, hi = bounds(operand, flow)
            return -hi, -lo
        case ir.Binary(op=op, left=left, right=right):
            return _binary(op, bounds(left, flow), bounds(right, flow))
    return None


def longest(name: ir.Expr) -> int:
    """The most bytes that a name, buffer or part of one can have."""
    if not isinstance(name, ir.NamePart):
        return most_bytes(name.type)
    most = longest(name.name)
    first = name.start.value if isinstance(name.start, ir.Const) else 0
    if isinstance(name.stop, ir.Const) and name.stop.value >= 0:
        return max(0, min(most, name.stop.value - max(first, 0)))
    if name.stop is None and first < 0:
        return min(most, -first)
    return max(0, most - max(first, 0))


def _binary(op: str, a: Bounds, b: Bounds) -> Bounds | None:
    if op == "+":
        return a[0] + b[0], a[1] + b[1]
    if op == "-":
        return a[0] - b[1], a[1] - b[0]
    if op == "*":
        corners = [x * y for x in a for y in b]
        return min(corners), max(corners)
    if op == "%" and b[0] > 0:
        return 0, min(b[1] - 1, a[1]) if a[0] >= 0 else b[1] - 1
    if op == "//" and b[0] > 0:
        corners = [x // y for x in a for y in b]
        return min(corners), max(corners)
    if op == "&" and (a[0] >= 0 or b[0] >= 0):
        tops = [x[1] for x in (a, b) if x[0] >= 0]
        return 0, min(tops)
    if op in "|^" and a[0] >= 0 and b[0] >= 0:
        return 0, (1 << max(a[1].bit_length(), b[1].bit_length())) - 1
    if op == ">>" and a[0] >= 0 and b[0] >= 0:
        return a[0] >> min(b[1], 64), a[1] >> b[0]
    if op == "<<" and a[0] >= 0 and b[0] >= 0 and b[1] < 64:
        return a[0] << b[0], a[1] << b[1]
    return None


def excludes_zero(expr: ir.Expr, flow: Flow) -> bool:
    """Whether the value is provably not zero."""
    lo, hi = bounds(expr, flow)
    key = place(expr)
    if lo > 0 or hi < 0 or (key is not None and key in flow.nonzero):
        return True
    if isinstance(expr, ir.BoolOp) and expr.op == "or":
        return excludes_zero(expr.operands[-1], flow)
    return (
        isinstance(expr, ir.Cast)
        and expr.type.contains_type(expr.operand.type)
        and (excludes_zero(expr.operand, flow))
    )


def refine(
    test: ir.Expr, truth: bool, flow: Flow, changed: Callable[[ir.Expr], Iterable[str]]
) -> Flow:
    """What is also known where ``test`` turned out true (or false).

    ``changed`` tells the places that calls in an expression change: what the rest of it tells of
    those may have been before.
    """
    match test:
        case ir.Not(operand=operand):
            return refine(operand, not truth, flow, changed)
        case ir.BoolOp(op=op, operands=operands):
            if (op == "and") == truth:
                for operand in operands:
                    flow = refine(operand, truth, flow, changed)
                return flow
            # One of the operands decided: what holds in every case.
            before = flow
            joined: Flow | None = None
            for operand in operands:
                way = refine(operand, truth, before, changed)
                joined = way if joined is None else joined.join(way)
                before = refine(operand, not truth, before, changed)
            return joined or flow
    return _told(test, truth, flow).forget(*changed(test))


def _told(test: ir.Expr, truth: bool, flow: Flow) -> Flow:
    """What one test tells, calls in it left aside."""
    match test:
        case ir.Const(value=value):
            return flow if bool(value) == truth else replace(flow, possible=False)
        case ir.IsPresent(name=name):
            if truth:
                return replace(flow, present=flow.present | {name})
            return flow
        case ir.Compare(op=op, left=left, right=right):
            word = op if truth else _NEGATE[op]
            flow = _learn(left, word, bounds(right, flow), flow)
            return _learn(right, _FLIP[word], bounds(left, flow), flow)
        case ir.Chain(ops=ops, operands=operands):
            if truth:
                for i, link in enumerate(ops):
                    flow = _learn(operands[i], link, bounds(operands[i + 1], flow), flow)
                    flow = _learn(operands[i + 1], _FLIP[link], bounds(operands[i], flow), flow)
            return flow
        case ir.OneOf(operand=operand, values=values) if truth and values:
            return _learn_range(operand, (min(values), max(values)), flow)
        case _:
            key = place(test)
            if key is None:
                return flow
            if truth:
                return replace(flow, nonzero=flow.nonzero | {key})
            return flow.narrow(key, (0, 0))


def _learn(expr: ir.Expr, op: str, other: Bounds, flow: Flow) -> Flow:
    lo, hi = bounds(expr, flow)
    if op == "==":
        lo, hi = max(lo, other[0]), min(hi, other[1])
    elif op == "<":
        hi = min(hi, other[1] - 1)
    elif op == "<=":
        hi = min(hi, other[1])
    elif op == ">":
        lo = max(lo, other[0] + 1)
    elif op == ">=":
        lo = max(lo, other[0])
    elif op == "!=" and other == (0, 0):
        key = place(expr)
        return flow if key is None else replace(flow, nonzero=flow.nonzero | {key})
    return _learn_range(expr, (lo, hi), flow)


def _learn_range(expr: ir.Expr, known: Bounds, flow: Flow) -> Flow:
    key = place(expr)
    return flow if key is None or known[0] > known[1] else flow.narrow(key, known)
