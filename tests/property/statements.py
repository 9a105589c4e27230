# SPDX-License-Identifier: MIT
"""Random statements: the half of the generator that does something with values."""

from __future__ import annotations

from fusebpf.compiler.members import EFFECTS
from fusebpf.testing.case import leaves, struct_args
from tests.property.expressions import Expressions, Scope
from tests.property.inputs import NAMES, PIECES, RECORDS, Chooser, MapShape

#: Locals of these names have another one in C.
RESERVED = {"register": "u64", "register_": "s64", "__x": "s64", "_key": "u64", "sinf": "bool"}

#: What is done in every turn of a loop for every entry of a listing: no maps, no blocks.
HOT = ("assign", "augment", "field", "drop", "retype", "leave", "event")


class Statements(Expressions):
    """Blocks of statements, within a budget."""

    def __init__(self, chooser: Chooser, size: int = 10) -> None:
        super().__init__(chooser, size)
        #: The variable of the set that is written, and of that which sets the tag.
        self._set = self._owner = "filters"
        #: Whether a lookup filter may say how long its answer holds; whether there is an event.
        self._keeps = self._events = True
        #: Whether an answer is kept.
        self._kept = False
        #: Helpers of one number that give nothing.
        self._plain: list[str] = []

    def _block(self, scope: Scope, depth: int, result: str) -> None:
        """Statements at an indentation of ``depth``; locals made inside stay inside."""
        inner = scope.inner()
        wrote = False
        for _ in range(1 + self._chooser.below(3)):
            if wrote and (self._left <= 0 or scope.hot):
                break
            self._left -= 1
            self._stmt(inner, depth, result)
            wrote = True
        if depth == 1:
            scope.locals.update(inner.locals)

    def _result(self, scope: Scope, result: str) -> str:
        """A value that a function returns; empty for None."""
        if result == "None":
            return ""
        if result == "Verdict":
            return self._verdict(scope)
        return self._bool(scope, 2) if result == "bool" else self._int(scope, result, 2)

    def _emit(self, depth: int, text: str) -> None:
        self._lines.append("    " * depth + text)

    def _stmt(self, scope: Scope, depth: int, result: str) -> None:
        options = ["assign", "assign", "if", "if", "augment", "match"]
        if self._maps:
            options += ["map", "map"]
        if scope.hook and (self._events and (scope.inside or not scope.loops)):
            options += ["event"]
        if scope.hook and not scope.loops:
            options += ["debug"]
        if self._plain and scope.hook and not scope.loops:
            options += ["plain"]
        if scope.own and not scope.loops:
            options += ["own", "own"]
        if scope.entry and scope.entry_helpers:
            options += ["entry_helper"]
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
        if scope.inside and depth > 1:
            options += ["leave"]
        if depth > 1:
            options += ["return"]
        if scope.hook and scope.hook.op == "lookup":
            options += ["tag"] if self._set == self._owner else []
            options += ["keep"] if self._keeps else []
        if scope.hook and scope.hook.name in EFFECTS["ctx.clear_error"][0]:
            options += ["clear"]
        if scope.hot:
            options = [choice for choice in options if choice in HOT]
        choice = self._pick(options)
        self.counts[choice] += 1
        getattr(self, f"_stmt_{choice}")(scope, depth, result)

    def _stmt_assign(self, scope: Scope, depth: int, _result: str) -> None:
        kind = self._pick(("s64", "u64", "bool"))
        target = self._name("v")
        if scope.hook and self._chance(8):
            target = self._pick(tuple(RESERVED))
            kind = RESERVED[target]
        elif kind != "bool" and self._chance(6):
            other = self._name("v")
            self._emit(depth, f"{target} = {other} = {self._int(scope, kind, 2)}")
            scope.locals[target] = scope.locals[other] = kind
            return
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
        test = self._bool(scope, 3)
        if self._chance(6):
            kind = self._pick(("s64", "u64"))
            lifted = self._name("w")
            test = f"({lifted} := {self._int(scope, kind, 1)}) > {self._int(scope, kind, 1)}"
            scope.locals[lifted] = kind
        self._emit(depth, f"if {test}:")
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
        form = self._chooser.below(6)
        after = self._chance(3)  # is read behind the loop, too
        if after:
            self._emit(depth, f"{var} = 0")
        if form == 5:
            header = f"range({self._int(scope, 'u64', 1)} % 5, {bound + 3})"
        elif form == 4:
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
        inner = scope.inner(
            locals=scope.locals | {var: "s64"},
            fixed=scope.fixed | {var},
            loops=scope.loops + 1,
            hot=scope.entry is not None,
            inside=True,
        )
        self._block(inner, depth + 1, result)
        if after:
            scope.locals[var] = "s64"
            scope.fixed.add(var)

    def _stmt_bytes(self, scope: Scope, depth: int, result: str) -> None:
        var, part = self._name("c"), self._name("part")
        text = self._bytes(scope)
        # A loop over all of a buffer takes too long for more than a little in each turn.
        long = text.startswith("n") and not scope.loops and self._chance(2)
        if scope.moving:
            self._emit(depth, f"for {var} in {self._pick(scope.names)}[:9]:")
        else:
            self._emit(depth, f"{part} = {text}")
            self._emit(depth, f"for {var} in {part if long else f'{part}[:9]'}:")
        inner = scope.inner(
            locals=scope.locals | {var: "byte"},
            fixed=scope.fixed | {var},
            names=[] if long or scope.moving else [*scope.names, part],
            loops=scope.loops + 2,
            hot=scope.entry is not None,
            inside=True,
        )
        self._left = min(self._left, 2)
        self._block(inner, depth + 1, result)

    def _stmt_entries(self, scope: Scope, depth: int, result: str) -> None:
        var = self._name("entry")
        self._emit(depth, f"for {var} in {scope.listing}:")
        changeable = [f"{var}.name"] if self._chance(2) else []
        inner = scope.inner(
            names=[*scope.names, f"{var}.name"],
            entry=var,
            loops=scope.loops + 1,
            hot=scope.loops > 0,
            changeable=changeable,
            moving=bool(scope.moving or changeable or scope.entry_helpers),
            inside=True,
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
        self._kept = True

    def _stmt_clear(self, _scope: Scope, depth: int, _result: str) -> None:
        self._emit(depth, "ctx.clear_error()")

    def _stmt_drop(self, scope: Scope, depth: int, _result: str) -> None:
        self._emit(depth, f"{scope.entry}.drop()")

    def _stmt_leave(self, scope: Scope, depth: int, _result: str) -> None:
        self._emit(depth, f"if {self._bool(scope, 2)}:")
        self._emit(depth + 1, self._pick(("break", "continue")))

    def _stmt_return(self, scope: Scope, depth: int, result: str) -> None:
        value = self._result(scope, result)
        self._emit(depth, f"if {self._bool(scope, 2)}:")
        self._emit(depth + 1, f"return {value}".rstrip())

    def _stmt_own(self, scope: Scope, depth: int, result: str) -> None:
        call = scope.own.pop()
        kind, _, call = call.partition(" ")
        if kind == "Verdict" and result == "Verdict":
            self._emit(depth, f"if {self._bool(scope, 1)}:")
            self._emit(depth + 1, f"return {call}")
        else:
            self._emit(depth, call)

    def _stmt_plain(self, scope: Scope, depth: int, _result: str) -> None:
        self._emit(depth, f"{self._pick(self._plain)}({self._int(scope, 'u64', 1)})")

    def _stmt_entry_helper(self, scope: Scope, depth: int, _result: str) -> None:
        self._emit(depth, f"{self._pick(scope.entry_helpers)}({scope.entry})")

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
            if form == 3 and shape.key in RECORDS and not scope.moving:
                self._emit(depth, f"{found}_key = {key}")
                key = f"{found}_key"
            self._emit(depth, f"{found} = {name}.get({key})")
            self._emit(depth, f"if {found} is not None and {found}.{member} != 3:")
            inner = scope.inner(
                locals=scope.locals | {f"{found}.hits": "u64", f"{found}.flags": "byte"},
                fixed=scope.fixed | {found},
                changeable=[],
            )
            self._block(inner, depth + 1, result)

    def _stmt_map(self, scope: Scope, depth: int, result: str) -> None:
        shape = self._pick(self._maps)
        if shape.value == "Stat":
            self._stmt_record_map(scope, depth, shape, result)
            return
        kind = "s64" if shape.value == "s64" else "u64"
        value = "3" if self._chance(4) else self._int(scope, kind, 2)
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
            inner = scope.inner(
                locals=scope.locals | ({found: kind} if shape.value.endswith("64") else {}),
                fixed=scope.fixed | {found},
                changeable=[],
            )
            self._block(inner, depth + 1, result)
        else:
            target = self._name("v")
            cast = kind if shape.value.endswith("64") else "u64"
            self._emit(depth, f"{target}: {cast} = {cast}({shape.name}.get({key}, 5))")
            scope.locals[target] = cast
