# SPDX-License-Identifier: MIT
"""The typed Python run: a filter's meaning, computed from its IR without clang, root or kernel.

The rules are those at the top of ``fusebpf/compiler/ir``; nothing here looks at the generated
C, so that a disagreement with the kernel's run points at the lowering.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TypeAlias

from fusebpf.abi import FUSE_OPCODE_FILTER
from fusebpf.abi.record import Record
from fusebpf.compiler import ir
from fusebpf.compiler.types import NAME, IntType, RecordType
from fusebpf.dsl.maps import fits, longest_prefix, prefix_bits
from fusebpf.testing.case import (
    Case,
    Cell,
    Entry,
    Outcome,
    Values,
    changeable,
    hook_of,
    leaves,
    struct_args,
)
from fusebpf.testing.operators import RunError, arithmetic, compare, name_test

_NAME_MAX = 255
#: The opcode of LOOKUP, the only one that may set a tag.
_LOOKUP = 1


@dataclass(frozen=True)
class _Struct:
    values: Values


@dataclass
class _Dirent:
    entry: Entry
    room: int
    dropped: bool = False


#: A function, and the line of one of its statements.
Step: TypeAlias = tuple[ir.Function, int]

Value: TypeAlias = int | bytes | _Struct | _Dirent | list[_Dirent] | None


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Return(Exception):
    def __init__(self, value: Value) -> None:
        self.value = value


@dataclass
class _Frame:
    """One running function; ``line`` is that of the statement that runs."""

    function: ir.Function
    line: int = 0
    values: dict[str, Value] = field(default_factory=dict)
    present: dict[str, bool] = field(default_factory=dict)
    #: Where the verdicts that locals hold were returned.
    origins: dict[str, Step | None] = field(default_factory=dict)


class PyRun:
    """Runs the filters of one set. Each call starts from the maps that its case gives.

    ``config`` replaces defaults of config values, as ``fusebpf attach --set`` does.
    """

    def __init__(self, program: ir.Program, config: Mapping[str, int] | None = None) -> None:
        self.program = program
        self._configs = {c.name: c.default for c in program.configs} | dict(config or {})
        self._helpers = {function.name: function for function in program.helpers}
        self._maps = {decl.name: decl for decl in program.maps}
        self._contents: dict[str, dict[Cell, Cell]] = {}
        self._events: dict[str, list[bytes]] = {}
        self._buffers: dict[str, bytes] = {}
        #: Arguments of the running filter by parameter, and those that are names.
        self._args: dict[str, str] = {}
        self._names: frozenset[str] = frozenset()
        self._case = Case()
        self._opcode = 0
        self._tag: int | None = None
        self._read_back: int | None = None
        self._cleared, self._kept_ns = False, 0
        #: Of the last call: every statement that ran, and the one that gave the verdict.
        self.steps: list[Step] = []
        self.decided: Step | None = None
        self._origin: Step | None = None

    def run(self, function: ir.Function, case: Case) -> Outcome:
        """Call one filter.

        Raises ``RunError`` when the program breaks a promise of the front end, e.g. divides by 0.
        """
        if function.hook is None:
            raise RunError(f"{function.name} is a helper, not a filter")
        hook = hook_of(function.hook)
        self._case = case
        self.steps, self.decided, self._origin = [], None, None
        self._opcode = (case.opcode or hook.opcode) & FUSE_OPCODE_FILTER
        self._tag = self._read_back = None
        self._cleared, self._kept_ns = False, 0
        self._contents = {name: dict(case.maps.get(name, {})) for name in self._maps}
        self._events = {event.name: [] for event in self.program.events}
        self._args = {param.name: param.arg for param in function.params}
        self._names = frozenset(p.name for p in function.params if p.type == NAME)
        self._buffers = {name: case.buffers.get(name, b"") for _, name in changeable(hook)}
        structs = {
            arg.name: _Struct(
                dict.fromkeys((leaf[0] for leaf in leaves(struct)), 0)
                | case.structs.get(arg.name, {})
            )
            for arg, struct in struct_args(hook)
        }
        listing = [_Dirent(entry, entry.room) for entry in case.listing]
        frame = _Frame(function)
        for param in function.params:
            if param.arg in structs:
                frame.values[param.name] = structs[param.arg]
            elif param.arg == "listing":
                frame.values[param.name] = listing
            else:
                frame.values[param.name] = case.buffers.get(param.arg, b"")
        verdict = self._body(function, frame)
        self.decided = self._origin
        return Outcome(
            verdict=verdict if isinstance(verdict, int) else 0,
            structs={name: struct.values for name, struct in structs.items()},
            listing=tuple(dirent.entry for dirent in listing if not dirent.dropped),
            tag=self._tag,
            cleared=self._cleared,
            kept_ns=self._kept_ns,
            maps={name: self._final(name) for name in self._maps},
            buffers={name: self._buffers[name] for _, name in changeable(hook)},
            events={name: tuple(found) for name, found in self._events.items() if found},
        )

    def _final(self, name: str) -> dict[Cell, Cell]:
        contents = self._contents[name]
        if self._maps[name].is_array:
            zero = self._zero(name)
            return {key: value for key, value in contents.items() if value != zero}
        return contents

    def _body(self, function: ir.Function, frame: _Frame) -> Value:
        try:
            self._block(function.body, frame)
        except _Return as result:
            return result.value
        self._origin = (function, frame.line or function.line)
        return 0 if function.hook else None

    # ------------------------------------------------------------ statements

    def _block(self, body: tuple[ir.Stmt, ...], frame: _Frame) -> None:
        for stmt in body:
            self._stmt(stmt, frame)

    def _stmt(self, stmt: ir.Stmt, frame: _Frame) -> None:
        frame.line = stmt.line
        here = (frame.function, stmt.line)
        self.steps.append(here)
        match stmt:
            case ir.Assign(target=target, value=value):
                self._origin = None
                frame.values[target] = self._eval(value, frame)
                frame.present[target] = True
                frame.origins[target] = self._origin
            case ir.MapFetch(target=target, map=name, key=key, fields=fields):
                found = self._find(name, self._key(name, key, frame))
                frame.present[target] = found is not None
                frame.values[target] = found or 0
                for member, local in fields:
                    frame.values[local] = 0 if found is None else self._member(name, found, member)
            case ir.SetField(param=param, path=path, value=value):
                self._struct(param, frame).values[".".join(path)] = self._int(value, frame)
            case ir.SetTag(value=value):
                tag = self._int(value, frame)
                if self._opcode == _LOOKUP:
                    self._tag = self._read_back = tag
            case ir.ForgetTag():
                self._read_back = None
            case ir.Replace(param=param, value=value):
                new_bytes = self._bytes(value, frame)
                if not 0 < len(new_bytes) <= _NAME_MAX and param in self._names:
                    self._origin = here
                    raise _Return(-22)
                frame.values[param] = self._buffers[self._args[param]] = new_bytes
            case ir.MapSet(map=name, index=index, value=value, field=member):
                new = self._eval(value, frame)
                slot = self._index(name, index, frame)
                if member:
                    old = self._contents[name].get(slot, self._zero(name))
                    new = self._changed(name, old, member, _number(new))
                self._contents[name][slot] = self._store(name, new)
            case ir.MapUpdate():
                self._update(stmt, frame)
            case ir.Emit(event=event, value=value):
                self._events[event].append(self._bytes(value, frame))
            case ir.Debug(values=values):
                for value in values:
                    self._eval(value, frame)
            case ir.KeepAnswer(value=value):
                self._kept_ns = self._int(value, frame)
            case ir.ClearError():
                self._cleared = self._case.error_in != 0
            case ir.Drop(var=var):
                self._dirent(var, frame).dropped = True
            case ir.RenameEntry(var=var, value=value):
                dirent, new_bytes = self._dirent(var, frame), self._bytes(value, frame)
                if 0 < len(new_bytes) <= dirent.room:
                    dirent.entry = replace(dirent.entry, name=new_bytes)
                else:
                    dirent.dropped = True
            case ir.SetEntryType(var=var, value=value):
                dirent = self._dirent(var, frame)
                dirent.entry = replace(dirent.entry, type=self._int(value, frame) & 15)
            case ir.Do(value=value):
                self._eval(value, frame)
            case ir.If(test=test, then=then, other=other):
                self._block(then if self._int(test, frame) else other, frame)
            case ir.For():
                self._for(stmt, frame)
            case ir.ForEntries(var=var, param=param, body=body):
                listing = frame.values[param]
                if not isinstance(listing, list):
                    raise RunError(f"{param} is not a listing")
                for dirent in listing:
                    if dirent.dropped:
                        continue
                    frame.values[var] = dirent
                    if not self._turn(body, frame):
                        break
            case ir.Break():
                raise _Break
            case ir.Continue():
                raise _Continue
            case ir.Return(value=value):
                self._origin = None
                result = None if value is None else self._eval(value, frame)
                self._origin = self._origin or here
                raise _Return(result)

    def _turn(self, body: tuple[ir.Stmt, ...], frame: _Frame) -> bool:
        """One turn of a loop; False when it was left by break."""
        try:
            self._block(body, frame)
        except _Continue:
            pass
        except _Break:
            return False
        return True

    def _for(self, loop: ir.For, frame: _Frame) -> None:
        start = self._int(loop.start, frame)
        count = self._int(loop.count, frame)
        if count > loop.bound:
            raise RunError(f"line {loop.line}: {count} turns exceed the bound {loop.bound}")
        for turn in range(count):
            frame.values[loop.var] = loop.var_type.wrap(start + turn * loop.step)
            if not self._turn(loop.body, frame):
                break

    def _update(self, stmt: ir.MapUpdate, frame: _Frame) -> None:
        decl = self._maps[stmt.map]
        contents = self._contents[stmt.map]
        array = decl.is_array
        key = (
            self._index(stmt.map, stmt.key, frame)
            if array
            else self._key(stmt.map, stmt.key, frame)
        )
        value = self._int(stmt.value, frame)
        if not array and key not in contents and not self._has_room(stmt.map):
            return  # counted as lost
        old = contents.get(key, self._zero(stmt.map))
        if stmt.field:
            before = self._member(stmt.map, old, stmt.field)
            after = arithmetic(stmt.op, before, value)
            contents[key] = self._changed(stmt.map, old, stmt.field, after)
        else:
            contents[key] = self._store(stmt.map, arithmetic(stmt.op, _number(old), value))

    # ------------------------------------------------------------ maps

    def _record(self, name: str) -> Record:
        kind = self._maps[name].value
        assert isinstance(kind, RecordType)
        return kind.record

    def _has_room(self, name: str) -> bool:
        """Whether a key can be added. An LRU map makes room: which entry goes is the kernel's."""
        decl, contents = self._maps[name], self._contents[name]
        if len(contents) < decl.max_entries:
            return True
        if not decl.forgets:
            return False
        del contents[next(iter(contents))]
        return True

    def _zero(self, name: str) -> Cell:
        kind = self._maps[name].value
        return 0 if isinstance(kind, IntType) else bytes(kind.record.size)

    def _member(self, name: str, raw: Cell, member: str) -> int:
        record = self._record(name)
        assert isinstance(raw, bytes)
        values = dict(zip([m.name for m in record.members], record.unpack(raw), strict=True))
        return _number(values[member])

    def _changed(self, name: str, raw: Cell, member: str, value: int) -> bytes:
        """The record with one member replaced, modulo its width."""
        found = next(m for m in self._record(name).members if m.name == member)
        part = (value & ((1 << (8 * found.size)) - 1)).to_bytes(found.size, "little")
        assert isinstance(raw, bytes)
        return raw[: found.offset] + part + raw[found.offset + found.size :]

    def _find(self, name: str, key: Cell) -> Cell | None:
        contents = self._contents[name]
        if self._maps[name].kind != "lpm_trie":
            return contents.get(key)
        assert isinstance(key, bytes)
        found = longest_prefix(contents, key)
        return None if found is None else contents[found]

    def _same_prefix(self, name: str, key: Cell) -> Cell | None:
        """The stored key that ``key`` replaces."""
        if self._maps[name].kind != "lpm_trie":
            return key if key in self._contents[name] else None
        assert isinstance(key, bytes)
        for old in self._contents[name]:
            if isinstance(old, bytes) and prefix_bits(old) == prefix_bits(key) and fits(old, key):
                return old
        return None

    # ----------------------------------------------------------- expressions

    def _int(self, expr: ir.Expr, frame: _Frame) -> int:
        value = self._eval(expr, frame)
        if not isinstance(value, int):
            raise RunError(f"{expr} is no number")
        return int(value)

    def _bytes(self, expr: ir.Expr, frame: _Frame) -> bytes:
        value = self._eval(expr, frame)
        if not isinstance(value, bytes):
            raise RunError(f"{expr} is no name")
        return value

    def _struct(self, param: str, frame: _Frame) -> _Struct:
        value = frame.values[param]
        if not isinstance(value, _Struct):
            raise RunError(f"{param} is no struct")
        return value

    def _dirent(self, var: str, frame: _Frame) -> _Dirent:
        value = frame.values[var]
        if not isinstance(value, _Dirent):
            raise RunError(f"{var} is no directory entry")
        return value

    def _key(self, name: str, expr: ir.Expr, frame: _Frame) -> Cell:
        kind = self._maps[name].key
        if isinstance(kind, IntType):
            return kind.wrap(self._int(expr, frame))
        return self._bytes(expr, frame)

    def _index(self, name: str, expr: ir.Expr, frame: _Frame) -> int:
        index = self._int(expr, frame)
        if not 0 <= index < self._maps[name].max_entries:
            raise RunError(f"index {index} of array {name} was not proved in range")
        return index

    def _store(self, name: str, value: object) -> Cell:
        kind = self._maps[name].value
        if isinstance(kind, IntType):
            return kind.wrap(_number(value))
        assert isinstance(value, bytes)
        return value

    def _eval(self, expr: ir.Expr, frame: _Frame) -> Value:
        match expr:
            case ir.Const(value=value):
                return value
            case ir.Config(name=name):
                return self._configs[name]
            case ir.Local(name=name):
                self._origin = frame.origins.get(name)
                return frame.values[name]
            case ir.IsPresent(name=name):
                return int(frame.present[name])
            case ir.CtxField(field=name):
                return self._context(name)
            case ir.StructField(param=param, path=path):
                return self._struct(param, frame).values[".".join(path)]
            case ir.DirentField(var=var, field=name):
                entry = self._dirent(var, frame).entry
                return entry.ino if name == "ino" else entry.type
            case ir.DirentName(var=var):
                return self._dirent(var, frame).entry.name
            case ir.NameLen(name=inner):
                return len(self._bytes(inner, frame))
            case ir.NameByte(name=inner, index=index):
                text, at = self._bytes(inner, frame), self._int(index, frame)
                return text[at] if -len(text) <= at < len(text) else 0
            case ir.NameTest():
                return int(name_test(self._bytes(expr.name, frame), expr))
            case ir.NamePart(name=inner, start=start, stop=stop):
                text, first = self._bytes(inner, frame), self._int(start, frame)
                return text[first : None if stop is None else self._int(stop, frame)]
            case ir.NameGlob(name=inner, patterns=patterns, fold=fold):
                text = self._bytes(inner, frame)
                text = text.lower() if fold else text
                return int(any(fnmatchcase(text, pattern) for pattern in patterns))
            case ir.NameWalk(name=inner, map=name, state=state):
                return self._walk(name, self._bytes(inner, frame), self._int(state, frame))
            case ir.NameSame(left=left, right=right):
                return int(self._bytes(left, frame) == self._bytes(right, frame))
            case ir.NameJoin(parts=parts, folds=folds):
                texts = [self._bytes(part, frame) for part in parts]
                return b"".join(
                    text.lower() if fold else text for text, fold in zip(texts, folds, strict=True)
                )
            case ir.Cast(type=kind, operand=operand):
                return kind.wrap(self._int(operand, frame))
            case ir.Unary(type=kind, op=op, operand=operand):
                number = self._int(operand, frame)
                return kind.wrap(-number if op == "-" else ~number)
            case ir.Not(operand=operand):
                return int(not self._int(operand, frame))
            case ir.Binary(type=kind, op=op, left=left, right=right):
                first = self._int(left, frame)
                return kind.wrap(arithmetic(op, first, self._int(right, frame)))
            case ir.Compare(op=op, left=left, right=right):
                first = self._int(left, frame)
                return int(compare(op, first, self._int(right, frame)))
            case ir.Chain(ops=ops, operands=operands):
                return self._chain(ops, operands, frame)
            case ir.OneOf(operand=operand, values=values):
                return int(self._int(operand, frame) in values)
            case ir.BoolOp(op=op, operands=operands):
                result = 0
                for operand in operands:
                    result = self._int(operand, frame)
                    if bool(result) == (op == "or"):
                        break
                return result
            case ir.Conditional(test=test, then=then, other=other):
                chosen = then if self._int(test, frame) else other
                self._origin = None
                return self._eval(chosen, frame)
            case ir.MinMax(op=op, operands=operands):
                numbers = [self._int(operand, frame) for operand in operands]
                return min(numbers) if op == "min" else max(numbers)
            case ir.Kept(operand=operand):
                return self._eval(operand, frame)
            case ir.Refuse(operand=operand):
                number = abs(self._int(operand, frame))
                self._origin = None
                return -max(1, min(number, 511))
            case ir.MapGet(map=name, key=key, default=default):
                wanted = self._key(name, key, frame)
                fallback = self._int(default, frame)
                found = self._find(name, wanted)
                return fallback if found is None else found
            case ir.MapHas(map=name, key=key):
                return int(self._find(name, self._key(name, key, frame)) is not None)
            case ir.MapItem(map=name, index=index, field=member):
                cell = self._contents[name].get(self._index(name, index, frame), self._zero(name))
                return self._member(name, cell, member) if member else cell
            case ir.MapPut(map=name, key=key, value=value):
                return self._put(name, self._key(name, key, frame), self._eval(value, frame))
            case ir.MapDiscard(map=name, key=key):
                stored = self._same_prefix(name, self._key(name, key, frame))
                if stored is None:
                    return 0
                del self._contents[name][stored]
                return 1
            case ir.Bytes(value=raw):
                return raw
            case ir.MakeRecord(type=RecordType(record=record), values=values):
                return record.pack([self._cell(value, frame) for value in values])
            case ir.Call(function=name, args=args):
                return self._call(name, [self._eval(arg, frame) for arg in args])

    def _walk(self, name: str, text: bytes, state: int) -> int:
        for byte in text:
            if not 0 <= state < self._maps[name].max_entries:
                return -22
            row = self._contents[name].get(state, self._zero(name))
            assert isinstance(row, bytes)
            state = int.from_bytes(row[2 * byte : 2 * byte + 2], "little")
        return state if 0 <= state < self._maps[name].max_entries else -22

    def _call(self, name: str, args: list[Value]) -> Value:
        function = self._helpers[name]
        inner = _Frame(function)
        for param, value in zip(function.params, args, strict=True):
            inner.values[param.name] = value
        return self._body(function, inner)

    def _cell(self, expr: ir.Expr, frame: _Frame) -> Cell:
        value = self._eval(expr, frame)
        return value if isinstance(value, bytes) else _number(value)

    def _put(self, name: str, key: Cell, value: object) -> int:
        contents = self._contents[name]
        if self._maps[name].kind == "lpm_trie":
            assert isinstance(key, bytes)
            if prefix_bits(key) > 8 * (len(key) - 4):
                return 0
            stored = self._same_prefix(name, key)
            if stored is not None:
                del contents[stored]
        if key not in contents and not self._has_room(name):
            return 0
        contents[key] = self._store(name, value)
        return 1

    def _chain(self, ops: tuple[str, ...], operands: tuple[ir.Expr, ...], frame: _Frame) -> int:
        left = self._int(operands[0], frame)
        for op, operand in zip(ops, operands[1:], strict=True):
            right = self._int(operand, frame)
            if not compare(op, left, right):
                return 0
            left = right
        return 1

    def _context(self, name: str) -> int:
        case = self._case
        match name:
            case "nodeid":
                return case.nodeid
            case "opcode":
                return self._opcode
            case "error_in":
                return case.error_in
            case "tag":
                return case.tag if self._read_back is None else self._read_back
            case "tag2":
                return case.tag2
            case "ktime":
                return case.ktime
            case _:
                return int(getattr(case.caller, name))


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise RunError(f"{value!r} is no number")
    return value
