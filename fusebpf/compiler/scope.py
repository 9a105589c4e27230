# SPDX-License-Identifier: MIT
"""State of one function while it is checked: locals, facts, findings; and the constants around it.

A function is checked several times: first to infer the types of its locals (``infer``, silent),
until nothing changes, then once more for the findings and the IR.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

from fusebpf.abi.record import Record
from fusebpf.compiler import ir
from fusebpf.compiler.diagnostics import Diagnostic, Related, Severity
from fusebpf.compiler.flow import Flow
from fusebpf.compiler.joins import Joined
from fusebpf.compiler.mending import Mend, Mending, column, definition, fix_of, segment
from fusebpf.compiler.misnamed import misnamed
from fusebpf.compiler.operands import (
    POISON,
    Builtin,
    ClassRef,
    EventRef,
    Group,
    HelperRef,
    Lit,
    MapRef,
    Namespace,
    Nothing,
    Operand,
    Poison,
    RecordClass,
    Text,
    TypeRef,
    Value,
)
from fusebpf.compiler.sources import Source
from fusebpf.compiler.types import (
    BOOL,
    ERRNO,
    INT_TYPES,
    VERDICT,
    BoolType,
    IntType,
    RecordType,
    StructType,
    Type,
)
from fusebpf.dsl import objects
from fusebpf.dsl.config import Config
from fusebpf.dsl.events import Events
from fusebpf.dsl.maps import Map
from fusebpf.dsl.values import Errno, Verdict, debug, refuse
from fusebpf.spelling import closest

if TYPE_CHECKING:
    from fusebpf.dsl import FilterSet

BUILTINS = ("len", "range", "min", "max", "abs", "bool", "int")


@dataclass(frozen=True)
class HelperInfo:
    """A helper that was checked; what its callers must allow."""

    function: ir.Function | None
    returns: Type
    #: Positions of struct parameters that it writes to, itself or through other helpers.
    writes: frozenset[int]
    #: What it does that only some hooks can do.
    effects: frozenset[str]
    depth: int
    #: Positions of names that automata walk over, which the kernel does from their first byte.
    walks: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Declared:
    """What joined sets declare, by the identity of the author's object: each may use all of it."""

    maps: dict[int, ir.MapDecl]
    events: dict[int, ir.EventDecl]
    configs: dict[int, Config]
    #: Layouts of the dataclasses that maps and events use.
    records: dict[type, Record]

    @classmethod
    def by(cls, members: Iterable[FilterSet]) -> Declared:
        """What these sets declare."""
        found = cls({}, {}, {}, {})
        for fset in members:
            for m in fset.maps.values():
                found.maps[id(m)] = ir.MapDecl(
                    m.name,
                    m.kind,
                    RecordType(m.key_record) if m.key_record else INT_TYPES[m.key.__name__],
                    RecordType(m.value_record) if m.value_record else INT_TYPES[m.value.__name__],
                    m.max_entries,
                )
                for kind, record in ((m.key, m.key_record), (m.value, m.value_record)):
                    if record is not None:
                        found.records[kind] = record
            for e in fset.event_kinds.values():
                found.events[id(e)] = ir.EventDecl(e.name, e.record, e.size)
                found.records[e.cls] = e.record
            found.configs.update((id(c), c) for c in fset.configs.values())
        return found


