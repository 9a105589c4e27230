# SPDX-License-Identifier: MIT
"""Calls: builtins, casts, methods of maps and directory entries."""

from __future__ import annotations

import ast
from typing import Literal

from fusebpf.compiler import ir
from fusebpf.compiler.flow import bounds
from fusebpf.compiler.mending import Mend, after, last_name
from fusebpf.compiler.names import as_view, whole
from fusebpf.compiler.operands import (
    FLEXIBLE,
    POISON,
    Builtin,
    ClassRef,
    EventRef,
    Fetch,
    Flexible,
    Group,
    HelperRef,
    Lit,
    MapRef,
    Method,
    Namespace,
    Operand,
    Poison,
    Range,
    RecordClass,
    Text,
    TypeRef,
    Value,
)
from fusebpf.compiler.records import Records
from fusebpf.compiler.scope import Scope
from fusebpf.compiler.types import (
    BOOL,
    CONTEXT,
    DIRENT,
    INT_TYPES,
    NAME,
    NONE,
    S64,
    U64,
    VERDICT,
    ErrnoType,
    IntType,
)
from fusebpf.compiler.words import describe
from fusebpf.dsl.values import MAX_ERRNO
from fusebpf.spelling import closest

HASH_METHODS = ("get", "put", "discard")


_CALL_HELP = {
    "len": "len(name)",
    "range": "range(stop), range(start, stop) or range(start, stop, step)",
    "min": "min(a, b)",
    "max": "max(a, b)",
    "get": "m.get(key) or m.get(key, default)",
    "put": "m.put(key, value)",
    "discard": "m.discard(key)",
    "refuse": "refuse(number)",
    "walk": "automaton.walk(name) or automaton.walk(name, state)",
    "Verdict": "Verdict(-2)",
    **{name: f"{name}(x)" for name in (*INT_TYPES, "int", "bool")},
}


