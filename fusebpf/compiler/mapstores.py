# SPDX-License-Identifier: MIT
"""Statements that change maps, and those that send events."""

from __future__ import annotations

import ast
from abc import abstractmethod

from fusebpf.compiler import ir
from fusebpf.compiler.expressions import Expressions
from fusebpf.compiler.mending import Mend
from fusebpf.compiler.names import as_view, whole
from fusebpf.compiler.operands import (
    Builtin,
    EventRef,
    Joining,
    MapRef,
    Method,
    NameView,
    Operand,
    Poison,
    Text,
)
from fusebpf.compiler.types import INT_TYPES, NAME, S64, U64, IntType, RecordType
from fusebpf.compiler.words import describe

_UPDATES: tuple[ir.UpdateOp, ...] = ("+", "-", "&", "|", "^")


class MapStores(Expressions):
    """``m[k] += n``, ``m[i] = x``, ``m[k].count += n`` and ``events.emit(...)``."""

    def map_target(self, target: ast.expr) -> tuple[ast.Subscript, ir.MapDecl, str] | None:
        """Map, key and member that ``m[k]`` or ``m[k].member`` names; None for anything else."""
        member = ""
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Subscript):
            member, target = target.attr, target.value
        if not isinstance(target, ast.Subscript):
            return None
        base = self.expr(target.value)
        return (target, base.decl, member) if isinstance(base, MapRef) else None

    def _changed_type(self, node: ast.AST, decl: ir.MapDecl, member: str) -> IntType | None:
        """The type of what is changed; None after a mistake."""
        if isinstance(decl.value, IntType):
            if not member:
                return decl.value
            self.error(
                node,
                "E206",
                f"values of map {decl.name!r} are {decl.value}: they have no members",
                f"leave .{member} out",
                self.source_of(node).removesuffix(f".{member}"),
            )
            return None
        members = {m.name: m for m in decl.value.record.members}
        found = members.get(member)
        if found is None:
            known = ", ".join(members)
            self.error(
                node,
                "E206",
                f"a {decl.value} has no member {member!r}"
                if member
                else f"a {decl.value} cannot be changed as a whole",
                f"it has: {known}",
            )
            return None
        if found.is_bytes:
            self.error(
                node,
                "E265",
                f"{member} is {found.kind}: bytes can only be stored with the whole {decl.value}",
                f"store a new one: {decl.value}(...)",
            )
            return None
        return INT_TYPES[found.kind]

    def update_map(
        self, node: ast.AugAssign, target: ast.Subscript, decl: ir.MapDecl, member: str, op: str
    ) -> list[ir.Stmt]:
        """``m[k] op= value`` in place."""
        kind = self._changed_type(node.target, decl, member)
        if kind is None:
            return []
        key = (
            self.array_index(target.slice, decl)
            if decl.is_array
            else self.key(target.slice, decl, self.expr(target.slice))
        )
        value = self.convert(node.value, self.expr(node.value), kind, store=True)
        shown = self.source_of(node.target)
        if decl.kind == "lpm_trie":
            self.error(
                node,
                "E265",
                f"{shown} would change the value of another, shorter prefix",
                "read it with get, store it with put",
            )
            return []
        if kind.bits < 32:
            self.error(
                node,
                "E265",
                f"{shown} is {kind}: only 32- and 64-bit values can be updated in place",
                "declare it as u32 or u64"
                if member
                else f"declare map {decl.name!r} with value=u32 or u64",
            )
            return []
        for known in _UPDATES:
            if known == op:
                if key is None or value is None:
                    return []
                if not decl.is_array:
                    self.unit.counts_lost = True
                return [ir.MapUpdate(node.lineno, decl.name, key, known, value, member)]
        self.error(
            node,
            "E265",
            f"{op}= on a map is not atomic",
            f"read, compute, store: {shown} = {shown} {op} ..."
            if decl.is_array
            else "read with get(key, 0), compute, store with put",
            Mend(
                f"{shown} = {shown} {op} {_wrapped(self.source_of(node.value), node.value)}",
                safe=False,
            )
            if decl.is_array
            else None,
        )
        return []

    def set_item(
        self,
        node: ast.stmt,
        target: ast.Subscript,
        value: ast.expr,
        operand: Operand,
        member: str = "",
    ) -> list[ir.Stmt]:
        """``array[i] = x`` and ``array[i].member = x``."""
        base = self.expr(target.value)
        if isinstance(base, Poison):
            return []
        view = as_view(base)
        if view is not None:
            return self._replace(node, target, view, value, operand)
        if not isinstance(base, MapRef):
            self.error(
                target,
                "E266",
                f"{describe(base)} cannot be changed here",
                "only array maps take item assignments",
            )
            return []
        decl = base.decl
        if not decl.is_array:
            name, key = self.source_of(target.value), self.source_of(target.slice)
            self.error(
                target,
                "E264",
                f"{name} is a hash and may be full: the store can fail",
                f"write {name}.put({key}, {self.source_of(value)}), which tells; "
                f"or count with {name}[{key}] += 1"
                if not member
                else f"count with {name}[{key}].{member} += 1, or put a whole value",
                Mend(f"{name}.put({key}, {self.source_of(value)})", at=node)
                if not member
                else None,
            )
            return []
        kind: IntType | RecordType | None = decl.value
        if member or isinstance(kind, IntType):
            kind = self._changed_type(target, decl, member)
        if kind is None:
            return []
        index = self.array_index(target.slice, decl)
        made = self.convert(value, operand, kind, store=True)
        if index is None or made is None:
            return []
        return [ir.MapSet(node.lineno, decl.name, index, made, member)]

    def _replace(
        self,
        node: ast.stmt,
        target: ast.Subscript,
        view: NameView,
        value: ast.expr,
        operand: Operand,
    ) -> list[ir.Stmt]:
        """``name[:] = "other"``."""
        shown = self.source_of(target.value)
        param = view.name.name if isinstance(view.name, ir.Local) else ""
        plain = isinstance(target.slice, ast.Slice) and not (
            target.slice.lower or target.slice.upper or target.slice.step
        )
        if not plain or view.sliced or view.fold or param not in self.params:
            self.error(
                target,
                "E267",
                f"only the whole of a name or buffer that the filter got can be replaced, "
                f"not {self.source_of(target)}",
                f"replace all of it: {shown.split('[')[0]}[:] = ...",
                Mend(f"{shown.split('[')[0]}[:]", safe=False),
            )
            return []
        if self.hook is None:
            self.error(
                target,
                "E267",
                f"a helper cannot replace {param}",
                "return what decides, and replace it in the filter",
            )
            return []
        if not self.params[param].writable:
            self._read_only(target, param)
            return []
        made = self._replacement(value, operand, param)
        self.flow = self.flow.forget(param)
        return [] if made is None else [ir.Replace(node.lineno, param, made)]

    def _replacement(self, node: ast.expr, operand: Operand, param: str) -> ir.Expr | None:
        declared = self.params[param]
        if isinstance(operand, Poison):
            return None
        if isinstance(operand, Text):
            raw = operand.raw
            bad = declared.type == NAME and (
                raw in (b"", b".", b"..") or b"/" in raw or b"\0" in raw or len(raw) > 255
            )
            if bad or len(raw) > 255:
                self.error(
                    node,
                    "E267",
                    f"{operand.shown} cannot be a name"
                    if bad
                    else f"this string has {len(raw)} bytes; 255 are possible here",
                    "names have 1 to 255 bytes without '/' and NUL, and are not '.' or '..'",
                )
                return None
            return ir.Bytes(declared.type, raw)
        view = as_view(operand)
        if declared.type == NAME and (isinstance(operand, Joining) or (view and view.fold)):
            return self.made_name(node, operand)
        if view is None or view.fold or (declared.type == NAME and view.name.type != NAME):
            self.error(
                node,
                "E267",
                f"{describe(operand)} cannot replace {param}, a {declared.type}",
                "use a constant string, another name, a part of one, or several with +"
                if declared.type == NAME
                else "use a constant string, a name, a buffer, or a part of one",
            )
            return None
        if declared.arg == "result":
            self.error(
                node,
                "E267",
                f"{param} has the room that the caller gave: only a constant can replace it",
                f"{param}[:] = 'hidden'",
            )
            return None
        return whole(view)

    @abstractmethod
    def _read_only(self, target: ast.expr, param: str) -> None:
        """Report a change of an argument that this phase may not change."""

    def debug_print(self, node: ast.Expr, call: ast.Call) -> list[ir.Stmt] | None:
        """``debug("uid", ctx.uid)``; None when the call is another one."""
        named = isinstance(call.func, ast.Name | ast.Attribute)
        if not named or self.expr(call.func) != Builtin("debug"):
            return None
        words: list[str] = []
        values: list[ir.Expr] = []
        failed = bool(call.keywords)
        if failed:
            kept = ", ".join(self.source_of(arg) for arg in call.args)
            shown = f"{self.source_of(call.func)}({kept})"
            self.error(call, "E252", "debug() takes no keywords", "debug('uid', ctx.uid)", shown)
        for arg in call.args:
            operand = self.expr(arg)
            if isinstance(operand, Text):
                shown = operand.raw.decode("ascii", "replace").replace("%", "%%")
                words.append("".join(c if c.isascii() and c.isprintable() else "?" for c in shown))
                continue
            if as_view(operand) is not None:
                self.error(
                    arg,
                    "E258",
                    f"debug() cannot print {describe(operand)}",
                    "print len(name) or name[0]; or send it with an event",
                    Mend(f"len({self.source_of(arg)})", safe=False),
                )
                failed = True
                continue
            value = self.comparable(arg, operand)
            if value is None:
                failed = True
                continue
            wide = U64 if value.type == U64 else S64
            values.append(ir.Cast(wide, value) if isinstance(value.type, IntType) else value)
            words.append("%llu" if wide == U64 else "%lld")
        if len(values) > 3:
            self.error(call, "E258", "debug() prints three numbers at most", "print twice")
            failed = True
        text = " ".join(words)
        return [] if failed else [ir.Debug(node.lineno, text, tuple(values))]

    def emit_event(self, node: ast.Expr, call: ast.Call) -> list[ir.Stmt] | None:
        """``events.emit(Event(...))``; None when the call is another one."""
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "emit":
            return None
        method = self.expr(call.func)
        if not isinstance(method, Method) or not isinstance(method.base, EventRef):
            return None
        decl = method.base.decl
        if len(call.args) != 1 or call.keywords:
            self.error(
                call,
                "E252",
                "emit() takes one event",
                f"{decl.name}.emit({decl.record.name}(...))",
            )
            return []
        made = self.convert(call.args[0], self.expr(call.args[0]), RecordType(decl.record))
        if made is None or not isinstance(made, ir.MakeRecord):
            return []
        return [ir.Emit(node.lineno, decl.name, made)]


def _wrapped(text: str, node: ast.expr) -> str:
    return f"({text})" if isinstance(node, ast.BinOp | ast.BoolOp | ast.IfExp) else text
