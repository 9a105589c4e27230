# SPDX-License-Identifier: MIT
"""Random well-typed filter sets as source text, and random inputs for them.

Every program is valid by construction: a refusal by the front end or the verifier is a bug of
the compiler. Choices come from a ``Chooser``, so that hypothesis can drive (and shrink) them.
"""

from __future__ import annotations

from typing import TypeVar

from fusebpf.abi import DEFAULT_FILTER, HOOKS, Hook
from fusebpf.abi.opcodes import COVERED
from fusebpf.compiler.members import EFFECTS
from fusebpf.testing.case import leaves, struct_args
from tests.property.expressions import ERRNOS, VERDICTS, Expressions, Scope
from tests.property.inputs import (
    EDGES,
    NAMES,
    PIECES,
    RECORDS,
    Generated,
    MapShape,
)

T = TypeVar("T")

ALL_HOOKS = [DEFAULT_FILTER, *(hook for hook in HOOKS.values() if hook.op not in COVERED)]


class Generator(Expressions):
    """Writes one filter set. ``size`` bounds the statements of a filter."""

    # ------------------------------------------------------------- programs

    def generate(self, filters: int = 4) -> Generated:
        """A set of at most ``filters`` filters, each on a hook of its own."""
        out = self._lines
        out += [
            "from fusebpf import (",
            *(f"    {name}," for name in (*VERDICTS, "Context", "FilterSet", "Name", "debug")),
            *(f"    {name}," for name in ("Buffer", "Dirents", *_struct_classes())),
            ")",
            f"from fusebpf.constants import {', '.join(ERRNOS)}",
            "from fusebpf.types import bytes16, bytes32, s8, s16, s32, s64, u8, u16, u32, u64",
            "from dataclasses import dataclass",
            "from enum import IntEnum",
            "",
            *(
                line
                for record, members in RECORDS.items()
                for line in (
                    "@dataclass",
                    f"class {record}:",
                    *(f"    {member}: {kind}" for member, kind in members),
                    "",
                )
            ),
            "class Kind(IntEnum):",
            "    SMALL = 3",
            "    LARGE = 2**32 - 1",
            "",
            'filters = FilterSet("generated")',
        ]
        for _ in range(self._chooser.below(4)):
            self._map()
        out += [
            'CHOSEN = filters.config("chosen", u64, 5, least=1, most=50)',
            'SIGNED = filters.config("signed", s32, -3)',
            'FLAG = filters.config("flag", bool, True)',
        ]
        out += ['notes = filters.events("notes", Note)']
        out += ["LIMIT = 1000", 'SECRETS = {".env", "id_rsa"}', ""]
        out += [
            "def matches(name: Name) -> bool:",
            f"    return name.glob({self._glob()!r}) or name[1:].endswith('em')",
            "",
        ]
        for _ in range(self._chooser.below(3)):
            self._helper()
        done: dict[str, str] = {}
        for _ in range(1 + self._chooser.below(filters)):
            hook = self._pick(ALL_HOOKS)
            if hook.name not in done.values():
                done[self._filter(hook)] = hook.name
        config = {
            "chosen": 1 + self._chooser.below(50),
            "signed": self._pick(EDGES[:12]) * self._pick((1, -1)),
            "flag": self._chooser.below(2),
        }
        return Generated("\n".join(out) + "\n", self._maps, done, self.counts, config)

    def _map(self) -> None:
        kind = self._pick(
            ("hash", "array", "percpu_array", "percpu_hash", "lru_hash", "hash", "lpm_trie")
        )
        name = self._name("map")
        value = self._pick(("u64", "u64", "s64", "u32", "Stat", "Stat"))
        entries = 1 + self._chooser.below(6)
        if kind.endswith("array"):
            self._maps.append(MapShape(name, kind, "u32", value, entries))
            self._lines.append(
                f'{name} = filters.{kind}("{name}", value={value}, max_entries={entries})'
            )
            return
        entries = entries if kind not in ("lru_hash", "lpm_trie") else 64
        key = self._pick(("u32", "u64", "s32", "Pair", "Tagged"))
        if kind == "lpm_trie":
            key = "Prefix"
        self._maps.append(MapShape(name, kind, key, value, entries))
        self._lines.append(
            f'{name} = filters.{kind}("{name}", key={key}, value={value}, max_entries={entries})'
        )

    def _helper(self) -> None:
        begin = len(self._lines)
        name = self._name("helper")
        kinds = [self._pick(("s64", "u64")) for _ in range(1 + self._chooser.below(3))]
        result = self._pick(("s64", "u64"))
        params = [f"p{index}" for index in range(len(kinds))]
        scope = Scope(None, dict(zip(params, kinds, strict=True)))
        text = ", ".join(f"{p}: {k}" for p, k in zip(params, kinds, strict=True))
        self._lines += ["", f"def {name}({text}) -> {result}:"]
        self._left = 3
        self._block(scope, 1, result)
        self._lines.append(f"    return {self._int(scope, result, 2)}")
        if any(line.strip().startswith("for ") for line in self._lines[begin:]):
            self._heavy.add(name)
        self._helpers.append((name, kinds, result))
        self.counts["helper"] += 1

    def _filter(self, hook: Hook) -> str:
        function = self._name("filter")
        self._used = 0
        scope = Scope(hook)
        params = ["ctx: Context"]
        for index, arg in enumerate(hook.args):
            if arg.struct is not None:
                params.append(f"s{index}: {arg.struct.py_name}")
                scope.structs[f"s{index}"] = arg.name
            elif arg.kind == "name":
                params.append(f"n{index}: Name")
                scope.names.append(f"n{index}")
                scope.changeable += [f"n{index}"] * arg.writable
            elif arg.kind == "bytes":
                params.append(f"b{index}: Buffer")
                scope.names.append(f"b{index}")
                scope.changeable += [f"b{index}"] * arg.writable
                scope.constant_only = arg.name == "result"
            elif arg.kind == "dirents":
                params.append("listing: Dirents")
                scope.listing = "listing"
            else:
                params.append(f"b{index}: Buffer")
        if self._chance(2):
            scope.changeable = []
        decorator = "default" if hook is DEFAULT_FILTER else f"{hook.op}.{hook.phase}"
        self._lines += ["", f"@filters.{decorator}", f"def {function}({', '.join(params)}):"]
        self.counts[f"hook {hook.name}"] += 1
        self._left = 1 + self._chooser.below(self._size)
        self._block(scope, 1, "Verdict")
        if not self._chance(4):
            self._lines.append(f"    return {self._verdict(scope)}")
        else:
            self._lines.append("    pass")
        return function

    # ----------------------------------------------------------- statements

    def _block(self, scope: Scope, depth: int, result: str) -> None:
        """Statements at an indentation of ``depth``; locals made inside stay inside."""
        inner = Scope(
            scope.hook,
            dict(scope.locals),
            set(scope.fixed),
            list(scope.names),
            scope.structs,
            scope.entry,
            scope.listing,
            scope.loops,
            scope.changeable,
            scope.constant_only,
        )
        wrote = False
        for _ in range(1 + self._chooser.below(3)):
            if self._left <= 0 and wrote:
                break
            self._left -= 1
            self._stmt(inner, depth, result)
            wrote = True
        if depth == 1:
            scope.locals.update(inner.locals)

    def _emit(self, depth: int, text: str) -> None:
        self._lines.append("    " * depth + text)

    def _stmt(self, scope: Scope, depth: int, result: str) -> None:
        options = ["assign", "assign", "if", "if", "augment", "match"]
        if self._maps:
            options += ["map", "map"]
        if scope.hook:
            options += ["event"]
        if scope.hook and not scope.loops:
            options += ["debug"]
        if depth < 3 and scope.loops < 2:
            options += ["for"]
            if scope.names:
                options += ["bytes"]
            if scope.listing and scope.entry is None:
                options += ["entries", "entries", "entries"]
        if scope.structs:
            options += ["field", "field"]
        if scope.entry:
            options += ["drop", "drop"]
        if scope.entry:
            options += ["retype"]
        if scope.changeable and scope.loops == (scope.entry is not None):
            options += ["replace"]
        if scope.loops and depth > 1:
            options += ["leave"]
        if depth > 1:
            options += ["return"]
        if scope.hook and scope.hook.op == "lookup":
            options += ["tag", "keep"]
        if scope.hook and scope.hook.name in EFFECTS["ctx.clear_error"][0]:
            options += ["clear"]
        choice = self._pick(options)
        self.counts[choice] += 1
        getattr(self, f"_stmt_{choice}")(scope, depth, result)

    def _stmt_assign(self, scope: Scope, depth: int, _result: str) -> None:
        kind = self._pick(("s64", "u64", "bool"))
        target = self._name("v")
        if kind == "bool":
            self._emit(depth, f"{target} = {self._bool(scope, 2)}")
        else:
            self._emit(depth, f"{target}: {kind} = {self._int(scope, kind, 3)}")
        scope.locals[target] = kind

    def _stmt_augment(self, scope: Scope, depth: int, result: str) -> None:
        targets = [
            name
            for name, kind in scope.locals.items()
            if kind != "bool" and name.startswith("v") and name not in scope.fixed
        ]
        if not targets:
            self._stmt_assign(scope, depth, result)
            return
        target = self._pick(targets)
        kind = scope.locals[target]
        op = self._pick(("+", "-", "*", "&", "|", "^"))
        self._emit(depth, f"{target} {op}= {self._int(scope, kind, 2)}")

    def _stmt_if(self, scope: Scope, depth: int, result: str) -> None:
        self._emit(depth, f"if {self._bool(scope, 3)}:")
        self._block(scope, depth + 1, result)
        if self._chance(4):
            self._emit(depth, f"elif {self._bool(scope, 2)}:")
            self._block(scope, depth + 1, result)
        if self._chance(3):
            self._emit(depth, "else:")
            self._block(scope, depth + 1, result)

    def _stmt_match(self, scope: Scope, depth: int, result: str) -> None:
        if scope.names and self._chance(2):
            values = tuple(repr(name) for name in NAMES)
            subject = self._pick(scope.names) + self._pick(("", ".lower()"))
            if subject.endswith("()"):
                values = tuple(value.lower() for value in values)
        else:
            values = ("0", "1", "2", "64", "Kind.SMALL", "Kind.LARGE")
            subject = self._int(scope, self._pick(("s64", "u64")), 2)
        self._emit(depth, f"match {subject}:")
        for _ in range(1 + self._chooser.below(3)):
            pattern = " | ".join(self._pick(values) for _ in range(1 + self._chooser.below(3)))
            guard = f" if {self._bool(scope, 1)}" if self._chance(3) else ""
            self._emit(depth + 1, f"case {pattern}{guard}:")
            self._block(scope, depth + 2, result)
        if self._chance(2):
            guard = f" if {self._bool(scope, 1)}" if self._chance(3) else ""
            self._emit(depth + 1, f"case _{guard}:")
            self._block(scope, depth + 2, result)

    def _stmt_for(self, scope: Scope, depth: int, result: str) -> None:
        var = self._name("i")
        bound = 1 + self._chooser.below(9)
        form = self._chooser.below(5)
        if form == 4:
            header = "range(min(CHOSEN, 9))"
        elif form == 0:
            header = f"range({bound})"
        elif form == 1:
            header = f"range({self._chooser.below(5)}, {bound + 3})"
        elif form == 2:
            header = f"range({bound}, -1, -{1 + self._chooser.below(2)})"
        else:
            header = f"range({bound}, {bound + 7}, 3)"
        self._emit(depth, f"for {var} in {header}:")
        inner = Scope(
            scope.hook,
            scope.locals | {var: "s64"},
            scope.fixed | {var},
            scope.names,
            scope.structs,
            scope.entry,
            scope.listing,
            scope.loops + 1,
            scope.changeable,
        )
        self._block(inner, depth + 1, result)

    def _stmt_bytes(self, scope: Scope, depth: int, result: str) -> None:
        var, part = self._name("c"), self._name("part")
        text = self._bytes(scope)
        # A loop over all of a buffer takes too long for more than a little in each turn.
        long = text.startswith("n") and not scope.loops and self._chance(2)
        if scope.changeable:  # what is replaced leaves no parts behind in locals
            self._emit(depth, f"for {var} in {self._pick(scope.names)}[:9]:")
        else:
            self._emit(depth, f"{part} = {text}")
            self._emit(depth, f"for {var} in {part if long else f'{part}[:9]'}:")
        inner = Scope(
            scope.hook,
            scope.locals | {var: "byte"},
            scope.fixed | {var},
            [] if long or scope.changeable else [*scope.names, part],
            scope.structs,
            scope.entry,
            scope.listing,
            scope.loops + 2,
            scope.changeable,
        )
        self._left = min(self._left, 2)
        self._block(inner, depth + 1, result)

    def _stmt_entries(self, scope: Scope, depth: int, result: str) -> None:
        var = self._name("entry")
        self._emit(depth, f"for {var} in {scope.listing}:")
        inner = Scope(
            scope.hook,
            dict(scope.locals),
            set(scope.fixed),
            [*scope.names, f"{var}.name"],
            scope.structs,
            var,
            scope.listing,
            scope.loops + 1,
            [f"{var}.name"] if self._chance(2) else [],
        )
        self._block(inner, depth + 1, result)

    def _stmt_replace(self, scope: Scope, depth: int, _result: str) -> None:
        name = self._pick(scope.changeable)
        value = repr(self._pick(NAMES[:8]))
        if not scope.constant_only and self._chance(2):
            value = self._bytes(scope) if name.startswith("b") else self._new_name(name)
        self._emit(depth, f"{name} = {value}" if scope.entry else f"{name}[:] = {value}")

    def _new_name(self, name: str) -> str:
        """A part of a name, with a constant beside it or in lower case."""
        part = f"{name}[{self._chooser.below(4)}:]"
        if self._chance(3):
            part += ".lower()"
        if self._chance(3):
            part += f" + {self._pick(PIECES)!r}"
        if self._chance(4):
            part = f"{self._pick(PIECES)!r} + {part}"
        self.counts["new name"] += 1
        return part

    def _stmt_retype(self, scope: Scope, depth: int, _result: str) -> None:
        self._emit(depth, f"{scope.entry}.type = {self._int(scope, 'u64', 1)} & 255")

    def _stmt_keep(self, scope: Scope, depth: int, _result: str) -> None:
        self._emit(depth, f"ctx.keep_answer({self._int(scope, 'u64', 1)})")

    def _stmt_clear(self, _scope: Scope, depth: int, _result: str) -> None:
        self._emit(depth, "ctx.clear_error()")

    def _stmt_drop(self, scope: Scope, depth: int, _result: str) -> None:
        self._emit(depth, f"{scope.entry}.drop()")

    def _stmt_leave(self, scope: Scope, depth: int, _result: str) -> None:
        self._emit(depth, f"if {self._bool(scope, 2)}:")
        self._emit(depth + 1, self._pick(("break", "continue")))

    def _stmt_return(self, scope: Scope, depth: int, result: str) -> None:
        value = self._verdict(scope) if result == "Verdict" else self._int(scope, result, 2)
        self._emit(depth, f"if {self._bool(scope, 2)}:")
        self._emit(depth + 1, f"return {value}")

    def _stmt_tag(self, scope: Scope, depth: int, _result: str) -> None:
        self._emit(depth, f"ctx.tag = {self._int(scope, 'u64', 2)}")

    def _stmt_field(self, scope: Scope, depth: int, result: str) -> None:
        assert scope.hook is not None
        writable = [
            (param, path, size, signed)
            for param, arg_name in scope.structs.items()
            for arg, struct in struct_args(scope.hook)
            if arg.name == arg_name and arg.writable
            for path, _offset, size, signed in leaves(struct)
            if (scope.hook.op, path) != ("setattr", "valid")
        ]
        if not writable:
            self._stmt_assign(scope, depth, result)
            return
        param, path, size, signed = self._pick(writable)
        kind = "s64" if signed else self._pick(("u64", "s64")) if size < 8 else "u64"
        self._emit(depth, f"{param}.{path} = {self._int(scope, kind, 2)}")

    def _stmt_debug(self, scope: Scope, depth: int, _result: str) -> None:
        parts = ["'100%'", *(self._int(scope, "s64", 1) for _ in range(self._chooser.below(4)))]
        self._emit(depth, f"debug({', '.join(parts)})")

    def _stmt_event(self, scope: Scope, depth: int, _result: str) -> None:
        if scope.loops:  # the ring must hold all of them
            self._emit(depth, f"if {self._bool(scope, 1)}:")
            self._emit(depth + 1, self._pick(("break", "continue")))
        else:
            self._emit(depth, f"notes.emit({self._record(scope, 'Note')})")

    def _stmt_record_map(self, scope: Scope, depth: int, shape: MapShape, result: str) -> None:
        name, member = shape.name, self._pick(("hits", "seen", "flags"))
        kind = "s64" if member == "seen" else "u64"
        value = self._int(scope, kind, 1)
        op = self._pick(("+=", "-=", "|=", "&=", "^="))
        form = self._chooser.below(5)
        self.counts[f"record form {form}"] += 1
        if shape.kind.endswith("array"):
            slot = f"{name}[{self._index(scope, shape)}]"
            if form == 0:
                self._emit(depth, f"{slot} = {self._record(scope, 'Stat')}")
            elif form == 1:
                self._emit(depth, f"{slot}.low = {value}")
            elif form == 2:
                target = self._name("v")
                self._emit(depth, f"{target}: {kind} = {slot}.{member}")
                scope.locals[target] = kind
            else:
                self._emit(depth, f"{slot}.{member} {op} {value}")
            return
        key = self._key(scope, shape)
        if form == 0 and shape.kind != "lpm_trie":
            self._emit(depth, f"{name}[{key}].{member} {op} {value}")
        elif form <= 1:
            self._emit(depth, f"{name}.put({key}, {self._record(scope, 'Stat')})")
        elif form == 2:
            self._emit(depth, f"{name}.discard({key})")
        else:
            found = self._name("found")
            if form == 3 and shape.key in RECORDS and not scope.changeable:
                self._emit(depth, f"{found}_key = {key}")
                key = f"{found}_key"
            self._emit(depth, f"{found} = {name}.get({key})")
            self._emit(depth, f"if {found} is not None and {found}.{member} != 3:")
            inner = Scope(
                scope.hook,
                scope.locals | {f"{found}.hits": "u64", f"{found}.flags": "byte"},
                scope.fixed | {found},
                scope.names,
                scope.structs,
                scope.entry,
                scope.listing,
                scope.loops,
            )
            self._block(inner, depth + 1, result)

    def _stmt_map(self, scope: Scope, depth: int, result: str) -> None:
        shape = self._pick(self._maps)
        if shape.value == "Stat":
            self._stmt_record_map(scope, depth, shape, result)
            return
        kind = "s64" if shape.value == "s64" else "u64"
        value = self._int(scope, kind, 2)
        if shape.kind.endswith("array"):
            slot = f"{shape.name}[{self._index(scope, shape)}]"
            op = self._pick(("=", "+=", "+=", "-=", "|=", "&=", "^="))
            self._emit(depth, f"{slot} {op} {value}")
            return
        key = self._key(scope, shape)
        form = self._chooser.below(5)
        self.counts[f"map form {form}"] += 1
        if form == 0 and shape.kind != "lpm_trie":
            self._emit(depth, f"{shape.name}[{key}] += {value}")
        elif form <= 1:
            self._emit(depth, f"{shape.name}.put({key}, {value})")
        elif form == 2:
            self._emit(depth, f"{shape.name}.discard({key})")
        elif form == 3:
            found = self._name("found")
            self._emit(depth, f"{found} = {shape.name}.get({key})")
            self._emit(depth, f"if {found} is not None:")
            inner = Scope(
                scope.hook,
                scope.locals | {found: kind} if shape.value.endswith("64") else dict(scope.locals),
                scope.fixed | {found},
                scope.names,
                scope.structs,
                scope.entry,
                scope.listing,
                scope.loops,
            )
            self._block(inner, depth + 1, result)
        else:
            target = self._name("v")
            cast = kind if shape.value.endswith("64") else "u64"
            self._emit(depth, f"{target}: {cast} = {cast}({shape.name}.get({key}, 5))")
            scope.locals[target] = cast


def _struct_classes() -> list[str]:
    names = {arg.struct.py_name for hook in ALL_HOOKS for arg in hook.args if arg.struct}
    return sorted(names)
