# SPDX-License-Identifier: MIT
"""Statements: assignments, branches, returns and calls for their effect."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace

from fusebpf.compiler import ir
from fusebpf.compiler.flow import Flow, bounds
from fusebpf.compiler.joins import Joined
from fusebpf.compiler.members import Members
from fusebpf.compiler.mending import Mend, between
from fusebpf.compiler.names import as_view
from fusebpf.compiler.operands import (
    POISON,
    Fetch,
    Group,
    HelperRef,
    Joining,
    Lit,
    MapRef,
    NameView,
    Nothing,
    Operand,
    Poison,
    Text,
    TypeRef,
    Value,
)
from fusebpf.compiler.operators import BINARY
from fusebpf.compiler.records import member_local
from fusebpf.compiler.rewrites import other_statement, single_assignments
from fusebpf.compiler.types import (
    BOOL,
    CONTEXT,
    DIRENT,
    INT_TYPES,
    S64,
    TEXTS,
    VERDICT,
    BoolType,
    IntType,
    RecordType,
    StructType,
    Type,
)
from fusebpf.compiler.words import describe

_UNSUPPORTED: dict[type[ast.stmt], tuple[str, str]] = {
    ast.Try: ("try", "nothing raises in a filter; test for the error with `if`"),
    ast.TryStar: ("try", "nothing raises in a filter; test for the error with `if`"),
    ast.With: ("with", "filters hold no resources"),
    ast.AsyncWith: ("with", "filters hold no resources"),
    ast.AsyncFor: ("async for", "use a plain `for`"),
    ast.Raise: ("raise", "refuse the operation: return -EIO"),
    ast.Assert: ("assert", "use `if`, and refuse: return -EIO"),
    ast.Import: ("import", "import at the top of the file"),
    ast.ImportFrom: ("import", "import at the top of the file"),
    ast.FunctionDef: ("a nested function", "move it to the top level of the file"),
    ast.AsyncFunctionDef: ("a nested function", "move it to the top level of the file"),
    ast.ClassDef: ("a class", "move it to the top level of the file"),
    ast.Global: ("global", "keep state in a map: filters.array(...)"),
    ast.Nonlocal: ("nonlocal", "keep state in a map: filters.array(...)"),
    ast.Delete: ("del", "maps: m.discard(key); locals need no deletion"),
}


def value_name(node: ast.Assign) -> str:
    """The hidden local that holds what several targets get."""
    return f"value.{node.lineno}_{node.col_offset}"


class Statements(Members):
    """Checks blocks of statements and follows the flow of control."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.next_joins: dict[str, Joined] = {}
        self.conflicts: set[str] = set()
        #: Flows at the breaks of each open loop.
        self.breaks: list[list[Flow]] = []
        #: Variables of each open loop.
        self.loop_vars: list[str | None] = []
        self.store_counts: dict[str, int] = {}
        #: Arguments that the function gives other contents.
        self.replaced: frozenset[str] = frozenset()
        self.record_locals = {}

    def block(self, body: list[ast.stmt]) -> tuple[ir.Stmt, ...]:
        """Check statements in order; a mistake in one does not hide the others."""
        out: list[ir.Stmt] = []
        for node in body:
            if not self.flow.alive:
                self.warn(
                    node,
                    "W101",
                    "this never runs",
                    "the lines above always leave first",
                    [
                        Mend("", at=stmt, lines=True, safe=False)
                        for stmt in body[body.index(node) :]
                    ],
                )
                break
            out.extend(self.statement(node))
        return tuple(out)

    def statement(self, node: ast.stmt) -> list[ir.Stmt]:
        """Check one statement; nothing comes back after a mistake."""
        match node:
            case ast.Pass():
                return []
            case ast.Expr(value=ast.Constant(value=str() | bytes())):
                return []
            case ast.Expr(value=ast.Constant(value=value)) if value is ...:
                return []
            case ast.Expr():
                return self._expression(node)
            case ast.Assign():
                return self._assign(node)
            case ast.AnnAssign():
                return self._annotated(node)
            case ast.AugAssign():
                return self._augmented(node)
            case ast.If():
                return self._if(node)
            case ast.For():
                return self.loop(node)
            case ast.While():
                return self.while_loop(node)
            case ast.Match():
                return self.match(node)
            case ast.Return():
                return self.result(node)
            case ast.Break():
                self.breaks[-1].append(self.flow)
                self.flow = self.flow.dead()
                return [ir.Break(node.lineno)]
            case ast.Continue():
                self.flow = self.flow.dead()
                return [ir.Continue(node.lineno)]
        what, help = _UNSUPPORTED.get(type(node), (type(node).__name__, ""))
        fix = other_statement(self, node)
        self.error(_head(node), "E100", f"{what} is not supported in a filter", help or None, fix)
        return []

    @abstractmethod
    def loop(self, node: ast.For) -> list[ir.Stmt]:
        """Check a ``for`` loop."""

    @abstractmethod
    def while_loop(self, node: ast.While) -> list[ir.Stmt]:
        """Check a ``while`` loop."""

    @abstractmethod
    def match(self, node: ast.Match) -> list[ir.Stmt]:
        """Check a ``match``."""

    @abstractmethod
    def result(self, node: ast.Return) -> list[ir.Stmt]:
        """Check a ``return``."""

    # ------------------------------------------------------------ assignments

    def _assign(self, node: ast.Assign) -> list[ir.Stmt]:
        if isinstance(node.targets[0], ast.Subscript | ast.Attribute):
            self.joinable = tuple(_sums(node.value))
        operand = self.expr(node.value)
        out: list[ir.Stmt] = []
        if len(node.targets) > 1 and not isinstance(node.targets[0], ast.Name):
            operand = self._value_once(node, operand, out)
        for target in node.targets:
            out.extend(self.store(node, target, node.value, operand))
            if len(node.targets) > 1 and isinstance(target, ast.Name):
                operand = self.name(ast.copy_location(ast.Name(target.id), target))
        return out

    def _value_once(self, node: ast.Assign, operand: Operand, out: list[ir.Stmt]) -> Operand:
        """What several targets get, in a hidden local: the first of them may change it."""
        name = value_name(node)
        target = ast.copy_location(ast.Name(name, ast.Store()), node.value)
        if as_view(operand) is not None or isinstance(operand, Joining):
            message = "a name cannot be given to several targets"
            return self.error(node.targets[0], "E102", message, "assign one by one")
        if not isinstance(operand, Value) or isinstance(operand.expr, ir.Const | ir.Local):
            return operand
        if isinstance(operand.expr, ir.MakeRecord):
            operand, made = self._snapshot(target, name, operand)
            out += made
        elif isinstance(operand.expr.type, IntType | BoolType):
            out += self.set_local(node, target, name, node.value, operand)
            return self.name(target)
        return operand

    def store(
        self, node: ast.stmt, target: ast.expr, value: ast.expr, operand: Operand
    ) -> list[ir.Stmt]:
        """``target = operand``."""
        match target:
            case ast.Name(id=name):
                return self.set_local(node, target, name, value, operand)
            case ast.Attribute(value=ast.Subscript() as inner, attr=member) if (
                self.map_target(target) is not None
            ):
                return self.set_item(node, inner, value, operand, member)
            case ast.Attribute():
                return self.set_member(node, target, value, operand)
            case ast.Subscript():
                return self.set_item(node, target, value, operand)
            case ast.Tuple() | ast.List():
                fix = single_assignments(self, node) if isinstance(node, ast.Assign) else None
                message = "several targets are not supported"
                self.error(target, "E102", message, "assign one by one", fix)
                return []
        self.error(target, "E102", "this cannot be assigned to in a filter", "use a local")
        return []

    def set_local(
        self, node: ast.stmt, target: ast.expr, name: str, value: ast.expr, operand: Operand
    ) -> list[ir.Stmt]:
        """``name = operand`` for a local."""
        if self.hides_parameter(target, name):
            return []
        if self.is_alias(operand):
            return self._set_alias(target, name, operand)
        joined = self.next_joins.setdefault(name, Joined())
        if isinstance(operand, Nothing):
            self.error(
                value, "E207", f"{name} = None is not supported", "use a number that means nothing"
            )
            operand = POISON
        elif self.no_value(operand):
            operand = self.error(value, "E207", "this function returns no value", "call it alone")
        elif not isinstance(operand, Value | Lit | Fetch | Poison) and not self.infer:
            operand = self.error(
                value,
                "E207",
                f"{describe(operand)} cannot be kept in a local",
                "locals hold numbers, names, and records of get(); write it where it is used",
            )
        low = bounds(operand.expr, self.flow) if isinstance(operand, Value) else None
        joined.add(operand, self.flow)
        if isinstance(operand, Lit):
            low = (operand.value, operand.value)
        if self.joins.get(name, joined).conflict:
            self._conflict(value, name, operand)
            operand = POISON
        stmt = self._local_store(node, name, value, operand)
        integer = isinstance(operand, Lit) or (
            isinstance(operand, Value) and isinstance(operand.expr.type, IntType)
        )
        self.flow = self.flow.assign(name, low if integer else None)
        if not isinstance(operand, Fetch) and self.joins.get(name, joined).optional:
            self.flow = replace(self.flow, present=self.flow.present | {name})
        return stmt

    def hides_parameter(self, target: ast.expr, name: str) -> bool:
        """Report a local that has the name of what a function was given, numbers aside."""
        if name not in self.params or name in self.next_joins:
            return False
        kind = self.params[name].type
        if isinstance(kind, IntType) or kind in (BOOL, VERDICT):
            return False
        self.error(
            target,
            "E209",
            f"{name!r} is a parameter ({kind}) and cannot be replaced",
            f"use another name for the local; {name}[:] = ... gives it other contents"
            if kind in TEXTS
            else "use another name for the local",
        )
        return True

    def _local_store(
        self, node: ast.stmt, name: str, value: ast.expr, operand: Operand
    ) -> list[ir.Stmt]:
        type_ = self.local_type(name)
        if isinstance(operand, Fetch):
            fields = self._members_read(name, operand.map)
            return [ir.MapFetch(node.lineno, name, operand.map.name, operand.key, fields)]
        if type_ is None or isinstance(operand, Poison) or self.infer:
            return []
        made = self.convert(value, operand, type_)
        if made is None or self.joins[name].constant is not None:
            return []  # a constant is put in where it is read
        return [ir.Assign(node.lineno, name, made)]

    def _members_read(self, name: str, decl: ir.MapDecl) -> tuple[tuple[str, str], ...]:
        """The members of a record that a local gets a copy of, and the hidden locals for them."""
        if not isinstance(decl.value, RecordType):
            return ()
        record = decl.value.record
        before = self.record_locals.setdefault(name, record)
        if before != record:
            self.error(
                self.node,
                "E208",
                f"{name!r} holds a {before.name} on one line and a {record.name} on another",
                "use two locals",
            )
        fields: list[tuple[str, str]] = []
        for member in record.members:
            if not member.is_bytes:
                local = member_local(name, member.name)
                joined = self.next_joins.setdefault(local, Joined())
                joined.type, joined.declared = INT_TYPES[member.kind], True
                self.flow = self.flow.assign(local)
                fields.append((member.name, local))
        return tuple(fields)

    def _conflict(self, value: ast.expr, name: str, operand: Operand) -> None:
        seen = self.next_joins[name].assignments
        if name in self.conflicts or seen < 2:
            return
        self.conflicts.add(name)
        self.error(
            value,
            "E208",
            f"{name!r} holds {describe(operand)} here and something else on other lines",
            "use two locals; or bring both to one type, e.g. s64(x) or u64(x)",
        )

    def is_alias(self, operand: Operand) -> bool:
        if isinstance(operand, NameView | Text | Group | MapRef | HelperRef):
            return True
        return isinstance(operand, Value) and (
            operand.expr.type in (*TEXTS, CONTEXT, DIRENT)
            or isinstance(operand.expr.type, StructType | RecordType)
        )

    def _set_alias(self, target: ast.expr, name: str, operand: Operand) -> list[ir.Stmt]:
        if self.store_counts.get(name, 0) > 1:
            self.error(
                target,
                "E209",
                f"{name!r} is assigned several times and holds {describe(operand)}",
                "a local holds a name, a struct or a string only when it is assigned once",
            )
            self.next_joins.setdefault(name, Joined()).conflict = True
            self.conflicts.add(name)
            return []
        kept, made = self._snapshot(target, name, operand)
        self.aliases[name] = kept
        self.flow = self.flow.assign(name)
        return made

    def _snapshot(
        self, target: ast.expr, name: str, operand: Operand
    ) -> tuple[Operand, list[ir.Stmt]]:
        """A part of a name with its ends in hidden locals: what they are made of may change."""
        made: list[ir.Stmt] = []
        if isinstance(operand, Value) and isinstance(operand.expr, ir.MakeRecord):
            return self._kept_record(target, name, operand.expr)
        view = as_view(operand)
        if view is None:
            return operand, []
        base = view.name
        while isinstance(base, ir.NamePart):
            base = base.name
        if isinstance(base, ir.DirentName) and base.var in self.replaced:
            self.error(
                target,
                "E267",
                f"{base.var} may get another name in this loop, here or in a helper that it is "
                "given to: its name cannot be kept in locals",
                f"use {base.var}.name where it is needed",
            )
        if not (view.sliced or isinstance(view.name, ir.NamePart)):
            return operand, []
        if isinstance(base, ir.Local) and base.name in self.replaced:
            self.error(
                target,
                "E267",
                f"{base.name} is replaced in this filter: its parts cannot be kept in locals",
                f"use {self.source_of(target)} where it is needed: {base.name}[a:b]",
            )
        if not isinstance(view.name, ir.NamePart):
            return operand, []
        kept = self.kept_part(target, name, view.name, made)
        return NameView(kept, view.fold, view.start, view.stop, view.tail), made

    def kept_part(
        self, target: ast.expr, name: str, part: ir.NamePart, made: list[ir.Stmt]
    ) -> ir.NamePart:
        """A part of a name, and those that it is a part of, with all ends in hidden locals."""
        base, ends = part.name, [part.start, part.stop]
        if isinstance(base, ir.NamePart):
            base = self.kept_part(target, f"{name}.part", base, made)
        for index, what in enumerate(("start", "stop")):
            end = ends[index]
            if end is not None and not isinstance(end, ir.Const):
                local = f"{name}.{what}"
                joined = self.next_joins.setdefault(local, Joined())
                joined.type, joined.declared = S64, True
                self.flow = self.flow.assign(local)
                made.append(ir.Assign(target.lineno, local, end))
                ends[index] = ir.Local(S64, local)
        return ir.NamePart(part.type, base, ends[0] or part.start, ends[1])

    def _kept_record(
        self, target: ast.expr, name: str, made: ir.MakeRecord
    ) -> tuple[Operand, list[ir.Stmt]]:
        out: list[ir.Stmt] = []
        values: list[ir.Expr] = []
        for member, value in zip(made.type.record.members, made.values, strict=True):
            local = member_local(name, member.name)
            if isinstance(value, ir.NamePart) or value.type in TEXTS:
                kept, stmts = self._snapshot(target, local, Value(value))
                view = as_view(kept)
                assert view is not None
                out += stmts
                values.append(view.name)
            elif member.is_bytes or isinstance(value, ir.Const):
                values.append(value)
            else:
                joined = self.next_joins.setdefault(local, Joined())
                joined.type, joined.declared = value.type, True
                self.flow = self.flow.assign(local)
                out.append(ir.Assign(target.lineno, local, value))
                values.append(ir.Local(value.type, local))
        return Value(replace(made, values=tuple(values))), out

    def _annotated(self, node: ast.AnnAssign) -> list[ir.Stmt]:
        if not isinstance(node.target, ast.Name):
            self.error(node.target, "E102", "only locals can be annotated", "leave the type out")
            return []
        name = node.target.id
        declared = self.annotation(node.annotation)
        if declared is None:
            self.next_joins.setdefault(name, Joined()).conflict = True
            self.conflicts.add(name)
            return []
        if isinstance(declared, IntType) and declared.bits < 64:
            self.error(
                node.annotation,
                "E273",
                f"a local is never narrower than 64 bits, {declared} is",
                f"annotate u64, s64 or int, and cut values off where they are made: {declared}(x)",
            )
            declared = S64
        joined = self.next_joins.setdefault(name, Joined())
        joined.type, joined.declared = declared, True
        if node.value is None:
            return []
        operand = self.expr(node.value)
        return self.set_local(node, node.target, name, node.value, operand)

    def annotation(self, node: ast.expr) -> Type | None:
        """The type that an annotation names: an integer, bool or Verdict; None after a mistake."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                inner = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                inner = None
            if isinstance(inner, ast.Name):
                return self.annotation(ast.copy_location(inner, node))
        operand: Operand | None = None
        if isinstance(node, ast.Name | ast.Attribute) and not self.foreign_type(node):
            operand = self.expr(node)
        match operand:
            case TypeRef(name="bool"):
                return BOOL
            case TypeRef(type=None):
                return S64
            case TypeRef(type=type_):
                return type_
            case Poison():
                return None
        if ast.unparse(node).split(".")[-1] == "Verdict":
            return VERDICT
        self.error(
            node,
            "E273",
            f"{self.source_of(node)} is not a type for a local",
            "use int, u64, s64, bool or Verdict",
        )
        return None

    def _augmented(self, node: ast.AugAssign) -> list[ir.Stmt]:
        op = BINARY.get(type(node.op))
        if op is None:
            self.error(node, "E224", "this operator is not supported", "use //=, or <<= for powers")
            return []
        changed = self.map_target(node.target)
        if changed is not None:
            return self.update_map(node, *changed, op)
        load: ast.expr
        match node.target:
            case ast.Name(id=name):
                load = ast.Name(name, ast.Load())
            case ast.Attribute(value=inner, attr=attr):
                load = ast.Attribute(inner, attr, ast.Load())
            case _:
                load = ast.Subscript(node.target.value, node.target.slice, ast.Load())
        ast.copy_location(load, node.target)
        whole = ast.copy_location(ast.BinOp(load, node.op, node.value), node)
        return self.store(node, node.target, whole, self.expr(whole))

    # ------------------------------------------------------------ control

    def _if(self, node: ast.If) -> list[ir.Stmt]:
        lifted = self._lift(node)
        test = self.condition(node.test)
        before = self.flow
        if test is not None:
            self.flow = self.knowing(test, True)
        then = self.block(node.body)
        after_then = self.flow
        self.flow = before if test is None else self.knowing(test, False, before)
        other = self.block(node.orelse)
        self.flow = after_then.join(self.flow)
        if test is None:
            return []
        return [*lifted, ir.If(node.lineno, test, then, other)]

    def _lift(self, node: ast.If) -> list[ir.Stmt]:
        """Do ``(x := value)`` at the start of a condition as a statement before it."""
        first: ast.expr = node.test
        while True:
            match first:
                case ast.BoolOp(values=[value, *_]):
                    first = value
                case ast.Compare(left=value) | ast.BinOp(left=value) | ast.UnaryOp(operand=value):
                    first = value
                case _:
                    break
        if not isinstance(first, ast.NamedExpr):
            return []
        operand = self.expr(first.value)
        made = self.set_local(node, first.target, first.target.id, first.value, operand)
        self.lifted |= {id(first)}
        return made

    def _expression(self, node: ast.Expr) -> list[ir.Stmt]:
        value = node.value
        if isinstance(value, ast.Call):
            for kind in (self.entry_call, self.context_call, self.emit_event, self.debug_print):
                done = kind(node, value)
                if done is not None:
                    return done
            operand = self.expr(value)
            if isinstance(operand, Value):
                match operand.expr:
                    case ir.MapPut() | ir.MapDiscard():
                        return [ir.Do(node.lineno, operand.expr)]
                    case ir.Call(function=name, type=type_):
                        if type_ == VERDICT:
                            self.error(
                                node,
                                "E272",
                                f"the verdict of {name}() is thrown away",
                                f"return it: return {self.source_of(value)}",
                                f"return {self.source_of(value)}",
                            )
                        return [ir.Do(node.lineno, operand.expr)]
        else:
            operand = self.expr(value)
        if isinstance(operand, Poison):
            return []
        verdict = isinstance(operand, Value) and operand.expr.type == VERDICT
        self.error(
            node,
            "E271",
            "this line does nothing",
            f"return it: return {self.source_of(value)}"
            if verdict
            else "assign the value, test it, or remove the line",
            f"return {self.source_of(value)}" if verdict else self._assignment(value),
        )
        return []

    def _assignment(self, node: ast.expr) -> Mend:
        """A comparison of what can be set was meant to set it; anything else can go."""
        if (
            isinstance(node, ast.Compare)
            and isinstance(node.ops[0], ast.Eq)
            and len(node.ops) == 1
            and isinstance(node.left, ast.Name | ast.Attribute | ast.Subscript)
        ):
            return Mend(" = ", at=between(node.left, node.comparators[0]), safe=False)
        return Mend("", lines=True, safe=False)


def _sums(node: ast.expr) -> Iterator[ast.expr]:
    """A sum, and those that are its sides."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield node
        yield from _sums(node.left)
        yield from _sums(node.right)


def _head(node: ast.stmt) -> ast.AST:
    """A node that spans only the first line of a compound statement."""
    if getattr(node, "body", None):
        first = ast.Pass()
        first.lineno, first.col_offset = node.lineno, node.col_offset
        word = type(node).__name__.lower()
        words = {"functiondef": "def", "asyncfunctiondef": "async def", "classdef": "class"}
        first.end_lineno = node.lineno
        first.end_col_offset = node.col_offset + len(words.get(word, word.removeprefix("async")))
        return first
    return node