@dataclass
class Unit:
    """One set: its file, its constants, and what was found so far."""

    source: Source
    globals: Mapping[str, object]
    fset: FilterSet
    declared: Declared
    #: Shared by the sets that are joined.
    diagnostics: list[Diagnostic]
    helpers: dict[str, HelperInfo] = field(default_factory=dict)
    #: The author's functions that became helpers.
    helper_functions: dict[str, FunctionType] = field(default_factory=dict)
    order: list[ir.Function] = field(default_factory=list)
    #: Names of the helpers being checked, outermost first.
    stack: list[str] = field(default_factory=list)
    #: The calls that led into them.
    calls: list[Related] = field(default_factory=list)
    counts_lost: bool = False
    #: The first expression of which no code is made: there must be an error that says why.
    left_out: ast.expr | None = None
    #: Hooks that the set has filters for, those of predicates included.
    hooks: frozenset[str] = frozenset()
    #: What names stand for in the function being checked.
    namespace: Mapping[str, object] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """The file's lines."""
        return self.source.lines

    @contextmanager
    def names_of(self, function: FunctionType | None) -> Iterator[None]:
        """See the names as a function does that another one made: with the latter's variables."""
        before = self.namespace
        self.namespace = self.globals if function is None else {**self.globals, **_free(function)}
        try:
            yield
        finally:
            self.namespace = before

    def segment(self, node: ast.AST) -> str:
        """The text of a node."""
        return segment(self.source, node)

    def report(
        self,
        node: ast.AST,
        code: str,
        message: str,
        help: str | None = None,
        severity: Severity = "error",
        fix: Mending = None,
    ) -> None:
        """Note a finding at a node; the same finding at one place counts once."""
        line, col, end = self.place(node)
        found = Diagnostic(
            severity,
            code,
            message,
            self.source.path,
            line,
            col,
            end,
            help,
            (),
            fix_of(self.source, node, fix),
            tuple(self.calls[::-1]),
        )
        if not any(
            (d.file, d.code, d.line, d.col, d.message)
            == (self.source.path, code, line, col, message)
            for d in self.diagnostics
        ):
            self.diagnostics.append(found)

    def place(self, node: ast.AST) -> tuple[int, int, int]:
        """Line, column and end of a node on its first line, in characters from 1."""
        line = getattr(node, "lineno", 1)
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        col = column(text, getattr(node, "col_offset", 0))
        end = len(text)
        if getattr(node, "end_lineno", line) == line:
            end = column(text, getattr(node, "end_col_offset", None) or 0)
        return line, col + 1, max(end, col + 1) + 1

    @contextmanager
    def pointing(self, node: ast.AST | None, message: str) -> Iterator[None]:
        """Let what is reported point at another place, too."""
        if node is None:
            yield
            return
        self.calls.append(Related(message, self.source.path, *self.place(node)))
        try:
            yield
        finally:
            self.calls.pop()

    @contextmanager
    def called(self, node: ast.Call, caller: str, name: str) -> Iterator[None]:
        """Check the function that a call leads into: what is found there tells of the call."""
        line, col, end = self.place(node)
        message = f"{caller} calls {name} here"
        self.calls.append(Related(message, self.source.path, line, col, end))
        self.stack.append(name)
        try:
            yield
        finally:
            self.stack.pop()
            self.calls.pop()


def _ordered(
    value: tuple[object, ...] | list[object] | set[object] | frozenset[object],
) -> list[object]:
    """The items of a constant; those of a set in an order that no hash seed changes."""
    if isinstance(value, tuple | list):
        return list(value)
    texts = [item for item in value if isinstance(item, str | bytes)]
    return [
        *(item for item in value if not isinstance(item, str | bytes)),
        *sorted(texts, key=lambda text: (isinstance(text, bytes), repr(text))),
    ]


def _free(function: FunctionType) -> dict[str, object]:
    """Variables of enclosing functions, those aside that are not assigned yet."""
    found: dict[str, object] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):
            found[name] = cell.cell_contents
    return found


