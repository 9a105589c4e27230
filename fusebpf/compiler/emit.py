# SPDX-License-Identifier: MIT
"""C for a filter set: readable, deterministic, each statement at its Python line."""

from __future__ import annotations

from collections.abc import Mapping

from fusebpf.compiler import ir
from fusebpf.compiler.cnames import comment, identifier, quoted, string
from fusebpf.compiler.costs import Cost
from fusebpf.compiler.emit_expr import ExprEmitter, Names, c_type, constant, strip
from fusebpf.compiler.emit_functions import buffers_read, covered_by, functions_of
from fusebpf.compiler.emit_maps import MapEmitter, RecordNames, declarations
from fusebpf.compiler.emit_names import NameFunctions
from fusebpf.compiler.expressions import CONTEXT_FIELDS
from fusebpf.compiler.flow import Flow, bounds
from fusebpf.compiler.lower import (
    all_locals,
    frame_size,
    framed_context,
    private_loops,
    record_area,
    text_area,
)
from fusebpf.compiler.sources import Source
from fusebpf.compiler.types import (
    CONTEXT,
    DIRENT,
    NAME,
    NONE,
    TEXTS,
    BoolType,
    IntType,
    StructType,
    Type,
    VerdictType,
)
from fusebpf.compiler.walk import expressions, leaves, returns_in_loop, statements

_SCALAR = IntType | BoolType | VerdictType


class Emitter:
    """Writes one program."""

    def __init__(
        self, program: ir.Program, sources: Mapping[str, Source], costs: Mapping[str, Cost]
    ) -> None:
        self.program = program
        self.sources = sources
        self.file = sources[program.file].name
        self.costs = costs
        self.out: list[str] = []
        self.functions, self.taken = functions_of(program)
        self.records = RecordNames(program)
        self.asked = NameFunctions(program, self.taken)
        self.helpers = {f.name: f for f in program.helpers}
        self.shared = frozenset(f.name for f in program.helpers if f.shared)
        #: Leading parameters that the author did not write, by helper.
        self.needs: dict[str, tuple[str, ...]] = {}
        for function in program.helpers:
            self.needs[function.name] = self._hidden_params(function)

    def program_text(self) -> str:
        """The whole file."""
        self._head()
        self.out += self.asked.lines
        for function in self.program.helpers:
            self._function(function)
        for function in self.program.filters:
            self._function(function)
            self._covered(function)
        self._ops()
        return "\n".join(self.out) + "\n"

    # ------------------------------------------------------------ parts of the file

    def _head(self) -> None:
        self.out += [
            f"/* Filter set {self.program.name}, made from {comment(self.file)}: do not edit. */",
            '#include "fusebpf.h"',
            '#include "fusebpf_lang.h"',
            "",
        ]
        self.out += declarations(self.program, self.records)
        for config in self.program.configs:
            self.out.append(
                f"const volatile {c_type(config.type)} fusebpf_config_{config.name} = "
                f"{strip(constant(config.default, config.type))};"
            )
        if self.program.counts_lost:
            self.out.append("FUSEBPF_MAP_PERCPU_ARRAY(fusebpf_lost, __u64, 1)")
        if self.out[-1]:
            self.out.append("")

    def _covering(self, function: ir.Function) -> list[tuple[str, str]]:
        """Hooks that a filter serves besides its own, and the names of the programs for them."""
        phase = (function.hook or "").rpartition("_")[2]
        return [
            (f"{covered}_{phase}", f"{self.functions[function.name]}_{covered}")
            for covered in covered_by(function)
        ]

    def _covered(self, function: ir.Function) -> None:
        """A kernel that calls a rename without flags by another hook gets a program for it."""
        for hook, name in self._covering(function):
            writes = any(isinstance(s, ir.SetField) for s in statements(function.body))
            self.out += [
                f"FUSEBPF_{hook.upper()}({name}, ctx, req, old_name, new_name)",
                "{",
                "\tstruct fuse_rename2_in wide = { .newdir = req->newdir };",
                f"\tint verdict = {self.functions[function.name]}(ctx, &wide, old_name, new_name);",
                "",
                *(["\treq->newdir = wide.newdir;"] if writes else []),
                "\treturn verdict;",
                "}",
                "",
            ]

    def _ops(self) -> None:
        self.out.append(f"FUSEBPF_OPS({string(self.program.name.encode())},")
        members = [
            f"\t.{hook} = FUSEBPF_PROG({name})"
            for f in self.program.filters
            for hook, name in ((f.hook, self.functions[f.name]), *self._covering(f))
        ]
        self.out.append(",\n".join(members) + ")")

    # ------------------------------------------------------------ functions

    def _hidden_params(self, function: ir.Function) -> tuple[str, ...]:
        """Leading parameters that the author did not write: the context, the frame's memory."""
        found: set[str] = set()
        if frame_size(function):
            found.add("memory")
        for stmt in statements(function.body):
            for expr in expressions(stmt):
                if isinstance(expr, ir.Call):
                    found |= set(self.needs[expr.function])
        return tuple(sorted(found))

    def _function(self, function: ir.Function) -> None:
        FunctionEmitter(self, function).emit()


