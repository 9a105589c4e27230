# SPDX-License-Identifier: MIT
"""The pytest plugin and ``fusebpf test``, in a project of their own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf.testing.standin import unavailable
from tests.unit import json_schemas
from tests.unit.ordinary import as_nobody
from tests.unit.runtime_objects import needs_root

ROOT = Path(__file__).resolve().parents[2]

FILTERS = """\
from fusebpf import CONTINUE, Context, FilterSet, Name, Verdict
from fusebpf.constants import ENOENT, EPERM

filters = FilterSet("guard")

@filters.lookup.pre
def hide(ctx: Context, name: Name) -> Verdict:
    if name.endswith(".pem"):
        return -ENOENT
    if ctx.uid == 7:
        return -EPERM
    return CONTINUE
"""

TESTS = """\
from fusebpf import CONTINUE
from fusebpf.constants import ENOENT, EPERM
from fusebpf.testing import FilterRun, LoadFilters

def test_hidden(filters: FilterRun) -> None:
    assert filters.call("lookup.pre", name="a.pem").verdict == -ENOENT

def test_shown(load_filters: LoadFilters) -> None:
    assert load_filters("guard.py").call("lookup.pre", name="a").verdict == {verdict}
"""

PYTHON_JSON = ("--run", "python", "--json")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a filter file and its tests."""
    path = tmp_path / "project"
    path.mkdir()
    (path / "guard.py").write_text(FILTERS)
    (path / "test_guard.py").write_text(TESTS.format(verdict="CONTINUE"))
    return path


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs share their bytecode, and do without what is not tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        patch.setenv("PYTEST_ADDOPTS", "-p no:cacheprovider -p no:hypothesispytest")
        patch.setenv("NO_COLOR", "1")
        yield


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A module as a program, in the project."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=project, capture_output=True, text=True, check=False
    )


def test_a_test_runs_both_ways_and_the_summary_says_how(project: Path) -> None:
    done = run(project, "pytest")
    reason = unavailable()
    assert done.returncode == 0, done.stdout
    if reason is None:
        assert "filters: 2 tests as Python, 2 on this kernel\n" in done.stdout
    else:
        assert f"filters: 2 tests as Python, 0 on this kernel, 2 not: {reason}" in done.stdout


def test_a_failure_shows_the_line_that_decided(project: Path) -> None:
    (project / "test_guard.py").write_text(TESTS.format(verdict="-EPERM"))
    done = run(project, "fusebpf.cli", "test", "guard.py", "--run", "python")
    assert done.returncode == 1
    assert "CONTINUE == -EPERM" in done.stdout
    assert "lookup.pre(name='a') -> CONTINUE   [python run]" in done.stdout
    assert "decided at guard.py:12: return CONTINUE" in done.stdout
    assert "guard.py: 5 of 5 lines" not in done.stdout
    assert "guard.py: 4 of 5 lines of filters reached; not: 11" in done.stdout


def test_json_has_what_the_text_has(project: Path) -> None:
    (project / "test_guard.py").write_text(TESTS.format(verdict="-EPERM"))
    done = run(project, "fusebpf.cli", "test", "guard.py", "--run", "python", "--json")
    found = json.loads(done.stdout)
    json_schemas.check("test", found)
    assert (done.returncode, found["passed"], found["failed"], found["skipped"]) == (1, 1, 1, 0)
    hidden, shown = found["tests"]
    assert (hidden["file"], hidden["run"], hidden["outcome"]) == ("guard.py", "python", "passed")
    assert shown["decided"] == {"file": "guard.py", "line": 12, "text": "return CONTINUE"}
    assert "CONTINUE == -EPERM" in shown["message"]
    (coverage,) = found["coverage"]
    assert coverage == {"file": "guard.py", "lines": [8, 9, 10, 11, 12], "missed": [11]}


