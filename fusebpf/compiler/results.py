# SPDX-License-Identifier: MIT
"""What functions return: verdicts of filters, values of helpers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fusebpf.compiler import ir
from fusebpf.compiler.joins import Joined
from fusebpf.compiler.mending import Mend
from fusebpf.compiler.operands import Fetch, Lit, Nothing, Operand, Poison, Value
from fusebpf.compiler.statements import Statements
from fusebpf.compiler.types import BOOL, VERDICT, ErrnoType, IntType
from fusebpf.compiler.words import describe

#: Key of a function's result among the joins.
RESULT = "<return>"


class Results(Statements):
    """Checks ``return``."""

    def result(self, node: ast.Return) -> list[ir.Stmt]:
        if node.value is not None and self.hook is not None:
            self.results = tuple(_conditionals(node.value))
        operand = Nothing() if node.value is None else self.expr(node.value)
        where = node.value or node
        flow = self.flow
        self.flow = self.flow.dead()
        if self.hook is not None:
            made = self._filter_result(where, operand)
            return [] if made is None else [ir.Return(node.lineno, made)]
        joined = self.next_joins.setdefault(RESULT, Joined())
        if isinstance(operand, Nothing):
            joined.optional = True  # a bare return
            return [ir.Return(node.lineno, None)]
        joined.add(operand, flow)
        if self.is_alias(operand) or isinstance(operand, Fetch):
            self.error(
                where,
                "E274",
                f"a helper cannot return {describe(operand)}",
                "return a number, a bool or a Verdict",
            )
            return []
        result = self.joins.get(RESULT, joined)
        if result.conflict and not self.infer:
            if RESULT in self.conflicts or joined.assignments < 2:
                return []
            self.conflicts.add(RESULT)
            self.error(
                where,
                "E274",
                f"this returns {describe(operand)}, another line something else",
                "return one type on every path, and annotate it: def f(...) -> bool:",
            )
            return []
        type_ = result.final()
        if type_ is None or self.infer:
            return []
        self.flow = flow
        assert isinstance(where, ast.expr)
        made = self.convert(where, operand, type_)
        self.flow = flow.dead()
        return [] if made is None else [ir.Return(node.lineno, made)]

    def _filter_result(self, node: ast.AST, operand: Operand) -> ir.Expr | None:
        """The verdict that a filter returns; None after a mistake."""
        match operand:
            case Poison():
                return None
            case Nothing():
                return ir.Const(VERDICT, 0)
            case Value(expr=expr) if expr.type == VERDICT:
                self._check_phase(node, expr)
                return expr
            case Value(expr=expr) if isinstance(expr.type, ErrnoType):
                shown = self.source_of(node)
                self.error(
                    node,
                    "E275",
                    f"{shown} is an Errno, not a Verdict: the minus is missing",
                    f"return -{shown}" if isinstance(expr, ir.Const) else f"return -({shown})",
                    f"-{shown}" if isinstance(expr, ir.Const) else f"-({shown})",
                )
            case Lit(value=0):
                self.error(
                    node,
                    "E275",
                    "0 is a number, not a Verdict",
                    "return CONTINUE",
                    Mend("CONTINUE", imports=(("fusebpf", "CONTINUE"),)),
                )
            case Lit(value=value):
                name = _errno(value)
                self.error(
                    node,
                    "E275",
                    f"{value} is a number, not a Verdict",
                    f"return -{name}" if name else _ANY,
                    Mend(f"-{name}", imports=(("fusebpf.constants", name),)) if name else None,
                )
            case Value(expr=expr) if expr.type == BOOL:
                self.error(
                    node,
                    "E275",
                    f"{self.source_of(node)} is a bool, not a Verdict",
                    "write: return CONTINUE if allowed else -EACCES",
                    _allowed(node, self.source_of(node), expr),
                )
            case Value(expr=expr) if isinstance(expr.type, IntType):
                shown = self.source_of(node)
                self.error(
                    node,
                    "E275",
                    f"{shown} is a number ({expr.type}), not a Verdict",
                    f"a computed refusal is refuse({shown.lstrip('-')})",
                    Mend(f"refuse({shown.lstrip('-')})", imports=(("fusebpf", "refuse"),)),
                )
            case _:
                self.error(
                    node,
                    "E275",
                    f"a filter returns a Verdict, not {describe(operand)}",
                    _ANY,
                )
        return None

    def _check_phase(self, node: ast.AST, expr: ir.Expr) -> None:
        if isinstance(expr, ir.Conditional):
            self._check_phase(node, expr.then)
            self._check_phase(node, expr.other)
            return
        if not isinstance(expr, ir.Const) or self.hook is None:
            return
        names = {1: "USER", 2: "USER_PREFILTER", 3: "POSTFILTER"}
        if self.hook.endswith("_postfilter") and expr.value in names:
            self.error(
                node,
                "E276",
                f"{names[expr.value]} means nothing in a postfilter: the operation is done",
                "return CONTINUE, USER_POSTFILTER, CALL_DEFAULT or a negated errno",
                Mend("CONTINUE", imports=(("fusebpf", "CONTINUE"),)),
            )
        hooks = self.unit.hooks
        post = self.hook.replace("_prefilter", "_postfilter")
        if expr.value == 3 and not {post, "default_filter"} & hooks and post != self.hook:
            op = self.hook.removesuffix("_prefilter")
            self.warn(
                node,
                "W102",
                f"POSTFILTER asks for a filter that the set does not have: {op}.post",
                f"add @filters.{op}.post, or return CONTINUE",
                Mend("CONTINUE", safe=False, imports=(("fusebpf", "CONTINUE"),)),
            )


def _conditionals(node: ast.expr) -> Iterator[ast.expr]:
    """A conditional expression, and those directly in its branches."""
    if isinstance(node, ast.IfExp):
        yield node
        yield from _conditionals(node.body)
        yield from _conditionals(node.orelse)


def _allowed(node: ast.AST, shown: str, expr: ir.Expr) -> Mend:
    """What a bool that a filter returns was meant to say: whether the operation goes on."""
    names = (("fusebpf", "CONTINUE"), ("fusebpf.constants", "EACCES"))
    if isinstance(expr, ir.Const):
        word, needed = ("CONTINUE", names[:1]) if expr.value else ("-EACCES", names[1:])
        return Mend(word, safe=False, imports=needed)
    return Mend(f"CONTINUE if {shown} else -EACCES", safe=False, imports=names)


_ANY = "return CONTINUE, or a negated errno such as -ENOENT"


def _errno(value: int) -> str:
    """The name of an errno, or ""."""
    import fusebpf.constants as constants
    from fusebpf.dsl.values import Errno

    for name, constant in vars(constants).items():
        if isinstance(constant, Errno) and constant.value == abs(value):
            return name
    return ""
