# SPDX-License-Identifier: MIT
"""Dataclasses in filters: made for keys, values and events, read member by member."""

from __future__ import annotations

import ast

from fusebpf.abi.record import Member, Record
from fusebpf.compiler import ir
from fusebpf.compiler.mending import last_name
from fusebpf.compiler.names import Names, as_view, whole
from fusebpf.compiler.operands import (
    POISON,
    MapSlot,
    Operand,
    Poison,
    RecordClass,
    RecordLocal,
    Text,
    Value,
)
from fusebpf.compiler.types import BUFFER, INT_TYPES, RecordType
from fusebpf.compiler.walk import acts
from fusebpf.compiler.words import describe
from fusebpf.spelling import closest


class Records(Names):
    """Making and reading records."""

    def make_record(self, node: ast.Call, cls: RecordClass) -> Operand:
        """``Pair(uid=ctx.uid, ino=4)``: every member, by place or by name."""
        record = cls.record
        names = [m.name for m in record.members]
        given: dict[str, ast.expr] = dict(zip(names, node.args, strict=False))
        if len(node.args) > len(names):
            return self.error(
                node, "E252", f"a {record.name} has {len(names)} members", self._shape(record)
            )
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg not in names:
                near = closest(keyword.arg or "", names)
                text = self.source_of(keyword.value)
                return self.error(
                    keyword,
                    "E252",
                    f"a {record.name} has no member {keyword.arg!r}"
                    if keyword.arg
                    else "** is not supported",
                    f"did you mean {near!r}?" if near else self._shape(record),
                    f"{near}={text}" if near else None,
                )
            if keyword.arg in given:
                return self.error(
                    keyword, "E252", f"member {keyword.arg!r} is given twice", self._shape(record)
                )
            given[keyword.arg] = keyword.value
        missing = [name for name in names if name not in given]
        if missing:
            return self.error(
                node,
                "E252",
                f"this {record.name} lacks {', '.join(missing)}",
                self._shape(record),
            )
        made: list[ir.Expr] = []
        for member in record.members:
            value = self._member_value(given[member.name], member)
            if value is None:
                return POISON
            made.append(value)
        return Value(ir.MakeRecord(RecordType(record), tuple(made)))

    def _shape(self, record: Record) -> str:
        return f"{record.name}({', '.join(f'{m.name}=...' for m in record.members)})"

    def _member_value(self, node: ast.expr, member: Member) -> ir.Expr | None:
        operand = self.expr(node)
        if not member.is_bytes:
            return self.convert(node, operand, INT_TYPES[member.kind], store=True)
        if isinstance(operand, Poison):
            return None
        if isinstance(operand, Text):
            return ir.Bytes(BUFFER, operand.raw)
        view = as_view(operand)
        if view is not None and not view.fold:
            return whole(view)
        self.error(
            node,
            "E256",
            f"{member.name} is {member.kind}; {describe(operand)} does not go there",
            "give it a name, a buffer, a part of one, or a constant string",
        )
        return None

    def record_member(self, node: ast.Attribute, base: Operand) -> Operand:
        """``value.count``, ``slots[i].count`` and ``key.uid``."""
        record = _record(base)
        found = next((m for m in record.members if m.name == node.attr), None)
        if found is None:
            names = [m.name for m in record.members]
            near = closest(node.attr, names)
            return self.error(
                last_name(node),
                "E206",
                f"a {record.name} has no member {node.attr!r}",
                f"did you mean {near!r}?" if near else f"it has: {', '.join(names)}",
                near,
            )
        if isinstance(base, Value) and isinstance(base.expr, ir.MakeRecord):
            index = record.members.index(found)
            value = base.expr.values[index]
            if any(acts(v) for i, v in enumerate(base.expr.values) if i != index):
                return self.error(
                    node,
                    "E271",
                    f"this makes a {record.name} for its {node.attr} alone, and what its other "
                    "members call would be left out",
                    f"keep it first: made = {record.name}(...), then made.{node.attr}",
                )
            if isinstance(value, ir.Bytes):
                return Text(value.value, repr(value.value))
            return Value(value)
        if found.is_bytes:
            return self.error(
                node,
                "E206",
                f"{node.attr} is {found.kind}: a filter cannot read bytes back from a map",
                "keep a number beside it, or use the bytes as the key",
            )
        kind = INT_TYPES[found.kind]
        if isinstance(base, RecordLocal):
            return Value(ir.Local(kind, member_local(base.name, found.name)))
        assert isinstance(base, MapSlot)
        return Value(ir.MapItem(kind, base.decl.name, base.key, found.name))


def member_local(name: str, member: str) -> str:
    """The hidden local that holds a member of a local record.

    Its dot, as those of all hidden locals, keeps it apart from what an author can write, and lets
    facts about it end with those about ``name``.
    """
    return f"{name}.{member}"


def _record(base: Operand) -> Record:
    match base:
        case RecordLocal(record=record):
            return record
        case MapSlot(decl=ir.MapDecl(value=RecordType(record=record))):
            return record
        case Value(expr=ir.MakeRecord(type=RecordType(record=record))):
            return record
    raise AssertionError(f"{base} is no record")
