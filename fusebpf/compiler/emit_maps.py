# SPDX-License-Identifier: MIT
"""C for maps, records and events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from fusebpf.abi.record import Member, Record
from fusebpf.compiler import ir
from fusebpf.compiler.cnames import identifier, string
from fusebpf.compiler.types import INT_TYPES, RecordType

_UPDATE = {"+": "add", "-": "add", "&": "and", "|": "or", "^": "xor"}


class Texts(Protocol):
    """What is needed of the emitter of expressions."""

    def value(self, expr: ir.Expr) -> str:
        """An expression where C knows its type."""

    def local(self, name: str) -> str:
        """Access to a local."""

    def present(self, name: str) -> str:
        """Access to the Boolean half of an optional local."""

    def name(self, expr: ir.Expr) -> str:
        """A pointer to a name."""


class RecordNames:
    """The C structs of a program's records."""

    def __init__(self, program: ir.Program) -> None:
        self.names: dict[str, str] = {}
        self.records: list[Record] = []
        #: Of each record: its members' C names.
        self._members: dict[str, dict[str, str]] = {}
        for record in _records(program):
            if record.text not in self.names:
                self.names[record.text] = identifier(record.name, self.names.values())
                self.records.append(record)
                members = self._members[record.text] = {}
                for member in record.members:
                    members[member.name] = identifier(member.name, members.values())

    def type_of(self, kind: object) -> str:
        """The C type of a key or value."""
        if isinstance(kind, RecordType):
            return f"struct {self.names[kind.record.text]}"
        return getattr(kind, "c_name", "int")

    def member(self, record: Record, member: Member | str) -> str:
        """The C name of a record's member."""
        name = member if isinstance(member, str) else member.name
        return self._members[record.text][name]

    def declarations(self) -> Iterator[str]:
        """The structs, laid out as ``Record`` says."""
        for record in self.records:
            yield f"struct {self.names[record.text]} {{"
            for member in record.members:
                if member.is_bytes:
                    yield f"\t__u8 {self.member(record, member)}[{member.size}];"
                else:
                    yield f"\t{INT_TYPES[member.kind].c_name} {self.member(record, member)};"
            yield "};"
            yield ""


def _records(program: ir.Program) -> Iterator[Record]:
    for decl in program.maps:
        for kind in (decl.key, decl.value):
            if isinstance(kind, RecordType):
                yield kind.record
    for event in program.events:
        yield event.record


def declarations(program: ir.Program, records: RecordNames) -> Iterator[str]:
    """Structs, maps and rings at the top of the file."""
    yield from records.declarations()
    for decl in program.maps:
        key = "" if decl.is_array else f"{records.type_of(decl.key)}, "
        yield (
            f"FUSEBPF_MAP_{decl.kind.upper()}({decl.name}, {key}{records.type_of(decl.value)}, "
            f"{decl.max_entries})"
        )
    for event in program.events:
        yield f"FUSEBPF_RING({event.name}, {event.size})"
    if program.events:
        yield f"FUSEBPF_MAP_PERCPU_ARRAY(fusebpf_drops, __u64, {len(program.events)})"


