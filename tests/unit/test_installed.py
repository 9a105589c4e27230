# SPDX-License-Identifier: MIT
"""What a user has who installed the wheel: a project of their own, outside the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from fusebpf.runtime import features
from fusebpf.testing.standin import unavailable

ROOT = Path(__file__).resolve().parents[2]
MISTYPED = ROOT / "tests/golden/typing/mistyped.py"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program that knows nothing of the tree."""
    hidden = ("PYTHONPATH", "PYTEST_ADDOPTS", "PYTHONDONTWRITEBYTECODE")
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key not in hidden},
        capture_output=True,
        text=True,
        check=False,
    )


def done(*command: str | Path, cwd: Path) -> str:
    """What a program said that succeeded."""
    ended = run(*command, cwd=cwd)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def bin_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment that has the wheel, made of this tree."""
    place = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    done(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", place, ROOT, cwd=place)
    (wheel,) = place.glob("fusebpf-*.whl")
    done(sys.executable, "-m", "venv", "--without-pip", place / "venv", cwd=place)
    python = place / "venv/bin/python"
    done(*pip, "--python", python, "install", "--quiet", f"{wheel}[test]", cwd=place)
    return python.parent


@pytest.fixture
def project(bin_dir: Path, tmp_path: Path) -> Path:
    """What `fusebpf new` writes."""
    said = done(bin_dir / "fusebpf", "new", "guard", cwd=tmp_path)
    assert "next: fusebpf check guard/guard.py; fusebpf test guard/guard.py" in said
    return tmp_path / "guard"


def test_what_new_writes_passes_everything_at_once(bin_dir: Path, project: Path) -> None:
    assert {path.name for path in project.iterdir()} == {
        "guard.py",
        "test_guard.py",
        "pyproject.toml",
    }
    here = 2 if unavailable() is None else 0
    assert "set guard, " in done(bin_dir / "fusebpf", "check", "guard.py", cwd=project)
    for command in (("fusebpf", "test", "guard.py"), ("pytest",)):
        said = done(bin_dir / command[0], *command[1:], cwd=project)
        assert f"filters: 2 tests as Python, {here} on this kernel" in said
        assert "warning" not in said
    tools = Path(sys.executable).parent
    done(tools / "ruff", "check", ".", cwd=project)
    done(tools / "ruff", "format", "--check", ".", cwd=project)


def test_new_overwrites_nothing(bin_dir: Path, project: Path) -> None:
    (project / "guard.py").write_text("mine")
    ended = run(bin_dir / "fusebpf", "new", "guard", cwd=project.parent)
    assert ended.returncode == 1
    assert "error: guard exists" in ended.stderr
    assert (project / "guard.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["../x", "My-guard", "json", "class", "fusebpf", "test_x", ""])
def test_new_refuses_names_that_cannot_be(bin_dir: Path, tmp_path: Path, name: str) -> None:
    ended = run(bin_dir / "fusebpf", "new", name, cwd=tmp_path)
    assert ended.returncode == 2
    assert f"error: {name!r} " in ended.stderr
    assert "help: " in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(features.fs_type() is not None, reason="this kernel has fuse-bpf")
def test_doctor_names_the_builder_of_the_wheel(bin_dir: Path, tmp_path: Path) -> None:
    said = run(bin_dir / "fusebpf", "doctor", cwd=tmp_path).stdout
    found = re.search(r"has no fuse-bpf.*\n.*insmod \$\(python3 (\S+) module --root / ", said)
    assert found, said
    assert found[1].startswith(str(bin_dir.parent))
    # It begins with what it builds for, and lies beside all that it reads.
    ended = run("python3", found[1], "module", "--root", tmp_path, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "has 0 kernels" in ended.stderr
    shipped = {path.name for path in Path(found[1]).parent.iterdir()}
    assert {"series", "src", "support.py"} <= shipped


def test_mypy_understands_filter_files(bin_dir: Path, project: Path) -> None:
    shutil.copy(MISTYPED, project)
    shutil.copytree(ROOT / "examples", project / "examples")
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", bin_dir / "python")
    ended = run(*mypy, "--explicit-package-bases", ".", cwd=project)
    found = Counter(
        (match[1], int(match[2]), match[3])
        for match in re.finditer(r"^(\S+):(\d+): error: .*\[(\S+)\]$", ended.stdout, re.M)
    )
    expected = Counter(
        ("mistyped.py", number, code)
        for number, line in enumerate(MISTYPED.read_text().splitlines(), 1)
        if (match := re.search(r"  # ([a-z-]+(?:, [a-z-]+)*)$", line))
        for code in match[1].split(", ")
    )
    assert found == expected, ended.stdout + ended.stderr
    assert len(expected) > 20


def test_every_command_takes_the_oldest_click_allowed(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (oldest,) = (
        found[1]
        for text in project["dependencies"]
        if (found := re.fullmatch(r"click>=(.*)", text))
    )
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    done(*pip, "--no-deps", "--target", tmp_path / "old", f"click=={oldest}.0", cwd=tmp_path)
    wrote = subprocess.run(
        [sys.executable, "-m", "fusebpf.cli.pages", tmp_path / "pages"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'old'}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert (wrote.returncode, wrote.stderr) == (0, "")
    assert (tmp_path / "pages/man/fusebpf-vm-run.1").is_file()