@needs_root
def test_tests_that_cannot_be_imported_failed(project: Path) -> None:
    path = project / "test_guard.py"
    path.write_text("import no_such_module\n" + path.read_text())
    done = run(project, "fusebpf.cli", "test", "guard.py", "--run", "python", "--json")
    found = json.loads(done.stdout)
    json_schemas.check("test", found)
    assert (done.returncode, found["failed"]) == (1, 1)
    assert "no_such_module" in found["tests"][0]["message"]
    assert "interrupted" not in done.stderr


def test_an_ordinary_user_gets_the_python_run(tmp_path: Path, project: Path) -> None:
    done = as_nobody(tmp_path, "test", "guard.py", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 tests as Python, 0 on this kernel, 2 not: it needs root (CAP_BPF)" in done.stdout
    asked = as_nobody(tmp_path, "test", "guard.py", "--run", "kernel", cwd=project)
    assert asked.returncode == 5
    assert "error: no kernel run: it needs root" in asked.stderr
    assert "help: --run python" in asked.stderr


def test_a_rejected_filter_is_told_as_by_check(project: Path) -> None:
    (project / "guard.py").write_text(FILTERS.replace("-EPERM", "EPERM"))
    done = run(project, "fusebpf.cli", "test", "guard.py")
    assert done.returncode == 3
    assert "guard.py:11:16: error: EPERM is an Errno" in done.stderr
    # By pytest alone it is the failure of each test.
    done = run(project, "pytest", "--fusebpf-run=python")
    assert done.returncode == 1
    assert "guard.py:11:16: error: EPERM is an Errno" in done.stdout
    assert "Traceback" not in done.stdout


def test_tests_are_found_beside_the_file_or_in_tests(project: Path) -> None:
    (project / "tests").mkdir()
    (project / "test_guard.py").rename(project / "tests/test_guard.py")
    tests = project / "tests/test_guard.py"
    tests.write_text(tests.read_text().replace('"guard.py"', '"../guard.py"'))
    done = run(project, "fusebpf.cli", "test", "guard.py", "--run", "python", "-k", "hidden")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


def test_tests_of_one_name_and_what_lies_beside_them(project: Path) -> None:
    (project / "conftest.py").write_text("above = 1\n")
    for name in ("a", "b"):
        (project / name).mkdir()
        for file in ("guard.py", "test_guard.py"):
            text = (project / file).read_text()
            (project / name / file).write_text(text)
        (project / name / "conftest.py").write_text(
            "import pytest, beside\n@pytest.fixture\n"
            f"def whose() -> str:\n    return beside.PREFIX + {name!r}\n"
        )
        (project / name / "test_guard.py").write_text(
            f"import helper_{name}\nfrom beside import PREFIX\n"
            f"def test_whose(whose: str) -> None:\n    assert whose == PREFIX + {name!r}\n"
            + TESTS.format(verdict="CONTINUE")
        )
        (project / name / f"helper_{name}.py").write_text("")
    (project / "beside.py").write_text("PREFIX = 'of '\n")
    done = run(project, "fusebpf.cli", "test", "a/guard.py", "b/guard.py", *PYTHON_JSON)
    found = json.loads(done.stdout)
    json_schemas.check("test", found)
    told = [(entry["file"], entry["outcome"]) for entry in found["tests"]]
    assert told == [("a/guard.py", "passed")] * 3 + [("b/guard.py", "passed")] * 3


@pytest.mark.parametrize("status", [0, 1])
def test_settings_that_lie_elsewhere(project: Path, status: int) -> None:
    """Ids of tests are no paths then."""
    (project / "a").mkdir()
    (project / "a/pytest.ini").write_text("[pytest]\n")
    for file in ("guard.py", "test_guard.py"):
        (project / "a" / file).write_text((project / file).read_text())
    if status:
        (project / "test_guard.py").write_text("import no_such_module\n")
    done = run(project, "fusebpf.cli", "test", "a/guard.py", "guard.py", *PYTHON_JSON)
    found = json.loads(done.stdout)
    json_schemas.check("test", found)
    files = [entry["file"] for entry in found["tests"]]
    wanted = ["guard.py"] if status else ["a/guard.py"] * 2 + ["guard.py"] * 2
    assert (done.returncode, files) == (status, wanted)


def test_a_path_that_pytest_does_not_take(project: Path) -> None:
    odd = project / "b[1]"
    odd.mkdir()
    for file in ("guard.py", "test_guard.py"):
        (project / file).rename(odd / file)
    done = run(project, "fusebpf.cli", "test", "b[1]/guard.py", "--run", "python")
    assert done.returncode == 2
    (command,) = re.findall(r"help: .*: (cd .*)", done.stderr)
    assert command == f"cd '{odd}' && fusebpf test guard.py"
    done = run(odd, "fusebpf.cli", "test", "guard.py", "--run", "python")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("files", "status", "message"),
    [
        (["test_guard.py"], 2, "name the filter file: guard.py"),
        (["."], 2, "name filter files"),
        (["gone.py"], 1, "gone.py does not exist"),
        (["alone.py"], 1, "alone.py has no tests"),
        (["bare.py"], 1, "no test to run in test_bare.py"),
        (["bare.py", "-k", "hidden"], 1, "none may fit -k 'hidden'"),
        (["guard.py", "-k", "a ("], 2, "Wrong expression passed to '-k'"),
        ([], 2, "Missing argument"),
    ],
)
def test_what_cannot_be_tested_is_told(
    project: Path, files: list[str], status: int, message: str
) -> None:
    (project / "alone.py").write_text(FILTERS)
    (project / "bare.py").write_text(FILTERS)
    (project / "test_bare.py").write_text("")
    done = run(project, "fusebpf.cli", "test", *files)
    assert done.returncode == status, done.stderr
    assert message in done.stderr


