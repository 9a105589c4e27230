# SPDX-License-Identifier: MIT
"""Random well-typed filter sets as source text, and random inputs for them.

Every program is valid by construction: a refusal by the front end or the verifier is a bug of
the compiler. Choices come from a ``Chooser``, so that hypothesis can drive (and shrink) them.
"""

from __future__ import annotations

from fusebpf.abi import DEFAULT_FILTER, HOOKS, Hook
from fusebpf.abi.opcodes import COVERED
from tests.property.expressions import ERRNOS, VERDICTS, Scope
from tests.property.inputs import EDGES, RECORDS, Chooser, Generated, MapShape
from tests.property.statements import Statements

#: Most filters of one set: clang takes most of the time, and as long for one as for a few.
FILTERS = 8
ALL_HOOKS = [DEFAULT_FILTER, *(hook for hook in HOOKS.values() if hook.op not in COVERED)]


#: Those with the most constructs, and a few where joined sets meet.
RICH_HOOKS = [
    DEFAULT_FILTER,
    *(HOOKS[f"{op}_{phase}filter"] for op in ("lookup", "unlink") for phase in ("pre", "post")),
    HOOKS["readdir_postfilter"],
]


class Generator(Statements):
    """Writes one filter set. ``size`` bounds the statements of a filter, ``hooks`` are for most."""

    def __init__(self, chooser: Chooser, size: int = 10, hooks: list[Hook] | None = None) -> None:
        super().__init__(chooser, size)
        self._hooks = hooks or ALL_HOOKS
        #: Whether there are config values.
        self._configured = True

    # ------------------------------------------------------------- programs

    def generate(self, filters: int = 4) -> Generated:
        """A set of at most ``filters`` filters of its own; joined ones have as many together."""
        parts = ("first", "a-b", "a.b")[: self._chooser.below(4)] if self._chance(3) else ()
        asked = self._chance(3)
        # What others decide, too, cannot be replaced or kept; a predicate on the name alone can.
        self._alone = not parts and not asked
        pure = asked and not parts and self._chance(2)
        self._keeps = self._alone or pure
        self._events = not self._chance(6)
        self._head(parts)
        for _ in range(self._chooser.below(3)):
            self._helper()
        if self._maps and self._chance(3):
            self._plain_helper()
        done: dict[str, str] = {}
        for number, part in enumerate((*parts, "generated")):
            self._set = ("first", "second", "third")[number] if part != "generated" else "filters"
            if self._set == "filters" and parts:
                sets = ", ".join(("first", "second", "third")[: len(parts)])
                if self._chance(3):  # of another file
                    sets += ", hide('*.zip', name='ready')"
                    self.counts["ready part"] += 1
                self._lines += ["", f'filters = FilterSet("generated", {sets})']
            hooks: list[str] = []
            for _ in range(1 + self._chooser.below(filters // (1 + len(parts)) or 1)):
                hook = self._pick(RICH_HOOKS if self._chance(3) else self._hooks)
                if hook is DEFAULT_FILTER and self._kept:
                    continue
                # A default filter would have its part in what is kept.
                self._keeps &= hook is not DEFAULT_FILTER
                if hook.name not in hooks:
                    hooks.append(hook.name)
                    done[f"{self._set}.{self._filter(hook, len(hooks))}"] = hook.name
            if asked and (not parts or self._chance(2)):
                self._predicate(pure)
        config = {
            "chosen": 1 + self._chooser.below(50),
            "signed": self._pick(EDGES[:12]) * self._pick((1, -1)),
            "flag": self._chooser.below(2),
        }
        maps = [*self._maps, *self._automata]
        return Generated(
            "\n".join(self._lines) + "\n",
            maps,
            done,
            self.counts,
            config if self._configured else {},
        )

    def _head(self, parts: tuple[str, ...]) -> None:
        """Imports, records, sets, maps, constants."""
        out = self._lines
        out += [
            "from fusebpf import (",
            *(f"    {name}," for name in (*VERDICTS, "Context", "FilterSet", "Name", "debug")),
            *(f"    {name}," for name in ("Buffer", "Dirent", "Dirents", *_struct_classes())),
            "    Verdict,",
            "    refuse,",
            ")",
            f"from fusebpf.constants import {', '.join(ERRNOS)}",
            "from fusebpf.types import bytes16, bytes32, s8, s16, s32, s64, u8, u16, u32, u64",
            "from fusebpf.filters import hide",
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
        ]
        for variable, part in zip(("first", "second", "third"), parts, strict=False):
            out.append(f'{variable} = FilterSet("{part}")')
            self.counts["joined set"] += 1
        if not parts:
            out.append('filters = FilterSet("generated")')
        self._set = self._owner = "first" if parts else "filters"
        for _ in range(self._chooser.below(4)):
            self._map()
        if self._chance(4):
            name, states = self._name("map"), 1 + self._chooser.below(9)
            self._automata.append(MapShape(name, "automaton", "u32", "", states))
            out.append(f'{name} = {self._set}.automaton("{name}", states={states})')
        self._configured = not self._chance(6)
        if self._configured:
            out += [
                f'CHOSEN = {self._set}.config("chosen", u64, 5, least=1, most=50)',
                f'SIGNED = {self._set}.config("signed", s32, -3)',
                f'FLAG = {self._set}.config("flag", bool, True)',
            ]
        else:
            out += ["CHOSEN = 5", "SIGNED = -3", "FLAG = True"]
        if self._events:
            out.append(f'notes = {self._set}.events("notes", Note)')
        out += ["LIMIT = 1000", 'SECRETS = {".env", "id_rsa"}', "NOBODY = ()", ""]
        out += [
            "def matches(name: Name) -> bool:",
            f"    return name.glob({self._glob()!r}) or name[1:].endswith('em')",
            "",
        ]

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
                f'{name} = {self._set}.{kind}("{name}", value={value}, max_entries={entries})'
            )
            return
        entries = entries if kind not in ("lru_hash", "lpm_trie") else 64
        key = self._pick(("u32", "u64", "s32", "Pair", "Tagged"))
        if kind == "lpm_trie":
            key = "Prefix"
        self._maps.append(MapShape(name, kind, key, value, entries))
        sizes = f"value={value}, max_entries={entries}"
        self._lines.append(f'{name} = {self._set}.{kind}("{name}", key={key}, {sizes})')

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

    def _plain_helper(self) -> None:
        """A helper of numbers that gives nothing."""
        name = self._name("plain")
        self._lines += ["", f"def {name}(p0: u64) -> None:"]
        scope = Scope(None, {"p0": "u64"})
        self._left = 2
        self._block(scope, 1, "None")
        self._plain.append(name)
        self.counts["plain helper"] += 1

    def _arguments(self, hook: Hook) -> tuple[Scope, list[str]]:
        """What a filter of the hook begins with, and its parameters."""
        scope = Scope(hook, ctx=True)
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
                scope.opaque.append(f"b{index}")
        return scope, params

    def _own_helper(self, hook: Hook) -> str:
        """A helper that takes all that a filter of the hook gets; its result, and a call."""
        scope, params = self._arguments(hook)
        scope.changeable = []
        name, result = self._name("own"), self._pick(("None", "Verdict", "bool"))
        # What a lookup found cannot be given on.
        params = [p for p in params if p.partition(":")[0] not in scope.opaque]
        self._lines += ["", f"def {name}({', '.join(params)}) -> {result}:"]
        self._left = 3
        self._block(scope, 1, result)
        if result != "None":
            self._lines.append(f"    return {self._result(scope, result)}")
        self.counts["own helper"] += 1
        return f"{result} {name}({', '.join(p.partition(':')[0] for p in params)})"

    def _entry_helper(self) -> str:
        name = self._name("each")
        self._lines += ["", f"def {name}(entry: Dirent) -> None:"]
        scope = Scope(None, names=["entry.name"], entry="entry", loops=2)
        scope.changeable = ["entry.name"] if self._chance(2) else []
        scope.moving = bool(scope.changeable)
        self._left, self._searches = 2, 0
        self._block(scope, 1, "None")
        self.counts["entry helper"] += 1
        return name

    def _predicate(self, pure: bool) -> None:
        """One function that is a predicate of some kinds."""
        name = self._name("asked")
        kinds = [kind for kind in ("visible", "creatable", "deletable") if self._chance(2)]
        self._searches = 0
        scope = Scope(None, names=["name"], ctx=not pure, loops=2)
        maps, automata = self._maps, self._automata
        if pure:
            self._maps, self._automata = [], []
        self._lines += ["", *(f"@{self._set}.{kind}" for kind in kinds or ["visible"])]
        self._lines.append(f"def {name}(ctx: Context, name: Name) -> bool:")
        self._left = 1
        if self._chance(2):
            self._block(scope, 1, "bool")
        self._lines.append(f"    return {self._bool(scope, 1)}")
        if not pure and self._chance(2):
            self._lines += ["", f"@{self._set}.writable"]
            self._lines.append(f"def {name}_writes(ctx: Context) -> bool:")
            self._lines.append(f"    return {self._bool(Scope(None, ctx=True), 2)}")
        self._maps, self._automata = maps, automata
        self.counts["predicate"] += 1

    def _filter(self, hook: Hook, number: int) -> str:
        self._used = self._searches = 0
        scope, params = self._arguments(hook)
        if self._chance(2) or not self._alone:
            scope.changeable = []
        scope.moving = bool(scope.changeable)
        if self._chance(3) and not scope.changeable:
            scope.own = [self._own_helper(hook)]
        if scope.listing and not self._chance(3):
            scope.entry_helpers = [self._entry_helper()]
        # Filters of several sets may have one name.
        function = f"filter{number}"
        decorator = "default" if hook is DEFAULT_FILTER else f"{hook.op}.{hook.phase}"
        self._lines += ["", f"@{self._set}.{decorator}"]
        self._lines.append(f"def {function}({', '.join(params)}):")
        self.counts[f"hook {hook.name}"] += 1
        self._left = 1 + self._chooser.below(self._size)
        self._block(scope, 1, "Verdict")
        if not self._chance(4):
            self._lines.append(f"    return {self._verdict(scope)}")
        else:
            self._lines.append("    pass")
        return function


def _struct_classes() -> list[str]:
    names = {arg.struct.py_name for hook in ALL_HOOKS for arg in hook.args if arg.struct}
    return sorted(names)
