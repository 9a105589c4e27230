# SPDX-License-Identifier: MIT
"""Filters and helpers: signatures, inference of locals, calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType

from fusebpf.abi import DEFAULT_FILTER, HOOKS, Arg, Hook
from fusebpf.compiler import ir
from fusebpf.compiler.flow import Flow
from fusebpf.compiler.joins import Joined
from fusebpf.compiler.matching import Matching, subject_name
from fusebpf.compiler.members import EFFECTS
from fusebpf.compiler.mending import Mend, span
from fusebpf.compiler.names import whole
from fusebpf.compiler.operands import (
    POISON,
    ClassRef,
    HelperRef,
    NameView,
    Operand,
    Poison,
    TypeRef,
    Value,
)
from fusebpf.compiler.results import RESULT
from fusebpf.compiler.scope import HelperInfo, Unit
from fusebpf.compiler.statements import value_name
from fusebpf.compiler.types import (
    BOOL,
    BUFFER,
    CONTEXT,
    DIRENT,
    DIRENTS,
    NAME,
    NONE,
    OPAQUE,
    S64,
    VERDICT,
    IntType,
    StructType,
    Type,
)
from fusebpf.compiler.words import article

#: The deepest chain of calls, the filter itself counted.
MAX_DEPTH = 8
#: More passes than this over a function mean that inference does not settle.
_MAX_PASSES = 20

_KINDS: dict[str, Type] = {"name": NAME, "bytes": BUFFER, "dirents": DIRENTS, "entries": OPAQUE}
_CLASSES: dict[str, Type] = {
    "Name": NAME,
    "Context": CONTEXT,
    "Dirents": DIRENTS,
    "Dirent": DIRENT,
    "Buffer": BUFFER,
}


def arg_type(arg: Arg) -> Type:
    """The language's type of an argument of the opcode table."""
    if arg.struct is not None:
        return StructType(arg.struct.name, arg.struct.py_name)
    return _KINDS[arg.kind]


def find_hook(name: str) -> Hook:
    """The hook of a registered filter."""
    return DEFAULT_FILTER if name == DEFAULT_FILTER.name else HOOKS[name]