def test_the_fixture_of_a_file_without_filters_says_what_to_do(project: Path) -> None:
    (project / "test_guard.py").rename(project / "test_other.py")
    done = run(project, "pytest", "--fusebpf-run=python")
    assert "test_other.py is named after no filter file here" in done.stdout


def test_other_projects_do_not_pay_for_the_plugin(project: Path) -> None:
    (project / "test_guard.py").write_text(
        "import sys\n"
        "def test_nothing_is_imported():\n"
        "    heavy = [m for m in sys.modules if m.startswith('fusebpf.')]\n"
        "    assert sorted(heavy) == ['fusebpf.testing', 'fusebpf.testing.plugin']\n"
    )
    done = run(project, "pytest")
    assert done.returncode == 0, done.stdout
    assert "filters:" not in done.stdout


def test_what_the_page_for_users_says_is_so(project: Path) -> None:
    pages = (ROOT / "README.md", ROOT / "docs/testing-filters.md")
    for page, file in zip(pages, ("guard.py", "test_guard.py"), strict=True):
        block = re.search(r"```python\n(.*?)```", page.read_text(), re.S)
        assert block is not None
        (project / file).write_text(block[1])
    page_text = pages[1].read_text()
    done = run(project, "fusebpf.cli", "test", "guard.py", "--run", "python", "-k", "keys")
    assert done.returncode == 0, done.stdout
    assert "filters: 1 test as Python, " in done.stdout
    coverage = next(line for line in done.stdout.splitlines() if line.startswith("guard.py: "))
    assert coverage in page_text
    # The failure that the page shows
    filters = project / "guard.py"
    filters.write_text(filters.read_text().replace('".env", "id_rsa"', '".env", "README"'))
    done = run(project, "fusebpf.cli", "test", "guard.py", "--run", "python")
    shown = re.findall(r"^(?:>|E) .*$", done.stdout, re.M)
    assert len(shown) == 4
    for line in shown:
        assert f"    {line}\n" in page_text
