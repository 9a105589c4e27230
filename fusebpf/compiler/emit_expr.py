# SPDX-License-Identifier: MIT
"""C for expressions. Every composite is in parentheses; its value is that of the IR node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fusebpf.abi import VERDICTS
from fusebpf.compiler import ir
from fusebpf.compiler.cnames import string
from fusebpf.compiler.emit_maps import MapEmitter
from fusebpf.compiler.flow import Flow, bounds
from fusebpf.compiler.types import (
    BOOL,
    CONTEXT,
    DIRENT,
    NAME,
    S64,
    U64,
    BoolType,
    ErrnoType,
    IntType,
    Type,
    VerdictType,
)

_NOTHING_KNOWN = Flow()
_WRAPPING = {"+": "fusebpf_add", "-": "fusebpf_sub", "*": "fusebpf_mul"}
_VERDICTS = tuple(VERDICTS)
_TESTS = {
    "equal": "fusebpf_name_is",
    "prefix": "fusebpf_name_starts",
    "suffix": "fusebpf_name_ends",
}
_ACCESSORS = ("uid", "gid", "euid", "egid", "pid", "tid", "tag", "tag2", "ktime")


@dataclass
class Names:
    """C names of what an expression can mention."""

    ctx: str
    locals: Mapping[str, str]
    #: Locals in the frame.
    frame: frozenset[str]
    functions: Mapping[str, str]
    #: Extra leading arguments of helpers that need the context or memory.
    hidden: Mapping[str, tuple[str, ...]]
    #: Sets of names that got a function of their own, by their values.
    sets: Mapping[tuple[bytes, ...], str] = field(default_factory=dict)
    #: The functions of glob patterns, by pattern and whether case is folded.
    globs: Mapping[tuple[bytes, bool], str] = field(default_factory=dict)
    #: Members of ctx that are kept elsewhere.
    ctx_fields: dict[str, str] = field(default_factory=dict)
    #: Whether members of structs are loaded anew each time.
    anew: bool = False
    #: Directory entries that are parameters: pointers.
    entries: frozenset[str] = frozenset()
    #: Helpers that are given bytes instead of names, and no context.
    shared: frozenset[str] = frozenset()
    #: The Boolean halves of optional locals, and the names of directory entries.
    present: Mapping[str, str] = field(default_factory=dict)
    entry_names: Mapping[str, str] = field(default_factory=dict)

    def entry(self, var: str) -> str:
        """A pointer to a directory entry."""
        return self.locals[var] if var in self.entries else f"&{self.locals[var]}"

    def entry_name(self, var: str) -> str:
        """A pointer to the name of a directory entry."""
        name = self.entry_names[var]
        return name if var in self.entries else f"&{name}"


def c_type(type_: Type) -> str:
    """The C type of a value."""
    if isinstance(type_, IntType):
        return type_.c_name
    return "_Bool" if isinstance(type_, BoolType) else "int"


def strip(text: str) -> str:
    """Without the outer parentheses, where a statement has its own."""
    if not text.startswith("(") or text.startswith("({"):
        return text
    depth, quoted, i = 1, False, 1
    while depth:
        char = text[i]
        if quoted:
            if char == "\\":
                i += 1
            elif char == '"':
                quoted = False
        elif char == '"':
            quoted = True
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        i += 1
    return text[1:-1] if i == len(text) else text


def constant(value: int, type_: Type) -> str:
    """A literal of the type."""
    if isinstance(type_, VerdictType) and 0 <= value < len(_VERDICTS):
        return f"FUSEBPF_{_VERDICTS[value]}"
    if value == S64.lo:
        return "(-9223372036854775807LL - 1)"
    suffix = ""
    if isinstance(type_, IntType) and type_.bits == 64:
        # Without it two literals would meet in C's int.
        suffix = "LL" if type_.signed else "ULL"
    elif not -(1 << 31) < value < 1 << 31:
        suffix = "LL"
    return f"({value}{suffix})" if value < 0 else f"{value}{suffix}"


def bare(expr: ir.Expr, text: str) -> str:
    """The text of an expression where C knows the width wanted: literals without a sign of theirs.

    A literal that ``s64`` holds is written as such, so that it never makes the other side unsigned.
    """
    if isinstance(expr, ir.Const) and isinstance(expr.type, IntType):
        value = expr.value
        if -(1 << 31) < value < 1 << 31:
            return f"({value})" if value < 0 else str(value)
        if S64.holds(value):
            return constant(value, S64)
    return text


class ExprEmitter:
    """Writes expressions with the names of one function."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.temporaries = 0
        self.maps: MapEmitter | None = None

    def value(self, expr: ir.Expr) -> str:
        """An expression that is stored or passed where C knows its type."""
        return strip(bare(expr, self.expr(expr)))

    def local(self, name: str) -> str:
        """Access to a local."""
        c_name = self.names.locals[name]
        return f"frame->{c_name}" if name in self.names.frame else c_name

    def present(self, name: str) -> str:
        """Access to the Boolean half of an optional local."""
        c_name = self.names.present[name]
        return f"frame->{c_name}" if name in self.names.frame else c_name

    def context(self, field: str) -> str:
        """Access to a member of the context itself."""
        if field in _ACCESSORS:
            return f"fusebpf_{field}({self.names.ctx})"
        return f"{self.names.ctx}->{field}"

    def struct_field(self, param: str, path: tuple[str, ...]) -> str:
        """Access to a member of a struct parameter."""
        return f"{self.names.locals[param]}->{'.'.join(path)}"

    def name(self, expr: ir.Expr) -> str:
        """A pointer to a name."""
        if isinstance(expr, ir.DirentName):
            return self.names.entry_name(expr.var)
        if isinstance(expr, ir.NamePart):
            stop = constant(S64.hi, S64) if expr.stop is None else self.value(expr.stop)
            inner = f"{self.name(expr.name)}, {self.value(expr.start)}, {stop}"
            return f"(struct fusebpf_buf[]){{ fusebpf_name_part({inner}) }}"
        assert isinstance(expr, ir.Local)
        return self.names.locals[expr.name]

    def expr(self, expr: ir.Expr) -> str:
        """An expression."""
        match expr:
            case ir.Const(type=type_, value=value):
                return constant(value, type_)
            case ir.Config(name=name):
                return f"fusebpf_config_{name}"
            case ir.Local(name=name):
                return self.local(name)
            case ir.IsPresent(name=name):
                return self.present(name)
            case ir.CtxField(field=name):
                return self.names.ctx_fields.get(name) or self.context(name)
            case ir.StructField(param=param, path=path):
                member = self.struct_field(param, path)
                return f"FUSEBPF_LOAD{'_ANEW' if self.names.anew else ''}({member})"
            case ir.DirentField(var=var, field=name):
                arrow = "->" if var in self.names.entries else "."
                return f"{self.names.locals[var]}{arrow}{name}"
            case ir.NameLen(name=name_expr):
                return f"(__s64)fusebpf_len({self.name(name_expr)})"
            case ir.NameByte(name=name_expr, index=index):
                return f"fusebpf_name_byte({self.name(name_expr)}, {self.value(index)})"
            case ir.NameTest():
                return self._name_test(expr)
            case ir.NameGlob():
                return self._name_glob(expr)
            case ir.NameWalk(name=name_expr, map=name, state=state):
                return f"fusebpf_name_walk({self.name(name_expr)}, &{name}, {self.value(state)})"
            case ir.NameSame(left=left, right=right):
                return f"fusebpf_name_same({self.name(left)}, {self.name(right)})"
            case ir.Cast(type=type_, operand=operand):
                if isinstance(operand, ir.Const):
                    return constant(type_.wrap(operand.value), type_)
                return f"({type_.c_name}){self._tight(operand)}"
            case ir.Unary(type=type_, op=op, operand=operand):
                if op == "-" and type_.signed:
                    return f"fusebpf_neg({strip(self.expr(operand))})"
                return f"({op}{self._tight(operand)})"
            case ir.Not(operand=operand):
                return f"(!{self._tight(operand)})"
            case ir.Binary():
                return self._binary(expr)
            case ir.Compare(op=op, left=left, right=right):
                return self._compare(op, (left.type, self.expr(left), left), right)
            case ir.Chain(ops=ops, operands=operands):
                return self._chain(ops, operands, None)
            case ir.OneOf():
                return self._one_of(expr)
            case ir.BoolOp():
                return self._boolop(expr)
            case ir.Conditional(test=test, then=then, other=other):
                parts = (self.expr(part) for part in (test, then, other))
                return "({} ? {} : {})".format(*parts)
            case ir.MinMax():
                return self._min_max(expr)
            case ir.Kept(name=name, operand=operand):
                local = self.local(name)
                return f"({{ {local} = {strip(self.expr(operand))}; {local}; }})"
            case ir.Refuse(operand=operand):
                suffix = "_u" if operand.type == U64 else ""
                return f"fusebpf_refuse{suffix}({strip(self.expr(operand))})"
            case ir.Call(function=name, args=args) if name in self.names.shared:
                given = [self._bytes(arg) for arg in args if arg.type != CONTEXT]
                return f"{self.names.functions[name]}({', '.join(given)})"
            case ir.Call(function=name, args=args):
                given = [*self.names.hidden[name], *(self._argument(arg) for arg in args)]
                return f"{self.names.functions[name]}({', '.join(given)})"
        assert self.maps is not None
        return self.maps.expr(expr)

    def _tight(self, expr: ir.Expr) -> str:
        """An operand of a cast or prefix operator."""
        return _tight(self.expr(expr))

    def _argument(self, expr: ir.Expr) -> str:
        if isinstance(expr, ir.DirentName | ir.NamePart):
            return self.name(expr)
        if isinstance(expr, ir.Local) and not isinstance(
            expr.type, IntType | BoolType | VerdictType | ErrnoType
        ):
            if expr.type == DIRENT:
                return f"{self.names.entry(expr.name)}, {self.names.entry_name(expr.name)}"
            return self.names.locals[expr.name]
        return self.value(expr)

    def _bytes(self, expr: ir.Expr) -> str:
        """The argument of a helper that is given the bytes of names."""
        return f"FUSEBPF_NAME_BYTES({self.name(expr)})" if expr.type == NAME else self.value(expr)

    # ------------------------------------------------------------ numbers

    def _binary(self, expr: ir.Binary) -> str:
        left, right = self.expr(expr.left), self.expr(expr.right)
        op, type_ = expr.op, expr.type
        both = f"{strip(bare(expr.left, left))}, {strip(bare(expr.right, right))}"
        if op in ("//", "%"):
            if bounds(expr.left, _NOTHING_KNOWN)[0] >= 0 and (
                bounds(expr.right, _NOTHING_KNOWN)[0] >= 0
            ):
                left, right = _unsigned(expr.left, left), _unsigned(expr.right, right)
                if op == "%":
                    plain = f"({left} % {right})"
                elif isinstance(expr.right, ir.Const):
                    plain = f"({left} / {right})"
                else:
                    plain = f"fusebpf_udiv({left}, {right})"
                return plain if not type_.signed else f"((__s64){plain})"
            return f"fusebpf_floor{'div' if op == '//' else 'mod'}({both})"
        if op == "<<":
            if type_.signed:
                return f"fusebpf_shl({both})"
            return f"({left} << {self._count(expr.right, right)})"
        if op == ">>":
            if bounds(expr.right, _NOTHING_KNOWN)[1] >= 32:
                # C leaves open what more bits than a type has do to it.
                left = _wide(expr.left, left)
            return f"({left} >> {self._count(expr.right, right)})"
        if op in _WRAPPING and type_.signed and self._may_wrap(expr):
            return f"{_WRAPPING[op]}({both})"
        if not isinstance(expr.left, ir.Const):
            right = bare(expr.right, right)
        elif not isinstance(expr.right, ir.Const):
            left = bare(expr.left, left)
        return f"({left} {op} {right})"

    def _count(self, expr: ir.Expr, text: str) -> str:
        """A shift count: provably 0…63, which clang does not know."""
        return bare(expr, text) if isinstance(expr, ir.Const) else f"({text} & 63)"

    def _may_wrap(self, expr: ir.Binary) -> bool:
        (a, b), (c, d) = bounds(expr.left, _NOTHING_KNOWN), bounds(expr.right, _NOTHING_KNOWN)
        results = {
            "+": (a + c, b + d),
            "-": (a - d, b - c),
            "*": (min(a * c, a * d, b * c, b * d), max(a * c, a * d, b * c, b * d)),
        }[expr.op]
        # The C operands may be narrower than 64 bits; only a cast or local is sure to be wide.
        wide = any(
            isinstance(side, ir.Cast | ir.Local | ir.NameLen) and side.type == S64
            for side in (expr.left, expr.right)
        )
        return not (wide and S64.holds(results[0]) and S64.holds(results[1]))

    def _compare(self, op: str, left: tuple[Type, str, ir.Expr | None], right_expr: ir.Expr) -> str:
        left_type, left_text, left_expr = left
        right_type, right_text = right_expr.type, self.expr(right_expr)
        # Beside another value a literal needs no width of its own, and must not impose one.
        if isinstance(left_expr, ir.Const) and not isinstance(right_expr, ir.Const):
            left_text = bare(left_expr, left_text)
        if isinstance(right_expr, ir.Const) and not isinstance(left_expr, ir.Const):
            right_text = bare(right_expr, right_text)
        left_signed = _signed(left_type, left_expr)
        right_signed = _signed(right_type, right_expr)
        if left_signed is None or right_signed is None or left_signed == right_signed:
            return f"({left_text} {op} {right_text})"
        wide = U64
        if (right_type if left_signed else left_type) != wide:
            if left_signed:
                return f"({left_text} {op} (__s64){_paren(right_text)})"
            return f"((__s64){_paren(left_text)} {op} {right_text})"
        # Not one function with the sides swapped: calls in them run from left to right.
        how = "su" if left_signed else "us"
        return f"(fusebpf_cmp_{how}({strip(left_text)}, {strip(right_text)}) {op} 0)"

    def _chain(
        self,
        ops: tuple[ir.CompareOp, ...],
        operands: tuple[ir.Expr, ...],
        first: str | None,
    ) -> str:
        """``a < b < c``: the middle goes to a temporary, unless reading it twice is the same."""
        left, middle, rest = operands[0], operands[1], operands[2:]
        left_text = first if first is not None else self.expr(left)
        if not rest:
            return self._compare(ops[0], (left.type, left_text, left), middle)
        if isinstance(middle, ir.Const | ir.Local | ir.NameLen | ir.StructField) and (
            not isinstance(middle, ir.Local) or middle.name not in self.names.frame
        ):
            link = self._compare(ops[0], (left.type, left_text, left), middle)
            return f"({link} && {self._chain(ops[1:], operands[1:], None)})"
        self.temporaries += 1
        low, mid = f"_a{self.temporaries}", f"_b{self.temporaries}"
        kept = ir.Local(middle.type, mid)
        first_text = left_text if isinstance(left, ir.Const) else low
        link = self._compare_texts(ops[0], left, first_text, middle, mid)
        tail = self._chain(ops[1:], (kept, *rest), mid)
        begin = "" if first_text != low else f"{c_type(left.type)} {low} = {strip(left_text)}; "
        return (
            f"({{ {begin}{c_type(middle.type)} {mid} = {strip(self.expr(middle))}; "
            f"{link} && {tail}; }})"
        )

    def _compare_texts(
        self, op: str, left: ir.Expr, left_text: str, right: ir.Expr, right_text: str
    ) -> str:
        saved = self.names
        self.names = replace(saved, locals={**saved.locals, right_text: right_text})
        text = self._compare(op, (left.type, left_text, left), ir.Local(right.type, right_text))
        self.names = saved
        return text

    def _one_of(self, expr: ir.OneOf) -> str:
        if not expr.values:
            # Not with a comma: it would part the arguments of a macro.
            return f"({{ (void){self._tight(expr.operand)}; (_Bool)0; }})"
        type_ = expr.operand.type
        text = self.expr(expr.operand)
        fits = [v for v in expr.values if _fits(v, type_)]
        if not fits:
            return f"({{ (void){self._tight(expr.operand)}; (_Bool)0; }})"
        if isinstance(expr.operand, ir.Local | ir.StructField) and len(fits) <= 4:
            return f"({' || '.join(f'({text} == {constant(v, type_)})' for v in fits)})"
        self.temporaries += 1
        name = f"_v{self.temporaries}"
        tests = " || ".join(f"({name} == {constant(v, type_)})" for v in fits)
        return f"({{ {c_type(type_)} {name} = {strip(text)}; {tests}; }})"

    def _boolop(self, expr: ir.BoolOp) -> str:
        texts = [self.expr(operand) for operand in expr.operands]
        if expr.type == BOOL:
            return f"({(' && ' if expr.op == 'and' else ' || ').join(texts)})"
        result = texts[-1]
        for text in reversed(texts[:-1]):
            if expr.op == "or":
                result = f"({text} ?: {result})"
            else:
                result = f"fusebpf_and({c_type(expr.type)}, {text}, {result})"
        return result

    def _min_max(self, expr: ir.MinMax) -> str:
        kind = "s" if expr.type.signed else "u"
        result = strip(self.expr(expr.operands[0]))
        for operand in expr.operands[1:]:
            result = f"fusebpf_{expr.op}_{kind}({result}, {strip(self.expr(operand))})"
        return result if expr.type.bits == 64 else f"({expr.type.c_name}){result}"

    # ------------------------------------------------------------ names

    def _name_test(self, expr: ir.NameTest) -> str:
        name = self.name(expr.name)
        if not expr.fold and expr.how == "equal" and expr.values in self.names.sets:
            return f"{self.names.sets[expr.values]}({name})"
        part = name
        if len(expr.values) > 1:
            name = self._kept_part(expr.name, part)
        fold = int(expr.fold)
        tests: list[str] = []
        for value in expr.values:
            literal = f"{string(value)}, {len(value)}"
            if expr.how == "at":
                whole = int(expr.whole)
                tests.append(
                    f"fusebpf_name_has_at({name}, {expr.offset}, {literal}, {fold}, {whole})"
                )
            else:
                tests.append(f"{_TESTS[expr.how]}({name}, {literal}, {fold})")
        if not tests:
            return f"fusebpf_name_is_none({name})"
        return _any_of(tests, name, part)

    def _name_glob(self, expr: ir.NameGlob) -> str:
        part = name = self.name(expr.name)
        if len(expr.patterns) > 1:
            name = self._kept_part(expr.name, part)
        tests = [f"{self.names.globs[p, expr.fold]}({name})" for p in expr.patterns]
        return _any_of(tests, name, part)

    def _kept_part(self, expr: ir.Expr, text: str) -> str:
        """The pointer to a name that is asked several questions: a part is cut off once."""
        if not isinstance(expr, ir.NamePart):
            return text
        self.temporaries += 1
        return f"_p{self.temporaries}"


