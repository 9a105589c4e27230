# SPDX-License-Identifier: MIT
"""Filters written as their authors would: accepted as they are, and the C that they become."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.golden.compile import compile_path
from tests.golden.conftest import Golden

HERE = Path(__file__).parent
ACCEPTED = sorted((HERE / "accept").glob("*.py"))
BPF = HERE.parents[1] / "bpf"
#: Filters whose C is kept: one of each construct is enough to read.
KEPT = (
    "guard",
    "hide_everywhere",
    "name_policy",
    "rate_limit",
    "cache_times",
    "shared_helpers",
)


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_accepted(path: Path) -> None:
    result, source = compile_path(path)
    assert not [d.render(source) for d in result.diagnostics]
    assert result.c_source is not None
    assert {hook.hook for hook in result.hooks}
    again, _ = compile_path(path)
    assert again.c_source == result.c_source


@pytest.mark.parametrize("name", KEPT)
def test_generated_c(name: str, golden: Golden) -> None:
    result, _ = compile_path(HERE / "accept" / f"{name}.py")
    assert result.c_source is not None
    golden.check(HERE / "c" / f"{name}.c", result.c_source)


@pytest.mark.skipif(shutil.which("clang-19") is None, reason="clang-19 is not installed")
@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_clang_has_nothing_to_say(path: Path, tmp_path: Path) -> None:
    result, _ = compile_path(path)
    assert result.c_source is not None
    source = tmp_path / "filter.bpf.c"
    source.write_text(result.c_source, encoding="utf-8")
    flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        ["clang-19", *flags, f"-I{BPF}", "-c", str(source), "-o", str(tmp_path / "filter.o")],
        check=True,
        cwd=tmp_path,
    )
