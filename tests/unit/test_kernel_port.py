# SPDX-License-Identifier: MIT
"""What stands between the patches and another kernel: told by file and line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KERNEL = Path(__file__).resolve().parents[2] / "kernel"
SERIES = sorted(path.name for path in (KERNEL / "series").iterdir())


def patches(series: str) -> list[Path]:
    """Return the patches of the module, in the order in which they are applied."""
    base = KERNEL / "series" / series / "patches"
    return [path for form in ("both", "module") for path in sorted((base / form).iterdir())]


def port(source: Path) -> tuple[int, str, str]:
    """Run kernel/port.py; return status, output and errors."""
    done = subprocess.run(
        [sys.executable, KERNEL / "port.py", source], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def examined(source: Path) -> dict[str, Any]:
    """Return what it says of a source that it can read."""
    status, out, err = port(source)
    assert status == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    assert len(found) == 1
    return found[0]


def old_side(patch: Path) -> dict[str, dict[int, list[str]]]:
    """Return the lines that a patch expects: file → first line → text."""
    files: dict[str, dict[int, list[str]]] = {}
    place: list[str] = []
    for line in patch.read_text().splitlines():
        if line.startswith("+++ "):
            name = line.split()[1].removeprefix("b/")
        elif line.startswith("@@ "):
            start = int(line.split()[1].removeprefix("-").split(",")[0])
            place = files.setdefault(name, {}).setdefault(start, [])
        elif line[:1] in (" ", "-") and not line.startswith("--- "):
            place.append(line[1:])
    return files


@pytest.fixture(params=SERIES)
def series(request: pytest.FixtureRequest) -> str:
    """A series that there are patches for."""
    found: str = request.param
    return found


@pytest.fixture
def first(series: str) -> Path:
    """The first patch of the series."""
    return patches(series)[0]


@pytest.fixture
def source(tmp_path: Path, first: Path) -> Path:
    """A kernel source that has nothing but what the first patch expects, where it expects it."""
    (tmp_path / "Makefile").write_text("VERSION = 9\nPATCHLEVEL = 4\nSUBLEVEL = 2\n")
    for name, hunks in old_side(first).items():
        lines: list[str] = []
        for start, text in sorted(hunks.items()):
            lines += [f"/* line {number} */" for number in range(len(lines) + 1, start)]
            lines += text
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("\n".join(lines) + "\n/* the end */\n")
    return tmp_path


def test_every_hunk_is_tried_and_what_fits_is_counted(
    source: Path, series: str, first: Path
) -> None:
    found = examined(source)
    assert (found["series"], found["version"]) == ("9.4", "9.4.2")
    assert found["patches"] == series  # of all, those that fit best
    wanted = sum(path.read_text().count("\n@@ -") for path in patches(series))
    assert found["hunks"] == wanted
    assert found["applied"] >= first.read_text().count("\n@@ -")
    assert first.name not in {entry["patch"] for entry in found["obstacles"]}


def test_a_changed_line_is_named(source: Path, first: Path) -> None:
    name, hunks = next(iter(old_side(first).items()))
    start, text = max(hunks.items())
    offset = next(n for n, line in enumerate(text) if line.strip(" \t{}*/"))
    lines = (source / name).read_text().splitlines()
    lines[start - 1 + offset] = "int another_kernel;"
    (source / name).write_text("\n".join(lines) + "\n")
    mine = [entry for entry in examined(source)["obstacles"] if entry["patch"] == first.name]
    assert [(entry["file"], entry["line"]) for entry in mine] == [(name, start + offset)]
    assert mine[0]["why"].endswith("found 'int another_kernel;'")


def test_a_file_that_is_gone_is_named(source: Path, first: Path) -> None:
    gone = next(iter(old_side(first)))
    (source / gone).unlink()
    mine = [entry for entry in examined(source)["obstacles"] if entry["file"] == gone]
    assert mine
    assert {entry["why"] for entry in mine} == {"the file is gone"}


@pytest.mark.parametrize("text", [None, "VERSION = 9\nPATCHLEVEL = 4\n"])
def test_a_source_that_tells_no_version_is_an_error(source: Path, text: str | None) -> None:
    (source / "Makefile").unlink()
    if text:
        (source / "Makefile").write_text(text)
    status, out, err = port(source)
    assert (status, out) == (1, "")
    absent = "SUBLEVEL" if text else "VERSION"
    assert f"{source}/Makefile has no {absent}: it is no kernel source" in err
    assert "Traceback" not in err


def test_what_is_no_kernel_source_is_an_error(tmp_path: Path) -> None:
    status, out, err = port(tmp_path)
    assert (status, out) == (1, "")
    assert "has no fs/fuse: it is no kernel source" in err
    status, _, err = port(tmp_path / "none")
    assert status == 1
    assert "no such file" in err
