#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Branch coverage of the compiler, apart from that of lines.

    .venv/bin/python scripts/branch_coverage.py generator [SETS]   # of the lowering, by random sets
    .venv/bin/python scripts/branch_coverage.py tests [PATHS]      # of the compiler, by host tests

Prints the lines with branches that were not taken, and the figure. Exit status 1 below the least:
99 % of the lowering, 95 % of the compiler; or where an IR node was not met.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

import coverage

ROOT = Path(__file__).resolve().parents[1]
COMPILER = ROOT / "fusebpf/compiler"
#: From checked filters to C; the other modules find mistakes, which no generated filter has.
LOWERING = (
    *("compose", "predicates", "purity", "lower", "costs", "walk", "cnames"),
    *(path.stem for path in sorted(COMPILER.glob("emit*.py"))),
)
TESTS = ("tests/unit", "tests/golden", "tests/property")
#: What must not happen has no test.
UNREACHED = r"raise AssertionError|assert_never"


def generate(sets: int) -> set[str]:
    """Compile random sets, no further than to C. Returns the kinds of IR nodes that were met."""
    from fusebpf.build import compile_file
    from fusebpf.compiler import ir
    from fusebpf.compiler.walk import expressions, statements
    from tests.property.generator import FILTERS, Generator
    from tests.property.inputs import RandomChooser

    met: set[str] = set()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "generated.py"
        for number in range(sets):
            path.write_text(Generator(RandomChooser(number)).generate(FILTERS).source)
            program = compile_file(path).result.ir
            assert isinstance(program, ir.Program)
            for function in (*program.helpers, *program.filters):
                for stmt in statements(function.body):
                    met |= {type(node).__name__ for node in (stmt, *expressions(stmt))}
    return met


def nodes() -> set[str]:
    """Every kind of statement and expression of the IR."""
    from fusebpf.compiler import ir

    return {kind.__name__ for kind in (*get_args(ir.Stmt), *get_args(ir.Expr))}


def report(data: coverage.Coverage, modules: list[Path]) -> float:
    """Print what was missed in some modules. Returns the part of their branches that was taken."""
    taken = total = 0
    for path in modules:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = data.branch_stats(str(path))
        for line, (ways, gone) in sorted(found.items()):
            if gone < ways:
                print(f"{path.name}:{line}: {gone} of {ways}: {lines[line - 1].strip()}")
            total += ways
            taken += gone
    print(f"{taken} of {total} branches: {taken / total:.2%}")
    return taken / total


def main() -> int:
    what, *rest = sys.argv[1:] or [""]
    if what not in ("generator", "tests"):
        print(__doc__)
        return 2
    with tempfile.TemporaryDirectory() as directory:
        data_file = Path(directory) / "coverage"
        data = coverage.Coverage(
            str(data_file), branch=True, source=[str(COMPILER)], config_file=False
        )
        data.exclude(UNREACHED)
        if what == "generator":
            sys.path.insert(0, str(ROOT))
            data.start()
            met = generate(int(rest[0]) if rest else 300)
            data.stop()
            missing = nodes() - met
            print(f"IR nodes that were not met: {', '.join(sorted(missing)) or 'none'}")
            enough = report(data, [COMPILER / f"{name}.py" for name in LOWERING]) >= 0.99
            return 0 if enough and not missing else 1
        command = ["-m", "coverage", "run", "--branch", f"--source={COMPILER}"]
        command += [f"--data-file={data_file}", "-m", "pytest", "-q", "-o", "timeout=0"]
        done = subprocess.run([sys.executable, *command, *(rest or TESTS)], cwd=ROOT, check=False)
        if not data_file.exists():
            return done.returncode or 1
        data.load()
        enough = report(data, sorted(COMPILER.rglob("*.py"))) >= 0.95
        return done.returncode or (0 if enough else 1)


if __name__ == "__main__":
    sys.exit(main())
