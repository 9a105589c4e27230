# SPDX-License-Identifier: MIT
"""Programs that the random test once found a fault with, kept as they were generated.

The file names say what was wrong: the verifier refused them, or the two runs disagreed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusebpf.build import compile_file
from fusebpf.compiler import ir
from tests.property.harness import compare
from tests.property.inputs import Generated, MapShape, RandomChooser

FOUND = sorted((Path(__file__).parent / "found").glob("*.py"))

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="loading BPF programs needs root (CAP_BPF)"
)


def load(path: Path) -> Generated:
    """A kept program as the generator would have described it."""
    program = compile_file(path).result.ir
    assert isinstance(program, ir.Program)
    return Generated(
        path.read_text(encoding="utf-8"),
        [
            MapShape(
                decl.name,
                "automaton" if str(decl.value) == "Transitions" else decl.kind,
                *(str(decl.key), str(decl.value), decl.max_entries),
            )
            for decl in program.maps
        ],
        {function.name: function.hook or "" for function in program.filters},
    )


@pytest.mark.parametrize("path", FOUND, ids=[path.stem for path in FOUND])
def test_both_runs_agree(path: Path) -> None:
    generated = load(path)
    assert compare(generated, RandomChooser(1), cases=200) == 200 * len(generated.filters)