class Scope(ABC):
    """Findings, names and locals of one function. The parts of the front end extend it."""

    def __init__(self, unit: Unit, node: ast.FunctionDef, joins: dict[str, Joined], infer: bool):
        self.unit = unit
        self.node = node
        self.infer = infer
        self.joins = joins
        self.flow = Flow()
        self.params: dict[str, ir.Param] = {}
        #: Locals that are other words for something: names and directory entries.
        self.aliases: dict[str, Operand] = {}
        self.local_names: frozenset[str] = frozenset()
        self.hook: str | None = None
        self.writes: set[str] = set()
        self.walks: set[str] = set()
        self.effects: set[str] = set()
        #: Structs and entries that calls changed so far, while it is of interest.
        self.changed: frozenset[str] = frozenset()
        self.depth = 1

    # ------------------------------------------------------------ findings

    def error(
        self,
        node: ast.AST,
        code: str,
        message: str,
        help: str | None = None,
        fix: Mending = None,
    ) -> Poison:
        """Report a mistake; the result stands for the expression that made it."""
        if not self.infer:
            self.unit.report(node, code, message, help, fix=fix)
        return POISON

    def warn(
        self,
        node: ast.AST,
        code: str,
        message: str,
        help: str | None = None,
        fix: Mending = None,
    ) -> None:
        """Report something that compiles but is unlikely to be meant."""
        if not self.infer:
            self.unit.report(node, code, message, help, "warning", fix)

    def source_of(self, node: ast.AST) -> str:
        """The author's text of a node, on one line, shortened when long."""
        text = " ".join((self.unit.segment(node) or ast.unparse(node)).split())
        return text if len(text) <= 60 else text[:57] + "..."

    # ------------------------------------------------------------ hooks for the other parts

    @abstractmethod
    def expr(self, node: ast.expr) -> Operand:
        """Check an expression."""

    @abstractmethod
    def condition(self, node: ast.expr, beside: ast.expr | None = None) -> ir.Expr | None:
        """Check an expression for its truth; None after a mistake.

        ``beside`` is the test before it in an ``or``.
        """

    @abstractmethod
    def call_helper(self, node: ast.Call, helper: HelperRef) -> Operand:
        """Check a call of a function of the same file."""

    # ------------------------------------------------------------ names

    def global_name(self, node: ast.Name) -> Operand:
        """What a name outside the function stands for."""
        if node.id in self.unit.namespace:
            return self.constant(node, self.unit.namespace[node.id], node.id)
        if node.id in BUILTINS:
            return TypeRef(node.id, None) if node.id in ("bool", "int") else Builtin(node.id)
        if hasattr(builtins, node.id):
            return self.error(
                node,
                "E201",
                f"{node.id}() cannot run in the kernel",
                _BUILTIN_HELP.get(node.id, "filters know len, range, min, max, bool and int"),
                Mend("debug", imports=(("fusebpf", "debug"),)) if node.id == "print" else None,
            )
        known = [*self.local_names, *self.params, *self.unit.namespace, *BUILTINS]
        known = [k for k in known if not k.startswith("__")]
        import fusebpf.constants as constants

        message = f"{node.id!r} is not defined"
        if node.id in _VERDICT_WORDS:
            return self.error(node, "E200", message, _VERDICT_WORDS[node.id])
        if node.id in _OTHER_LANGUAGES:
            word = _OTHER_LANGUAGES[node.id]
            return self.error(node, "E200", message, f"in Python it is {word}", word)
        module = "fusebpf.constants" if hasattr(constants, node.id) else _LANGUAGE.get(node.id)
        if module is not None:
            help = f"import it: from {module} import {node.id}"
            return self.error(node, "E200", message, help, Mend("", imports=((module, node.id),)))
        # What the function has goes first: many a type is named as a parameter but for a capital.
        near = closest(node.id, [*self.local_names, *self.params]) or closest(node.id, known)
        if near is not None:
            if not self.infer:
                self._misspelled(node, message, near)
            return POISON
        far = closest(node.id, [*(k for k in vars(constants) if k.isupper()), *_LANGUAGE])
        if far is None:
            return self.error(node, "E200", message, "assign it first, or import it")
        module = _LANGUAGE.get(far, "fusebpf.constants")
        help = f"did you mean {far!r}? from {module} import {far}"
        return self.error(node, "E200", message, help, Mend(far, imports=((module, far),)))

    def _misspelled(self, node: ast.Name, message: str, near: str) -> None:
        """Report a name that is not defined where one like it is."""
        inside = self.node if near in {*self.local_names, *self.params} else self.unit.source.tree
        slip = misnamed(inside, node.id, near)
        if slip is not None:
            with self.unit.pointing(slip.used, f"{node.id!r} is used here"):
                message = f"{message}: it is made as {near!r}, which nothing uses"
                self.unit.report(slip.made, "E200", message, f"write {node.id!r} here", fix=node.id)
            return
        with self.unit.pointing(definition(inside, near), f"{near!r} is made here"):
            self.unit.report(node, "E200", message, f"did you mean {near!r}?", fix=near)

    def foreign_type(self, node: ast.expr) -> bool:
        """Whether an annotation names a Python type that filters do not have (str, list, …)."""
        return (
            isinstance(node, ast.Name)
            and node.id not in self.unit.namespace
            and node.id not in BUILTINS
            and isinstance(getattr(builtins, node.id, None), type)
        )

    def constant(self, node: ast.expr, value: object, shown: str) -> Operand:
        """What a Python object of the author's file means in a filter."""
        found = self._plain_constant(value, shown)
        if found is not None:
            return found
        if isinstance(value, Map):
            decl = self.unit.declared.maps.get(id(value))
            if decl is None:
                return self.error(
                    node,
                    "E205",
                    f"map {value.name!r} belongs to another filter set",
                    f"declare it with this set: {shown} = filters.{value.kind}(...)",
                )
            return MapRef(decl)
        if isinstance(value, Events):
            event = self.unit.declared.events.get(id(value))
            if event is None:
                return self.error(
                    node,
                    "E205",
                    f"events {value.name!r} belong to another filter set",
                    f"declare them with this set: {shown} = filters.events(...)",
                )
            return EventRef(event)
        if isinstance(value, Config):
            return self.error(
                node,
                "E205",
                f"config value {value.name!r} belongs to another filter set",
                f"declare it with this set: {shown} = filters.config(...)",
            )
        if isinstance(value, FunctionType):
            return self._function(node, value, shown)
        if isinstance(value, ModuleType):
            return Namespace(value, shown)
        if isinstance(value, type):
            return self._class(node, value, shown)
        if isinstance(value, float):
            return self.error(
                node,
                "E202",
                f"{shown} is a float; the kernel has no floating point",
                "use integers, e.g. thousandths",
            )
        if isinstance(value, str):
            return self.error(
                node,
                "E232",
                f"{shown} has half of a surrogate pair, which no name contains",
                "names are bytes: write those of the name, e.g. b'caf\\xc3\\xa9'",
            )
        kind = type(value).__name__
        return self.error(
            node,
            "E203",
            f"{shown} is a {kind}, which filters cannot use",
            _MODULE_HELP.get(
                getattr(value, "__module__", None) or "",
                "filters can use module-level integers, strings, bytes, sets and tuples of them, "
                "verdicts, errnos, maps and functions",
            ),
        )

    def _plain_constant(self, value: object, shown: str) -> Operand | None:
        if isinstance(value, Config):
            if id(value) not in self.unit.declared.configs:
                return None
            return Value(ir.Config(config_type(value.kind), value.name, value.least, value.most))
        if isinstance(value, bool):
            return Value(ir.Const(BOOL, int(value)))
        if isinstance(value, int):
            return Lit(int(value))
        if isinstance(value, str):
            with suppress(UnicodeEncodeError):
                return Text(value.encode("utf-8", "surrogateescape"), repr(value))
            return None
        if isinstance(value, bytes):
            return Text(value, repr(value))
        if isinstance(value, Verdict):
            return Value(ir.Const(VERDICT, value.value))
        if isinstance(value, Errno):
            return Value(ir.Const(ERRNO, value.value))
        if value is None:
            return Nothing()
        if isinstance(value, tuple | list | set | frozenset):
            items = [self._plain_constant(item, repr(item)) for item in _ordered(value)]
            if any(
                item is None
                or isinstance(item, Group)
                or (isinstance(item, Value) and isinstance(item.expr, ir.Config))
                for item in items
            ):
                return None
            return Group(tuple(item for item in items if item is not None))
        return None

    def _function(self, node: ast.expr, value: FunctionType, shown: str) -> Operand:
        if value is refuse:
            return Builtin("refuse")
        if value is debug:
            return Builtin("debug")
        code = value.__code__
        found = self.unit.source.definitions.get((code.co_name, code.co_firstlineno))
        if found is not None and value.__globals__.get("__name__") == self.unit.namespace.get(
            "__name__"
        ):
            return HelperRef(found, value)
        return self.error(
            node,
            "E204",
            f"{shown} is not a function of this file",
            _MODULE_HELP.get(
                value.__module__, "helpers of a filter stand in the same file, written with def"
            ),
        )

    def _class(self, node: ast.expr, value: type, shown: str) -> Operand:
        record = self.unit.declared.records.get(value)
        if record is not None:
            return RecordClass(record)
        if dataclasses.is_dataclass(value):
            return self.error(
                node,
                "E203",
                f"no map and no events of this set use the dataclass {value.__name__}",
                f"declare them: filters.events('name', {value.__name__}), or key= or value= of "
                "a map",
            )
        if value.__module__ == "fusebpf.types" and value.__name__ in INT_TYPES:
            return TypeRef(value.__name__, INT_TYPES[value.__name__])
        if value is int or value is bool:
            return TypeRef(value.__name__, None)
        if value is Verdict:
            return Builtin("Verdict")
        if issubclass(value, objects.Struct):
            return ClassRef(value.__name__, struct_type(value.__name__))
        if value.__module__.startswith("fusebpf.dsl"):
            return ClassRef(value.__name__)
        return Namespace(value, shown)

    def local_type(self, name: str) -> Type | None:
        """Type of a local; None when it is not known (a mistake was reported)."""
        joined = self.joins.get(name)
        return None if joined is None or joined.conflict else joined.final()


