# SPDX-License-Identifier: MIT
"""Loops: every one has a bound that is known when the filter is compiled."""

from __future__ import annotations

import ast
from dataclasses import replace

from fusebpf.compiler import ir
from fusebpf.compiler.flow import Bounds, Flow, bounds, longest, place
from fusebpf.compiler.joins import Joined
from fusebpf.compiler.mending import Mend, span
from fusebpf.compiler.names import whole
from fusebpf.compiler.operands import POISON, Flexible, Group, Lit, NameView, Poison, Range, Value
from fusebpf.compiler.results import Results
from fusebpf.compiler.types import BOOL, DIRENT, DIRENTS, NAME, S64, TEXTS, U8
from fusebpf.compiler.walk import blocks, expressions, statements
from fusebpf.compiler.words import describe

#: The most turns of one loop, and of a filter with its helpers.
MAX_STEPS = 65536
#: The most entries of one directory listing: a page of the smallest entries, 32 bytes each
#: (FUSE_DIRENT_SIZE of linux/fuse.h).
MAX_ENTRIES = 128


def stored_names(body: list[ast.stmt]) -> set[str]:
    """Names that a block assigns."""
    found: set[str] = set()
    for stmt in body:
        for node in ast.walk(stmt):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return found


class Loops(Results):
    """Checks ``for`` and ``while``."""

    def loop(self, node: ast.For) -> list[ir.Stmt]:
        if node.orelse:
            self.error(
                node.orelse[0],
                "E103",
                "`else` of a loop is not supported",
                "set a flag before `break` and test it after the loop",
            )
        if not isinstance(node.target, ast.Name):
            self.error(node.target, "E102", "a loop has one variable", "for x in ...:")
            return []
        operand = self.expr(node.iter)
        if self.hides_parameter(node.target, node.target.id):
            self._body(node.body, self.flow)
            return []
        match operand:
            case Range():
                return self._counted(node, node.target.id, operand)
            case Value(expr=ir.Local(type=type_, name=param)) if type_ == DIRENTS:
                return self._entries(node, node.target.id, param)
            case Value(expr=expr) if expr.type in TEXTS:
                return self._bytes_of(node, node.target.id, expr)
            case NameView(fold=False):
                return self._bytes_of(node, node.target.id, whole(operand))
            case Poison():
                pass
            case Group():
                self.error(
                    node.iter,
                    "E242",
                    "a loop over constants is not supported",
                    "use `in`; startswith and endswith take a tuple: name.endswith(SUFFIXES)",
                )
            case NameView():
                self.error(
                    node.iter,
                    "E242",
                    "lower() cannot be looked at byte by byte",
                    "loop over the name itself, and compare with both letters",
                )
            case _:
                self.error(
                    node.iter,
                    "E242",
                    f"a filter cannot loop over {describe(operand)}",
                    "loops run over range(...), a Name, or the entries of a listing",
                )
        # Go on as if the loop were fine, to find what else is wrong inside.
        self._poisoned_body(node, node.target.id)
        return []

    def _poisoned_body(self, node: ast.For | ast.While, var: str | None) -> None:
        if var is not None:
            # While types are sought, what the loop runs over may only be known in the next pass.
            self.next_joins.setdefault(var, Joined()).conflict |= not self.infer
            self.conflicts.add(var)
            self.poisoned |= {var}
            self.flow = self.flow.assign(var)
        self._body(node.body, self.flow)

    def while_loop(self, node: ast.While) -> list[ir.Stmt]:
        test = self.source_of(node.test)
        always = isinstance(node.test, ast.Constant) and bool(node.test.value)
        inner = "    ..." if always else f"    if not ({test}): break"
        self.error(
            _keyword(node, "while"),
            "E240",
            "the number of turns of this loop is not known",
            f"give it a bound:\nfor _ in range(100):\n{inner}",
            self._bounded(node, test, always),
        )
        if not always:
            self.condition(node.test)
        self._poisoned_body(node, None)
        return []

    def _bounded(self, node: ast.While, test: str, always: bool) -> Mend | None:
        """``while test:`` as a loop of a hundred turns that ends with the test."""
        if node.body[0].lineno == node.lineno or node.orelse:
            return None
        indent = self.unit.lines[node.body[0].lineno - 1][: node.body[0].col_offset]
        leave = "" if always else f"if not ({test}):\n{indent}    break\n{indent}"
        at = span(node, node.body[0])
        at.end_lineno, at.end_col_offset = node.body[0].lineno, node.body[0].col_offset
        return Mend(f"for _ in range(100):\n{indent}{leave}", at=at, safe=False)

    # ------------------------------------------------------------ kinds of loops

    def _counted(self, node: ast.For, var: str, range_: Range) -> list[ir.Stmt]:
        ends: list[ir.Expr] = []
        where = node.iter.args if isinstance(node.iter, ast.Call) else []
        start_node, stop_node = (where[0], where[1]) if len(where) > 1 else (node.iter, where[0])
        for operand, at in ((range_.start, start_node), (range_.stop, stop_node)):
            number = self.number(at, operand)
            if isinstance(number, Value) and not self.infer:
                far = bounds(number.expr, self.flow)[1]
                if not S64.holds(far):
                    self._unknown_turns(at)
                    number = POISON
            if isinstance(number, Flexible):
                number = Lit(0)
            end = self.convert(at, number, S64)
            if end is None:
                self._poisoned_body(node, var)
                return []
            ends.append(end)
        made: list[ir.Stmt] = []
        start, stop = ends
        first, last = bounds(start, self.flow), bounds(stop, self.flow)
        wraps = not (S64.holds(last[0] - first[1]) and S64.holds(last[1] - first[0]))
        if not _steady(start):
            start = self._once(node, f"{var}.start", start, made)
        if wraps and not _steady(stop):
            stop = self._once(node, f"{var}.stop", stop, made)
        bound = _turns(first, last, range_.step)
        if bound > MAX_STEPS and not self.infer:
            at = stop_node if range_.step > 0 else start_node
            if isinstance(stop, ir.Const) and isinstance(start, ir.Const):
                message = f"this loop makes {bound} turns; at most {MAX_STEPS} are possible"
                help = "split the work, or make the loop smaller"
            else:
                self._unknown_turns(at)
                message = help = ""
            if message:
                self.error(at, "E240", message, help)
        count = _count(start, stop, range_.step, self.flow, wraps)
        joined = self.next_joins.setdefault(var, Joined())
        joined.add(Value(ir.Local(S64, var)), self.flow)
        step = range_.step
        values = (first[0], last[1] - 1) if step > 0 else (last[0] + 1, first[1])
        at_least_one = isinstance(count, ir.Const) and count.value > 0
        body = self._body(node.body, self.flow, var, values, at_least_one)
        if self.infer:
            return []
        if self.local_type(var) != S64 or self.joins[var].optional:
            return [] if var in self.poisoned else self._other_use(node, var)
        return [*made, ir.For(node.lineno, var, S64, start, step, count, max(bound, 0), body)]

    def _once(self, node: ast.For, local: str, value: ir.Expr, made: list[ir.Stmt]) -> ir.Expr:
        """An end of a range in a hidden local, where it is needed twice: it may be another then."""
        joined = self.next_joins.setdefault(local, Joined())
        joined.type, joined.declared = S64, True
        self.flow = self.flow.assign(local, bounds(value, self.flow))
        made.append(ir.Assign(node.lineno, local, value))
        return ir.Local(S64, local)

    def _other_use(self, node: ast.For, var: str) -> list[ir.Stmt]:
        self.error(
            node.target,
            "E243",
            f"the loop variable {var!r} is used for something else, too",
            "use another name in the loop",
        )
        return []

    def _unknown_turns(self, node: ast.expr) -> None:
        shown = self.source_of(node)
        self.error(
            node,
            "E240",
            f"the number of turns of this loop is not known: {shown} can be anything",
            f"give it a bound: range(min({shown}, 100))",
            Mend(f"min({shown}, 100)", safe=False),
        )

    def _bytes_of(self, node: ast.For, var: str, name: ir.Expr) -> list[ir.Stmt]:
        """``for c in name``: a counted loop that begins with ``c = name[index]``."""
        # Loops inside of one over the same variable have hidden locals of their own.
        inner = self.loop_vars.count(var)
        index, part = (f"{var}.{what}{inner or ''}" for what in ("at", "name"))
        kept: list[ir.Stmt] = []
        if isinstance(name, ir.NamePart):
            name = self.kept_part(node.target, part, name, kept)
        joined = self.next_joins.setdefault(var, Joined())
        byte = ir.NameByte(U8, name, ir.Local(S64, index))
        joined.add(Value(byte), self.flow)
        counter = self.next_joins.setdefault(index, Joined())
        counter.add(Value(ir.Local(S64, index)), self.flow)
        type_ = self.local_type(var)
        body = self._body(node.body, self.flow, var, (0, 255))
        base = name
        while isinstance(base, ir.NamePart):
            base = base.name
        if self._goes_on(body, base, (ir.Return, ir.Break)):
            shown = self.source_of(node.iter)
            self.error(
                node.iter,
                "E267",
                f"{shown} is replaced in the loop over its bytes",
                "replace it behind the loop",
            )
        if self.infer or type_ is None:
            return []
        if self.joins[var].optional:
            return self._other_use(node, var)
        value = self.convert(node.iter, Value(byte), type_)
        if value is None:
            return []
        count = ir.NameLen(S64, name)
        first = ir.Assign(node.lineno, var, value)
        zero, bound = ir.Const(S64, 0), longest(name)
        return [*kept, ir.For(node.lineno, index, S64, zero, 1, count, bound, (first, *body))]

    def _entries(self, node: ast.For, var: str, param: str) -> list[ir.Stmt]:
        if var in self.joins and not self.infer:
            self._other_use(node, var)
        before = self.aliases.get(var)
        self.aliases[var] = Value(ir.Local(DIRENT, var))
        body = self._body(node.body, self.flow, var)
        if before is not None:
            self.aliases[var] = before
        self.flow = replace(self.flow, assigned=self.flow.assigned - {var})
        return [ir.ForEntries(node.lineno, var, param, MAX_ENTRIES, body)]

    # ------------------------------------------------------------ the body

    #: Variables of loops over directory entries.
    entry_vars: frozenset[str] = frozenset()

    def _body(
        self,
        body: list[ast.stmt],
        before: Flow,
        var: str | None = None,
        values: Bounds | None = None,
        runs: bool = False,
    ) -> tuple[ir.Stmt, ...]:
        """Check a loop's body; afterwards ``self.flow`` is what holds behind the loop."""
        stored = stored_names(body)
        start = before.forget(*stored, *self._changed_structs(body))
        inside = start if var is None else start.assign(var, values)
        if values is not None and values[0] > values[1] and var is not None:
            inside = start.assign(var)
        self.breaks.append([])
        self.loop_vars.append(var)
        self.flow = inside
        made = self.block(body)
        self.loop_vars.pop()
        exits = self.breaks.pop()
        after = start
        if var is not None:
            after = start.forget(var)
            if runs:
                after = after.assign(var)
        for flow in exits:
            after = after.join(flow)
        self.flow = after
        return made

    def _replaces(self, stmt: ir.Stmt, name: ir.Expr) -> bool:
        """Whether a statement gives a name other contents, itself or in a helper."""
        if isinstance(name, ir.DirentName):
            renames = isinstance(stmt, ir.RenameEntry) and stmt.var == name.var
            return renames or any(
                isinstance(expr, ir.Call) and self._renamed_by(expr, name.var)
                for expr in expressions(stmt)
            )
        local = isinstance(name, ir.Local) and name.name
        return isinstance(stmt, ir.Replace) and stmt.param == local

    def _renamed_by(self, call: ir.Call, var: str) -> bool:
        """Whether a helper gives the directory entry ``var`` another name."""
        info = self.unit.helpers.get(call.function)
        if info is None or info.function is None:
            return False
        return any(
            self._replaces(stmt, ir.DirentName(NAME, param.name))
            for arg, param in zip(call.args, info.function.params, strict=True)
            if arg == ir.Local(DIRENT, var)
            for stmt in statements(info.function.body)
        )

    def _goes_on(
        self, body: tuple[ir.Stmt, ...], name: ir.Expr, ends: tuple[type[ir.Stmt], ...]
    ) -> bool:
        """Whether a turn may follow one that replaces a name; ``ends`` leave the loop over it."""
        left = bool(body) and isinstance(body[-1], ends)
        for stmt in body:
            if self._replaces(stmt, name) and not left:
                return True
            inner = (ir.Return,) if isinstance(stmt, ir.For | ir.ForEntries) else ends
            for block in blocks(stmt):
                turns = any(isinstance(s, ir.Continue) for s in statements(block))
                if (turns or not left) and self._goes_on(block, name, inner):
                    return True
        return False

    def _changed_structs(self, body: list[ast.stmt]) -> list[str]:
        """Parameters and directory entries whose members a body may change."""
        for stmt in body:
            for node in ast.walk(stmt):
                stored = isinstance(node, ast.Attribute | ast.Subscript) and isinstance(
                    node.ctx, ast.Store
                )
                if stored or isinstance(node, ast.Call):
                    return [*self.params, *self.entry_vars]
        return []