class FunctionChecker(Matching):
    """One pass over one function."""

    def call_helper(self, node: ast.Call, helper: HelperRef) -> Operand:
        name = helper.node.name
        info = check_helper(self.unit, helper, node, self)
        if node.keywords:
            return self.error(
                node,
                "E252",
                f"{name}() takes positional arguments only",
                "leave out the names",
                _positional(self, node, helper.node),
            )
        if info is None or info.function is None:
            for arg in node.args:
                self.expr(arg)
            return POISON
        self.depth = max(self.depth, 1 + info.depth)
        params = info.function.params
        if len(params) != len(node.args):
            return self.error(
                node,
                "E252",
                f"{name}() takes {len(params)} argument{'s' * (len(params) != 1)}, "
                f"not {len(node.args)}",
                f"it is defined as {name}({', '.join(p.name for p in params)})",
            )
        args: list[ir.Expr] = []
        failed = False
        for index, (param, arg) in enumerate(zip(params, node.args, strict=True)):
            made = self._argument(name, param, arg, index in info.writes)
            if made is not None and index in info.walks and not self._walked(name, arg, made):
                made = None
            failed = failed or made is None
            if made is not None:
                args.append(made)
        for effect in sorted(info.effects):
            hooks, message, help = EFFECTS[effect]
            if self.hook is not None and self.hook not in hooks:
                return self.error(node, "E282", f"{name}() uses {effect}: {message}", help)
        self.effects |= info.effects
        return POISON if failed else Value(ir.Call(info.returns, name, tuple(args)))

    def _argument(
        self, helper: str, param: ir.Param, node: ast.expr, writes: bool
    ) -> ir.Expr | None:
        operand = self.expr(node)
        if isinstance(operand, NameView) and not operand.fold:
            operand = Value(whole(operand))
        if isinstance(param.type, IntType) or not isinstance(operand, Value):
            return self.convert(node, operand, param.type)
        expr = operand.expr
        if expr.type != param.type:
            return self.convert(node, operand, param.type)
        if expr.type == DIRENT and isinstance(expr, ir.Local):
            self._forget(expr.name)
        if writes:
            if not isinstance(expr, ir.Local):
                self.error(
                    node,
                    "E280",
                    f"{helper}() changes {param.name}; only a whole argument can be passed",
                    "set the members here",
                )
                return None
            if self.hook is not None and not self.params[expr.name].writable:
                self._read_only(node, expr.name)
                return None
            self.writes.add(expr.name)
            self._forget(expr.name)
        return expr

    def _walked(self, helper: str, node: ast.expr, given: ir.Expr) -> bool:
        """Whether an automaton can walk over what a helper is given: a name, not a part of one."""
        if isinstance(given, ir.NamePart):
            self.error(
                node,
                "E259",
                f"{helper}() walks over a whole name, and is given a part of one",
                "pass the name itself; an automaton skips bytes by states of its own",
            )
            return False
        if isinstance(given, ir.Local):
            self.walks.add(given.name)
        return True

    def _forget(self, name: str) -> None:
        self.flow = self.flow.forget(name)
        self.changed |= {name}

    # ------------------------------------------------------------ the whole function

    def prepare(self, params: tuple[ir.Param, ...]) -> None:
        """Set up parameters and locals."""
        self.params = {p.name: p for p in params}
        names: set[str] = set()
        entry_vars: set[str] = set()
        for node in ast.walk(ast.Module(body=self.node.body, type_ignores=[])):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
                self.store_counts[node.id] = self.store_counts.get(node.id, 0) + 1
            elif isinstance(node, ast.For) and isinstance(node.target, ast.Name):
                entry_vars.add(node.target.id)
            elif isinstance(node, ast.Match):
                names.add(subject_name(node))
            elif isinstance(node, ast.Assign) and len(node.targets) > 1:
                names.add(value_name(node))
        self.entry_vars = frozenset(entry_vars)
        self.replaced = frozenset(self._replaced())
        for param in params:
            if param.name in names and (
                isinstance(param.type, IntType) or param.type in (BOOL, VERDICT)
            ):
                # A parameter that is assigned to is a local that starts with a value.
                joined = self.next_joins.setdefault(param.name, Joined())
                joined.type, joined.declared = param.type, True
        fixed = {p.name for p in params} - set(self.next_joins)
        self.local_names = frozenset(names - fixed)
        self.flow = Flow(assigned=frozenset(self.next_joins))

    def _replaced(self) -> Iterator[str]:
        """Names and entries that get other contents, under their own name or another word."""
        words: dict[str, str] = {}
        for node in (inner for stmt in self.node.body for inner in ast.walk(stmt)):
            match node:
                case ast.Assign(targets=targets, value=ast.Name(id=name)):
                    words.update((t.id, name) for t in targets if isinstance(t, ast.Name))
                case ast.AnnAssign(target=ast.Name(id=word), value=ast.Name(id=name)):
                    words[word] = name
                case ast.NamedExpr(target=ast.Name(id=word), value=ast.Name(id=name)):
                    words[word] = name
        for name in self._changed_words(words):
            seen: set[str] = set()
            while name not in seen:
                seen.add(name)
                yield name
                name = words.get(name, name)

    def _changed_words(self, words: Mapping[str, str]) -> Iterator[str]:
        """What is given other contents as the function calls it, here or maybe in a helper."""
        entries = {*self.entry_vars, *words}
        for node in (inner for stmt in self.node.body for inner in ast.walk(stmt)):
            match node:
                case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store()):
                    yield name
                case ast.Attribute(value=ast.Name(id=name), attr="name", ctx=ast.Store()):
                    yield name
                case ast.Call(args=args):
                    given = {arg.id for arg in args if isinstance(arg, ast.Name)}
                    yield from given & entries


def _run(
    unit: Unit,
    node: ast.FunctionDef,
    params: tuple[ir.Param, ...],
    hook: str | None,
    result: Type | None = None,
) -> tuple[FunctionChecker, tuple[ir.Stmt, ...]]:
    """Infer the types of the locals, then check for good."""
    joins: dict[str, Joined] = {}

    def one_pass(infer: bool) -> tuple[FunctionChecker, tuple[ir.Stmt, ...]]:
        checker = FunctionChecker(unit, node, joins, infer)
        checker.hook = hook
        checker.prepare(params)
        if result is not None:
            checker.next_joins[RESULT] = Joined(type=result, declared=True)
        return checker, checker.block(node.body)

    for attempt in range(_MAX_PASSES):
        checker, _ = one_pass(True)
        settled = checker.next_joins == joins
        joins = checker.next_joins
        if settled and attempt:
            break
    return one_pass(False)