class FunctionEmitter:
    """Writes one function."""

    def __init__(self, parent: Emitter, function: ir.Function) -> None:
        self.parent = parent
        self.function = function
        self.source = parent.sources[function.file]
        self.out = parent.out
        self.depth = 1
        self.loops = 0
        self.inside = 0
        self.shown = 0
        self.locals = self._local_names()
        if function.shared:
            # It is given none; what it calls does without, too.
            self.locals |= {p.name: "NULL" for p in function.params if p.type == CONTEXT}
        ctx = next((p.name for p in function.params if p.type == CONTEXT), None)
        own = frame_size(function)
        step = f"(void *)((__u8 *)memory + {own})" if own else "memory"
        hidden = {name: tuple(step for _ in needs) for name, needs in parent.needs.items()}
        self.names = Names(
            self.locals[ctx] if ctx else "ctx",
            self.locals,
            function.frame,
            parent.functions,
            hidden,
            parent.asked.sets,
            parent.asked.globs,
            shared=parent.shared,
        )
        self.names.present, self.names.entry_names = self._derived_names()
        self.names.anew = function.branchy
        self.names.entries = frozenset(p.name for p in function.params if p.type == DIRENT)
        self.leaving = returns_in_loop(function.body)
        self.ctx_fields = self._ctx_fields()
        self.exprs = ExprEmitter(self.names)
        area = record_area(function)
        self.maps = MapEmitter(self.exprs, parent.program, parent.records, own - area)
        self.text = f"(__u8 *)memory + {own - area - text_area(function)}"
        self.maps.half = area // 2
        self.exprs.maps = self.maps

    def _local_names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        found = [p.name for p in self.function.params] + [v.name for v in self.function.locals]
        for stmt in statements(self.function.body):
            if isinstance(stmt, ir.For | ir.ForEntries):
                found.append(stmt.var)
        for name in found:
            if name not in names:
                names[name] = identifier(name, [*self.parent.taken, *names.values()])
        return names

    def _derived_names(self) -> tuple[dict[str, str], dict[str, str]]:
        """The C names of optional locals' Boolean halves, and those of entries' names."""
        taken = [*self.parent.taken, *self.locals.values()]

        def derived(names: list[str], end: str) -> dict[str, str]:
            found: dict[str, str] = {}
            for name in names:
                if name not in found:
                    found[name] = identifier(f"{self.locals[name]}{end}", taken)
                    taken.append(found[name])
            return found

        entries = [p.name for p in self.function.params if p.type == DIRENT]
        for stmt in statements(self.function.body):
            if isinstance(stmt, ir.ForEntries):
                entries.append(stmt.var)
        optional = [local.name for local in self.function.locals if local.optional]
        return derived(optional, "_set"), derived(entries, "_name")

    def _ctx_fields(self) -> dict[str, str]:
        """Members of ctx that are kept in the frame, and their names there."""
        own = [*self.locals.values(), *self.names.present.values()]
        return {
            field: identifier(f"ctx_{field}", [*self.parent.taken, *own])
            for field in framed_context(self.function)
        }

    def emit(self) -> None:
        """The whole function."""
        function = self.function
        self.out.append('#line 1 "<generated>"')
        name = self.parent.functions[function.name]
        void = function.returns == NONE
        is_global = function.alone
        if function.hook is not None:
            params = ", ".join(self.locals[p.name] for p in function.params)
            self.out.append(f"FUSEBPF_{function.hook.upper()}({name}, {params})")
        else:
            kind = "int" if void else c_type(function.returns)
            words = "__weak __attribute__((noinline))" if is_global else "static __always_inline"
            if function.shared:
                words = "static __fusebpf_shared"
            params = ", ".join(
                [*(f"void *{n}" for n in self.parent.needs[function.name]), *self._params()]
            )
            head = (
                f"{words} {'void' if void and not is_global else kind} {name}({params or 'void'})"
            )
            if is_global:
                self.out.append(f"{head.replace('__weak __attribute__((noinline)) ', '')};")
            self.out.append(head)
        self.out.append("{")
        if function.shared:
            names = (self.locals[p.name] for p in function.params if p.type == NAME)
            self.out += [*(f"\tFUSEBPF_NAME_GIVEN({name});" for name in names), ""]
        if self.leaving:
            self.out.append(f"\t{c_type(function.returns)} fusebpf_result = 0;")
        self._declarations()
        self._read_buffers()
        if function.pure:
            self.out.append(f"\tfusebpf_keep_answer({self.names.ctx});")
        self._block(function.body)
        self.out.append('#line 1 "<generated>"')
        if not leaves(function.body):
            if function.hook is not None:
                self.out.append("\treturn FUSEBPF_CONTINUE;")
            elif is_global and void:
                self.out.append("\treturn 0;")
        if self.leaving:
            self.out += ["", "fusebpf_out:", "\treturn fusebpf_result;"]
        self.out += ["}", ""]

    def _params(self) -> list[str]:
        writes = {
            s.param for s in statements(self.function.body) if isinstance(s, ir.SetField)
        } | self._passed_on()
        out: list[str] = []
        for p in self.function.params:
            name = self.locals[p.name]
            if self.function.shared and p.type in (NAME, CONTEXT):
                out += [f"FUSEBPF_NAME_PARAM({name})"] if p.type == NAME else []
                continue
            out.append(f"{_param_type(p.type, p.name in writes)}{name} __fusebpf_unused")
            if p.type == DIRENT:
                out.append(f"struct fusebpf_buf *{self.names.entry_names[p.name]} __fusebpf_unused")
        return out

    def _passed_on(self) -> set[str]:
        """Struct parameters given to other helpers, which may write to them."""
        found: set[str] = set()
        for stmt in statements(self.function.body):
            for expr in expressions(stmt):
                if isinstance(expr, ir.Call):
                    found |= {
                        a.name
                        for a, p in zip(
                            expr.args, self.parent.helpers[expr.function].params, strict=True
                        )
                        if isinstance(a, ir.Local) and isinstance(p.type, StructType)
                    }
        return found

    def _declarations(self) -> None:
        function = self.function
        private = private_loops(function) - function.frame
        params = {p.name for p in function.params}
        read = {
            (type(e), e.name)
            for s in statements(function.body)
            for e in expressions(s)
            if isinstance(e, ir.Local | ir.IsPresent)
        }

        def unused(kind: type, name: str) -> str:
            return "" if (kind, name) in read else " __fusebpf_unused"

        plain: list[str] = []
        framed: list[tuple[int, str]] = []
        for local in all_locals(function):
            if local.name in private:
                continue
            kind, name = c_type(local.type), self.locals[local.name]
            if local.name in function.frame:
                width = local.type.bits if isinstance(local.type, IntType) else 32
                framed.append((width, f"{kind} {name};"))
                if local.optional:
                    framed.append((1, f"_Bool {self.names.present[local.name]};"))
            elif local.name not in params:
                plain.append(f"\t{kind} {name}{unused(ir.Local, local.name)} = 0;")
                if local.optional:
                    half = self.names.present[local.name]
                    plain.append(f"\t_Bool {half}{unused(ir.IsPresent, local.name)} = 0;")
        for field, name in self.ctx_fields.items():
            type_ = CONTEXT_FIELDS[field]
            framed.append((type_.bits, f"{type_.c_name} {name};"))
        self.out += plain
        self._frame(sorted(framed, key=lambda f: -f[0]))
        if plain or framed:
            self.out.append("")

    def _read_buffers(self) -> None:
        """A filter that looks into a buffer, itself or in a helper, wants its bytes first."""
        if self.function.hook is None:
            return
        read = buffers_read(self.function, self.parent.helpers)
        for param in self.function.params:
            if param.name in read:
                name = self.locals[param.name]
                self.out.append(f"	if (fusebpf_read_bytes({name}))")
                self.out.append(f"		return fusebpf_read_bytes({name});")

    def _frame(self, members: list[tuple[int, str]]) -> None:
        function = self.function
        total = self.parent.costs[function.name].frame
        if members:
            self.out.append("\tvolatile struct {")
            self.out += [f"\t\t{text}" for _, text in members]
            self.out.append("\t} *frame;")
        if function.hook is not None and total:
            ctx = self.names.ctx
            self.out.append(f"\tvoid *memory = fusebpf_frame({ctx}, {total});")
            self.out.append("")
            self.out.append("\tif (!memory)")
            self.out.append("\t\treturn -FUSEBPF_EIO;")
        if members:
            self.out.append("\tframe = memory;")
            for param in function.params:
                if param.name in function.frame:
                    name = self.locals[param.name]
                    self.out.append(f"\tframe->{name} = {name};")
            for field, name in sorted(self.ctx_fields.items()):
                access = self.exprs.context(field)
                self.out.append(f"\tframe->{name} = {access};")
            self.names.ctx_fields.update({k: f"frame->{v}" for k, v in self.ctx_fields.items()})

    # ------------------------------------------------------------ statements

    def _put(self, text: str) -> None:
        self.out.append("\t" * self.depth + text if text else "")

    def _lines(self, lines: list[str]) -> None:
        for line in lines:
            self._put(line)

    def _mark(self, line: int) -> None:
        if line != self.shown and 0 < line <= len(self.source.lines):
            self.shown = line
            self._put(f"/* {comment(self.source.lines[line - 1])} */")
        self.out.append(f'#line {line} "{quoted(self.source.name)}"')

    def _block(self, body: tuple[ir.Stmt, ...]) -> None:
        for stmt in body:
            self._statement(stmt)

    def _nested(self, body: tuple[ir.Stmt, ...]) -> None:
        self.depth += 1
        self._block(body)
        self.depth -= 1

    def _looped(self, body: tuple[ir.Stmt, ...]) -> None:
        self.inside += 1
        self._nested(body)
        self.inside -= 1

    def _statement(self, stmt: ir.Stmt) -> None:
        self._mark(stmt.line)
        text = self.exprs.expr
        match stmt:
            case ir.Assign(target=target, value=value):
                self._put(f"{self.exprs.local(target)} = {self.exprs.value(value)};")
                if target in self.names.present:
                    self._put(f"{self.exprs.present(target)} = 1;")
            case ir.MapFetch():
                self._lines(self.maps.fetch(stmt))
            case ir.SetField(param=param, path=path, value=value):
                member = self.exprs.struct_field(param, path)
                self._put(f"FUSEBPF_STORE({member}, {self.exprs.value(value)});")
            case ir.SetTag(value=value):
                self._put(f"(void)fusebpf_set_tag({self.names.ctx}, {self.exprs.value(value)});")
            case ir.ForgetTag():
                self._put(f"fusebpf_forget_tag({self.names.ctx});")
            case ir.MapSet():
                self._lines(self.maps.set(stmt))
            case ir.MapUpdate():
                self._lines(self.maps.update(stmt))
            case ir.Emit():
                self._lines(self.maps.emit(stmt))
            case ir.Drop(var=var):
                self._put(f"fusebpf_dirent_drop({self.names.entry(var)});")
            case ir.RenameEntry(var=var, value=value):
                self._rename_entry(var, value)
            case ir.SetEntryType(var=var, value=value):
                entry = self.names.entry(var)
                wide = self.exprs.value(value) if isinstance(value, ir.Const) else text(value)
                kind = f"{wide} & 15"
                self._put(f"(void)fusebpf_dirent_set_type({entry}, (__u32)({kind}));")
            case ir.KeepAnswer(value=value):
                self._put(
                    f"(void)fusebpf_entry_valid({self.names.ctx}, {self.exprs.value(value)});"
                )
            case ir.ClearError():
                self._put(f"(void)fusebpf_clear_error({self.names.ctx});")
            case ir.Debug(format=format_, values=values):
                # Numbers of every type travel as 64 bits.
                numbers = "".join(f", (__s64)({self.exprs.value(v)})" for v in values)
                self._put(f"fusebpf_debug({string(format_.encode())}{numbers});")
            case ir.Replace(param=param, value=value):
                self._replace(param, value)
            case ir.Do(value=value):
                void = isinstance(value, ir.Call) and value.type == NONE
                self._put(f"{'' if void else '(void)'}{text(value)};")
            case ir.If():
                self._if(stmt, "if")
            case ir.For():
                self._for(stmt)
            case ir.ForEntries():
                self._for_entries(stmt)
            case ir.Break():
                self._put("break;")
            case ir.Continue():
                self._put("continue;")
            case ir.Return(value=returned):
                self._return(returned)
            case _:
                raise AssertionError(f"no C for {type(stmt).__name__}")

    def _replace(self, param: str, value: ir.Expr) -> None:
        target = self.locals[param]
        if isinstance(value, ir.NameJoin):
            self._put("{")
            self.depth += 1
            self._make_text(value)
            call = f"fusebpf_replace_made({target}, _text, _size)"
        elif isinstance(value, ir.Bytes):
            call = f"fusebpf_replace_text({target}, {string(value.value)}, {len(value.value)})"
        else:
            call = f"fusebpf_replace({target}, {self.exprs.name(value)})"
        self._put(f"if ({call})")
        self._put(
            "\tfusebpf_leave(-FUSEBPF_EINVAL);" if self.inside else "\treturn -FUSEBPF_EINVAL;"
        )
        if isinstance(value, ir.NameJoin):
            self.depth -= 1
            self._put("}")

    def _make_text(self, value: ir.NameJoin) -> None:
        """The bytes of a new name in memory of the operation."""
        self._put(f"__u8 *_text = {self.text};")
        self._put("__u64 _size = 0;")
        self._put("")
        for part, fold in zip(value.parts, value.folds, strict=True):
            if isinstance(part, ir.Bytes):
                literal = f"{string(part.value)}, {len(part.value)}"
                made = f"fusebpf_text_literal(_text, _size, {literal})"
            else:
                made = f"fusebpf_text_add(_text, _size, {self.exprs.name(part)}, {int(fold)})"
            self._put(f"_size = {made};")

    def _rename_entry(self, var: str, value: ir.NameJoin) -> None:
        self._put("{")
        self.depth += 1
        self._make_text(value)
        entry, name = self.names.entry(var), self.names.entry_name(var)
        self._put(f"fusebpf_dirent_rename({entry}, {name}, _text, _size);")
        self.depth -= 1
        self._put("}")

    def _return(self, value: ir.Expr | None) -> None:
        if value is None:
            self._put("return 0;" if self.function.alone else "return;")
            return
        text = strip(self.exprs.expr(value))
        self._put(f"fusebpf_leave({text});" if self.inside else f"return {text};")

    def _if(self, stmt: ir.If, word: str) -> None:
        test = strip(self.exprs.expr(stmt.test))
        self._put(f"{word} ({test}) {{")
        self._nested(stmt.then)
        if stmt.other:
            self._put("} else {")
            self._nested(stmt.other)
        self._put("}")

    def _for(self, stmt: ir.For) -> None:
        self.loops += 1
        loop = f"_loop{self.loops}"
        start, count = self.exprs.value(stmt.start), self.exprs.value(stmt.count)
        if bounds(stmt.count, Flow())[1] > stmt.bound:
            # A second line behind what was proved: the verifier knows no bound of its own.
            count = f"fusebpf_min_s({count}, {stmt.bound})"
        step = f" * {constant(stmt.step, stmt.var_type)}" if stmt.step != 1 else ""
        turn = f"{loop}.k{step}"
        simple = isinstance(stmt.start, ir.Const)
        first = f"_start{self.loops}"
        if not simple:
            # The range is evaluated once, start before count.
            self._put("{")
            self.depth += 1
            self._put(f"const __s64 {first} = {start};")
            start = first
        value = turn if start == "0" else f"{start} + {turn}"
        self._put(f"fusebpf_for({loop}, {count}) {{")
        declare = "" if stmt.var in self._declared() else "const __s64 "
        self._mark(stmt.line)
        unused = " __fusebpf_unused" if declare else ""
        self.depth += 1
        self._put(f"{declare}{self.exprs.local(stmt.var)}{unused} = {value};")
        self.depth -= 1
        self._looped(stmt.body)
        self._put("}")
        if not simple:
            self.depth -= 1
            self._put("}")

    def _declared(self) -> set[str]:
        private = private_loops(self.function) - self.function.frame
        return {v.name for v in all_locals(self.function)} - private

    def _for_entries(self, stmt: ir.ForEntries) -> None:
        var = self.locals[stmt.var]
        self._put(f"fusebpf_for_each_dirent({var}, {self.locals[stmt.param]}) {{")
        # Helpers get it with its name.
        named = any(
            (isinstance(e, ir.DirentName) and e.var == stmt.var)
            or (isinstance(e, ir.Call) and ir.Local(DIRENT, stmt.var) in e.args)
            or (isinstance(s, ir.RenameEntry) and s.var == stmt.var)
            for s in statements(stmt.body)
            for e in expressions(s)
        )
        if named:
            self.depth += 1
            name = self.names.entry_names[stmt.var]
            self._put(f"struct fusebpf_buf {name} = fusebpf_dirent_name(&{var});")
            self._put("")
            self._put("/* Never shown unseen. */")
            self._put(f"if (!{name}.data) {{")
            self._put(f"\tfusebpf_dirent_drop(&{var});")
            self._put("\tcontinue;")
            self._put("}")
            self.depth -= 1
        self._looped(stmt.body)
        self._put("}")


def _param_type(type_: Type, written: bool) -> str:
    """The C type of a helper's parameter, with the space or star before its name."""
    if isinstance(type_, StructType):
        return f"{'' if written else 'const '}struct {type_.name} *"
    if type_ == CONTEXT:
        return "struct fusebpf_ctx *"
    if type_ in TEXTS:
        return "const struct fusebpf_buf *"
    if type_ == DIRENT:
        return "struct fusebpf_dirent *"
    if isinstance(type_, IntType | BoolType | VerdictType):
        return f"{c_type(type_)} "
    return "struct fusebpf_buf *"
