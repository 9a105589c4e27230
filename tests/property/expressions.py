# SPDX-License-Identifier: MIT
"""Random well-typed expressions: the half of the generator that makes values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fusebpf.abi import Hook
from fusebpf.testing.case import leaves, struct_args
from tests.property.inputs import EDGES, EDGES_64, NAMES, PIECES, RECORDS, Chooser, MapShape

T = TypeVar("T")

ERRNOS = ("EPERM", "ENOENT", "EIO", "EACCES", "EROFS", "ENOSPC")
VERDICTS = ("CONTINUE", "POSTFILTER", "USER", "USER_PREFILTER", "USER_POSTFILTER", "CALL_DEFAULT")
POST_VERDICTS = ("CONTINUE", "USER_POSTFILTER", "CALL_DEFAULT")

CTX_FIELDS = (
    *("uid", "gid", "euid", "egid", "pid", "tid", "nodeid", "opcode", "error_in", "tag", "tag2"),
    "ktime",
)
NARROW = ("u8", "u16", "u32", "s8", "s16", "s32")


@dataclass
class Scope:
    """What an expression may refer to: locals by type, the arguments of the hook."""

    hook: Hook | None
    locals: dict[str, str] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    structs: dict[str, str] = field(default_factory=dict)
    entry: str | None = None
    listing: str | None = None
    loops: int = 0
    #: Names and buffers that the filter may replace.
    changeable: list[str] = field(default_factory=list)
    #: Whether any may get other contents, here or in a helper: no part of one is kept in a local.
    moving: bool = False
    constant_only: bool = False
    #: Arguments of which a filter can ask nothing.
    opaque: list[str] = field(default_factory=list)
    #: Whether there is a context: in filters, their helpers, and predicates.
    ctx: bool = False
    #: Whether a loop can be left.
    inside: bool = False
    #: Inside of two loops, one of them over the entries of a listing: a turn must be cheap.
    hot: bool = False
    #: Calls of the helpers that were made for this hook; none twice, none in loops.
    own: list[str] = field(default_factory=list)
    #: Helpers that take a directory entry.
    entry_helpers: list[str] = field(default_factory=list)

    def inner(self, **changes: Any) -> Scope:
        """A copy for a block, with changes; locals made inside stay inside."""
        made = replace(self, locals=dict(self.locals), fixed=set(self.fixed))
        return replace(made, **changes)


class Expressions:
    """Choices, and expressions made of them."""

    def __init__(self, chooser: Chooser, size: int = 10) -> None:
        self._chooser = chooser
        self._size = size
        self._lines: list[str] = []
        self._fresh = 0
        self._left = 0
        self._calls = 0
        #: Calls of helpers in the filter so far: each is as large as its helper.
        self._used = 0
        #: Questions to names so far, in what is called for every entry.
        self._searches = 0
        self._maps: list[MapShape] = []
        self._automata: list[MapShape] = []
        self._helpers: list[tuple[str, list[str], str]] = []
        #: Whether no other set, and no predicate, decides what the filters do.
        self._alone = True
        #: Helpers with loops.
        self._heavy: set[str] = set()
        self.counts: Counter[str] = Counter()

    # -------------------------------------------------------------- choices

    def _pick(self, options: tuple[T, ...] | list[T]) -> T:
        return options[self._chooser.below(len(options))]

    def _chance(self, one_in: int) -> bool:
        return self._chooser.below(one_in) == one_in - 1

    def _name(self, prefix: str) -> str:
        self._fresh += 1
        return f"{prefix}{self._fresh}"

    # ---------------------------------------------------------- expressions

    def _index(self, scope: Scope, shape: MapShape) -> str:
        if shape.max_entries > 1 and self._chance(3):
            return f"{self._int(scope, 'u64', 1)} % {shape.max_entries}"
        return str(self._chooser.below(shape.max_entries))

    def _key(self, scope: Scope, shape: MapShape) -> str:
        if shape.key in RECORDS:
            return self._record(scope, shape.key)
        if self._chance(2):
            return str(self._chooser.below(4))
        kind = "s64" if shape.key.startswith("s") else "u64"
        text = self._int(scope, kind, 1)
        return text if shape.key.endswith("64") else f"{shape.key}({text})"

    def _verdict(self, scope: Scope) -> str:
        form = self._chooser.below(7)
        if form == 6 and scope.hook:
            return f"refuse({self._int(scope, self._pick(('s64', 'u64')), 1)})"
        verdicts: tuple[str, ...] = VERDICTS
        if scope.hook and scope.hook.phase == "post":
            verdicts = POST_VERDICTS
        elif not self._alone:
            # The daemon would switch off the postfilters of the other sets.
            verdicts = tuple(word for word in VERDICTS if not word.startswith("USER"))
        if form < 2:
            return self._pick(verdicts)
        if form < 5:
            return f"-{self._pick(ERRNOS)}"
        return f"-{self._pick(ERRNOS)} if {self._bool(scope, 1)} else {self._pick(verdicts)}"

    def _int(self, scope: Scope, kind: str, depth: int) -> str:
        """An expression of exactly the type ``kind`` (s64 or u64)."""
        if depth <= 0 or self._chance(3):
            return self._atom(scope, kind)
        form = self._chooser.below(12)
        self.counts[f"int form {form}"] += 1
        left = self._int(scope, kind, depth - 1)
        if form < 3:
            op = self._pick(("+", "-", "*", "&", "|", "^"))
            return f"({left} {op} {self._int(scope, kind, depth - 1)})"
        if form == 3:
            op = self._pick(("//", "%"))
            divisor = 1 + self._pick(EDGES)
            if self._chance(4):
                return f"({left} {op} {kind}(CHOSEN))"
            sign = "-" if kind == "s64" and self._chance(3) else ""
            return f"({left} {op} {sign}{divisor})"
        if form == 4:
            return f"({left} {self._pick(('<<', '>>'))} {self._chooser.below(64)})"
        if form == 5:
            return f"({self._pick(('-', '~'))}{left})"
        if form == 6:
            other = "u64" if kind == "s64" else "s64"
            return f"{kind}({self._int(scope, other, depth - 1)})"
        if form == 7:
            return f"{kind}({self._pick(NARROW)}({left}))"
        if form in (9, 10):
            how = self._pick(("min", "max"))
            others = [self._int(scope, kind, depth - 1) for _ in range(1 + self._chooser.below(2))]
            narrow = self._pick(NARROW) if self._chance(3) else kind
            values = ", ".join(f"{narrow}({value})" for value in (left, *others))
            return f"{kind}({how}({values}))"
        if form == 11:
            joiner = self._pick(("and", "or"))
            return f"({left} {joiner} {self._int(scope, kind, depth - 1)})"
        other_value = self._int(scope, kind, depth - 1)
        return f"({left} if {self._bool(scope, depth - 1)} else {other_value})"

    def _atom(self, scope: Scope, kind: str) -> str:
        options = ["literal", "config"]
        same = [name for name, local in scope.locals.items() if local == kind]
        same += [f"{kind}({name})" for name, local in scope.locals.items() if local == "byte"]
        if same:
            options += ["local", "local"]
        if scope.ctx:
            options.append("ctx")
        if scope.structs:
            options += ["field", "field"]
        if scope.names:
            options += ["len", "byte", "byte at"]
            # A Buffer, b1 and so on, cannot be walked over
            whole = [name for name in scope.names if not name.startswith("b")]
            if self._automata and whole and not scope.loops and self._used < 6:
                options.append("walk")
        if scope.entry:
            options.append("entry")
        if any(shape.kind.endswith("array") for shape in self._maps):
            options.append("item")
        # Loops in loops in helpers would take longer than a filter may.
        helpers = [h for h in self._helpers if not scope.loops or h[0] not in self._heavy]
        if helpers and scope.hook and self._calls < 2 and scope.loops < 2 and self._used < 6:
            options.append("helper")
        choice = self._pick(options)
        self.counts[f"atom {choice}"] += 1
        if choice == "literal":
            if self._chance(8):
                return "s64(-2**63)" if kind == "s64" else "u64(2**64 - 1)"
            value = self._pick(EDGES + EDGES_64)
            return f"{kind}({-value})" if kind == "s64" and self._chance(3) else f"{kind}({value})"
        if choice == "config":
            return f"{kind}({self._pick(('CHOSEN', 'SIGNED', 'FLAG'))})"
        if choice == "local":
            return self._pick(same)
        if choice == "ctx":
            return f"{kind}(ctx.{self._pick(CTX_FIELDS)})"
        if choice == "len":
            return f"{kind}(len({self._bytes(scope)}))"
        if choice == "byte at":
            return f"{kind}({self._bytes(scope)}[{self._int(scope, 's64', 1)}])"
        if choice == "byte":
            return f"{kind}({self._pick(scope.names)}[{self._chooser.below(6) - 2}])"
        if choice == "walk":
            self._used += 2
            shape = self._pick(self._automata)
            state = f", {self._int(scope, 'u64', 0)}" if self._chance(3) else ""
            return f"{kind}({shape.name}.walk({self._pick(whole)}{state}))"
        if choice == "item":
            shape = self._pick([shape for shape in self._maps if shape.kind.endswith("array")])
            member = f".{self._pick(('hits', 'seen', 'low'))}" if shape.value in RECORDS else ""
            return f"{kind}({shape.name}[{self._index(scope, shape)}]{member})"
        if choice == "entry":
            return f"{kind}({scope.entry}.{self._pick(('ino', 'type'))})"
        if choice == "helper":
            name, kinds, _result = self._pick(helpers)
            self._calls += 1
            self._used += 1
            args = ", ".join(self._int(scope, arg, 0) for arg in kinds)
            self._calls -= 1
            return f"{kind}({name}({args}))"
        assert scope.hook is not None
        param = self._pick(list(scope.structs))
        struct = next(s for a, s in struct_args(scope.hook) if a.name == scope.structs[param])
        return f"{kind}({param}.{self._pick(leaves(struct))[0]})"

    def _bool(self, scope: Scope, depth: int) -> str:
        options = ["compare", "compare", "flag"]
        booleans = [name for name, local in scope.locals.items() if local == "bool"]
        if booleans:
            options.append("local")
        if scope.names and (scope.loops < 2 or self._searches < 2):
            options += ["name", "name"]
        if not scope.hot and any(not shape.kind.endswith("array") for shape in self._maps):
            options.append("has")
        if depth > 0:
            options += ["logic", "not", "chain", "mixed", "oneof", "narrow", "same"]
        choice = self._pick(options)
        self.counts[f"bool {choice}"] += 1
        op = self._pick(("==", "!=", "<", "<=", ">", ">="))
        kind = self._pick(("s64", "u64"))
        if choice == "compare":
            return f"{self._int(scope, kind, 1)} {op} {self._int(scope, kind, 1)}"
        if choice == "mixed":
            return f"{self._int(scope, 's64', 1)} {op} {self._int(scope, 'u64', 1)}"
        if choice == "chain":
            parts = [self._int(scope, kind, 1) for _ in range(3)]
            return f"{parts[0]} <= {parts[1]} {op} {parts[2]}"
        if choice == "local":
            return self._pick(booleans)
        if choice == "flag":
            return "FLAG"
        if choice == "name":
            return self._name_test(scope)
        if choice == "has":
            shape = self._pick([m for m in self._maps if not m.kind.endswith("array")])
            return f"{self._key(scope, shape)} in {shape.name}"
        if choice == "not":
            return f"not ({self._bool(scope, depth - 1)})"
        if choice == "narrow":
            sides = [self._int(scope, "s64", 1), f"u32({self._int(scope, 'u64', 1)})"]
            if self._chance(2):
                sides.reverse()
            return f"{sides[0]} {op} {sides[1]}"
        if choice == "same":
            left = self._bool(scope, depth - 1)
            return f"({left}) {self._pick(('==', '!='))} ({self._bool(scope, depth - 1)})"
        if choice == "oneof":
            form = self._chooser.below(5)
            if form == 3:
                return f"{self._int(scope, kind, 1)} in NOBODY"
            if form == 4:
                return f"u8({self._int(scope, kind, 1)}) in {{256, 300}}"
            if form == 2:
                return f"{self._int(scope, kind, 1)} in range(2, {3 + self._chooser.below(90)})"
            return f"{self._int(scope, kind, 1)} {self._pick(('in', 'not in'))} {{1, 2, 64, LIMIT}}"
        joiner = self._pick(("and", "or"))
        return f"({self._bool(scope, depth - 1)} {joiner} {self._bool(scope, depth - 1)})"

    def _name_test(self, scope: Scope) -> str:
        name = self._bytes(scope)
        if scope.loops > 1 or (scope.loops and name.startswith("b")):
            name = f"{name}[:9]"  # searching all of a buffer in every turn takes too long
        form = self._chooser.below(14)
        self.counts[f"name form {form}"] += 1
        self._searches += 1
        if form == 12:
            test = self._pick(("== 'readme.md'", "in {'a', 'pem'}", "!= 'id_rsa'", "in SECRETS"))
            return f"{name}.lower() {test}"
        if form == 13:
            how = self._pick(("startswith", "endswith"))
            return f"{name}{self._pick(('', '.lower()'))}.{how}({self._pick(('()', repr('re')))})"
        if form == 7:
            return f"{name}{self._pick(('', '.lower()'))}.glob({self._glob()!r})"
        if form == 8:
            return f"{name}.glob(({self._glob()!r}, {self._glob()!r}))"
        if form == 9:
            return f"{self._pick(PIECES)!r} {self._pick(('in', 'not in'))} {name}"
        if form == 10:
            return f"{name} {self._pick(('==', '!='))} {self._bytes(scope)}"
        if form == 11:
            return f"matches({name})" if name[0] in "ne" else f"{name}.glob('*.*')"
        if form == 0:
            return f"{name} {self._pick(('==', '!='))} {self._pick(NAMES)!r}"
        if form == 1:
            chosen = ", ".join(repr(self._pick(NAMES)) for _ in range(1 + self._chooser.below(4)))
            return f"{name} {self._pick(('in', 'not in'))} {{{chosen}}}"
        if form == 2:
            return f"{name}.startswith({self._pick(PIECES)!r})"
        if form == 3:
            return f"{name}.endswith({self._pick(PIECES)!r})"
        if form == 4:
            return f"{name}.endswith(({self._pick(PIECES)!r}, {self._pick(PIECES)!r}))"
        if form == 5:
            return f"{name} in SECRETS"
        return f"len({name}) {self._pick(('<', '>', '=='))} {self._pick((1, 4, 7, 255))}"

    def _bytes(self, scope: Scope) -> str:
        """A name or buffer, or a part of one."""
        name = self._pick(scope.names)
        form = self._chooser.below(8)
        self.counts[f"bytes form {form}"] += 1
        small = [str(self._chooser.below(9) - 4) for _ in range(2)]
        if form == 4:
            return f"{name}[{small[0]}:]"
        if form == 5:
            return f"{name}[:{small[0]}]"
        if form == 6:
            return f"{name}[{small[0]}:{small[1]}]"
        if form == 7:
            start = self._int(scope, "s64", 1)
            return f"{name}[{start}:{self._pick(('', *small))}]"
        return name

    def _glob(self) -> str:
        pieces = ("*", "*", "?", "[a-m]", "[!.x]", "[]e]", "[", ".pem", "a", "id", "é", ".")
        text = "".join(self._pick(pieces) for _ in range(1 + self._chooser.below(5)))
        # A class cannot hold a character of several bytes.
        return text.replace("é", "e") if "[" in text else text

    def _record(self, scope: Scope, name: str) -> str:
        """A call that makes a record."""
        values: list[str] = []
        for member, kind in RECORDS[name]:
            if kind.startswith("bytes"):
                value = repr(self._pick((*NAMES[:7], "")))
                if scope.names and self._chance(2):
                    value = self._bytes(scope)
            elif member == "prefixlen":
                value = self._pick(("0", "8", "12", "16", "24", "128", "129"))
            else:
                value = self._int(scope, "s64" if kind.startswith("s") else "u64", 1)
            values.append(f"{member}={value}" if self._chance(2) or "=" in str(values) else value)
        return f"{name}({', '.join(values)})"