def _any_of(tests: list[str], name: str, part: str) -> str:
    """Whether one of the tests of a name is true; it is kept where it is not its own text."""
    result = tests[0] if len(tests) == 1 else f"({' || '.join(tests)})"
    if name == part:
        return result
    return f"({{ const struct fusebpf_buf *{name} = {part}; {result}; }})"


def _fits(value: int, type_: Type) -> bool:
    return type_.holds(value) if isinstance(type_, IntType) else True


def _signed(type_: Type, expr: ir.Expr | None) -> bool | None:
    """Signedness for comparison; None for a constant that is the same in both views."""
    if isinstance(expr, ir.Const) and 0 <= expr.value <= S64.hi:
        return None
    if isinstance(type_, IntType):
        return type_.signed
    return not isinstance(type_, BoolType)


def _tight(text: str) -> str:
    cast = text.startswith("(") and strip(text) == text
    return f"({text})" if cast or text[0] in "-!~" else text


def _unsigned(expr: ir.Expr, text: str) -> str:
    if isinstance(expr, ir.Const) or expr.type == U64:
        return text
    return f"(__u64){_tight(text)}"


def _wide(expr: ir.Expr, text: str) -> str:
    """The operand of a shift with 64 bits; signed ones have them."""
    if not isinstance(expr.type, IntType) or expr.type.bits == 64:
        return text
    return constant(expr.value, U64) if isinstance(expr, ir.Const) else _unsigned(expr, text)


def _paren(text: str) -> str:
    return text if text.startswith("(") and strip(text) != text else f"({text})"
