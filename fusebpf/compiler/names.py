# SPDX-License-Identifier: MIT
"""Operations on names: comparison with constants, prefixes, suffixes, bytes, slices, lower()."""

from __future__ import annotations

import ast
from difflib import get_close_matches

from fusebpf.compiler import ir
from fusebpf.compiler.operands import (
    POISON,
    Lit,
    Method,
    NameView,
    Operand,
    Poison,
    Text,
    Value,
)
from fusebpf.compiler.operators import Operators
from fusebpf.compiler.types import BOOL, NAME, S64, U8
from fusebpf.compiler.words import describe

#: The longest name that a file system takes, in bytes (NAME_MAX of linux/limits.h).
NAME_MAX = 255

METHODS = ("startswith", "endswith", "lower")


def as_view(operand: Operand) -> NameView | None:
    """The operand as a (whole) name, or None when it is none."""
    if isinstance(operand, NameView):
        return operand
    if isinstance(operand, Value) and operand.expr.type == NAME:
        return NameView(operand.expr)
    return None


class Names(Operators):
    """What can be asked of a name."""

    def texts(self, node: ast.expr, operand: Operand, view: NameView) -> list[bytes] | None:
        """Constants to compare a name with; None after a mistake."""
        items = operand.items if hasattr(operand, "items") else (operand,)
        found: list[bytes] = []
        for item in items:
            if isinstance(item, Poison):
                return None
            if not isinstance(item, Text):
                self.error(
                    node,
                    "E230",
                    f"a Name is compared with {describe(item)}",
                    "compare it with a string, or with a constant set or tuple of strings",
                )
                return None
            if not self._usable(node, item, view):
                return None
            found.append(item.raw)
        return found

    def _usable(self, node: ast.expr, text: Text, view: NameView) -> bool:
        if len(text.raw) > NAME_MAX:
            self.error(
                node,
                "E231",
                f"this string has {len(text.raw)} bytes; a name has at most {NAME_MAX}",
                "shorten it: no name can match",
            )
            return False
        for bad, word in ((b"\0", "a NUL byte"), (b"/", "a '/'")):
            if bad in text.raw:
                self.error(
                    node,
                    "E232",
                    f"{text.shown} has {word}, which no name contains",
                    "a filter sees one component at a time; leave the directory out",
                )
                return False
        if view.fold and text.raw != text.raw.lower():
            self.error(
                node,
                "E233",
                f"lower() never gives {text.shown}: it has capital letters",
                f"write it in lower case: {text.raw.lower().decode('utf-8', 'replace')!r}",
            )
            return False
        return True

    def name_equal(self, node: ast.expr, view: NameView, values: list[bytes]) -> ir.Expr:
        """Whether the name (or the slice of it) is one of ``values``."""
        if not view.sliced:
            return self._test(view, "equal", values)
        tests: list[ir.Expr] = []
        for value in dict.fromkeys(values):
            tests.extend(self._slice_equal(view, value))
        if not tests:
            return ir.Const(BOOL, 0)
        return tests[0] if len(tests) == 1 else ir.BoolOp(BOOL, "or", tuple(tests))

    def _slice_equal(self, view: NameView, value: bytes) -> list[ir.Expr]:
        size = len(value)
        if view.tail is not None:
            if size == view.tail:
                return [self._test(view, "suffix", [value])]
            return [self._test(view, "equal", [value])] if size < view.tail else []
        start, stop = view.start, view.stop
        if stop is not None and (stop <= start or size > stop - start):
            return [] if size else [ir.Const(BOOL, 1)]
        if size == 0:
            return [self._length(view, "<=", start)]
        if stop is not None and size == stop - start:
            return [ir.NameTest(BOOL, view.name, "at", (value,), view.fold, start)]
        return [ir.NameTest(BOOL, view.name, "at", (value,), view.fold, start, True)]

    def _length(self, view: NameView, op: ir.CompareOp, size: int) -> ir.Expr:
        return ir.Compare(BOOL, op, ir.NameLen(S64, view.name), ir.Const(S64, size))

    def _test(self, view: NameView, how: ir.NameTestKind, values: list[bytes]) -> ir.Expr:
        unique = tuple(dict.fromkeys(values))
        return ir.NameTest(BOOL, view.name, how, unique, view.fold)

    def name_compare(
        self, node: ast.Compare, op: ast.cmpop, left: Operand, right: Operand
    ) -> ir.Expr | None:
        """``name == x`` and ``name != x``; None after a mistake."""
        if not isinstance(op, ast.Eq | ast.NotEq):
            self.error(
                node, "E234", "names have no order here", "compare them with == or != instead"
            )
            return None
        view, other = as_view(left), right
        if view is None:
            view, other = as_view(right), left
        if view is None or isinstance(other, Poison):
            return None
        second = as_view(other)
        if second is not None:
            if view.sliced or view.fold or second.sliced or second.fold:
                self.error(
                    node,
                    "E235",
                    "parts of names can only be compared with constants",
                    "compare whole names: a == b",
                )
                return None
            same: ir.Expr = ir.NameSame(BOOL, view.name, second.name)
            return ir.Not(BOOL, same) if isinstance(op, ast.NotEq) else same
        values = self.texts(node, other, view) if not hasattr(other, "items") else None
        if values is None:
            if hasattr(other, "items"):
                self.error(
                    node,
                    "E230",
                    "a Name is compared with a set or tuple",
                    f"use `in`: {self.source_of(node.left)} in ...",
                )
            return None
        found = self.name_equal(node, view, values)
        return ir.Not(BOOL, found) if isinstance(op, ast.NotEq) else found

    def name_index(self, node: ast.Subscript, view: NameView) -> Operand:
        """``name[i]`` (a byte) and ``name[a:b]`` (a part, by constants)."""
        if isinstance(node.slice, ast.Slice):
            return self._slice(node, node.slice, view)
        if view.sliced:
            return self.error(
                node, "E236", "a part of a name cannot be indexed", "index the name itself"
            )
        index = self.number(node.slice, self.expr(node.slice))
        if isinstance(index, Poison):
            return POISON
        if isinstance(index, Lit) and not -NAME_MAX <= index.value < NAME_MAX:
            return self.error(
                node.slice,
                "E236",
                f"index {index.value} is outside every name",
                f"names have at most {NAME_MAX} bytes",
            )
        place = self.convert(node.slice, index, S64)
        if place is None:
            return POISON
        byte: ir.Expr = ir.NameByte(U8, view.name, place)
        if view.fold:
            return self.error(
                node,
                "E236",
                "lower() cannot be indexed",
                "index the name itself, and compare with both letters",
            )
        return Value(byte)

    def _slice(self, node: ast.Subscript, part: ast.Slice, view: NameView) -> Operand:
        if part.step is not None or view.sliced:
            return self.error(
                node, "E237", "this slice is not supported", "use name[a:b] with constants"
            )
        ends: list[int | None] = []
        for end in (part.lower, part.upper):
            if end is None:
                ends.append(None)
                continue
            found = self.expr(end)
            if isinstance(found, Poison):
                return POISON
            if not isinstance(found, Lit):
                return self.error(
                    end,
                    "E237",
                    f"{self.source_of(end)} is not a constant",
                    "slices of names need constants; name[i] takes any index",
                )
            ends.append(found.value)
        start, stop = ends
        if start is not None and start < 0 and stop is None:
            return NameView(view.name, view.fold, tail=-start)
        if (start or 0) < 0 or (stop or 0) < 0:
            return self.error(
                node,
                "E237",
                "a negative bound is only supported as name[-n:]",
                "use startswith, endswith or name[-n:]",
            )
        return NameView(view.name, view.fold, start or 0, stop)

    def name_method(self, node: ast.Call, method: Method) -> Operand:
        """``name.startswith(...)``, ``name.endswith(...)``, ``name.lower()``."""
        view = as_view(method.base)
        assert view is not None
        if method.name not in METHODS:
            near = get_close_matches(method.name, METHODS, n=1)
            help = f"did you mean {near[0]!r}?" if near else _METHOD_HELP.get(method.name)
            return self.error(
                node.func,
                "E238",
                f"a Name has no method {method.name!r} in a filter",
                help or f"names know {', '.join(METHODS)}, ==, in, len() and indexing",
            )
        if node.keywords:
            return self.error(
                node, "E239", f"{method.name}() takes no keywords", "leave the name out"
            )
        if method.name == "lower":
            if node.args:
                return self.error(node, "E239", "lower() takes no arguments", "name.lower()")
            return NameView(view.name, True, view.start, view.stop, view.tail)
        if len(node.args) != 1:
            return self.error(
                node,
                "E239",
                f"{method.name}() takes one argument, not {len(node.args)}",
                f"name.{method.name}('.x'), or with a tuple: name.{method.name}(('.x', '.y'))",
            )
        if view.sliced:
            return self.error(
                node, "E237", "a part of a name has no prefixes", "compare it with == or in"
            )
        given = self.expr(node.args[0])
        values = self.texts(node.args[0], given, view)
        if values is None:
            return POISON
        how: ir.NameTestKind = "prefix" if method.name == "startswith" else "suffix"
        return Value(self._test(view, how, values))


_METHOD_HELP = {
    "find": "search is not supported; use startswith, endswith or compare name[i]",
    "split": "split is not supported; use startswith and endswith",
    "upper": "use lower() and compare with lower case",
    "strip": "compare with the exact bytes; names keep their spaces",
    "decode": "a Name compares with strings as it is",
    "encode": "a Name is bytes already",
    "format": "names cannot be built in a filter",
    "removesuffix": "use endswith",
    "removeprefix": "use startswith",
}
