# SPDX-License-Identifier: MIT
"""Comparisons: ``==`` and its like, chains, ``in`` and ``is None``."""

from __future__ import annotations

import ast

from fusebpf.compiler import ir
from fusebpf.compiler.calls import Calls
from fusebpf.compiler.flow import bounds
from fusebpf.compiler.mending import Mend, between
from fusebpf.compiler.names import as_view
from fusebpf.compiler.operands import (
    Fetch,
    Group,
    MapRef,
    Nothing,
    Operand,
    Optional,
    Poison,
    Range,
    Text,
    Value,
)
from fusebpf.compiler.operators import COMPARE
from fusebpf.compiler.types import BOOL, S64, IntType
from fusebpf.compiler.walk import acts
from fusebpf.compiler.words import describe


def _unchained(node: ast.Compare) -> list[Mend] | None:
    """``a < b in c`` as two tests; None where b would be computed twice."""
    middle = node.comparators[:-1]
    if not all(isinstance(side, ast.Name | ast.Attribute) for side in middle):
        return None
    texts = [(side, ast.unparse(side)) for side in middle]
    # A guess: a `not` before it would hold for the first alone.
    return [Mend(f"{text} and {text}", at=side, safe=False) for side, text in texts]


class Comparisons(Calls):
    """Everything that gives a bool from two sides."""

    def negate(self, test: ir.Expr) -> ir.Expr:
        """``not test``."""
        if isinstance(test, ir.Const):
            return ir.Const(BOOL, int(not test.value))
        if isinstance(test, ir.Not) and test.operand.type == BOOL:
            return test.operand
        return ir.Not(BOOL, test)

    def compare(self, node: ast.Compare) -> ir.Expr | None:
        if len(node.ops) > 1:
            return self._chain(node)
        op, right_node = node.ops[0], node.comparators[0]
        left, right = self.expr(node.left), self.expr(right_node)
        if isinstance(left, Poison) or isinstance(right, Poison):
            return None
        if isinstance(op, ast.Is | ast.IsNot):
            return self._is(node, left, right, isinstance(op, ast.IsNot))
        if isinstance(op, ast.In | ast.NotIn):
            found = self.membership(node, left, right)
            if found is None:
                return None
            return self.negate(found) if isinstance(op, ast.NotIn) else found
        return self.compare_operands(node, op, left, right)

    def compare_operands(
        self, node: ast.Compare, op: ast.cmpop, left: Operand, right: Operand
    ) -> ir.Expr | None:
        """``left op right`` for one of == != < <= > >=; None after a mistake."""
        right_node = node.comparators[0]
        if isinstance(left, Nothing) or isinstance(right, Nothing):
            negated = isinstance(op, ast.NotEq)
            self.error(
                node,
                "E225",
                "None is compared with ==",
                "write `is None` or `is not None`",
                Mend(" is not " if negated else " is ", at=between(node.left, right_node))
                if isinstance(op, ast.Eq | ast.NotEq)
                else None,
            )
            return None
        if as_view(left) is not None or as_view(right) is not None:
            return self.name_compare(node, op, left, right)
        if self._byte_against_text(node, left, right):
            return None
        lhs, rhs = self.comparable(node.left, left), self.comparable(right_node, right)
        if lhs is None or rhs is None:
            return None
        return self.compare_values(node, COMPARE[type(op)], lhs, rhs)

    def _byte_against_text(self, node: ast.Compare, left: Operand, right: Operand) -> bool:
        """Catch ``name[0] == "."``: in Python a byte is a number, never a string."""
        for side, other, where in (
            (left, right, node.left),
            (right, left, node.comparators[0]),
        ):
            if (
                isinstance(side, Value)
                and isinstance(side.expr, ir.NameByte)
                and isinstance(other, Text)
                and isinstance(where, ast.Subscript)
            ):
                name = self.source_of(where.value)
                width = len(other.raw)
                part, surely = self._bytes_from(where.slice, side.expr.index, width)
                self.error(
                    node,
                    "E226",
                    f"{self.source_of(where)} is a number, {other.shown} is a string: "
                    "they are never equal",
                    f"compare a part: {name}{part} == {other.shown}"
                    + (f"; or the number: == {other.raw[0]}" if width == 1 else ""),
                    Mend(f"{name}{part}", at=where, safe=surely),
                )
                return True
        return False

    def _bytes_from(self, start: ast.expr, index: ir.Expr, width: int) -> tuple[str, bool]:
        """The slice of so many bytes from an index on, and whether it surely is that one.

        An end that is counted from the end stops short of 0: ``name[-1:-1 + 1]`` is empty.
        """
        if isinstance(index, ir.Const) and (isinstance(start, ast.Constant) or index.value < 0):
            first, end = index.value, index.value + width
            open_end = first < 0 <= end
            return f"[{first or ''}:{'' if open_end else end}]", True
        shown = self.source_of(start)
        if isinstance(start, ast.IfExp | ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.Compare):
            shown = f"({shown})"
        return f"[{shown}:{shown} + {width}]", bounds(index, self.flow)[0] >= 0

    def _chain(self, node: ast.Compare) -> ir.Expr | None:
        for op in node.ops:
            if type(op) not in COMPARE:
                self.error(
                    node,
                    "E227",
                    "`in` and `is` cannot be part of a chain",
                    "write it with `and`",
                    _unchained(node),
                )
                return None
        nodes = [node.left, *node.comparators]
        made = [self.comparable(n, self.expr(n)) for n in nodes]
        operands = [m for m in made if m is not None]
        if len(operands) < len(nodes):
            return None
        ops = tuple(COMPARE[type(op)] for op in node.ops)
        for i, link in enumerate(ops):
            if self.compare_values(node, link, operands[i], operands[i + 1]) is None:
                return None
        return ir.Chain(BOOL, ops, tuple(operands))

    def _is(
        self, node: ast.Compare, left: Operand, right: Operand, negated: bool
    ) -> ir.Expr | None:
        if not isinstance(right, Nothing):
            self.error(
                node,
                "E225",
                "`is` compares with None only",
                "use == (or != for `is not`)",
                Mend(" != " if negated else " == ", at=between(node.left, node.comparators[0])),
            )
            return None
        found: ir.Expr
        match left:
            case Optional(name=name):
                found = ir.IsPresent(BOOL, name)
            case Fetch(map=decl, key=key):
                found = ir.MapHas(BOOL, decl.name, key)
            case Value(expr=ir.Local(name=name)) if (
                name in self.joins and self.joins[name].optional
            ):
                found = ir.Const(BOOL, 1)
            case _:
                self.error(
                    node,
                    "E225",
                    f"{self.source_of(node.left)} is never None",
                    "only results of map.get(key) can be None",
                )
                return None
        return found if negated else self.negate(found)

    def membership(self, node: ast.Compare, left: Operand, right: Operand) -> ir.Expr | None:
        """``left in right``; None after a mistake."""
        where = node.comparators[0]
        view = as_view(left)
        if isinstance(right, Group):
            if view is not None:
                values = self.texts(where, right, view)
                return None if values is None else self.name_equal(node, view, values)
            return self._one_of(node, left, right)
        if isinstance(right, MapRef):
            if right.decl.is_array:
                self.error(
                    node,
                    "E263",
                    "`in` on an array map asks nothing: every index has a value",
                    f"compare the value: {self.source_of(where)}[i] != 0",
                    f"{self.source_of(where)}[{self.source_of(node.left)}] "
                    f"{'==' if isinstance(node.ops[0], ast.NotIn) else '!='} 0"
                    if isinstance(right.decl.value, IntType)
                    else None,
                )
                return None
            key = self.key(node.left, right.decl, left)
            return None if key is None else ir.MapHas(BOOL, right.decl.name, key)
        if isinstance(right, Range):
            return self._in_range(node, left, right)
        inside = as_view(right)
        if inside is not None:
            if isinstance(left, Text):
                return self.name_holds(node, left, inside)
            self.error(
                node,
                "E228",
                f"{describe(left)} is sought inside {describe(inside)}",
                "only constant strings can be: '.bak' in name; a byte is found in a `for` loop",
            )
            return None
        self.error(
            node,
            "E228",
            f"`in` does not work on {describe(right)}",
            "use a constant set or tuple, a hash map, or range(...)",
        )
        return None

    def _one_of(self, node: ast.Compare, left: Operand, group: Group) -> ir.Expr | None:
        value = self.comparable(node.left, left)
        if value is None:
            return None
        values: list[int] = []
        for item in group.items:
            constant = self.comparable(node.comparators[0], item)
            if constant is None:
                return None
            if self.compare_values(node, "==", value, constant) is None:
                return None
            assert isinstance(constant, ir.Const)
            values.append(constant.value)
        if isinstance(value, ir.Const):
            return ir.Const(BOOL, int(value.value in values))
        return ir.OneOf(BOOL, value, tuple(dict.fromkeys(values)))

    def _in_range(self, node: ast.Compare, left: Operand, right: Range) -> ir.Expr | None:
        if right.step != 1:
            self.error(
                node, "E228", "`in range` with a step is not supported", "use % for the step"
            )
            return None
        where = node.comparators[0]
        low = self.comparable(where, right.start)
        value = self.comparable(node.left, left)
        high = self.comparable(where, right.stop)
        if low is None or value is None or high is None:
            return None
        if not acts(high) and not acts(low) and (isinstance(low, ir.Const) or not acts(value)):
            return ir.Chain(BOOL, ("<=", "<"), (low, value, high))
        if isinstance(value, ir.Const | ir.Local):
            # Python evaluates both ends before it asks.
            above = ir.Compare(BOOL, ">=", value, low)
            below = ir.Compare(BOOL, "<", value, high)
            both = ir.Binary(S64, "&", ir.Cast(S64, above), ir.Cast(S64, below))
            return ir.Compare(BOOL, "!=", both, ir.Const(S64, 0))
        shown = self.source_of(node.left)
        self.error(
            node.left,
            "E228",
            f"{shown} is sought in a range beside calls, which can change each other's values",
            f"give it a name first: value = {shown}",
        )
        return None
