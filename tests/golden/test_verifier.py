# SPDX-License-Identifier: MIT
"""Texts about programs that the kernel's verifier refuses: the line, the cause and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusebpf.compiler import render_all
from fusebpf.objfile.lines import SourceLine
from fusebpf.runtime.load import VerifierError
from tests.golden.conftest import Golden

HERE = Path(__file__).parent / "verifier"

#: How logs of the verifier end.
CASES = {
    "too_complex": "BPF program is too large. Processed 1000001 insn\n"
    "processed 1000001 insns (limit 1000000) max_states_per_insn 4\n",
    "missing_value": "7: (79) r1 = *(u64 *)(r0 +0)\n"
    "R0 invalid mem access 'map_value_or_null'\nprocessed 8 insns (limit 1000000)\n",
    "outside_a_map": "12: (71) r1 = *(u8 *)(r2 +0)\n"
    "invalid access to map value, value_size=8 off=9 size=1\n"
    "R2 max value is outside of the allowed memory range\nprocessed 13 insns\n",
    "unknown_reason": "3: (95) exit\nthe moon is in the wrong phase\nprocessed 4 insns\n",
}


@pytest.mark.parametrize("name", CASES)
def test_refused_by_the_verifier(name: str, golden: Golden) -> None:
    at = SourceLine(3, "golden.py", 9, "    hits[index] += 1")
    error = VerifierError("f is refused", CASES[name], "f_ops", at)
    (found,) = error.diagnostics
    assert found.code == "E950"
    golden.check(HERE / f"{name}.txt", render_all([found], error.sources["golden.py"]) + "\n")
