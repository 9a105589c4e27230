# SPDX-License-Identifier: MIT
"""Compiling the same file again takes no compiler; whatever could change the result does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FILTER = """\
from fusebpf import Context, FilterSet, Name
from fusebpf.constants import EPERM

filters = FilterSet("guard")


@filters.lookup.pre
def hide(ctx: Context, name: Name):
    return -EPERM if name == "a" else None
"""

RUN = """\
import sys
from fusebpf.cli import run
status = run(["compile", "guard.py"])
print("compiler" if "fusebpf.compiler.program" in sys.modules else "remembered", status)
"""


@pytest.fixture
def again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUSEBPF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "guard.py").write_text(FILTER)
    assert compiled(tmp_path) == "compiler 0"
    return tmp_path


def compiled(directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def test_the_same_again_is_remembered(again: Path) -> None:
    target = again / "guard.bpf.o"
    first = target.read_bytes()
    target.unlink()
    assert compiled(again) == "remembered 0"
    assert target.read_bytes() == first


def test_another_text_is_compiled(again: Path) -> None:
    first = (again / "guard.bpf.o").read_bytes()
    (again / "guard.py").write_text(FILTER.replace('"a"', '"b"'))
    assert compiled(again) == "compiler 0"
    assert (again / "guard.bpf.o").read_bytes() != first


def test_a_file_that_reads_others_is_compiled_each_time(again: Path) -> None:
    (again / "words.py").write_text("WORD = 'a'\n")
    text = "from words import WORD\n" + FILTER.replace('"a"', "WORD")
    (again / "guard.py").write_text(text)
    assert compiled(again) == "compiler 0"
    first = (again / "guard.bpf.o").read_bytes()
    (again / "words.py").write_text("WORD = 'b'\n")
    assert compiled(again) == "compiler 0"
    assert (again / "guard.bpf.o").read_bytes() != first


def test_a_lost_object_is_made_again(again: Path) -> None:
    for path in (again / "cache/objects").rglob("*.o"):
        path.unlink()
    assert compiled(again) == "compiler 0"
