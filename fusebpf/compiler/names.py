# SPDX-License-Identifier: MIT
"""Operations on names: comparison with constants, prefixes, suffixes, bytes, slices, lower()."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace

from fusebpf.compiler import ir
from fusebpf.compiler.globs import Run, literal, segments, unusual_class
from fusebpf.compiler.mending import Mend, last_name
from fusebpf.compiler.operands import (
    POISON,
    Joining,
    Lit,
    Method,
    NameView,
    Operand,
    Poison,
    Text,
    Value,
)
from fusebpf.compiler.operators import Operators
from fusebpf.compiler.types import BOOL, NAME, S64, TEXTS, U8, most_bytes
from fusebpf.compiler.walk import acts, repeatable
from fusebpf.compiler.words import describe
from fusebpf.spelling import closest

#: The longest name that a file system takes, in bytes (NAME_MAX of linux/limits.h).
NAME_MAX = 255

METHODS = ("startswith", "endswith", "lower", "glob")


def as_view(operand: Operand) -> NameView | None:
    """The operand as a (whole) name, or None when it is none."""
    if isinstance(operand, NameView):
        return operand
    if isinstance(operand, Value) and operand.expr.type in TEXTS:
        return NameView(operand.expr)
    return None


def whole(view: NameView) -> ir.Expr:
    """The bytes of a view as a name of its own (``lower()`` left aside)."""
    if not view.sliced:
        return view.name
    start = view.start if view.tail is None else -view.tail
    stop = None if view.stop is None else ir.Const(S64, view.stop)
    return ir.NamePart(view.name.type, view.name, ir.Const(S64, start), stop)


def _lowered(node: ast.expr, text: Text) -> Mend | None:
    """The literal that a text comes from, in lower case."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str | bytes):
            raw = part.value.encode() if isinstance(part.value, str) else part.value
            if raw == text.raw:
                return Mend(ast.unparse(part).lower().replace("'", '"'), at=part)
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
                    f"{describe(view)} is compared with {describe(item)}",
                    "compare it with a string, or with a constant set or tuple of strings",
                )
                return None
            if not self._usable(node, item, view):
                return None
            found.append(item.raw)
        return found

    def _usable(self, node: ast.expr, text: Text, view: NameView) -> bool:
        if len(text.raw) > NAME_MAX:
            what = "a name has" if view.name.type == NAME else "a constant can have"
            self.error(
                node,
                "E231",
                f"this string has {len(text.raw)} bytes; {what} at most {NAME_MAX}",
                "shorten it: no name can match"
                if view.name.type == NAME
                else "compare its parts: b[:200] == ... and b[200:] == ...",
            )
            return False
        for bad, word, help in (
            (b"\0", "a NUL byte", "leave it out: a name ends where its NUL would be"),
            (b"/", "a '/'", "a filter sees one component at a time; leave the directory out"),
        ):
            if bad in text.raw and view.name.type == NAME:
                self.error(
                    node,
                    "E232",
                    f"{text.shown} has {word}, which no name contains",
                    help,
                )
                return False
        if view.fold and text.raw != text.raw.lower() and self.flow.possible:
            self.error(
                node,
                "E233",
                f"lower() never gives {text.shown}: it has capital letters",
                f"write it in lower case: {text.raw.lower().decode('utf-8', 'replace')!r}",
                _lowered(node, text),
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
            if view.fold or second.fold:
                self.error(
                    node,
                    "E235",
                    "lower() can only be compared with constants",
                    "compare the names as they are: a == b",
                )
                return None
            same: ir.Expr = ir.NameSame(BOOL, whole(view), whole(second))
            return ir.Not(BOOL, same) if isinstance(op, ast.NotEq) else same
        values = self.texts(node, other, view) if not hasattr(other, "items") else None
        if values is None:
            if hasattr(other, "items"):
                self.error(
                    node,
                    "E230",
                    f"{describe(view)} is compared with a set or tuple",
                    f"use `in`: {self.source_of(node.left)} in ...",
                )
            return None
        found = self.name_equal(node, view, values)
        return ir.Not(BOOL, found) if isinstance(op, ast.NotEq) else found

    def join_names(self, left: Operand, right: Operand) -> Operand | None:
        """``name[:-4] + ".txt"``; None when a side is no name or constant."""
        parts: list[NameView | Text] = []
        for side in (left, right):
            view = as_view(side)
            if isinstance(side, Joining):
                parts += side.parts
            elif isinstance(side, Text):
                parts.append(side)
            elif view is not None:
                parts.append(view)
            else:
                return None
        return Joining(tuple(parts))

    def made_name(self, node: ast.expr, operand: Operand) -> ir.NameJoin | None:
        """What a name can be replaced by, in general; None after a mistake."""
        if isinstance(operand, Poison):
            return None
        view = as_view(operand)
        given: tuple[NameView | Text, ...] = ()
        if isinstance(operand, Joining):
            given = operand.parts
        elif isinstance(operand, Text) or view is not None:
            given = (operand if isinstance(operand, Text) else view,)  # type: ignore[assignment]
        parts: list[ir.Expr] = []
        for part in given:
            if isinstance(part, Text):
                if not self._usable(node, part, NameView(ir.Local(NAME, ""))):
                    return None
                parts.append(ir.Bytes(NAME, part.raw))
            elif part.name.type == NAME:
                parts.append(whole(part))
        if not parts or len(parts) < len(given):
            self.error(
                node,
                "E267",
                f"{describe(operand)} cannot replace a Name",
                "use a constant string, a name, a part of one, or several of them with +",
            )
            return None
        folds = tuple(isinstance(part, NameView) and part.fold for part in given)
        return ir.NameJoin(NAME, tuple(parts), folds)

    def name_index(self, node: ast.Subscript, view: NameView) -> Operand:
        """``name[i]`` (a byte) and ``name[a:b]`` (a part, by constants)."""
        if isinstance(node.slice, ast.Slice):
            return self._slice(node, node.slice, view)
        most = most_bytes(view.name.type)
        index = self.number(node.slice, self.expr(node.slice))
        if isinstance(index, Poison):
            return POISON
        if isinstance(index, Lit) and not -most <= index.value < most:
            return self.error(
                node.slice,
                "E236",
                f"index {index.value} is outside every {view.name.type}",
                f"a {view.name.type} has at most {most} bytes",
            )
        place = self.convert(node.slice, index, S64)
        if place is None:
            return POISON
        byte: ir.Expr = ir.NameByte(U8, whole(view), place)
        if view.fold:
            return self.error(
                node,
                "E236",
                "lower() cannot be indexed",
                "index the name itself, and compare with both letters",
            )
        return Value(byte)

    def _slice(self, node: ast.Subscript, part: ast.Slice, view: NameView) -> Operand:
        if part.step is not None:
            return self.error(
                node,
                "E237",
                "slices of names have no step",
                "take name[a:b], and look at its bytes in a `for` loop",
            )
        ends: list[Operand | None] = []
        for end in (part.lower, part.upper):
            found = None if end is None else self.number(end, self.expr(end))
            if isinstance(found, Poison):
                return POISON
            ends.append(found)
        start, stop = ends
        simple = not view.sliced and not isinstance(view.name, ir.NamePart)
        if simple and all(end is None or isinstance(end, Lit) for end in ends):
            # One behind the longest is as good as any number behind it, and fits C's.
            most = most_bytes(view.name.type) + 1
            first = min(max(start.value, -most), most) if isinstance(start, Lit) else 0
            last = min(stop.value, most) if isinstance(stop, Lit) else None
            if first < 0 and last is None:
                return NameView(view.name, view.fold, tail=-first)
            if first >= 0 and (last is None or last >= 0):
                return NameView(view.name, view.fold, first, last)
        made: list[ir.Expr | None] = []
        for end, operand in ((part.lower, start), (part.upper, stop)):
            if end is None or operand is None:
                made.append(None)
                continue
            converted = self.convert(end, operand, S64)
            if converted is None:
                return POISON
            made.append(converted)
        piece = ir.NamePart(view.name.type, whole(view), made[0] or ir.Const(S64, 0), made[1])
        return NameView(piece, view.fold)

    def _glob(self, node: ast.expr, given: Operand, view: NameView) -> Operand:
        """``name.glob("*.x")``, or any of a tuple of patterns."""
        patterns = self.texts(node, given, view)
        if patterns is None:
            return POISON
        for pattern in patterns:
            if unusual_class(pattern):
                return self.error(
                    node,
                    "E257",
                    f"a class of {pattern.decode('utf-8', 'replace')!r} holds a character of "
                    "several bytes",
                    "names are bytes: match such a character outside of [...], or with *",
                )
        unique = tuple(dict.fromkeys(patterns))
        tests = _merged(self.glob_test(view, pattern) for pattern in unique)
        if len(tests) > 1 and not repeatable(view.name):
            return Value(ir.NameGlob(BOOL, view.name, unique, view.fold))
        if not tests:
            return Value(self._never(view) or ir.Const(BOOL, 0))
        return Value(tests[0] if len(tests) == 1 else ir.BoolOp(BOOL, "or", tuple(tests)))

    def glob_test(self, view: NameView, pattern: bytes) -> ir.Expr:
        """Whether a whole view matches; a pattern with one star at an end is a suffix or prefix."""
        parts = segments(pattern)
        texts = [
            b"".join(item.text for item in part.items if isinstance(item, Run)) for part in parts
        ]
        plain = all(isinstance(item, Run) for part in parts for item in part.items)
        if plain and len(parts) == 1:
            return self._test(view, "equal", texts)
        if plain and len(parts) == 2 and not texts[0]:
            return self._test(view, "suffix", [texts[1]])
        if plain and len(parts) == 2 and not texts[1]:
            return self._test(view, "prefix", [texts[0]])
        return ir.NameGlob(BOOL, view.name, (pattern,), view.fold)

    def name_holds(self, node: ast.Compare, text: Text, view: NameView) -> ir.Expr | None:
        """``"x" in name``."""
        if not self._usable(node.left, text, view):
            return None
        if not text.raw:
            return ir.Not(BOOL, never) if (never := self._never(view)) else ir.Const(BOOL, 1)
        inner = NameView(whole(view), view.fold)
        pattern = b"*" + literal(text.raw) + b"*"
        return ir.NameGlob(BOOL, inner.name, (pattern,), view.fold)

    def _never(self, view: NameView) -> ir.Expr | None:
        """A test that no name passes, where the ends of a part do something; else None."""
        return self._test(view, "equal", []) if acts(view.name) else None

    def name_method(self, node: ast.Call, method: Method) -> Operand:
        """``name.startswith(...)``, ``name.endswith(...)``, ``name.lower()``."""
        view = as_view(method.base)
        assert view is not None
        if method.name not in METHODS:
            near = None if method.name in _METHOD_HELP else closest(method.name, METHODS)
            help = f"did you mean {near!r}?" if near else _METHOD_HELP.get(method.name)
            assert isinstance(node.func, ast.Attribute)
            return self.error(
                last_name(node.func),
                "E238",
                f"{describe(view)} has no method {method.name!r} in a filter",
                help or f"names know {', '.join(METHODS)}, ==, in, len() and indexing",
                near or self._other_method(node, node.func),
            )
        if node.keywords:
            value = node.keywords[0].value
            return self.error(
                node,
                "E239",
                f"{method.name}() takes no keywords",
                "leave the name out",
                Mend(self.source_of(value), at=node.keywords[0]),
            )
        if method.name == "lower":
            if node.args:
                shown = f"{self.source_of(node.func)}()"
                return self.error(node, "E239", "lower() takes no arguments", "name.lower()", shown)
            return NameView(view.name, True, view.start, view.stop, view.tail)
        if len(node.args) != 1:
            return self.error(
                node,
                "E239",
                f"{method.name}() takes one argument, not {len(node.args)}",
                f"name.{method.name}('.x'), or with a tuple: name.{method.name}(('.x', '.y'))"
                if method.name != "glob"
                else "name.glob('*.x'), or with a tuple: name.glob(('*.x', '*.y'))",
            )
        view = NameView(whole(view), view.fold)
        given = self.expr(node.args[0])
        if method.name == "glob":
            return self._glob(node.args[0], given, view)
        values = self.texts(node.args[0], given, view)
        if values is None:
            return POISON
        how: ir.NameTestKind = "prefix" if method.name == "startswith" else "suffix"
        return Value(self._test(view, how, values))

    def _other_method(self, node: ast.Call, func: ast.Attribute) -> Mend | None:
        """What asks the same as a method that names do not have here."""
        name, args = self.source_of(func.value), [self.source_of(arg) for arg in node.args]
        if func.attr == "contains" and len(args) == 1:
            return Mend(f"{args[0]} in {name}", at=node)
        if func.attr in ("match", "fnmatch") and len(args) == 1:
            return Mend(f"{name}.glob({args[0]})", at=node, safe=False)
        if func.attr in ("decode", "encode"):
            return Mend(name, at=node)
        return None


def _merged(tests: Iterable[ir.Expr]) -> list[ir.Expr]:
    """Tests any of which decides, those of one kind as one."""
    found: dict[object, ir.Expr] = {}
    for test in tests:
        key: object = test
        if isinstance(test, ir.NameTest):
            key = test.how
            before = found.get(key)
            if isinstance(before, ir.NameTest):
                test = replace(test, values=before.values + test.values)
        found[key] = test
    return list(found.values())


_METHOD_HELP = {
    "contains": "ask whether it is there: 'x' in name",
    "fnmatch": "use glob: name.glob('*.x')",
    "find": "ask whether it is there: 'x' in name",
    "count": "ask whether it is there: 'x' in name; or count in a `for` loop over the name",
    "match": "use glob: name.glob('*.x')",
    "split": "split is not supported; use startswith and endswith",
    "upper": "use lower() and compare with lower case",
    "strip": "compare with the exact bytes; names keep their spaces",
    "decode": "a Name compares with strings as it is",
    "encode": "a Name is bytes already",
    "format": "names cannot be built in a filter",
    "removesuffix": "use endswith",
    "removeprefix": "use startswith",
}
