# SPDX-License-Identifier: MIT
"""The error index: each typical mistake is found, and its edit makes what was meant of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fusebpf.build.findings import Findings, findings, mend
from fusebpf.cli import run
from fusebpf.codes import Mistake, table
from fusebpf.codes.markdown import explain, path, render

ROOT = Path(__file__).resolve().parents[2]
MISTAKES = [mistake for code in table().values() for mistake in code.mistakes]


def meaning(found: Findings) -> str:
    """The generated C without the lines that the source had."""
    (compiled,) = found.compiled
    kept = [line for line in compiled.c_source.splitlines() if not line.startswith("#line")]
    return "\n".join(line.split(" // ")[0] for line in kept)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # `is` with a number, on purpose
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: f"{m.code}-{m.title.replace(' ', '-')}")
def test_the_edit_makes_what_was_meant(mistake: Mistake) -> None:
    file = Path("mistake.py")
    found = findings(file, mistake.source(mistake.wrong))
    first = found.diagnostics[0]
    assert first.code == mistake.code
    assert first.fixes
    mended = mend(file, mistake.source(mistake.wrong), unsafe=True)
    assert not [d.render(mended.text) for d in mended.left.diagnostics]
    meant = findings(file, mistake.source(mistake.right))
    assert not [d.render(mistake.right) for d in meant.diagnostics]
    assert meaning(mended.left) == meaning(meant)


def test_there_are_enough_of_them() -> None:
    assert len(MISTAKES) >= 60
    assert len({(m.code, m.wrong) for m in MISTAKES}) == len(MISTAKES)


def test_every_code_of_the_program_is_in_the_index() -> None:
    used = set()
    for file in (ROOT / "fusebpf").rglob("*.py"):
        used |= set(re.findall(r'"([EW]\d{3})"', file.read_text(encoding="utf-8")))
    assert used == set(table())


def test_the_page_is_up_to_date() -> None:
    assert path().read_text(encoding="utf-8") == render(), "run python -m fusebpf.codes.markdown"


def test_a_code_says_why_it_has_no_edit() -> None:
    both_or_none = [c.name for c in table().values() if bool(c.open) == bool(c.mistakes)]
    assert not both_or_none
    assert "Without an edit: " in explain(table()["E283"])
    assert "Without an edit: " not in explain(table()["W103"])


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "e275"]) == 0
    assert "+     return -ENOENT" in capsys.readouterr().out
    assert run(["explain", "E27"]) == 2
    assert "did you mean" in capsys.readouterr().err
