# SPDX-License-Identifier: MIT
"""What the examples have in common; what each of them does is tested in examples/tests."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from fusebpf import Name
from fusebpf.build import build_compiled, compile_file
from fusebpf.dsl import Context
from fusebpf.testing.naming import test_file as found_tests

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_builds_and_has_tests(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 85 or "fusebpf.daemon" in text  # daemons are two programs
    compiled = compile_file(path)
    assert not compiled.warnings
    assert build_compiled(compiled).data.startswith(b"\x7fELF")
    assert found_tests(path) is not None


def test_a_predicate_is_a_function_of_plain_python() -> None:
    harmless = runpy.run_path(str(EXAMPLES / "hide_everywhere.py"))["harmless"]
    verdicts = {b"a.pem": False, b"id_ed25519": False, b"id_ed25519.pub": True, b"id_": True}
    assert {name: harmless(Context(), Name(name)) for name in verdicts} == verdicts
