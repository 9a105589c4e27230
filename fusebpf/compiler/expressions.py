# SPDX-License-Identifier: MIT
"""Expressions: from Python's syntax tree to operands and IR."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

from fusebpf.abi import STRUCTS
from fusebpf.abi.record import Record
from fusebpf.compiler import ir
from fusebpf.compiler.always import warn_if_known
from fusebpf.compiler.comparisons import Comparisons
from fusebpf.compiler.flow import Flow, refine
from fusebpf.compiler.mending import Mend, between, last_name
from fusebpf.compiler.names import as_view
from fusebpf.compiler.operands import (
    FLEXIBLE,
    POISON,
    EventRef,
    Fetch,
    Flexible,
    Group,
    Joining,
    Lit,
    MapRef,
    MapSlot,
    Method,
    Namespace,
    Nothing,
    Operand,
    Optional,
    Poison,
    RecordLocal,
    Text,
    Value,
)
from fusebpf.compiler.operators import BINARY
from fusebpf.compiler.types import (
    BOOL,
    CONTEXT,
    DIRENT,
    DIRENTS,
    NAME,
    OPAQUE,
    S32,
    U32,
    U64,
    VERDICT,
    BoolType,
    ErrnoType,
    IntType,
    StructType,
    VerdictType,
    int_type_of,
)
from fusebpf.compiler.walk import expressions
from fusebpf.compiler.words import describe
from fusebpf.spelling import closest

#: Members of Context and their types. Ids are those of the initial user namespace.
CONTEXT_FIELDS: dict[str, IntType] = {
    "uid": U32,
    "gid": U32,
    "euid": U32,
    "egid": U32,
    "pid": U32,
    "tid": U32,
    "nodeid": U64,
    "opcode": U32,
    "error_in": S32,
    "tag": U64,
    "tag2": U64,
    "ktime": U64,
}
#: Methods of Context: statements for their effect.
CONTEXT_METHODS = ("clear_error", "keep_answer")

_SYNTAX: dict[type[ast.expr], tuple[str, str]] = {
    ast.Lambda: ("lambda", "write a function at module level"),
    ast.ListComp: ("a comprehension", "write a `for` loop"),
    ast.SetComp: ("a comprehension", "write a `for` loop"),
    ast.GeneratorExp: ("a generator", "write a `for` loop"),
    ast.DictComp: ("a comprehension", "write a `for` loop"),
    ast.Dict: ("a dict", "declare a map: filters.hash(...)"),
    ast.JoinedStr: ("an f-string", "names cannot be built in a filter; compare with constants"),
    ast.Await: ("await", "filters run to the end without waiting"),
    ast.Yield: ("yield", "filters return one verdict"),
    ast.YieldFrom: ("yield", "filters return one verdict"),
    ast.Starred: ("*", "write the values one by one"),
}


class Expressions(Comparisons):
    """The dispatcher over ``ast.expr``."""

    #: Walrus expressions that were lifted in front of the statement being checked.
    lifted: frozenset[int] = frozenset()
    #: Variables of loops that were refused.
    poisoned: frozenset[str] = frozenset()
    #: Locals that hold a copy of a map's value, and its layout.
    record_locals: dict[str, Record]
    #: Sums that a name is replaced by.
    joinable: tuple[ast.expr, ...] = ()
    #: Conditional expressions that a filter returns.
    results: tuple[ast.expr, ...] = ()

    def expr(self, node: ast.expr) -> Operand:
        found = self._expr(node)
        if isinstance(found, Poison) and not self.infer:
            self.unit.left_out = self.unit.left_out or node
        return found

    def _expr(self, node: ast.expr) -> Operand:
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                return self.name(node)
            case ast.Attribute():
                return self._attribute(node)
            case ast.BinOp():
                return self._binop(node)
            case ast.UnaryOp(op=ast.Not()):
                test = self.condition(node.operand)
                return POISON if test is None else Value(self.negate(test))
            case ast.UnaryOp():
                return self.unary(node, self.expr(node.operand))
            case ast.BoolOp():
                return self._boolop(node)
            case ast.Compare():
                test = self.compare(node)
                return POISON if test is None else Value(test)
            case ast.IfExp():
                return self._ifexp(node)
            case ast.Call():
                return self.call(node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.Tuple() | ast.List() | ast.Set():
                return self._group(node)
            case ast.NamedExpr():
                if id(node) in self.lifted:
                    return self.name(node.target)
                return self.error(
                    node,
                    "E229",
                    "`:=` is only supported at the start of the condition of an `if`",
                    f"assign on a line of its own: {self.source_of(node.target)} = "
                    f"{self.source_of(node.value)}",
                )
        what, help = _SYNTAX.get(type(node), (type(node).__name__, ""))
        return self.error(node, "E100", f"{what} is not supported in a filter", help or None)

    # ------------------------------------------------------------ leaves

    def _constant(self, node: ast.Constant) -> Operand:
        if node.value is ...:
            return self.error(node, "E100", "`...` does nothing", "write `pass`, or the code")
        if isinstance(node.value, complex):
            return self.error(node, "E202", "complex numbers do not exist in the kernel", "use int")
        return self.constant(node, node.value, repr(node.value))

    def name(self, node: ast.Name) -> Operand:
        """A parameter, local, or a constant of the module."""
        if node.id in self.aliases and node.id in self.flow.assigned:
            return self.aliases[node.id]
        if node.id in self.local_names:
            return self._local(node)
        param = self.params.get(node.id)
        if param is not None:
            return Value(ir.Local(param.type, node.id))
        return self.global_name(node)

    def _local(self, node: ast.Name) -> Operand:
        name = node.id
        joined = self.joins.get(name)
        if name in self.poisoned and name in self.flow.assigned:
            return POISON
        if joined is None and name not in self.aliases:
            return self.error(
                node,
                "E210",
                f"{name!r} is used before it is assigned",
                "the lines that assign it never run, or come later",
            )
        if joined is not None and joined.conflict and name in self.flow.assigned:
            return POISON
        if name not in self.flow.assigned:
            if name in self.aliases:
                return self.error(
                    node,
                    "E210",
                    f"{name!r} is only known inside its loop",
                    "use it inside the loop, or keep a number from it in a local",
                )
            return self.error(
                node,
                "E210",
                f"{name!r} may be used before it is assigned",
                "a filter cannot change what the file assigns: keep state in a map, "
                "filters.array(...); give a local another name"
                if name in self.unit.namespace
                else f"assign it on every path before this line, e.g. {name} = 0",
            )
        if joined is None:
            return POISON
        if joined.optional:
            if name not in self.flow.present:
                return Optional(name)
            if name in self.record_locals:
                return RecordLocal(name, self.record_locals[name])
        elif joined.assignments == 1 and joined.type is None and not joined.flexible:
            if joined.lit is not None and joined.lit[0] == joined.lit[1]:
                return Lit(joined.lit[0])
        elif self.infer and joined.type is None and (joined.flexible or joined.lit):
            return FLEXIBLE
        type_ = joined.final()
        return POISON if type_ is None else Value(ir.Local(type_, name))

    def _group(self, node: ast.Tuple | ast.List | ast.Set) -> Operand:
        items = [self.expr(item) for item in node.elts]
        if any(isinstance(item, Poison) for item in items):
            return POISON
        for item, where in zip(items, node.elts, strict=True):
            constant = isinstance(item, Lit | Text) or (
                isinstance(item, Value) and isinstance(item.expr, ir.Const)
            )
            if not constant:
                return self.error(
                    where,
                    "E222",
                    f"{self.source_of(where)} is not a constant",
                    "sets and tuples hold constants only; compare with `or` instead",
                )
        if isinstance(node, ast.Set):  # whose members are there once
            items = list({_of_a_set(item): item for item in items}.values())
        return Group(tuple(items))

    # ------------------------------------------------------------ members

    def _attribute(self, node: ast.Attribute) -> Operand:
        base = self.expr(node.value)
        match base:
            case Poison():
                return POISON
            case Value(expr=expr) if expr.type == CONTEXT:
                if node.attr in CONTEXT_METHODS:
                    return Method(base, node.attr)
                return self._context_field(node)
            case Value(expr=expr) if isinstance(expr.type, StructType):
                return self._struct_field(node, expr, expr.type)
            case Value(expr=ir.Local(type=type_, name=var)) if type_ == DIRENT:
                return self._dirent_field(node, base, var)
            case Namespace(object=thing, name=name):
                found = getattr(thing, node.attr, None)
                if found is None and not hasattr(thing, node.attr):
                    known = [k for k in vars(thing) if not k.startswith("_")]
                    near = closest(node.attr, known)
                    return self.error(
                        last_name(node),
                        "E206",
                        f"{name} has no {node.attr!r}",
                        f"did you mean {near!r}?" if near else f"it has: {', '.join(known[:12])}",
                        near,
                    )
                return self.constant(node, found, f"{name}.{node.attr}")
            case MapRef() | EventRef():
                return Method(base, node.attr)
            case RecordLocal() | MapSlot() | Value(expr=ir.MakeRecord()):
                return self.record_member(node, base)
        if as_view(base) is not None:
            return Method(base, node.attr)
        if isinstance(base, Value) and base.expr.type == OPAQUE:
            return self.error(
                node,
                "E206",
                "this Buffer is the daemon's: a filter cannot look into it",
                "out.nodeid and its like tell what the lookup found",
            )
        if isinstance(base, Fetch | Optional):
            return self.error(
                node,
                "E212",
                f"{self.source_of(node.value)} may be None",
                f"check first: value = {self.source_of(node.value)}, then `if value is not None`",
            )
        if isinstance(base, Value) and base.expr.type == DIRENTS:
            listing = self.source_of(node.value)
            return self.error(
                node,
                "E206",
                f"a listing has no member {node.attr!r}",
                f"go through it: for entry in {listing}: ...; entry.drop() leaves one out",
            )
        return self.error(
            node,
            "E206",
            f"{describe(base)} has no member {node.attr!r}",
            "ctx, arguments, directory entries, names and maps have members",
        )

    def _unknown_member(
        self, node: ast.Attribute, owner: str, known: list[str], near_help: str | None = None
    ) -> Poison:
        near = closest(node.attr, known)
        help = f"did you mean {near!r}?" if near else near_help
        return self.error(
            last_name(node),
            "E206",
            f"{owner} has no member {node.attr!r}",
            help or f"it has: {', '.join(known)}",
            near,
        )

    def _context_field(self, node: ast.Attribute) -> Operand:
        type_ = CONTEXT_FIELDS.get(node.attr)
        if type_ is None:
            return self._unknown_member(node, "Context", [*CONTEXT_FIELDS, *CONTEXT_METHODS])
        return Value(ir.CtxField(type_, node.attr))

    def _struct_field(self, node: ast.Attribute, base: ir.Expr, type_: StructType) -> Operand:
        fields = STRUCTS[type_.name].by_name
        found = fields.get(node.attr)
        if found is None or found.reserved or found.count > 1:
            known = [f.name for f in fields.values() if not f.reserved and f.count == 1]
            return self._unknown_member(node, type_.py_name, known)
        param, struct, path = self.struct_path(base)
        if found.struct is not None:
            inner = StructType(found.struct.name, found.struct.py_name)
            return Value(ir.StructField(inner, param, struct, (*path, found.name)))
        return Value(ir.StructField(int_type_of(found.ctype), param, struct, (*path, found.name)))

    def struct_path(self, base: ir.Expr) -> tuple[str, str, tuple[str, ...]]:
        """Parameter, its struct's C name and the path so far of a struct expression."""
        if isinstance(base, ir.StructField):
            return base.param, base.struct, base.path
        assert isinstance(base, ir.Local)
        assert isinstance(base.type, StructType)
        return base.name, base.type.name, ()

    def _dirent_field(self, node: ast.Attribute, base: Operand, var: str) -> Operand:
        if node.attr == "name":
            return Value(ir.DirentName(NAME, var))
        if node.attr == "ino":
            return Value(ir.DirentField(U64, var, "ino"))
        if node.attr == "type":
            return Value(ir.DirentField(U32, var, "type"))
        if node.attr == "drop":
            return Method(base, "drop")
        return self._unknown_member(node, "Dirent", ["name", "ino", "type", "drop"])

    def _subscript(self, node: ast.Subscript) -> Operand:
        base = self.expr(node.value)
        if isinstance(base, Poison):
            return POISON
        view = as_view(base)
        if view is not None:
            return self.name_index(node, view)
        if isinstance(base, MapRef):
            decl = base.decl
            if not decl.is_array:
                name = self.source_of(node.value)
                key = self.source_of(node.slice)
                return self.error(
                    node,
                    "E262",
                    f"{name}[{key}] may be missing: {name} is a hash",
                    f"write {name}.get({key}, 0), or check `{key} in {name}`",
                    f"{name}.get({key}, 0)" if isinstance(decl.value, IntType) else None,
                )
            index = self.array_index(node.slice, decl)
            if index is None:
                return POISON
            if not isinstance(decl.value, IntType):
                return MapSlot(decl, index)
            return Value(ir.MapItem(decl.value, decl.name, index))
        if isinstance(base, Group | Text):
            index_operand = self.expr(node.slice)
            if isinstance(index_operand, Lit):
                items = base.items if isinstance(base, Group) else ()
                if -len(items) <= index_operand.value < len(items):
                    return items[index_operand.value]
            return self.error(
                node, "E223", "this is not a constant index in range", "write the value itself"
            )
        return self.error(
            node,
            "E223",
            f"{describe(base)} cannot be indexed",
            "names, array maps and constant tuples can",
        )

    # ------------------------------------------------------------ operators

    def _binop(self, node: ast.BinOp) -> Operand:
        left, right = self.expr(node.left), self.expr(node.right)
        if isinstance(left, Poison) or isinstance(right, Poison):
            return POISON
        if isinstance(left, Text) and isinstance(right, Text) and isinstance(node.op, ast.Add):
            return Text(left.raw + right.raw, f"{left.shown} + {right.shown}")
        if any(as_view(side) is not None or isinstance(side, Joining) for side in (left, right)):
            joined = isinstance(node.op, ast.Add) and node in self.joinable
            joining = self.join_names(left, right) if joined else None
            return joining or self.error(
                node,
                "E224",
                "names cannot be joined or repeated in a filter",
                "compare the parts: name.startswith('a') and name[1:] == other",
            )
        op = BINARY.get(type(node.op))
        if op is not None:
            return self.binary(node, op, left, right)
        if (
            isinstance(node.op, ast.Pow)
            and isinstance(left, Lit)
            and isinstance(right, Lit)
            and 0 <= right.value <= 64
            and left.value.bit_length() <= 64
        ):
            return Lit(int(left.value**right.value))
        if isinstance(node.op, ast.Div):
            return self.error(
                node,
                "E224",
                "`/` makes a float; the kernel has no floating point",
                f"use //: {self.source_of(node.left)} // {self.source_of(node.right)}",
                Mend(" // ", at=between(node.left, node.right)),
            )
        if isinstance(node.op, ast.Pow):
            return self.error(
                node,
                "E224",
                "`**` needs small constants",
                "multiply, or shift: 1 << n is 2 ** n",
                _power(node, self.source_of(node.left), right),
            )
        return self.error(node, "E224", "`@` is not supported in a filter", "use * on numbers")

    @contextmanager
    def maybe(self) -> Iterator[None]:
        """Check what may not be evaluated: what it tells ends with it, what it changes does not."""
        before, outer = self.flow, self.changed
        self.changed = frozenset()
        yield
        self.flow = before.forget(*self.changed)
        self.changed |= outer

    def knowing(self, test: ir.Expr, truth: bool, flow: Flow | None = None) -> Flow:
        """What is known where a test turned out true (or false)."""
        return refine(test, truth, flow or self.flow, self._changed_by)

    def _changed_by(self, test: ir.Expr) -> Iterator[str]:
        """Structs and entries that helpers change while an expression is evaluated."""
        for call in expressions(test):
            if isinstance(call, ir.Call):
                writes = self.unit.helpers[call.function].writes
                for index, arg in enumerate(call.args):
                    if isinstance(arg, ir.Local) and (index in writes or arg.type == DIRENT):
                        yield arg.name

    def as_bool(self, test: ir.Expr) -> ir.Expr:
        """A condition as a Boolean."""
        if test.type == BOOL:
            return test
        return ir.Compare(BOOL, "!=", test, ir.Const(test.type, 0))

    def condition(self, node: ast.expr, beside: ast.expr | None = None) -> ir.Expr | None:
        if isinstance(node, ast.BoolOp):
            return self._all_conditions(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            test = self.condition(node.operand)
            return None if test is None else self.negate(test)
        test = self.truth(node, self.expr(node))
        if test is not None:
            warn_if_known(self, node, test, beside)
        return test

    def _all_conditions(self, node: ast.BoolOp) -> ir.Expr | None:
        is_and = isinstance(node.op, ast.And)
        tests: list[ir.Expr] = []
        failed = False
        with self.maybe():
            for index, value in enumerate(node.values):
                beside = None if is_and or not index else node.values[index - 1]
                test = self.condition(value, beside)
                if test is None:
                    failed = True
                    continue
                self.flow = self.knowing(test, is_and)
                tests.append(self.as_bool(test))
        if failed:
            return None
        return ir.BoolOp(BOOL, "and" if is_and else "or", tuple(tests))

    def _boolop(self, node: ast.BoolOp) -> Operand:
        is_and = isinstance(node.op, ast.And)
        operands: list[Operand] = []
        reported = len(self.unit.diagnostics)
        with self.maybe():
            for value in node.values:
                operand = self.expr(value)
                operands.append(operand)
                if isinstance(operand, Value) and not self.no_value(operand):
                    type_ = operand.expr.type
                    if isinstance(type_, IntType | BoolType):
                        self.flow = self.knowing(operand.expr, is_and)
        if any(isinstance(o, Flexible) for o in operands):
            return FLEXIBLE
        found = self.unit.diagnostics[reported:]
        if any(d.severity == "error" for d in found) or any(
            isinstance(o, Poison) for o in operands
        ):
            return POISON
        for operand, value in zip(operands, node.values, strict=True):
            if isinstance(operand, Value) and isinstance(
                operand.expr.type, VerdictType | ErrnoType
            ):
                return self.error(
                    value,
                    "E216",
                    f"{describe(operand)} has no truth value",
                    "write it out: a if test else b",
                )
        made = self.unify(node, operands)
        if made is None:
            return POISON
        return Value(ir.BoolOp(made[0].type, "and" if is_and else "or", tuple(made)))

    def _ifexp(self, node: ast.IfExp) -> Operand:
        operands: list[Operand] = []
        test = self.condition(node.test)
        before = self.flow
        with self.maybe():
            for value, truth in ((node.body, True), (node.orelse, False)):
                self.flow = before if test is None else self.knowing(test, truth, before)
                operands.append(self.expr(value))
        then, other = operands
        if node in self.results:
            # The result of a filter, where None means CONTINUE.
            then, other = (
                Value(ir.Const(VERDICT, 0)) if isinstance(o, Nothing) else o for o in (then, other)
            )
        if isinstance(then, Flexible) or isinstance(other, Flexible):
            rest = [o for o in (then, other) if not isinstance(o, Flexible | Lit)]
            return rest[0] if rest else FLEXIBLE
        if test is None or isinstance(then, Poison) or isinstance(other, Poison):
            return POISON
        if isinstance(then, Lit) and isinstance(other, Lit) and self.infer:
            largest = max(then.value, other.value)
            # What u64 alone can hold has its type already.
            if largest <= U64.hi >> 1:
                return FLEXIBLE
        made = self.unify(node, [then, other])
        if made is None:
            return POISON
        return Value(ir.Conditional(made[0].type, test, made[0], made[1]))


def _power(node: ast.BinOp, base: str, exponent: Operand) -> str | None:
    """A small power of something simple, written as a product."""
    if not isinstance(node.left, ast.Name | ast.Attribute) or not isinstance(exponent, Lit):
        return None
    return f"({' * '.join([base] * exponent.value)})" if 1 < exponent.value <= 4 else None


def _of_a_set(item: Operand) -> object:
    """What makes a constant another member of a set than the rest."""
    match item:
        case Lit(value=value) | Value(expr=ir.Const(type=BoolType(), value=value)):
            return value
        case Text(raw=raw, shown=shown):
            return raw, shown.startswith("b")
    return item