def struct_type(py_name: str) -> StructType | None:
    """The struct type of a class of the language."""
    from fusebpf.abi import STRUCTS

    for struct in STRUCTS.values():
        if struct.py_name == py_name:
            return StructType(struct.name, struct.py_name)
    return None


def config_type(kind: str) -> IntType | BoolType:
    """The type of a config value."""
    return BOOL if kind == "bool" else INT_TYPES[kind]


def is_number(type_: Type) -> bool:
    """Whether arithmetic is defined on it."""
    return isinstance(type_, IntType | BoolType)


_BUILTIN_HELP = {
    "print": "from fusebpf import debug; debug('uid', ctx.uid)",
    "any": "write a `for` loop that returns or breaks at the first hit",
    "all": "write a `for` loop that returns or breaks at the first miss",
    "sum": "write a `for` loop that adds",
    "sorted": "the kernel cannot sort; compare the values one by one",
    "str": "names are compared as they are: name == 'x', name.endswith('.x')",
    "float": "use integers",
    "isinstance": "types are known when the filter is compiled",
    "enumerate": "write: for i in range(N)",
    "zip": "write: for i in range(N)",
    "set": "write the set at module level or as a literal: {1, 2, 3}",
    "dict": "declare a map: filters.hash(...)",
    "open": "filters run inside the kernel; read files where the filter is attached from",
}

_VERDICT_WORDS = {
    **dict.fromkeys(("ALLOW", "PASS", "OK"), "what lets an operation go on is CONTINUE"),
    **dict.fromkeys(("DENY", "BLOCK", "REJECT"), "a refusal is a negated errno, e.g. -EACCES"),
}

#: What filters have in place of functions of Python's modules.
_MODULE_HELP = {
    **dict.fromkeys(("re", "fnmatch"), 'names have glob and endswith, e.g. name.glob("*.x")'),
    "time": "ctx.ktime is monotonic time in nanoseconds",
    **dict.fromkeys(
        ("os", "posix", "posixpath", "genericpath"),
        "a filter sees who asks (ctx.uid, ctx.pid) and one name at a time, and no other file",
    ),
}

_OTHER_LANGUAGES = {"true": "True", "false": "False", "null": "None", "nil": "None"}

_LANGUAGE = {
    **dict.fromkeys(
        (
            "CONTINUE",
            "USER",
            "USER_PREFILTER",
            "POSTFILTER",
            "USER_POSTFILTER",
            "CALL_DEFAULT",
            "refuse",
            "debug",
            "Verdict",
        ),
        "fusebpf",
    ),
    **dict.fromkeys(INT_TYPES, "fusebpf.types"),
}