def _locals(checker: FunctionChecker) -> tuple[ir.LocalVar, ...]:
    found: list[ir.LocalVar] = []
    for name, joined in checker.joins.items():
        type_ = joined.final()
        skip = name == RESULT or name in checker.params or joined.constant is not None
        if not skip and type_ is not None and not joined.conflict:
            found.append(ir.LocalVar(name, type_, joined.optional))
    return tuple(found)


def check_filter(
    unit: Unit, node: ast.FunctionDef, hook_name: str, function: FunctionType | None = None
) -> ir.Function | None:
    """Check a filter; None when its signature is wrong.

    ``function`` is what the author registered; None for a filter that a predicate stands for.
    """
    with unit.names_of(function):
        return _check_filter(unit, node, hook_name)


def _check_filter(unit: Unit, node: ast.FunctionDef, hook_name: str) -> ir.Function | None:
    hook = find_hook(hook_name)
    params = _filter_params(unit, node, hook)
    _check_return_annotation(unit, node)
    if params is None:
        return None
    checker, body = _run(unit, node, params, hook_name)
    if checker.depth > MAX_DEPTH:
        _too_deep(unit, node, checker.depth)
    file = unit.source.path
    return ir.Function(
        node.name, hook_name, node.lineno, params, _locals(checker), VERDICT, body, file
    )


def _too_deep(unit: Unit, node: ast.FunctionDef, depth: int) -> None:
    unit.report(
        _name_of(node),
        "E292",
        f"{node.name}() calls {depth - 1} levels deep; {MAX_DEPTH - 1} are possible",
        "join some of the helpers",
    )


def signature(hook: Hook, own: Sequence[str] = ()) -> str:
    """The parameters of a filter as an author writes them, with the names that it has already."""
    words = ["ctx: Context"]
    for arg in hook.args:
        short = {"struct": "req" if arg.direction == "in" else "out"}.get(arg.kind, arg.name)
        if any(word.startswith(f"{short}:") for word in words) and arg.struct:
            short = arg.struct.name.removeprefix("fuse_")
        words.append(f"{short}: {arg_type(arg)}")
    kept = zip(own, words, strict=False)
    words[: len(own)] = [f"{name}: {word.split(': ')[1]}" for name, word in kept]
    return ", ".join(words)


def _parameters(node: ast.FunctionDef, wanted: str) -> Mend | None:
    """Other parameters of a function whose ``def`` is written on one line."""
    first = node.args.args[0] if node.args.args else None
    if first is None or node.args.args[-1].end_lineno != first.lineno:
        return None
    classes = dict.fromkeys(word.split(": ")[1] for word in wanted.split(", "))
    return Mend(
        wanted,
        at=span(first, node.args.args[-1]),
        safe=False,
        imports=tuple(("fusebpf", name) for name in classes),
    )


def _positional(scope: FunctionChecker, node: ast.Call, helper: ast.FunctionDef) -> str | None:
    """A call with keywords, with the values in the order of the parameters."""
    names = [arg.arg for arg in helper.args.args]
    given = dict(zip(names, node.args, strict=False))
    given.update((k.arg, k.value) for k in node.keywords if k.arg is not None)
    if set(given) != set(names):
        return None
    values = ", ".join(scope.source_of(given[name]) for name in names)
    return f"{scope.source_of(node.func)}({values})"


def _filter_params(unit: Unit, node: ast.FunctionDef, hook: Hook) -> tuple[ir.Param, ...] | None:
    shown = "default" if hook is DEFAULT_FILTER else f"{hook.op}.{hook.phase}"
    args = node.args
    if args.vararg or args.kwarg or args.kwonlyargs or args.defaults or args.posonlyargs:
        unit.report(
            _name_of(node),
            "E290",
            f"a filter of {shown} has plain parameters only",
            f"def {node.name}({signature(hook)}):",
        )
        return None
    wanted: list[tuple[Type, str, bool]] = [(CONTEXT, "", False)]
    wanted += [(arg_type(arg), arg.name, arg.writable) for arg in hook.args]
    if len(args.args) != len(wanted):
        count = len(args.args)
        unit.report(
            _name_of(node),
            "E290",
            f"a filter of {shown} takes {len(wanted)} argument{'s' * (len(wanted) != 1)}, "
            f"{node.name} has {count}",
            f"def {node.name}({signature(hook)}):",
            fix=_parameters(node, signature(hook, [arg.arg for arg in args.args])),
        )
        return None
    out: list[ir.Param] = []
    fine = True
    for arg, (type_, abi_name, writable) in zip(args.args, wanted, strict=True):
        if arg.annotation is not None:
            given = _annotated_class(unit, arg.annotation)
            if given is None or given != str(type_):
                text = ast.unparse(arg.annotation)
                unit.report(
                    arg.annotation,
                    "E291",
                    f"{arg.arg} of {shown} is {article(str(type_))}, not {text}",
                    f"def {node.name}({signature(hook)}):",
                    fix=Mend(str(type_), imports=(("fusebpf", str(type_)),)),
                )
                fine = False
        out.append(ir.Param(arg.arg, type_, abi_name, writable))
    return tuple(out) if fine else None