def _turns(first: Bounds, last: Bounds, step: int) -> int:
    """The most turns of a range whose ends are within these bounds."""
    span = last[1] - first[0] if step > 0 else first[1] - last[0]
    return max(0, -(-span // abs(step)))


def _steady(end: ir.Expr) -> bool:
    """Whether an end of a range is the same number each time that it is evaluated."""
    while isinstance(end, ir.Cast):
        end = end.operand
    return isinstance(end, ir.Const | ir.Local) or (
        isinstance(end, ir.CtxField) and place(end) is not None
    )


def _count(start: ir.Expr, stop: ir.Expr, step: int, flow: Flow, wraps: bool) -> ir.Expr:
    """The number of turns, as an expression; the difference of the ends may not fit 64 bits."""
    if isinstance(start, ir.Const) and isinstance(stop, ir.Const):
        first, last = (start.value, start.value), (stop.value, stop.value)
        return ir.Const(S64, _turns(first, last, step))
    low, high = (start, stop) if step > 0 else (stop, start)
    span = high
    if not (isinstance(low, ir.Const) and low.value == 0):
        span = ir.Binary(S64, "-", high, low)
    if abs(step) != 1:
        span = ir.Binary(S64, "+", span, ir.Const(S64, abs(step) - 1))
        span = ir.Binary(S64, "//", span, ir.Const(S64, abs(step)))
    if wraps:
        runs = ir.Compare(BOOL, "<", low, high)
        return ir.Conditional(S64, runs, span, ir.Const(S64, 0))
    if bounds(span, flow)[0] >= 0:
        return span
    return ir.MinMax(S64, "max", (span, ir.Const(S64, 0)))


def _keyword(node: ast.stmt, word: str) -> ast.AST:
    """A node that spans the keyword of a statement."""
    at = ast.Pass()
    at.lineno, at.col_offset = node.lineno, node.col_offset
    at.end_lineno, at.end_col_offset = node.lineno, node.col_offset + len(word)
    return at
