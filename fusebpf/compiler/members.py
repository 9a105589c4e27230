# SPDX-License-Identifier: MIT
"""Stores to members of arguments, and calls of theirs that are statements."""

from __future__ import annotations

import ast

from fusebpf.abi import HOOKS, effects
from fusebpf.compiler import ir
from fusebpf.compiler.expressions import CONTEXT_METHODS
from fusebpf.compiler.mapstores import MapStores
from fusebpf.compiler.operands import Method, Operand, Poison, Value
from fusebpf.compiler.types import CONTEXT, DIRENT, U64, IntType, StructType
from fusebpf.compiler.words import describe

_SET_HELP = "members of argument structs can be set, ctx.tag, name and type of directory entries"
#: The largest DT_* (include/linux/fs_types.h).
_MOST_TYPE = 15

_LOOKUP = frozenset({"lookup_prefilter", "lookup_postfilter"})
#: Operations that lack nothing when their failure is taken for success.
_CLEARABLE = tuple(op for op, effect in effects.EFFECTS.items() if effect.clears)

#: What only some hooks can do: those, and what is wrong with the others.
EFFECTS: dict[str, tuple[frozenset[str], str, str]] = {
    "ctx.tag": (
        _LOOKUP,
        "ctx.tag can only be set by lookup filters",
        "set it where the name is looked up: @filters.lookup.post",
    ),
    "ctx.keep_answer": (
        _LOOKUP,
        "only answers of lookup filters are kept",
        "say it where the name is looked up: @filters.lookup.pre",
    ),
    "ctx.clear_error": (
        frozenset(f"{op}_postfilter" for op in _CLEARABLE),
        "this operation cannot succeed without what failed",
        f"postfilters that can clear an error: {', '.join(_CLEARABLE)}",
    ),
}


