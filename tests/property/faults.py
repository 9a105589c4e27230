# SPDX-License-Identifier: MIT
"""Faults of a compiler, each of which the comparison of the two runs must find.

`python -m tests.property.faults CASES DIRECTORY` runs in a process of its own, with a damaged copy
of the compiler at DIRECTORY: it compiles the programs of CASES, runs them in this kernel and exits
with status 1 when one does something else than the sound compiler's typed run says, or is refused.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CAUGHT, SURVIVED = 1, 0

LANG, NAMED, HEADER = "bpf/fusebpf_lang.h", "bpf/fusebpf_names.h", "bpf/fusebpf.h"
_COMPILER = "fusebpf/compiler"
EMIT, EXPR, MAPS = (f"{_COMPILER}/emit{part}.py" for part in ("", "_expr", "_maps"))
GLOBS = f"{_COMPILER}/emit_names.py"
OPERATORS, COMPARISONS = f"{_COMPILER}/operators.py", f"{_COMPILER}/comparisons.py"
NAMES, LOOPS, STATEMENTS = (f"{_COMPILER}/{name}.py" for name in ("names", "loops", "statements"))


@dataclass(frozen=True)
class Fault:
    """Text `old` of a file, which is there once, becomes `new`."""

    file: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        """Damage the copy at `root`. Raises ValueError when the text is not there once."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has {text.count(self.old)} times: {self.old}")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


