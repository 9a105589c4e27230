# SPDX-License-Identifier: MIT
"""Results on kernels: read from reports, written down, shown in docs/kernels.md."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

REPORT = """<?xml version="1.0"?><testsuites><testsuite name="pytest" errors="1" failures="1"
 skipped="3" tests="9" time="61.6" timestamp="2026-11-28T17:51:10+00:00">
<properties><property name="kernel" value="6.12.1-x"/>
<property name="clang" value="19"/></properties>
<testcase name="a"><skipped message="no xfs"/></testcase>
<testcase name="b"><skipped message="no xfs"/></testcase>
<testcase name="c"><skipped message="a | b"/></testcase>
</testsuite></testsuites>"""

COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string", "minLength": 1}
DATE = {"type": "string", "pattern": r"^20\d\d-\d\d-\d\d$"}
RESULT = {
    "type": "object",
    "required": ["kernel", "release", "date"],
    "properties": {"kernel": TEXT, "release": TEXT, "date": DATE},
    "oneOf": [
        {
            "required": ["passed", "failed", "skipped", "seconds", "skips", "versions"],
            "properties": {
                **dict.fromkeys(("passed", "failed", "skipped", "seconds"), COUNT),
                "skips": {"type": "object", "additionalProperties": COUNT},
                "versions": {"type": "object", "additionalProperties": TEXT},
            },
        },
        {
            "required": ["package", "hunks", "applied", "obstacles"],
            "properties": {
                "package": TEXT,
                "hunks": COUNT,
                "applied": COUNT,
                "obstacles": {
                    "type": "array",
                    "items": {
                        "required": ["file", "line", "function", "patch", "why"],
                        "properties": {"file": TEXT, "line": COUNT, "why": TEXT},
                    },
                },
            },
        },
    ],
}


@pytest.fixture(scope="module")
def matrix() -> Iterator[Any]:
    """scripts/matrix.py, which is no part of a package."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module("matrix")
    finally:
        sys.path.remove(str(SCRIPTS))
        sys.modules.pop("matrix", None)


@pytest.fixture
def elsewhere(matrix: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the results, empty and not the tree's."""
    monkeypatch.setattr(matrix, "RESULTS", tmp_path / "kernels.json")
    monkeypatch.setattr(matrix, "PAGE", tmp_path / "kernels.md")
    (tmp_path / "kernels.json").write_text("[]")
    (tmp_path / "kernels.md").write_text(f"before\n{matrix.BEGIN}\nold\n{matrix.END}\nafter\n")
    (tmp_path / "report.xml").write_text(REPORT)
    return tmp_path


def test_the_page_shows_what_is_written_down(matrix: Any) -> None:
    jsonschema.validate(list(matrix.load().values()), {"type": "array", "items": RESULT})
    text = matrix.PAGE.read_text()
    assert matrix.page(text, matrix.load()) == text, "run: scripts/matrix.py --table"


def test_a_report_becomes_a_row(
    matrix: Any, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = elsewhere / "report.xml"
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--report", "debian12", str(report)])
    assert matrix.main() == 0
    results = matrix.load()
    jsonschema.validate(results["debian12"], RESULT)
    page = (elsewhere / "kernels.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "old" not in page
    shown = "6.12.1-x | 2026-11-28 | 4 passed, 2 failed, 3 skipped |"
    assert f"| `debian12` | Debian 12 | module | {shown}" in page.splitlines()
    assert "| `debian12` | 2 | no xfs |" in page
    assert "| `debian12` | 1 | a \\| b |" in page
    assert page.count("not tried yet") == len(matrix.KERNELS) - 1


def test_reports_of_parts_become_one_row(
    matrix: Any, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = str(elsewhere / "report.xml")
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--report", "debug", report, report])
    assert matrix.main() == 0
    page = (elsewhere / "kernels.md").read_text()
    assert "| 8 passed, 4 failed, 6 skipped |" in page
    assert "| `debug` | 4 | no xfs |" in page


def test_reports_without_files_are_a_usage_error(
    matrix: Any,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--report", "debug"])
    with pytest.raises(SystemExit):
        matrix.main()
    assert "--report needs the files too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "No such file"), ("", "no element found"), ("<a/>", "is no report of tests/vm")],
)
def test_a_file_that_is_no_report_is_refused(
    matrix: Any, tmp_path: Path, text: str | None, said: str
) -> None:
    report = tmp_path / "report.xml"
    if text is not None:
        report.write_text(text)
    with pytest.raises(SystemExit, match=rf"matrix: {report}.*{said}"):
        matrix.read_reports("stock", [report])


def test_a_report_of_something_else_is_refused(matrix: Any, elsewhere: Path) -> None:
    report = elsewhere / "report.xml"
    report.write_text(REPORT.replace('name="kernel"', 'name="other"'))
    with pytest.raises(SystemExit, match="is no report of tests/vm"):
        matrix.read_reports("stock", [report])
    assert matrix.read_reports("stock", [report], "6.12.9")["release"] == "6.12.9"


def test_the_first_obstacle_is_shown(matrix: Any) -> None:
    obstacle = {"file": "fs/fuse/x.c", "line": 7, "function": "f", "patch": "p", "why": "gone"}
    shown = matrix.outcome({"hunks": 9, "applied": 5, "obstacles": [obstacle, obstacle]})
    assert shown.startswith("not supported: 5 of 9 hunks")
    assert "`fs/fuse/x.c`, line 7: gone" in shown


def test_kernels_that_run_are_known_to_the_runner(matrix: Any) -> None:
    from fusebpf.vm.kernel import BUILT, KERNELS

    runs = {name for name, kernel in matrix.KERNELS.items() if kernel.suite is None}
    assert runs <= {*KERNELS, *BUILT}
    assert set(KERNELS) <= runs, "a kernel of the runner is not in the matrix"


def test_apt_is_asked_in_no_language_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """German's word for "Depends:" is another."""
    monkeypatch.syspath_prepend(SCRIPTS)
    private_apt = importlib.import_module("private_apt")
    for program in ("apt-get", "apt-cache"):
        (tmp_path / program).write_text("#!/bin/sh\necho $LC_ALL\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    apt = private_apt.PrivateApt(tmp_path / "apt", ())
    assert apt.run("apt-cache", "depends", "linux-source") == "C\n"