class Members(MapStores):
    """``out.size = x``, ``ctx.tag = x``, ``entry.name = x``, ``entry.drop()``."""

    def set_member(
        self, node: ast.stmt, target: ast.Attribute, value: ast.expr, operand: Operand
    ) -> list[ir.Stmt]:
        """``struct.member = value``, ``ctx.tag = value``, ``entry.name = value``."""
        base = self.expr(target.value)
        if isinstance(base, Poison) or not isinstance(base, Value):
            if not isinstance(base, Poison):
                self.error(target, "E280", f"{describe(base)} has no members to set", _SET_HELP)
            return []
        if base.expr.type == CONTEXT:
            return self._set_context(node, target, value, operand)
        if base.expr.type == DIRENT:
            assert isinstance(base.expr, ir.Local)
            return self._set_entry(node, target, base.expr.name, value, operand)
        if not isinstance(base.expr.type, StructType):
            self.error(target, "E280", f"{describe(base)} has no members to set", _SET_HELP)
            return []
        field = self.expr(target)
        if not isinstance(field, Value) or not isinstance(field.expr, ir.StructField):
            return []
        if not isinstance(field.expr.type, IntType):
            self.error(target, "E280", "only single members can be set", "set them one by one")
            return []
        param = field.expr.param
        if self.hook is not None and not self.params[param].writable:
            self._read_only(target, param)
            return []
        self.writes.add(param)
        self._warn_if_shown(target, ".".join((self.params[param].arg, *field.expr.path)))
        made = self.convert(value, operand, field.expr.type, store=True)
        self.flow = self.flow.forget(".".join((param, *field.expr.path)))
        if made is None:
            return []
        return [ir.SetField(node.lineno, param, field.expr.struct, field.expr.path, made)]

    def _warn_if_shown(self, target: ast.expr, member: str) -> None:
        shown = effects.SHOWN.get(self.hook or "")
        if shown is not None and f"{member}.".startswith(f"{shown}."):
            self.warn(
                target,
                "W106",
                f"a change of {self.source_of(target)} has no effect: it tells what is there",
                "what stat(2) gives is changed by @filters.getattr.post",
            )

    def _read_only(self, target: ast.expr, param: str) -> None:
        assert self.hook is not None
        phase = "postfilter" if self.hook.endswith("_postfilter") else "prefilter"
        hook = HOOKS.get(self.hook)
        help = "docs/hooks.md has in bold what a filter may change; this operation uses no other"
        if phase == "postfilter" and hook is not None:
            help = f"change it before the operation: @filters.{hook.op}.pre"
            others = [p.name for p in self.params.values() if p.writable and p.arg != ""]
            if others:
                help += f"; a postfilter may change {', '.join(others)}"
        self.error(
            target, "E281", f"{param} ({self.params[param].type}) is read-only in a {phase}", help
        )

    def _set_context(
        self, node: ast.stmt, target: ast.Attribute, value: ast.expr, operand: Operand
    ) -> list[ir.Stmt]:
        if target.attr != "tag":
            known = isinstance(self.expr(target), Value)
            if known:
                self.error(
                    target,
                    "E282",
                    f"ctx.{target.attr} is read-only",
                    "only ctx.tag can be set, by lookup filters",
                )
            return []
        made = self.convert(value, operand, U64, store=True)
        if not self._allowed(target, "ctx.tag") or made is None:
            return []
        return [ir.SetTag(node.lineno, made)]

    def _set_entry(
        self, node: ast.stmt, target: ast.Attribute, var: str, value: ast.expr, operand: Operand
    ) -> list[ir.Stmt]:
        self.flow = self.flow.forget(var)
        if target.attr == "name":
            name = self.made_name(value, operand)
            return [] if name is None else [ir.RenameEntry(node.lineno, var, name)]
        if target.attr == "type":
            made = self.convert(value, operand, U64, store=True)
            if isinstance(made, ir.Const) and made.value > _MOST_TYPE:
                self.error(
                    value,
                    "E280",
                    f"{made.value} is no type of a directory entry",
                    "DT_* of readdir(3): 4 is a directory, 8 a file, 10 a symbolic link",
                )
            return [] if made is None else [ir.SetEntryType(node.lineno, var, made)]
        if isinstance(self.expr(target), Value):
            self.error(
                target,
                "E280",
                f"{var}.{target.attr} cannot be changed",
                f"set {var}.name or {var}.type, or leave the entry out: {var}.drop()",
            )
        return []

    # ------------------------------------------------------------ calls

    def _allowed(self, node: ast.AST, what: str) -> bool:
        """Whether the hook has an effect; a helper needs a hook that has it."""
        if self.hook is None:
            self.effects.add(what)
            return True
        hooks, message, help = EFFECTS[what]
        if self.hook not in hooks:
            self.error(node, "E282", message, help)
            return False
        self.effects.add(what)
        return True

    def context_call(self, node: ast.Expr, call: ast.Call) -> list[ir.Stmt] | None:
        """``ctx.clear_error()``, ``ctx.keep_answer(ns)``; None when the call is another one."""
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in CONTEXT_METHODS:
            return None
        method = self.expr(call.func)
        if not isinstance(method, Method) or not isinstance(method.base, Value):
            return None
        if method.base.expr.type != CONTEXT:
            return None
        name = method.name
        wanted = 1 if name == "keep_answer" else 0
        if len(call.args) != wanted or call.keywords:
            help = "ctx.keep_answer(1_000_000_000), in ns" if wanted else "ctx.clear_error()"
            self.error(call, "E252", f"{name}() takes {wanted or 'no'} arguments", help)
            return []
        if not self._allowed(call, f"ctx.{name}"):
            return []
        if not wanted:
            return [ir.ClearError(node.lineno)]
        made = self.convert(call.args[0], self.expr(call.args[0]), U64, store=True)
        return [] if made is None else [ir.KeepAnswer(node.lineno, made)]

    def entry_call(self, node: ast.Expr, call: ast.Call) -> list[ir.Stmt] | None:
        """``entry.drop()``; None when the call is another one."""
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "drop":
            return None
        method = self.expr(call.func)
        if not isinstance(method, Method) or not isinstance(method.base, Value):
            return None
        expr = method.base.expr
        if not isinstance(expr, ir.Local) or expr.type != DIRENT:
            return None
        if call.args or call.keywords:
            self.error(call, "E252", "drop() takes no arguments", f"{expr.name}.drop()")
            return []
        return [ir.Drop(node.lineno, expr.name)]