class MapEmitter:
    """Texts of what one function does with maps.

    A map of numbers is a macro with key and value in place. A record is filled in memory of the
    operation first: all numbers and parts are evaluated in order, then stored, so that a record
    inside of another one's value cannot disturb it.
    """

    def __init__(self, exprs: Texts, program: ir.Program, records: RecordNames, area: int) -> None:
        self.exprs = exprs
        self.records = records
        self.decls = {decl.name: decl for decl in program.maps}
        self.events = {event.name: i for i, event in enumerate(program.events)}
        #: Where in the memory the key is, and how far behind it the value.
        self.area = area
        self.half = 0
        self._count = 0

    # ------------------------------------------------------------ expressions

    def expr(self, expr: ir.Expr) -> str:
        """An expression on a map."""
        value = self.exprs.value
        match expr:
            case ir.MapItem(map=name, index=index, field=member) if member:
                place = f"{name}, {value(index)}, {self._member(name, member)}"
                return f"fusebpf_array_member({place})"
            case ir.MapItem(map=name, index=index):
                return f"fusebpf_map_get({name}, {value(index)}, 0)"
            case ir.MapGet(map=name, key=key, default=default):
                if self._plain(name):
                    return f"fusebpf_map_get({name}, {value(key)}, {value(default)})"
                lines, at, kept = self._staged(name, key, default)
                return self._joined(lines, f"fusebpf_at_get({name}, {at}, {kept})")
            case ir.MapHas(map=name, key=key):
                if self._plain(name):
                    return f"fusebpf_map_has({name}, {value(key)})"
                lines, at, _ = self._staged(name, key)
                return self._joined(lines, f"fusebpf_at_has({name}, {at})")
            case ir.MapPut(map=name, key=key, value=stored):
                if self._plain(name):
                    return f"fusebpf_map_put({name}, {value(key)}, {value(stored)})"
                lines, at, kept = self._staged(name, key, stored)
                pointer = kept if isinstance(stored, ir.MakeRecord) else f"&{kept}"
                return self._joined(lines, f"fusebpf_at_put({name}, {at}, {pointer})")
            case ir.MapDiscard(map=name, key=key):
                if self._plain(name):
                    return f"fusebpf_map_discard({name}, {value(key)})"
                lines, at, _ = self._staged(name, key)
                return self._joined(lines, f"fusebpf_at_discard({name}, {at})")
        raise AssertionError(f"no C for {type(expr).__name__}")

    def _member(self, name: str, member: str) -> str:
        """The C name of a member of a map's values."""
        kind = self.decls[name].value
        assert isinstance(kind, RecordType)
        return self.records.member(kind.record, member)

    def _plain(self, name: str) -> bool:
        decl = self.decls[name]
        return not isinstance(decl.key, RecordType) and not isinstance(decl.value, RecordType)

    def _joined(self, lines: list[str], result: str) -> str:
        return f"({{ {' '.join(lines)} {result}; }})"

    def _fresh(self, letter: str) -> str:
        self._count += 1
        return f"_{letter}{self._count}"

    def _staged(
        self, name: str, key: ir.Expr, value: ir.Expr | None = None
    ) -> tuple[list[str], str, str]:
        """Statements that make key and value ready, a pointer to the key, the value's text."""
        decl = self.decls[name]
        lines: list[str] = []
        later: list[str] = []
        at = self._stage(key, decl.key, "key", lines, later)
        if not isinstance(key, ir.MakeRecord):
            at = f"&{at}"
        kept = "" if value is None else self._stage(value, decl.value, "value", lines, later)
        return lines + later, at, kept

    def _stage(
        self, expr: ir.Expr, kind: object, slot: str, lines: list[str], later: list[str]
    ) -> str:
        """The name of a temporary number, or of a pointer to a record."""
        if isinstance(expr, ir.MakeRecord):
            pointer = self._fresh("r")
            shape = self.records.type_of(expr.type)
            offset = self.area + (self.half if slot == "value" else 0)
            place = f"((__u8 *)memory + {offset})" if offset else "memory"
            later.append(f"{shape} *{pointer} = ({shape} *){place};")
            later += self._fill(pointer, expr, lines)
            return pointer
        temporary = self._fresh("t")
        lines.append(f"{self.records.type_of(kind)} {temporary} = {self.exprs.value(expr)};")
        return temporary

    def _fill(self, pointer: str, made: ir.MakeRecord, lines: list[str]) -> list[str]:
        """Statements that store a record's members; ``lines`` gets the temporaries for them."""
        out = [f"__builtin_memset({pointer}, 0, sizeof(*{pointer}));"]
        for member, value in zip(made.type.record.members, made.values, strict=True):
            place = f"{pointer}->{self.records.member(made.type.record, member)}"
            if not member.is_bytes:
                text = self.exprs.value(value)
                if not isinstance(value, ir.Const):
                    temporary = self._fresh("t")
                    lines.append(f"{INT_TYPES[member.kind].c_name} {temporary} = {text};")
                    text = temporary
                out.append(f"{place} = {text};")
            elif isinstance(value, ir.Bytes):
                if raw := value.value[: member.size]:
                    out.append(f"__builtin_memcpy({place}, {string(raw)}, {len(raw)});")
            else:
                text = self.exprs.name(value)
                if isinstance(value, ir.NamePart):  # its ends may need the same memory
                    part = self._fresh("n")
                    lines.append(f"struct fusebpf_buf {part} = *{text};")
                    text = f"&{part}"
                out.append(f"fusebpf_copy({place}, {member.size}, {text});")
        return out

    # ------------------------------------------------------------ statements

    def fetch(self, stmt: ir.MapFetch) -> list[str]:
        """``target = m.get(key)``."""
        present = self.exprs.present(stmt.target)
        if self._plain(stmt.map):
            target = self.exprs.local(stmt.target)
            key = self.exprs.value(stmt.key)
            return [f"fusebpf_map_fetch({stmt.map}, {key}, {target}, {present});"]
        lines, at, _ = self._staged(stmt.map, stmt.key)
        if isinstance(self.decls[stmt.map].value, RecordType):
            found = self._fresh("f")
            lines.append(
                f"fusebpf_map_value({stmt.map}) *{found} = fusebpf_at_find({stmt.map}, {at});"
            )
            lines.append(f"{present} = {found} != NULL;")
            for member, local in stmt.fields:
                text = f"{found} ? {found}->{self._member(stmt.map, member)} : 0"
                lines.append(f"{self.exprs.local(local)} = {text};")
        else:
            target = self.exprs.local(stmt.target)
            lines.append(f"fusebpf_at_fetch({stmt.map}, {at}, {target}, {present});")
        return ["{", *(f"\t{line}" for line in lines), "}"]

    def set(self, stmt: ir.MapSet) -> list[str]:
        """``array[index] = value``."""
        index = self.exprs.value(stmt.index)
        if stmt.field:
            place = f"{stmt.map}, {index}, {self._member(stmt.map, stmt.field)}"
            return [f"fusebpf_array_set_member({place}, {self.exprs.value(stmt.value)});"]
        if self._plain(stmt.map):
            return [f"fusebpf_array_set({stmt.map}, {index}, {self.exprs.value(stmt.value)});"]
        decl = self.decls[stmt.map]
        lines: list[str] = []
        later: list[str] = []
        kept = self._stage(stmt.value, decl.value, "value", lines, later)
        at = self._stage(stmt.index, decl.key, "key", lines, later)
        lines += [*later, f"(void)fusebpf_at_put({stmt.map}, &{at}, {kept});"]
        return ["{", *(f"\t{line}" for line in lines), "}"]

    def update(self, stmt: ir.MapUpdate) -> list[str]:
        """``m[key] op= value``."""
        decl = self.decls[stmt.map]
        value = self.exprs.value(stmt.value)
        if stmt.op == "-":
            # Atomic operations know no minus.
            value = f"0 - (__u64)({value})"
            if isinstance(stmt.value, ir.Const):
                value = self.exprs.value(ir.Const(stmt.value.type, -stmt.value.value))
        kind, op = "array" if decl.is_array else "hash", _UPDATE[stmt.op]
        if self._plain(stmt.map):
            key = self.exprs.value(stmt.key)
            return [f"fusebpf_{kind}_update({stmt.map}, {key}, {op}, {value});"]
        lines: list[str] = []
        later: list[str] = []
        at = self._stage(stmt.key, decl.key, "key", lines, later)
        if not isinstance(stmt.key, ir.MakeRecord):
            at = f"&{at}"
        change = self._fresh("t")
        lines.append(f"__u64 {change} = (__u64)({value});")
        lines += later
        member = f", .{self._member(stmt.map, stmt.field)}" if stmt.field else ", "
        lines.append(f"fusebpf_at_{kind}_update({stmt.map}, {at}{member}, {op}, {change});")
        return ["{", *(f"\t{line}" for line in lines), "}"]

    def emit(self, stmt: ir.Emit) -> list[str]:
        """``events.emit(Event(...))``."""
        event = self._fresh("e")
        shape = self.records.type_of(stmt.value.type)
        lines: list[str] = []
        later = self._fill(event, stmt.value, lines)
        lines.append(f"{shape} *{event} = bpf_ringbuf_reserve(&{stmt.event}, sizeof(*{event}), 0);")
        lines.append(f"if ({event}) {{")
        lines += [f"\t{line}" for line in later]
        lines.append(f"\tbpf_ringbuf_submit({event}, 0);")
        lines.append("} else {")
        lines.append(f"\tfusebpf_array_update(fusebpf_drops, {self.events[stmt.event]}, add, 1);")
        lines.append("}")
        return ["{", *(f"\t{line}" for line in lines), "}"]
