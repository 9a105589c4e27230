# SPDX-License-Identifier: MIT
"""Compile a generated set, load it as a stand-in, and compare both runs on random inputs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from fusebpf.build import BuildError, compile_file
from fusebpf.build.clang import compile_c, find_clang
from fusebpf.compiler import ir
from fusebpf.testing.case import Case, Outcome
from fusebpf.testing.pyrun import PyRun
from fusebpf.testing.standin import StandIn
from tests.property.inputs import Chooser, Generated, make_case

#: More turns (E244), instructions (E245) or time (E247) than a filter may take.
_TOO_LARGE = {"E244", "E245", "E247"}


def is_too_large(error: BuildError) -> bool:
    """A set that was refused for its size alone: valid, but more than a program may be."""
    codes = {item.code for item in error.diagnostics if item.severity == "error"}
    return bool(codes) and codes <= _TOO_LARGE


@dataclass
class Difference(Exception):
    """The two runs of one filter disagree; everything needed to see it again."""

    source: str
    c_source: str
    function: str
    case: Case
    python: Outcome
    kernel: Outcome

    def __str__(self) -> str:
        return (
            f"{self.function}: the runs disagree\n  case   {self.case}\n"
            f"  python {self.python}\n  kernel {self.kernel}\n{self.source}\n{self.c_source}"
        )


def compare(generated: Generated, chooser: Chooser, cases: int) -> int:
    """Number of (filter, input) pairs on which both runs agree.

    Raises ``Difference``; ``BuildError`` when the front end or clang refuses the program, and
    ``LibbpfError`` when the verifier does.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "generated.py"
        path.write_text(generated.source)
        compiled = compile_file(path)
        data = compile_c(find_clang(), compiled.c_source, path.parent)
    program = compiled.result.ir
    assert isinstance(program, ir.Program)
    python = PyRun(program, generated.config)
    with StandIn(data, program, generated.config) as standin:
        for function in program.filters:
            for _ in range(cases):
                case = make_case(chooser, generated, function.hook or "")
                expected = python.run(function, case)
                got = standin.run(function, case)
                if got != expected:
                    raise Difference(
                        generated.source,
                        compiled.c_source,
                        function.name,
                        case,
                        expected,
                        got,
                    )
    return cases * len(program.filters)