FAULTS = (
    # Arithmetic
    Fault(LANG, "return (__s64)(0 - (q + (q * y != x)));", "return (__s64)(0 - q);"),
    Fault(
        LANG,
        "fusebpf_sub(a, fusebpf_mul(fusebpf_floordiv",
        "fusebpf_add(a, fusebpf_mul(fusebpf_floordiv",
    ),
    Fault(LANG, "if (b < 0 || a > (__u64)b)", "if (a > (__u64)b)"),
    Fault(LANG, "return -fusebpf_cmp_us(b, a);", "return fusebpf_cmp_us(b, a);"),
    Fault(
        LANG,
        "fusebpf_min_s(__s64 a, __s64 b)\n{\n\treturn a < b",
        "fusebpf_min_s(__s64 a, __s64 b)\n{\n\treturn a > b",
    ),
    Fault(
        LANG,
        "fusebpf_max_u(__u64 a, __u64 b)\n{\n\treturn a > b",
        "fusebpf_max_u(__u64 a, __u64 b)\n{\n\treturn a < b",
    ),
    Fault(LANG, "number = 511;", "number = 510;"),
    Fault(LANG, "if (number < 1)\n\t\tnumber = 1;", ""),
    Fault(LANG, "((type)((a) ? (b) : 0))", "((type)((a) ? (a) : 0))"),
    Fault(EXPR, "if bounds(expr.left, _NOTHING_KNOWN)[0] >= 0 and (", "if True or ("),
    Fault(EXPR, 'return f"(!{self._tight(operand)})"', 'return f"(!!{self._tight(operand)})"'),
    Fault(EXPR, 'how = "su" if left_signed else "us"', 'how = "us" if left_signed else "su"'),
    Fault(EXPR, "for part in (test, then, other))", "for part in (test, other, then))"),
    Fault(EXPR, "' && ' if expr.op == 'and' else ' || '", "' || ' if expr.op == 'and' else ' && '"),
    Fault(
        EXPR,
        "fits = [v for v in expr.values if _fits(v, type_)]",
        "fits = [v for v in expr.values if _fits(v, type_)][1:]",
    ),
    Fault(
        EXPR,
        'return f"({link} && {self._chain(ops[1:], operands[1:], None)})"',
        'return f"({link} || {self._chain(ops[1:], operands[1:], None)})"',
    ),
    Fault(OPERATORS, 'ast.LtE: "<="', 'ast.LtE: "<"'),
    Fault(OPERATORS, 'ast.BitXor: "^"', 'ast.BitXor: "|"'),
    Fault(OPERATORS, 'ast.Mod: "%"', 'ast.Mod: "//"'),
    Fault(
        OPERATORS, "return ir.Const(target, target.wrap(expr.value))", "return ir.Const(target, 0)"
    ),
    Fault(
        COMPARISONS,
        'ir.Chain(BOOL, ("<=", "<"), (low, value, high))',
        'ir.Chain(BOOL, ("<=", "<="), (low, value, high))',
    ),
    Fault(
        COMPARISONS,
        "return found if negated else self.negate(found)",
        "return self.negate(found) if negated else found",
    ),
    # Names
    Fault(NAMED, "at = (__u64)index + (len & (__u64)(index >> 63));", "at = (__u64)index;"),
    Fault(NAMED, "\tat += len & fusebpf_negative(at);\n", ""),
    Fault(NAMED, "\tsize &= ~fusebpf_negative(size);\n", ""),
    Fault(
        NAMED,
        "return fusebpf_len(name) == size && fusebpf_text_at",
        "return fusebpf_len(name) >= size && fusebpf_text_at",
    ),
    Fault(
        NAMED,
        "return fusebpf_len(name) >= size && fusebpf_text_at",
        "return fusebpf_len(name) > size && fusebpf_text_at",
    ),
    Fault(
        NAMED,
        "fusebpf_text_at(name, fusebpf_len(name) - size, text",
        "fusebpf_text_at(name, 0, text",
    ),
    Fault(NAMED, "|| (whole && len != at + size)", ""),
    Fault(NAMED, "low + 0x1f * each", "low + 0x1e * each"),
    Fault(NAMED, "\tif (len != fusebpf_len(b))\n\t\treturn 0;\n", ""),
    Fault(NAMED, "if (_at + (size) > _end)", "if (_at + (size) >= _end)"),
    # A helper that several filters share
    Fault(HEADER, ".len = (__u32)_LEN_##name,", ".len = (__u32)_LEN_##name / 2,"),
    Fault(GLOBS, "if (len < {least})", "if (len <= {least})"),
    Fault(GLOBS, "' & '.join(tests) or '1'", "' | '.join(tests) or '1'"),
    Fault(
        NAMES,
        '"prefix" if method.name == "startswith" else "suffix"',
        '"suffix" if method.name == "startswith" else "prefix"',
    ),
    Fault(
        NAMES,
        "return NameView(view.name, view.fold, tail=-first)",
        "return NameView(view.name, view.fold, tail=1 - first)",
    ),
    # Statements
    Fault(EMIT, "        if stmt.other:\n", "        if False:\n"),
    Fault(EMIT, 'value = turn if start == "0" else f"{start} + {turn}"', "value = turn"),
    Fault(EMIT, 'if stmt.step != 1 else ""', 'if stmt.step == 0 else ""'),
    Fault(EMIT, 'self._put(f"fusebpf_dirent_drop({self.names.entry(var)});")', "pass"),
    Fault(
        LOOPS,
        "return ir.Const(S64, _turns(first, last, step))",
        "return ir.Const(S64, _turns(first, last, step) + 1)",
    ),
    Fault(
        STATEMENTS,
        "        return [*lifted, ir.If(node.lineno, test, then, other)]",
        "        return [*lifted, ir.If(node.lineno, test, other, then)]",
    ),
    Fault(
        NAMED,
        "fusebpf_glob_byte(from, (__u64)loop.k, fold)",
        "fusebpf_glob_byte(from, (__u64)loop.k, 0)",
    ),
    # Maps and events
    Fault(
        LANG,
        "#define fusebpf_map_has(map, k) (fusebpf_map_find(map, k) != NULL)",
        "#define fusebpf_map_has(map, k) (fusebpf_map_find(map, k) == NULL)",
    ),
    Fault(
        LANG, "bpf_map_delete_elem(&(map), &_key) == 0;", "bpf_map_delete_elem(&(map), &_key) != 0;"
    ),
    Fault(LANG, "fusebpf_map_value(map) _zero = 0;", "fusebpf_map_value(map) _zero = 1;"),
    Fault(
        LANG,
        "_found ? *_found : _value; \\",
        "_found ? *_found : 0; \\",
    ),
    Fault(NAMED, "if (at >= size)\n\t\t\tbreak;", "if (at + 1 >= size)\n\t\t\tbreak;"),
    Fault(MAPS, 'value = f"0 - (__u64)({value})"', 'value = f"(__u64)({value})"'),
    Fault(MAPS, 'self.half if slot == "value" else 0', "0"),
    Fault(MAPS, "if raw := value.value[: member.size]", "if raw := value.value[: member.size - 1]"),
    # What the context and the operation offer
    Fault(HEADER, "ctx->test->tag = tag;", "ctx->test->tag = tag + 1;"),
    Fault(HEADER, "return ctx->test ? ctx->test->egid", "return ctx->test ? ctx->test->euid"),
    Fault(
        HEADER,
        "\tif (!ctx->error_in)\n\t\treturn -22;\n\tctx->test->cleared",
        "\tif (ctx->error_in)\n\t\treturn -22;\n\tctx->test->cleared",
    ),
    Fault(HEADER, "e->type = e->test->type;", "e->type = 0;"),
)


