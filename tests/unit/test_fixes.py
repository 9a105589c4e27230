# SPDX-License-Identifier: MIT
"""Findings bring edits: in JSON as editors read them, and applied by `fusebpf check --fix`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusebpf.cli import run
from fusebpf.compiler.edits import Edit, Fix, apply
from fusebpf.spelling import closest
from tests.unit import json_schemas

BROKEN = """\
from fusebpf import Context, FilterSet, Name

filters = FilterSet("guard")


@filters.lookup.pre
def hide(ctx: Context, name: Name):
    if name == "\N{GRINNING FACE}" and ctx.uidd == 0:
        return ENOENT
    return 0
"""

MENDED = """\
from fusebpf import CONTINUE, Context, FilterSet, Name
from fusebpf.constants import ENOENT

filters = FilterSet("guard")


@filters.lookup.pre
def hide(ctx: Context, name: Name):
    if name == "\N{GRINNING FACE}" and ctx.uid == 0:
        return -ENOENT
    return CONTINUE
"""

GUESS = """\
from fusebpf import Context, FilterSet, ReadIn
from fusebpf.constants import EIO

filters = FilterSet("guard")


@filters.read_iter.pre
def slow(ctx: Context, req: ReadIn):
    for i in range(req.size):
        if i == 3:
            return -EIO
"""


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "guard.py"
    path.write_text(BROKEN, encoding="utf-8")
    return path


def test_fix_mends_the_file_and_says_what_it_changed(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken.chmod(0o640)
    assert run(["check", "--fix", str(broken)]) == 0
    assert broken.read_text(encoding="utf-8") == MENDED
    assert broken.stat().st_mode & 0o777 == 0o640
    said = capsys.readouterr().err
    assert f"{broken}:8: write uid [E206]" in said
    assert "import ENOENT from fusebpf.constants [E200]" in said
    assert [path.name for path in broken.parent.iterdir()] == ["guard.py"]


def test_diff_shows_the_change_and_writes_nothing(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--fix", "--diff", str(broken)]) == 0
    shown = capsys.readouterr().out
    assert "\n-        return ENOENT\n" in shown
    assert "\n+        return -ENOENT\n" in shown
    assert broken.read_text(encoding="utf-8") == BROKEN


def test_a_guess_is_made_on_request_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "guard.py"
    path.write_text(GUESS)
    assert run(["check", "--fix", str(path)]) == 3
    assert path.read_text() == GUESS
    assert "the number of turns of this loop is not known" in capsys.readouterr().err
    assert run(["check", "--fix", "--unsafe-fixes", str(path)]) == 0
    assert "range(min(req.size, 100))" in path.read_text()


def test_json_has_the_shape_that_editors_read(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--json", str(broken)]) == 3
    told = capsys.readouterr()
    assert told.err == ""
    data = json.loads(told.out)
    json_schemas.check("check", data)
    assert not data["ok"]
    (file,) = data["files"]
    assert file["uri"] == broken.as_uri()
    member = next(d for d in file["diagnostics"] if d["code"] == "E206")
    # The emoji before it has one character, and two UTF-16 code units.
    column = BROKEN.splitlines()[7].index("uidd") + 1
    assert member["range"] == {
        "start": {"line": 7, "character": column},
        "end": {"line": 7, "character": column + 4},
    }
    assert (member["severity"], member["source"]) == (1, "fusebpf")
    (fix,) = member["data"]["fixes"]
    assert fix["applicability"] == "safe"
    assert fix["edits"] == [{"range": member["range"], "newText": "uid"}]


def test_compile_json_names_the_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("guard.py").write_text(MENDED, encoding="utf-8")
    assert run(["compile", "--json", "guard.py"]) == 0
    data = json.loads(capsys.readouterr().out)
    json_schemas.check("compile", data)
    assert data["ok"]
    assert data["object"] == "guard.bpf.o"
    assert data["files"][0]["diagnostics"] == []


def test_warnings_can_be_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "guard.py"
    path.write_text(MENDED.replace("    return CONTINUE\n", "    return CONTINUE\n    return\n"))
    assert run(["check", str(path)]) == 0
    assert "warning: this never runs [W101]" in capsys.readouterr().err
    assert run(["check", "--warnings=hide", str(path)]) == 0
    assert "W101" not in capsys.readouterr().err
    assert run(["check", "--warnings=error", str(path)]) == 3
    assert "W101" in capsys.readouterr().err


def test_fixes_that_touch_wait_for_the_next_round() -> None:
    first = Fix("a", (Edit(1, 1, 1, 4, "one"), Edit(2, 1, 2, 1, "x ")))
    second = Fix("b", (Edit(1, 3, 1, 6, "two"),))
    third = Fix("c", (Edit(2, 5, 2, 5, "!"),))
    text, used = apply("abcdef\r\nghij", [first, second, third])
    assert text == "onedef\r\nx ghij!"
    assert used == [first, third]


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("ENOEMT", ["ENONET", "ENOENT"], "ENOENT"),
        ("lookpu", ["link", "lookup"], "lookup"),
        ("udi", ["pid", "uid"], "uid"),
        ("Uid", ["uid"], "uid"),
        ("x", ["y"], None),
        ("max_entires", ["key", "max_entries"], "max_entries"),
        ("something", ["else"], None),
    ],
)
def test_spelling(word: str, known: list[str], meant: str | None) -> None:
    assert closest(word, known) == meant
