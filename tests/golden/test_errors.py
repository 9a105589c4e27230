# SPDX-License-Identifier: MIT
"""Error texts: every file of errors/ is refused (or warned about) with the text beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusebpf.compiler import render_all
from tests.golden.compile import compile_path
from tests.golden.conftest import Golden

ERRORS = sorted((Path(__file__).parent / "errors").glob("*.py"))
WARNINGS = {"always_true", "dead_code", "long_prefix", "postfilter_never_runs", "shown_member"}


@pytest.mark.parametrize("path", ERRORS, ids=lambda path: path.stem)
def test_error(path: Path, golden: Golden) -> None:
    result, source = compile_path(path)
    assert result.diagnostics
    failed = any(d.severity == "error" for d in result.diagnostics)
    assert failed == (path.stem not in WARNINGS)
    assert (result.c_source is None) == failed
    assert not any(d.code == "E999" for d in result.diagnostics)
    lines = source.splitlines()
    for found in result.diagnostics:
        assert 1 <= found.line <= len(lines)
        assert 1 <= found.col < found.end_col <= len(lines[found.line - 1]) + 2
        assert found.message
    golden.check(path.with_suffix(".txt"), render_all(result.diagnostics, source) + "\n")


def test_every_refusal_says_how_to_mend_it() -> None:
    silent = set()
    for path in ERRORS:
        result, _ = compile_path(path)
        silent |= {f"{path.stem}: {d.message}" for d in result.diagnostics if not d.help}
    assert not silent