def _annotated_class(unit: Unit, node: ast.expr) -> str | None:
    """The class that an annotation names, by its own name (imports may rename it)."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.split(".")[-1]
    if isinstance(node, ast.Name):
        found = unit.namespace.get(node.id)
        if isinstance(found, type):
            return found.__name__
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None


def _check_return_annotation(unit: Unit, node: ast.FunctionDef) -> None:
    if node.returns is None:
        return
    text = ast.unparse(node.returns).strip("'\"")
    parts = {p.strip().split(".")[-1] for p in text.split("|")}
    if text.startswith(("Optional[", "typing.Optional[")):
        parts = {text.split("[")[1].rstrip("]").split(".")[-1]}
    if not parts <= {"Verdict", "None"}:
        unit.report(
            node.returns,
            "E291",
            f"a filter returns a Verdict, not {text}",
            f"def {node.name}(...) -> Verdict | None:",
            fix=Mend("Verdict | None", imports=(("fusebpf", "Verdict"),)),
        )


def _name_of(node: ast.FunctionDef) -> ast.AST:
    """A node that spans ``def name``."""
    at = ast.Pass()
    at.lineno, at.col_offset = node.lineno, node.col_offset
    at.end_lineno, at.end_col_offset = node.lineno, node.col_offset + len(f"def {node.name}")
    return at


# ---------------------------------------------------------------- helpers


def check_helper(
    unit: Unit, helper: HelperRef, call: ast.Call, caller: FunctionChecker
) -> HelperInfo | None:
    """Check a helper when it is first called; None after a mistake that was reported."""
    name = helper.node.name
    if unit.helper_functions.setdefault(name, helper.function) is not helper.function:
        caller.error(
            call,
            "E298",
            f"two functions that filters call are named {name}",
            "rename one of them",
        )
        return None
    if name in unit.helpers:
        return unit.helpers[name]
    if name in unit.stack:
        chain = " → ".join([*unit.stack[unit.stack.index(name) :], name])
        caller.error(call, "E293", f"recursion is not possible: {chain}", "use a bounded loop")
        return None
    if any(f.function.__name__ == name for f in unit.fset.filters):
        caller.error(
            call,
            "E294",
            f"{name} is a filter and cannot be called",
            "move what both need into a function without a decorator",
        )
        return None
    with unit.called(call, caller.node.name, name), unit.names_of(helper.function):
        info = _check_helper(unit, helper.node)
    unit.helpers[name] = info
    if info.function is not None:
        unit.order.append(info.function)
    return info


def _check_helper(unit: Unit, node: ast.FunctionDef) -> HelperInfo:
    failed = HelperInfo(None, NONE, frozenset(), frozenset(), 1)
    predicates = {p.function.__code__.co_name for p in unit.fset.predicates}
    if node.decorator_list and node.name not in predicates:
        unit.report(
            node.decorator_list[0],
            "E295",
            f"helper {node.name} has a decorator",
            "helpers are plain functions; leave it out",
            fix=Mend("", at=node.decorator_list[0], lines=True, safe=False),
        )
        return failed
    before = len(unit.diagnostics)
    params = _helper_params(unit, node)
    if params is None:
        return failed
    returns = _declared_result(unit, node)
    if returns is None:
        return failed
    declared = returns[0] if returns and returns[0] != NONE else None
    checker, body = _run(unit, node, params, None, declared)
    result = checker.joins.get(RESULT)
    type_: Type = NONE
    if result is not None and result.final() is not None:
        type_ = result.final() or NONE
    if type_ != NONE and (checker.flow.alive or (result is not None and result.optional)):
        unit.report(
            _name_of(node),
            "E270",
            f"{node.name}() does not return a value on every path",
            f"end it with a return of {article(str(type_))}",
        )
        return failed
    if returns and returns[0] != type_:
        unit.report(
            node.returns or node,
            "E274",
            f"{node.name}() is annotated {ast.unparse(node.returns or node)}, "
            f"it returns {'nothing' if type_ == NONE else type_}",
            "return what is annotated, or change the annotation",
        )
        return failed
    if len(unit.diagnostics) > before and any(
        d.severity == "error" for d in unit.diagnostics[before:]
    ):
        return failed
    if node.name in predicates and not isinstance(type_, IntType) and type_ != BOOL:
        unit.report(
            node.returns or _name_of(node),
            "E216",
            f"predicate {node.name} returns {'nothing' if type_ == NONE else article(str(type_))}, "
            "which is neither true nor false",
            "return a comparison, True or False",
        )
        return failed
    writes = frozenset(i for i, p in enumerate(params) if p.name in checker.writes)
    file = unit.source.path
    function = ir.Function(
        node.name, None, node.lineno, params, _locals(checker), type_, body, file
    )
    walks = frozenset(i for i, p in enumerate(params) if p.name in checker.walks)
    return HelperInfo(function, type_, writes, frozenset(checker.effects), checker.depth, walks)


#: Parameters that mean the same in every filter.
_USUAL = {
    name: Mend(f"{name}: {type_}", imports=(("fusebpf", type_),))
    for name, type_ in (("ctx", "Context"), ("name", "Name"))
}


def _helper_params(unit: Unit, node: ast.FunctionDef) -> tuple[ir.Param, ...] | None:
    args = node.args
    if args.vararg or args.kwarg or args.kwonlyargs or args.defaults or args.posonlyargs:
        unit.report(
            _name_of(node),
            "E296",
            "helpers have plain parameters only: no defaults, no *, no keywords",
            "pass every value",
        )
        return None
    out: list[ir.Param] = []
    fine = True
    scope = FunctionChecker(unit, node, {}, False)
    for arg in args.args:
        if arg.annotation is None:
            unit.report(
                arg,
                "E296",
                f"parameter {arg.arg!r} of helper {node.name} has no type",
                f"annotate it, e.g. {arg.arg}: Name, {arg.arg}: int or {arg.arg}: u32",
                fix=_USUAL.get(arg.arg),
            )
            fine = False
            continue
        type_ = _param_type(scope, arg.annotation)
        if type_ is None:
            fine = False
        else:
            out.append(ir.Param(arg.arg, type_))
    return tuple(out) if fine else None


def _param_type(scope: FunctionChecker, node: ast.expr) -> Type | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.copy_location(ast.Name(node.value, ast.Load()), node)
    if isinstance(node, ast.Name | ast.Attribute) and not scope.foreign_type(node):
        operand = scope.expr(node)
        match operand:
            case Poison():
                return None
            case TypeRef(name="bool"):
                return BOOL
            case TypeRef(type=None):
                return S64
            case TypeRef(type=type_):
                return type_
            case ClassRef(struct=struct) if struct is not None:
                return struct
            case ClassRef(name=name) if name in _CLASSES:
                return _CLASSES[name]
        if ast.unparse(node).split(".")[-1] == "Verdict":
            return VERDICT
    scope.error(
        node,
        "E296",
        f"{ast.unparse(node)} is not a type that helpers take",
        "use int, bool, a type of fusebpf.types, Name, Context, Dirent or an argument struct",
    )
    return None


def _declared_result(unit: Unit, node: ast.FunctionDef) -> tuple[Type, ...] | None:
    """() without annotation, (type,) with one, None after a mistake."""
    if node.returns is None:
        return ()
    if isinstance(node.returns, ast.Constant) and node.returns.value is None:
        return (NONE,)
    type_ = _param_type(FunctionChecker(unit, node, {}, False), node.returns)
    if type_ is None:
        return None
    if not isinstance(type_, IntType) and type_ not in (BOOL, VERDICT):
        unit.report(
            node.returns,
            "E274",
            f"a helper cannot return {type_}",
            "return a number, a bool or a Verdict",
        )
        return None
    return (type_,)