@dataclass(frozen=True)
class Known:
    """A program: its text, its chosen config values, and what each call of a filter does."""

    source: str
    config: dict[str, int]
    calls: list[tuple[str, object, object]]


def damaged(fault: Fault) -> Iterator[Path]:
    """A copy of the package with a fault, until the generator is closed."""
    with tempfile.TemporaryDirectory(prefix="fusebpf-fault-") as directory:
        top = Path(directory)
        shutil.copytree(ROOT / "fusebpf", top / "fusebpf", ignore=shutil.ignore_patterns("*.pyc"))
        shutil.copytree(ROOT / "bpf", top / "bpf")
        (top / "tests").symlink_to(ROOT / "tests")
        fault.apply(top)
        yield top


def outcome(fault: Fault, cases: Path) -> int:
    """CAUGHT or SURVIVED. Raises RuntimeError when the comparison itself failed."""
    for top in damaged(fault):
        command = [sys.executable, "-m", "tests.property.faults", str(cases), str(top)]
        done = subprocess.run(
            command,
            cwd=top,
            env={**os.environ, "PYTHONPATH": str(top), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (CAUGHT, SURVIVED) or "COMPARED" not in done.stdout:
            raise RuntimeError(f"{fault}: {done.stdout}{done.stderr}")
        return done.returncode
    raise AssertionError


def compare(cases: Path) -> str:
    """What the damaged compiler of this process does differently; "" when nothing."""
    from fusebpf.build import compile_file
    from fusebpf.build.clang import compile_c, find_clang
    from fusebpf.compiler import ir
    from fusebpf.errors import FusebpfError
    from fusebpf.testing.case import Case
    from fusebpf.testing.standin import StandIn

    for known in pickle.loads(cases.read_bytes()):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "generated.py"
            path.write_text(known.source, encoding="utf-8")
            try:
                compiled = compile_file(path)
                data = compile_c(find_clang(), compiled.c_source, path.parent)
                program = compiled.result.ir
                assert isinstance(program, ir.Program)
                standin = StandIn(data, program, known.config)
            except FusebpfError as error:
                return f"refused: {error.message}"
        by_name = {function.name: function for function in program.filters}
        with standin:
            for name, case, expected in known.calls:
                assert isinstance(case, Case)
                if standin.run(by_name[name], case) != expected:
                    return f"{name} differs"
    return ""


def main() -> int:
    """See the module's text."""
    import fusebpf

    cases, top = map(Path, sys.argv[1:])
    assert Path(fusebpf.__file__).is_relative_to(top), "the damaged copy is not what runs"
    difference = compare(cases)
    print("COMPARED", difference)
    return CAUGHT if difference else SURVIVED


if __name__ == "__main__":
    sys.exit(main())
