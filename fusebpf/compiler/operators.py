# SPDX-License-Identifier: MIT
"""Types of arithmetic, comparison and conversion."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Literal

from fusebpf.compiler import ir
from fusebpf.compiler.flags import inverts_flags
from fusebpf.compiler.flow import bounds, excludes_zero
from fusebpf.compiler.mending import Mend
from fusebpf.compiler.operands import (
    FLEXIBLE,
    POISON,
    Fetch,
    Flexible,
    HelperRef,
    Lit,
    MapRef,
    Method,
    NameView,
    Nothing,
    Operand,
    Optional,
    Poison,
    Text,
    Value,
)
from fusebpf.compiler.rewrites import with_default, with_minus
from fusebpf.compiler.scope import Scope
from fusebpf.compiler.types import (
    BOOL,
    ERRNO,
    OPAQUE,
    S64,
    TEXTS,
    U64,
    VERDICT,
    BoolType,
    ErrnoType,
    IntType,
    RecordType,
    Type,
    VerdictType,
)
from fusebpf.compiler.words import describe

BinaryOp = Literal["+", "-", "*", "//", "%", "&", "|", "^", "<<", ">>"]

BINARY: dict[type[ast.operator], BinaryOp] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
COMPARE: dict[type[ast.cmpop], ir.CompareOp] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_FOLD: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
}
_FOLD_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ZERO_HELP = "Python would raise ZeroDivisionError; divide by something else"


class Operators(Scope):
    """Conversions and operators on operands that were already checked."""

    # ------------------------------------------------------------ conversions

    def number(self, node: ast.expr, operand: Operand) -> Value | Lit | Flexible | Poison:
        """The operand as something to calculate with."""
        match operand:
            case Poison() | Lit() | Flexible():
                return operand
            case Value(expr=expr) if isinstance(expr.type, IntType | BoolType):
                return operand
            case Value(expr=expr) if isinstance(expr.type, ErrnoType):
                return self.error(
                    node,
                    "E211",
                    f"{self.source_of(node)} is an Errno, not a number",
                    "only `-Errno` (a Verdict) and comparisons are defined on it",
                )
            case Value(expr=expr) if isinstance(expr.type, VerdictType):
                return self.error(
                    node,
                    "E211",
                    f"{self.source_of(node)} is a Verdict, not a number",
                    "compare it with == or !=, or return it",
                )
            case Optional(name=name):
                return self.error(
                    node,
                    "E212",
                    f"{name} may be None here",
                    f"check first: if {name} is not None: ...",
                )
            case Fetch():
                return self.error(
                    node,
                    "E212",
                    f"{self.source_of(node)} may be None",
                    "give a default: get(key, 0); or store it in a local and check "
                    "`is not None` first",
                    with_default(self, node),
                )
        return self.error(
            node, "E211", f"{describe(operand)} is not a number", self._number_help(operand)
        )

    def _number_help(self, operand: Operand) -> str | None:
        if isinstance(operand, Text):
            return "strings can be compared with names: name == 'x', name.endswith('.x')"
        if isinstance(operand, NameView) or (
            isinstance(operand, Value) and operand.expr.type in TEXTS
        ):
            return "len(name) is its length, name[0] its first byte"
        if isinstance(operand, MapRef):
            return "read a value: m.get(key, 0) of a hash, m[i] of an array"
        if isinstance(operand, Method | HelperRef):
            return "call it: add ()"
        return "numbers are literals, members of ctx and of arguments, values of maps, and locals"

    def literal(self, node: ast.expr, value: int, target: IntType) -> ir.Expr | None:
        """A literal in the type of its context."""
        if target.holds(value):
            return ir.Const(target, value)
        self.error(
            node,
            "E213",
            f"{value} does not fit {target} ({target.lo}…{target.hi})",
            f"use a number in that range, or cut it off: {target}({value})",
            str(target.lo if value < target.lo else target.hi),
        )
        return None

    def convert(
        self, node: ast.expr, operand: Operand, target: Type, store: bool = False
    ) -> ir.Expr | None:
        """The operand as a value of ``target``; None after a mistake.

        Integers convert when every value fits. A ``store`` takes the value modulo the width.
        """
        if isinstance(target, IntType):
            found = self.number(node, operand)
            match found:
                case Poison():
                    return None
                case Flexible():
                    return ir.Const(target, 0)
                case Lit(value=value):
                    return self.literal(node, value, target)
                case Value(expr=expr):
                    return self._convert_int(node, expr, target, store)
        if isinstance(operand, Poison):
            return None
        if isinstance(operand, Value) and operand.expr.type == target:
            return operand.expr
        if isinstance(operand, Value) and operand.expr.type == OPAQUE:
            self.error(
                node,
                "E214",
                f"{self.source_of(node)} holds entries of a lookup: nothing can be asked of them",
                "leave it out: helpers do not take it",
            )
            return None
        self.error(
            node,
            "E214",
            f"{self.source_of(node)} is {describe(operand)}, not a {target}",
            self._convert_help(operand, target),
        )
        return None

    def _convert_help(self, operand: Operand, target: Type) -> str | None:
        if target == BOOL and isinstance(operand, Value | Lit):
            return "write a comparison, e.g. `x != 0`, or bool(x)"
        if isinstance(target, RecordType):
            members = ", ".join(f"{m.name}=..." for m in target.record.members)
            return f"{target}({members})"
        if target == VERDICT:
            return "a Verdict is CONTINUE and its like, -Errno, or refuse(number)"
        return None

    def _convert_int(
        self, node: ast.expr, expr: ir.Expr, target: IntType, store: bool
    ) -> ir.Expr | None:
        if expr.type == target:
            return expr
        if isinstance(expr, ir.Const) and isinstance(expr.type, IntType | BoolType):
            if store and not target.holds(expr.value):
                return ir.Const(target, target.wrap(expr.value))
            return self.literal(node, expr.value, target)
        if store or target.contains_type(expr.type):
            return ir.Cast(target, expr)
        lo, hi = bounds(expr, self.flow)
        if target.holds(lo) and target.holds(hi):
            return ir.Cast(target, expr)
        what = "can be negative" if lo < 0 and not target.signed else f"can be as large as {hi}"
        self.error(
            node,
            "E215",
            f"{self.source_of(node)} is {expr.type} and {what}; {target} is needed",
            f"cut it off on purpose: {target}({self.source_of(node)})",
            Mend(
                f"{target}({self.source_of(node)})",
                safe=False,
                imports=(("fusebpf.types", str(target)),),
            ),
        )
        return None

    def truth(self, node: ast.expr, operand: Operand) -> ir.Expr | None:
        """The operand as a condition: an integer or Boolean expression; None after a mistake."""
        match operand:
            case Poison():
                return None
            case Flexible():
                return ir.Const(S64, 0)
            case Lit(value=value):
                return ir.Const(BOOL, int(value != 0))
            case Text(raw=raw):
                return ir.Const(BOOL, int(bool(raw)))
            case Nothing():
                return ir.Const(BOOL, 0)
            case Value(expr=expr) if isinstance(expr.type, IntType | BoolType):
                return expr
            case Value(expr=expr) if expr.type in TEXTS:
                return ir.Compare(BOOL, "!=", ir.NameLen(S64, expr), ir.Const(S64, 0))
            case Value(expr=expr) if isinstance(expr.type, VerdictType):
                self.error(
                    node,
                    "E216",
                    "a Verdict has no truth value",
                    f"compare it: {self.source_of(node)} != CONTINUE",
                    Mend(f"{self.source_of(node)} != CONTINUE", imports=(("fusebpf", "CONTINUE"),)),
                )
                return None
            case Optional() | Fetch():
                self.error(
                    node,
                    "E212",
                    f"{self.source_of(node)} may be None, and it may be 0: which is meant?",
                    f"write `{self.source_of(node)} is not None`, or get(key, 0)",
                    Mend(f"{self.source_of(node)} is not None", safe=False),
                )
                return None
        self.error(
            node,
            "E216",
            f"{describe(operand)} has no truth value",
            "call it: add ()"
            if isinstance(operand, Method | HelperRef)
            else "test a number, a bool, or a Name (true when it is not empty)",
        )
        return None

    # ------------------------------------------------------------ arithmetic

    def common(
        self, node: ast.expr, left: Value | Lit | Flexible, right: Value | Lit | Flexible
    ) -> IntType | None:
        """The 64-bit type that two operands are calculated in; None after a mistake."""
        types = [o.expr.type for o in (left, right) if isinstance(o, Value)]
        if U64 not in types:
            return S64
        for operand in (left, right):
            if isinstance(operand, Value) and not isinstance(operand.expr, ir.Const):
                type_ = operand.expr.type
                negative = bounds(operand.expr, self.flow)[0] < 0
                if isinstance(type_, IntType) and type_.signed and negative:
                    self.error(
                        node,
                        "E217",
                        f"{self.source_of(node)} mixes u64 and {type_}",
                        "say which is meant: u64(x) or s64(x) around one side",
                    )
                    return None
        return U64

    def binary(self, node: ast.expr, op: BinaryOp, a: Operand, b: Operand) -> Operand:
        """``a op b`` on numbers."""
        sides = (node.left, node.right) if isinstance(node, ast.BinOp) else (node, node)
        left = self.number(sides[0], a)
        if isinstance(left, Poison):
            return POISON
        right = self.number(sides[1], b)
        if isinstance(right, Poison):
            return POISON
        if isinstance(left, Lit) and isinstance(right, Lit):
            return self._fold(node, op, left.value, right.value)
        if op in ("<<", ">>"):
            return self._shift(node, op, left, right)
        if op in ("//", "%") and not self._divisor(node, right):
            return POISON
        if isinstance(left, Flexible) or isinstance(right, Flexible):
            others = [o for o in (left, right) if isinstance(o, Value)]
            if not others or not isinstance(others[0].expr.type, IntType):
                return FLEXIBLE
            if others[0].expr.type.bits < 64:
                return FLEXIBLE if op not in ("&",) else Value(ir.Const(S64, 0))
            return Value(ir.Const(others[0].expr.type, 0))
        if op in ("&", "|", "^"):
            narrow = self._bitwise(op, left, right)
            if narrow is not None:
                return Value(narrow)
        type_ = self.common(node, left, right)
        if type_ is None:
            return POISON
        if op == "&" and type_ == U64:
            left, right = _mask(left), _mask(right)
        lhs, rhs = self.convert(node, left, type_), self.convert(node, right, type_)
        if lhs is None or rhs is None:
            return POISON
        return Value(ir.Binary(type_, op, lhs, rhs))

    def _fold(self, node: ast.expr, op: BinaryOp, a: int, b: int) -> Operand:
        if op in ("//", "%") and b == 0:
            return self.error(node, "E218", "this divides by zero", _ZERO_HELP)
        if op in ("<<", ">>") and not 0 <= b < 64:
            return self._bad_shift(node)
        value = _FOLD[op](a, b)
        if value.bit_length() > 4096:
            return self.error(node, "E213", "this number is too large", "use 64-bit numbers")
        return Lit(value)

    def _bitwise(
        self, op: BinaryOp, left: Value | Lit | Flexible, right: Value | Lit | Flexible
    ) -> ir.Expr | None:
        """& | ^ of unsigned operands narrower than 64 bits stay that narrow."""
        sides: list[ir.Expr | int] = []
        for operand in (left, right):
            if isinstance(operand, Lit):
                sides.append(operand.value)
            elif isinstance(operand, Value):
                type_ = operand.expr.type
                if not isinstance(type_, IntType) or type_.signed or type_.bits == 64:
                    return None
                sides.append(operand.expr)
        types = [s.type for s in sides if not isinstance(s, int)]
        widest = max((t for t in types if isinstance(t, IntType)), key=lambda t: t.bits)
        made: list[ir.Expr] = []
        for side in sides:
            if isinstance(side, int):
                if op == "&":
                    side &= widest.hi
                if not widest.holds(side):
                    return None
                made.append(ir.Const(widest, side))
            else:
                made.append(side if side.type == widest else ir.Cast(widest, side))
        return ir.Binary(widest, op, made[0], made[1])

    def _divisor(self, node: ast.expr, right: Value | Lit | Flexible) -> bool:
        if isinstance(right, Lit):
            if right.value == 0:
                self.error(node, "E218", "this divides by zero", _ZERO_HELP)
            return right.value != 0
        if isinstance(right, Flexible) or self.infer or excludes_zero(right.expr, self.flow):
            return True
        divisor = node
        if isinstance(node, ast.BinOp):
            divisor = node.right
        shown = self.source_of(divisor)
        self.error(
            divisor,
            "E218",
            f"{shown} can be zero here",
            f"guard it: `{self.source_of(node)} if {shown} else 0`, or `if {shown}:` around",
            Mend(f"({self.source_of(node)} if {shown} else 0)", at=node, safe=False)
            if isinstance(node, ast.BinOp)
            else None,
        )
        return False

    def _bad_shift(self, node: ast.expr) -> Poison:
        count = node.right if isinstance(node, ast.BinOp) else node
        shown = self.source_of(count)
        if isinstance(count, ast.Constant):
            return self.error(
                count, "E219", f"the shift count {shown} is not 0…63", "numbers have 64 bits"
            )
        return self.error(
            count,
            "E219",
            f"the shift count {shown} is not provably 0…63",
            f"mask it: ({shown} & 63), or guard it: if 0 <= {shown} < 64:",
            Mend(f"({shown} & 63)", safe=False),
        )

    def _shift(
        self,
        node: ast.expr,
        op: BinaryOp,
        left: Value | Lit | Flexible,
        right: Value | Lit | Flexible,
    ) -> Operand:
        if isinstance(right, Flexible) or isinstance(left, Flexible):
            return FLEXIBLE if isinstance(left, Flexible | Lit) else left
        if isinstance(right, Lit):
            if not 0 <= right.value < 64:
                return self._bad_shift(node)
            count: ir.Expr = ir.Const(S64, right.value)
        else:
            count = right.expr
            lo, hi = bounds(count, self.flow)
            if (lo < 0 or hi > 63) and not self.infer:
                return self._bad_shift(node)
        type_: IntType = S64
        if isinstance(left, Value) and isinstance(left.expr.type, IntType):
            kind = left.expr.type
            if kind == U64 or (op == ">>" and not kind.signed):
                type_ = kind
        value = self.convert(node, left, type_)
        return POISON if value is None else Value(ir.Binary(type_, op, value, count))

    def unary(self, node: ast.UnaryOp, operand: Operand) -> Operand:
        """``-x``, ``~x``, ``+x``."""
        if isinstance(node.op, ast.USub) and isinstance(operand, Value):
            expr = operand.expr
            if isinstance(expr.type, ErrnoType):
                if isinstance(expr, ir.Const):
                    return Value(ir.Const(VERDICT, -expr.value))
                return Value(ir.Refuse(VERDICT, expr))
            if isinstance(expr.type, VerdictType):
                return self.error(
                    node,
                    "E211",
                    f"{self.source_of(node.operand)} already is a Verdict",
                    "leave the minus out",
                    self.source_of(node.operand),
                )
        found = self.number(node.operand, operand)
        if isinstance(node.op, ast.Invert) and inverts_flags(self, node):
            return POISON
        match found:
            case Poison() | Flexible():
                return found
            case Lit(value=value):
                if isinstance(node.op, ast.USub):
                    return Lit(-value)
                return Lit(~value if isinstance(node.op, ast.Invert) else value)
            case Value(expr=expr):
                if isinstance(node.op, ast.UAdd):
                    return found
                type_ = U64 if expr.type == U64 else S64
                wide = self.convert(node, found, type_)
                if wide is None:
                    return POISON
                return Value(ir.Unary(type_, "-" if isinstance(node.op, ast.USub) else "~", wide))
        return POISON

    # ------------------------------------------------------------ comparison

    def comparable(self, node: ast.expr, operand: Operand) -> ir.Expr | None:
        """An integer, Boolean, Verdict or Errno to compare; None after a mistake."""
        if isinstance(operand, Value) and isinstance(operand.expr.type, VerdictType | ErrnoType):
            return operand.expr
        found = self.number(node, operand)
        match found:
            case Flexible():
                return ir.Const(S64, 0)
            case Lit(value=value):
                if S64.holds(value):
                    return ir.Const(S64, value)
                if U64.holds(value):
                    return ir.Const(U64, value)
                self.error(
                    node,
                    "E213",
                    f"{value} does not fit 64 bits",
                    "no number here is that large",
                )
                return None
            case Value(expr=expr):
                return expr
        return None

    def compare_values(
        self, node: ast.expr, op: ir.CompareOp, left: ir.Expr, right: ir.Expr
    ) -> ir.Expr | None:
        """Check that two comparable values may be compared; the comparison."""
        kinds = {type(left.type), type(right.type)}
        if kinds & {VerdictType, ErrnoType}:
            if kinds == {VerdictType, ErrnoType}:
                self.error(
                    node,
                    "E220",
                    "a Verdict is compared with an Errno",
                    "write the minus: -ENOENT is the Verdict, ENOENT alone is not",
                    with_minus(self, node, isinstance(left.type, ErrnoType)),
                )
                return None
            if ErrnoType in kinds and len(kinds) > 1:
                self.error(
                    node,
                    "E220",
                    "a number is compared with an Errno",
                    "error_in holds the negated number: compare with -ENOENT",
                    with_minus(self, node, isinstance(left.type, ErrnoType)),
                )
                return None
            if any(isinstance(e, ir.Const) and isinstance(e.type, IntType) for e in (left, right)):
                self.error(
                    node,
                    "E220",
                    "a Verdict is compared with a number",
                    "compare it with CONTINUE and its like, or with a negated Errno: -ENOENT",
                )
                return None
            if op not in ("==", "!="):
                self.error(
                    node, "E220", f"verdicts have no order: {op} is not defined", "use == or !="
                )
                return None
        if isinstance(left, ir.Const) and isinstance(right, ir.Const):
            return ir.Const(BOOL, int(_FOLD_COMPARE[op](left.value, right.value)))
        return ir.Compare(BOOL, op, left, right)

    # ------------------------------------------------------------ joins

    def unify(self, node: ast.expr, operands: list[Operand]) -> list[ir.Expr] | None:
        """Operands of one ``and``/``or``/conditional brought to one type; None after a mistake."""
        if any(isinstance(o, Poison) for o in operands):
            return None
        if any(
            isinstance(o, NameView) or (isinstance(o, Value) and o.expr.type in TEXTS)
            for o in operands
        ):
            self.error(
                node,
                "E211",
                f"a filter cannot choose a name by {self.source_of(node)}",
                "ask each of them: `old == 'x' if test else new == 'x'`, or with an `if` around",
            )
            return None
        types = {o.expr.type for o in operands if isinstance(o, Value)}
        special = types & {BOOL, VERDICT, ERRNO}
        if special and len(types) == 1 and all(isinstance(o, Value) for o in operands):
            return [o.expr for o in operands if isinstance(o, Value)]
        if VERDICT in types or ERRNO in types:
            kinds = " and ".join(dict.fromkeys(describe(o) for o in operands))
            self.error(
                node,
                "E221",
                f"the sides differ: {kinds}",
                "a Verdict is CONTINUE and its like, or a negated Errno: -ENOENT",
            )
            return None
        numbers: list[Value | Lit | Flexible] = []
        for operand in operands:
            found = self.number(node, operand)
            if isinstance(found, Poison):
                return None
            numbers.append(found)
        type_ = self._unified_type(node, numbers)
        if type_ is None:
            return None
        made: list[ir.Expr] = []
        for number in numbers:
            expr = self.convert(node, number, type_)
            if expr is None:
                return None
            made.append(expr)
        return made

    def _unified_type(
        self, node: ast.expr, numbers: list[Value | Lit | Flexible]
    ) -> IntType | None:
        types = [n.expr.type for n in numbers if isinstance(n, Value)]
        ints = [t for t in types if isinstance(t, IntType)]
        if (
            ints
            and all(t == ints[0] for t in types)
            and all(ints[0].holds(n.value) for n in numbers if isinstance(n, Lit))
        ):
            return ints[0]
        if not ints and any(isinstance(n, Lit) and n.value > S64.hi for n in numbers):
            return U64
        result: IntType = S64
        for number in numbers:
            found = self.common(node, number, numbers[0])
            if found is None:
                return None
            if found == U64:
                result = U64
        if result == U64:
            for number in numbers[1:]:
                pick = next(n for n in numbers if isinstance(n, Value) and n.expr.type == U64)
                if self.common(node, number, pick) is None:
                    return None
        return result


def _mask(operand: Value | Lit | Flexible) -> Value | Lit | Flexible:
    """A negative literal as a mask of 64 bits: ``x & ~7`` means the same in both views."""
    if isinstance(operand, Lit) and -(1 << 63) <= operand.value < 0:
        return Lit(operand.value & U64.hi)
    return operand
