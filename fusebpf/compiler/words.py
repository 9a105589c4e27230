# SPDX-License-Identifier: MIT
"""Operands in the author's words, for messages."""

from __future__ import annotations

from fusebpf.compiler import ir
from fusebpf.compiler.operands import (
    Builtin,
    ClassRef,
    EventRef,
    Fetch,
    Flexible,
    Group,
    HelperRef,
    Joining,
    Lit,
    MapRef,
    MapSlot,
    Method,
    Namespace,
    NameView,
    Nothing,
    Operand,
    Optional,
    Range,
    RecordClass,
    RecordLocal,
    Text,
    TypeRef,
    Value,
)
from fusebpf.compiler.types import IntType


def describe(operand: Operand) -> str:
    """The operand in the author's words, for messages."""
    match operand:
        case Value(expr=expr):
            if isinstance(expr, ir.Const) and isinstance(expr.type, IntType):
                return f"the number {expr.value}"
            return article(str(expr.type))
        case Lit(value=value):
            return f"the number {value}"
        case Text(shown=shown):
            return f"the string {shown}"
        case Group():
            return "a set or tuple"
        case Nothing():
            return "None"
        case Fetch() | Optional():
            return "a value that may be None"
        case NameView():
            kind = str(operand.name.type)
            part = operand.sliced or isinstance(operand.name, ir.NamePart)
            return f"a part of a {kind}" if part else f"a {kind}"
        case Joining():
            return "a joined name"
        case MapRef(decl=decl):
            return f"map {decl.name!r}"
        case EventRef(decl=event):
            return f"events {event.name!r}"
        case RecordLocal(record=record):
            return f"a {record.name}"
        case MapSlot(decl=decl):
            return f"a {decl.value}"
        case RecordClass(record=record):
            return f"class {record.name}"
        case HelperRef(node=node):
            return f"function {node.name!r}"
        case TypeRef(name=name) | ClassRef(name=name):
            return f"type {name}"
        case Builtin(name=name):
            return f"function {name!r}"
        case Namespace(name=name):
            return f"module {name!r}"
        case Method(name=name):
            return f"method {name!r} (not called)"
        case Range():
            return "a range"
        case Flexible():
            return "an int"
    return "a mistake"


def article(word: str) -> str:
    """The word with "a" or "an": read aloud, s64 begins with a vowel and u64 does not."""
    return f"{'an' if word[0] in 'AEIOs' else 'a'} {word}"
