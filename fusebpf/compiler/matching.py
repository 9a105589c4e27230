# SPDX-License-Identifier: MIT
"""``match``: numbers, enums and names against constants, from top to bottom."""

from __future__ import annotations

import ast
from dataclasses import replace

from fusebpf.compiler import ir
from fusebpf.compiler.loops import Loops
from fusebpf.compiler.mending import Mend
from fusebpf.compiler.names import as_view
from fusebpf.compiler.operands import Fetch, Group, Operand, Optional, Poison, Value
from fusebpf.compiler.types import BOOL, VerdictType
from fusebpf.compiler.words import describe


def subject_name(node: ast.Match) -> str:
    """The hidden local that holds the subject: it is evaluated once."""
    return f"match.{node.lineno}_{node.col_offset}"


class Matching(Loops):
    """Checks ``match`` statements: a chain of tests."""

    def match(self, node: ast.Match) -> list[ir.Stmt]:
        subject, before = self._subject(node)
        return [*before, *self._cases(node, node.cases, subject)]

    def _subject(self, node: ast.Match) -> tuple[Operand, list[ir.Stmt]]:
        operand = self.expr(node.subject)
        view = as_view(operand)
        if view is not None:
            made: list[ir.Stmt] = []
            if isinstance(view.name, ir.NamePart):
                part = self.kept_part(node.subject, subject_name(node), view.name, made)
                view = replace(view, name=part)
            return view, made
        if isinstance(operand, Value) and isinstance(operand.expr.type, VerdictType):
            found: Operand = operand
        elif isinstance(operand, Fetch | Optional):
            found = self.error(
                node.subject,
                "E104",
                f"{self.source_of(node.subject)} may be None",
                "give a default: get(key, 0); or check `is not None` first",
            )
        else:
            found = self.number(node.subject, operand)
        if not isinstance(found, Value) or isinstance(found.expr, ir.Local | ir.Const):
            return found, []
        name = subject_name(node)
        target = ast.copy_location(ast.Name(name, ast.Store()), node.subject)
        stored = self.set_local(node, target, name, node.subject, found)
        return self.name(target), stored

    def _cases(
        self, node: ast.Match, cases: list[ast.match_case], subject: Operand
    ) -> list[ir.Stmt]:
        if not cases:
            return []
        first, rest = cases[0], cases[1:]
        test = self._pattern(node, first.pattern, subject)
        before = self.flow
        known = isinstance(test, ir.Const) and test.value == 1
        if test is not None and first.guard is not None:
            self.flow = self.knowing(test, True)
            guard = self.condition(first.guard)
            self.flow = before
            if guard is None:
                test = None
            elif known:
                test, known = guard, False
            else:
                test = ir.BoolOp(BOOL, "and", (test, self.as_bool(guard)))
        if known:
            return list(self.block(first.body))
        if test is not None:
            self.flow = self.knowing(test, True)
        then = self.block(first.body)
        after = self.flow
        self.flow = before if test is None else self.knowing(test, False, before)
        other = self._cases(node, rest, subject)
        self.flow = after.join(self.flow)
        if test is None:
            return []
        return [ir.If(first.pattern.lineno, test, then, tuple(other))]

    # ------------------------------------------------------------ patterns

    def _pattern(self, node: ast.Match, pattern: ast.pattern, subject: Operand) -> ir.Expr | None:
        """The test that a pattern stands for; None after a mistake."""
        match pattern:
            case ast.MatchAs(pattern=None, name=None):
                return ir.Const(BOOL, 1)
            case ast.MatchAs(pattern=None, name=str() as name):
                shown = self.source_of(node.subject)
                self.error(
                    pattern,
                    "E104",
                    f"`case {name}` does not compare: it matches everything and assigns {name}",
                    f"compare in a guard: case _ if {shown} == {name}; or name an enum's member: "
                    f"case Colour.{name.upper()}",
                    self._as_guard(node, pattern, f"{shown} == {name}"),
                )
                return None
            case ast.MatchOr(patterns=patterns):
                return self._any_of(node, patterns, subject)
            case ast.MatchValue(value=value):
                return self._equal(node, pattern, value, subject)
            case ast.MatchSingleton(value=bool() as value):
                if isinstance(subject, Value) and subject.expr.type == BOOL:
                    return subject.expr if value else self.negate(subject.expr)
                if not isinstance(subject, Poison):
                    self.error(
                        pattern,
                        "E104",
                        f"`case {value}` asks whether {describe(subject)} is {value} itself",
                        f"compare with a number: case {int(value)}",
                        str(int(value)),
                    )
                return None
        self.error(
            pattern,
            "E104",
            f"this pattern is not supported: {self.source_of(pattern)}",
            "patterns are constants, members of enums, `|` between them, and `_`",
        )
        return None

    def _as_guard(self, node: ast.Match, pattern: ast.pattern, test: str) -> Mend | None:
        for case in node.cases:
            if case.pattern is pattern and case.guard is None:
                return Mend(f"_ if {test}", safe=False)
        return None

    def _any_of(
        self, node: ast.Match, patterns: list[ast.pattern], subject: Operand
    ) -> ir.Expr | None:
        values = [p.value for p in patterns if isinstance(p, ast.MatchValue)]
        if len(values) == len(patterns):
            items = [self.expr(value) for value in values]
            if any(isinstance(item, Poison) for item in (*items, subject)):
                return None
            return self.membership(_compared(node, values[0]), subject, Group(tuple(items)))
        tests = [self._pattern(node, pattern, subject) for pattern in patterns]
        found = tuple(test for test in tests if test is not None)
        return ir.BoolOp(BOOL, "or", found) if len(found) == len(tests) else None

    def _equal(
        self, node: ast.Match, pattern: ast.pattern, value: ast.expr, subject: Operand
    ) -> ir.Expr | None:
        constant = self.expr(value)
        if isinstance(constant, Poison) or isinstance(subject, Poison):
            return None
        compared = _compared(node, value)
        test = self.compare_operands(compared, ast.Eq(), subject, constant)
        if isinstance(test, ir.Const) and isinstance(subject, Value):
            # A known subject must not look like the pattern `_`.
            return ir.Not(BOOL, ir.Const(BOOL, int(not test.value)))
        return test


def _compared(node: ast.Match, value: ast.expr) -> ast.Compare:
    """``subject == value`` as an author would have written it, at the pattern."""
    whole = ast.Compare(node.subject, [ast.Eq()], [value])
    return ast.copy_location(whole, value)