class Calls(Records):
    """Everything of the form ``f(...)``."""

    def call(self, node: ast.Call) -> Operand:
        """Check a call; a call for its effect alone has type None."""
        for arg in node.args:
            if isinstance(arg, ast.Starred):
                return self.error(
                    arg, "E101", "*arguments are not supported", "pass them one by one"
                )
        callee = self.expr(node.func)
        match callee:
            case Poison():
                return POISON
            case HelperRef():
                return self.call_helper(node, callee)
            case Builtin(name=name):
                return self._builtin(node, name)
            case TypeRef():
                return self._cast(node, callee)
            case RecordClass():
                return self.make_record(node, callee)
            case Method(base=EventRef(decl=events), name=name) if name != "emit":
                return self.error(
                    last_name(node.func) if isinstance(node.func, ast.Attribute) else node.func,
                    "E206",
                    f"events {events.name!r} have no {name}()",
                    f"write {self.source_of(node.func).rsplit('.', 1)[0]}.emit(...)",
                    "emit",
                )
            case Method(base=EventRef()):
                return self.error(
                    node, "E254", "emit() is a statement", "put it on a line of its own"
                )
            case Method(base=MapRef(decl=decl), name="walk") if decl.is_automaton:
                return self._walk(node, decl)
            case Method(base=MapRef(decl=decl), name=name):
                return self._map_method(node, decl, name)
            case Method(base=base) if as_view(base) is not None:
                return self.name_method(node, callee)
            case Method(base=Value(expr=expr), name=name) if expr.type in (DIRENT, CONTEXT):
                return self.error(
                    node, "E254", f"{name}() is a statement", "put it on a line of its own"
                )
            case ClassRef(name=name):
                return self.error(
                    node,
                    "E250",
                    f"a filter cannot make a new {name}",
                    "change the one it was called with: out.mode = ...",
                )
            case Namespace(name=name):
                return self.error(
                    node, "E250", f"{name}() cannot run in the kernel", "compute it at module level"
                )
        return self.error(
            node.func,
            "E251",
            f"{describe(callee)} cannot be called",
            "functions are helpers of this file, len, range, min, max, refuse, and casts",
            None
            if node.args or node.keywords
            else Mend("", at=after(node.func, node), title="remove the parentheses"),
        )

    # ------------------------------------------------------------ builtins and casts

    def _args(self, node: ast.Call, name: str, least: int, most: int) -> list[Operand] | None:
        if node.keywords:
            self.error(
                node,
                "E252",
                f"{name}() takes no keyword arguments here",
                "leave the name out",
                [Mend(self.source_of(k.value), at=k) for k in node.keywords],
            )
            return None
        if not least <= len(node.args) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            self.error(
                node,
                "E252",
                f"{name}() takes {wanted} argument{'s' if wanted != '1' else ''}, "
                f"not {len(node.args)}",
                _CALL_HELP.get(name, f"see the reference of {name}()"),
            )
            return None
        found = [self.expr(arg) for arg in node.args]
        return None if any(isinstance(f, Poison) for f in found) else found

    def _builtin(self, node: ast.Call, name: str) -> Operand:
        if name == "debug":
            return self.error(node, "E254", "debug() is a statement", "put it on a line of its own")
        limits = {"len": (1, 1), "range": (1, 3), "refuse": (1, 1), "Verdict": (1, 1)}
        least, most = limits.get(name, (2, 16) if name != "abs" else (1, 1))
        args = self._args(node, name, least, most)
        if args is None:
            return POISON
        if name == "len":
            return self._len(node, args[0])
        if name == "range":
            return self._range(node, args)
        if name == "refuse":
            return self._refuse(node, args[0])
        if name == "Verdict":
            return self._verdict(node, args[0])
        if name == "abs":
            shown = self.source_of(node.args[0])
            return self.error(
                node,
                "E201",
                "abs() is not supported",
                "write: x if x >= 0 else -x",
                f"max({shown}, -({shown}))",
            )
        return self._min_max(node, "min" if name == "min" else "max", args)

    def _len(self, node: ast.Call, operand: Operand) -> Operand:
        view = as_view(operand)
        if view is not None:
            return Value(ir.NameLen(S64, whole(view)))
        if isinstance(operand, Text):
            if not operand.raw.isascii() and not operand.shown.startswith("b"):
                return self.error(
                    node.args[0],
                    "E253",
                    f"len() of {operand.shown} counts characters in Python, and names have bytes",
                    f"write its bytes: len({operand.raw!r})",
                )
            return Lit(len(operand.raw))
        if isinstance(operand, Group):
            return Lit(len(operand.items))
        if isinstance(operand, MapRef):
            if operand.decl.is_array:
                return Lit(operand.decl.max_entries)
            return self.error(
                node,
                "E253",
                "the kernel cannot count the entries of a hash",
                "keep a count of your own in an array map",
            )
        return self.error(
            node.args[0],
            "E253",
            f"{describe(operand)} has no len()",
            "len() works on a Name, a constant set or tuple, and an array map",
        )

    def _min_max(self, node: ast.Call, op: Literal["min", "max"], args: list[Operand]) -> Operand:
        if all(isinstance(a, Lit) for a in args):
            values = [a.value for a in args if isinstance(a, Lit)]
            return Lit(min(values) if op == "min" else max(values))
        if any(isinstance(a, Flexible) for a in args):
            return FLEXIBLE
        made = None
        if not any(as_view(a) is not None for a in args):
            made = self.unify(node, args)
            if made is None:
                return POISON
        type_ = None if made is None else made[0].type
        if made is None or not isinstance(type_, IntType):
            return self.error(node, "E211", f"{op}() needs numbers", f"{op}(a, b)")
        return Value(ir.MinMax(type_, op, tuple(made)))

    def _range(self, node: ast.Call, args: list[Operand]) -> Operand:
        start, stop = (Lit(0), args[0]) if len(args) == 1 else (args[0], args[1])
        step = args[2] if len(args) == 3 else Lit(1)
        if not isinstance(step, Lit):
            return self.error(
                node.args[2],
                "E241",
                "the step of a range must be a constant",
                "e.g. range(0, n, 2)",
            )
        if step.value == 0:
            return self.error(
                node.args[2],
                "E241",
                "the step of a range is zero",
                "leave it out",
                Mend("", at=after(node.args[1], node.args[2]), safe=False),
            )
        return Range(start, stop, step.value)

    def _refuse(self, node: ast.Call, operand: Operand) -> Operand:
        if isinstance(operand, Value) and isinstance(operand.expr.type, ErrnoType):
            expr: ir.Expr | None = operand.expr
        else:
            number = self.number(node.args[0], operand)
            if isinstance(number, Value) and number.expr.type == U64:
                expr = number.expr
            else:
                expr = self.convert(node.args[0], number, S64)
        if expr is None:
            return POISON
        if isinstance(expr, ir.Const):
            return Value(ir.Const(VERDICT, -min(max(abs(expr.value), 1), MAX_ERRNO)))
        return Value(ir.Refuse(VERDICT, expr))

    def _verdict(self, node: ast.Call, operand: Operand) -> Operand:
        if not isinstance(operand, Lit):
            return self.error(
                node,
                "E255",
                "Verdict() needs a constant",
                "use refuse(number) for a computed refusal",
                Mend(
                    f"refuse({self.source_of(node.args[0]).lstrip('-')})",
                    imports=(("fusebpf", "refuse"),),
                ),
            )
        if not -MAX_ERRNO <= operand.value <= 5:
            return self.error(
                node,
                "E255",
                f"{operand.value} is not a verdict (0…5, or -{MAX_ERRNO}…-1)",
                "use CONTINUE and its like, -Errno, or refuse(number)",
            )
        return Value(ir.Const(VERDICT, operand.value))

    def _cast(self, node: ast.Call, target: TypeRef) -> Operand:
        args = self._args(node, target.name, 1, 1)
        if args is None:
            return POISON
        if target.name == "bool":
            test = self.truth(node.args[0], args[0])
            if test is None:
                return POISON
            return Value(ir.Not(BOOL, ir.Not(BOOL, test)) if test.type != BOOL else test)
        number = self.number(node.args[0], args[0])
        if target.type is None or isinstance(number, Poison):  # int(x) keeps the value
            if isinstance(number, Value) and number.expr.type == BOOL:
                return Value(ir.Cast(S64, number.expr))
            return number
        match number:
            case Lit(value=value):
                return Value(ir.Const(target.type, target.type.wrap(value)))
            case Flexible():
                return Value(ir.Cast(target.type, ir.Local(S64, "")))
            case Value(expr=expr):
                return Value(expr if expr.type == target.type else ir.Cast(target.type, expr))
        return POISON

    # ------------------------------------------------------------ maps

    def key(self, node: ast.expr, decl: ir.MapDecl, operand: Operand) -> ir.Expr | None:
        """A key of the map's key type; None after a mistake."""
        made = self.convert(node, operand, decl.key)
        if decl.kind == "lpm_trie" and isinstance(made, ir.MakeRecord):
            self._check_prefix(node, decl, made)
        return made

    def _check_prefix(self, node: ast.expr, decl: ir.MapDecl, key: ir.MakeRecord) -> None:
        """Warn about a prefix that may be longer than the key: the kernel finds nothing then."""
        bits = 8 * key.type.record.members[1].size
        length = key.values[0]
        while isinstance(length, ir.Cast):
            length = length.operand
        most = bounds(length, self.flow)[1]
        known = isinstance(length.type, IntType) and most < length.type.hi
        if known and most > bits:
            self.warn(
                node,
                "W105",
                f"prefixlen can be {most}, and a key of map {decl.name!r} has {bits} bits: nothing "
                "is found by a longer one",
                f"cut it off, e.g. 8 * min(len(name), {bits // 8}), or look at such names first",
            )

    def array_index(self, node: ast.expr, decl: ir.MapDecl) -> ir.Expr | None:
        """An index that is provably inside an array map."""
        operand = self.number(node, self.expr(node))
        assert isinstance(decl.key, IntType)
        if isinstance(operand, Flexible):
            return ir.Const(decl.key, 0)
        if isinstance(operand, Lit):
            if 0 <= operand.value < decl.max_entries:
                return ir.Const(decl.key, operand.value)
            self.error(
                node,
                "E260",
                f"index {operand.value} is outside map {decl.name!r} of {decl.max_entries} entries",
                f"use 0…{decl.max_entries - 1}",
                Mend(str(decl.max_entries - 1 if operand.value > 0 else 0), safe=False),
            )
            return None
        if isinstance(operand, Poison):
            return None
        lo, hi = bounds(operand.expr, self.flow)
        if (lo < 0 or hi >= decl.max_entries) and not self.infer:
            shown = self.source_of(node)
            simple = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
            folded = shown if simple else f"({shown})"
            self.error(
                node,
                "E260",
                f"{shown} is not provably inside map {decl.name!r} of {decl.max_entries} entries",
                f"guard it: if 0 <= {shown} < {decl.max_entries}: ...; "
                f"or fold it: {shown} % {decl.max_entries}",
                Mend(f"{folded} % {decl.max_entries}", safe=False),
            )
            return None
        if operand.expr.type == decl.key:
            return operand.expr
        return ir.Cast(decl.key, operand.expr)

    def _walk(self, node: ast.Call, decl: ir.MapDecl) -> Operand:
        """``automaton.walk(name)``, ``automaton.walk(name, state)``."""
        args = self._args(node, "walk", 1, 2)
        if args is None:
            return POISON
        view = as_view(args[0])
        # The kernel's walk ends at a NUL, which a Buffer may have anywhere
        name = view.name if view is not None and view.name.type == NAME else None
        changed = view is not None and (view.fold or view.sliced)
        if name is None or changed or isinstance(name, ir.NamePart):
            return self.error(
                node.args[0],
                "E259",
                f"walk() takes a whole name, not {describe(args[0])}",
                f"{decl.name}.walk(name)",
                Mend(name.name, safe=False) if isinstance(name, ir.Local) else None,
            )
        if isinstance(name, ir.Local):
            self.walks.add(name.name)
        state: ir.Expr | None = ir.Const(U64, 0)
        if len(args) == 2:
            state = self.convert(node.args[1], args[1], U64)
        return POISON if state is None else Value(ir.NameWalk(S64, name, decl.name, state))

    def _map_method(self, node: ast.Call, decl: ir.MapDecl, name: str) -> Operand:
        at = last_name(node.func) if isinstance(node.func, ast.Attribute) else node.func
        if decl.is_array:
            near = closest(name, ("walk",)) if decl.is_automaton else None
            return self.error(
                at,
                "E261",
                f"an array map has no {name}()",
                f"did you mean {near!r}?"
                if near
                else f"every index has a value: {self.source_of(node.func).split('.')[0]}[i]",
                near or _item(self, node, name),
            )
        if name not in HASH_METHODS:
            near = _SAME.get(name) or closest(name, HASH_METHODS)
            return self.error(
                at,
                "E261",
                f"a hash has no {name}() in a filter",
                f"did you mean {near!r}?"
                if near
                else "hashes know get, put, discard, `in` and m[k] += n",
                near or _membership(self, node, name),
            )
        args = self._args(node, name, *{"get": (1, 2), "put": (2, 2), "discard": (1, 1)}[name])
        if args is None:
            return POISON
        key = self.key(node.args[0], decl, args[0])
        if key is None:
            return POISON
        if name == "discard":
            return Value(ir.MapDiscard(BOOL, decl.name, key))
        if len(args) == 1:
            return Fetch(decl, key)
        if name == "get" and not isinstance(decl.value, IntType):
            return self.error(
                node,
                "E256",
                f"values of map {decl.name!r} are dataclasses: get() takes no default for them",
                f"look first: value = {self.source_of(node.func)}(key), then `is not None`",
            )
        value = self.convert(node.args[1], args[1], decl.value, store=name == "put")
        if value is None:
            return POISON
        if name == "put":
            return Value(ir.MapPut(BOOL, decl.name, key, value))
        assert isinstance(decl.value, IntType)
        return Value(ir.MapGet(decl.value, decl.name, key, value))

    def no_value(self, operand: Operand) -> bool:
        """Whether the operand is the result of a function without one."""
        return isinstance(operand, Value) and operand.expr.type == NONE


#: Methods of Python's own tables, and what does the same here.
_SAME = {"pop": "discard", "delete": "discard", "remove": "discard", "set": "put", "update": "put"}


def _membership(scope: Scope, node: ast.Call, name: str) -> Mend | None:
    """``m.has(key)`` as ``key in m``."""
    if name not in ("has", "has_key", "contains", "exists") or len(node.args) != 1:
        return None
    assert isinstance(node.func, ast.Attribute)
    shown = f"{scope.source_of(node.args[0])} in {scope.source_of(node.func.value)}"
    return Mend(shown, at=node)


def _item(scope: Scope, node: ast.Call, name: str) -> Mend | None:
    """``array.get(i)`` as ``array[i]``, ``array.put(i, x)`` as ``array[i] = x``."""
    if not isinstance(node.func, ast.Attribute) or not node.args:
        return None
    item = f"{scope.source_of(node.func.value)}[{scope.source_of(node.args[0])}]"
    if name == "get":
        return Mend(item, at=node)
    if name in ("put", "set") and len(node.args) == 2:
        return Mend(f"{item} = {scope.source_of(node.args[1])}", at=node)
    return None
