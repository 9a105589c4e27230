# SPDX-License-Identifier: MIT
"""A set on both runs: typed Python, and as root the stand-in on this kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fusebpf.build import CompiledSet, build_compiled, compile_file
from fusebpf.compiler import ir
from fusebpf.testing.case import Caller, Case, Outcome
from fusebpf.testing.pyrun import PyRun
from fusebpf.testing.standin import StandIn


class Runs:
    """Both runs of one set, which must agree."""

    def __init__(self, compiled: CompiledSet, config: Mapping[str, int] | None = None) -> None:
        assert isinstance(compiled.result.ir, ir.Program)
        self.program = compiled.result.ir
        self.python = PyRun(self.program, config)
        self.kernel: StandIn | None = None
        if os.geteuid() == 0:
            self.kernel = StandIn(build_compiled(compiled).data, self.program, config)

    def run(self, hook: str, case: Case) -> Outcome:
        """What the filter of a hook does; CONTINUE where there is none."""
        for function in self.program.filters:
            if function.hook == hook:
                outcome = self.python.run(function, case)
                if self.kernel is not None:
                    assert self.kernel.run(function, case) == outcome
                return outcome
        return Outcome(0, {}, (), None, {})

    def verdict(self, op: str, name: str, uid: int = 1, **more: str) -> int:
        """The verdict on a name before an operation."""
        buffers = {"name": name, **more}
        return self.run(
            f"{op}_prefilter",
            Case(
                buffers={key: value.encode() for key, value in buffers.items()},
                caller=Caller(uid=uid),
            ),
        ).verdict


@contextmanager
def runs_of(
    path: Path, source: str | None = None, config: Mapping[str, int] | None = None
) -> Iterator[Runs]:
    """Both runs of the filter file at ``path``, written first when ``source`` is given."""
    if source is not None:
        path.write_text(source)
    made = Runs(compile_file(path), config)
    try:
        yield made
    finally:
        if made.kernel is not None:
            made.kernel.close()
