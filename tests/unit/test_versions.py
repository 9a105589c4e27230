# SPDX-License-Identifier: MIT
"""What `make test` writes down beside its results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TREE = Path(__file__).resolve().parents[2]


def written(to: Path, **env: str) -> dict[str, Any]:
    """Return what is written on this machine."""
    code = "import sys, versions; from pathlib import Path; versions.write(Path(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", code, to],
        check=True,
        env={**os.environ, "PYTHONPATH": str(TREE / "scripts"), **env},
    )
    found: dict[str, Any] = json.loads(to.read_text())
    return found


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is written on this machine."""
    return written(tmp_path_factory.mktemp("versions") / "versions.json")


def test_tells_the_machine_and_its_packages(versions: dict[str, Any]) -> None:
    machine = versions["machine"]
    assert machine["kernel"] == os.uname().release
    shown = ["dpkg-query", "--show", "--showformat=${Version}", "qemu-system-x86"]
    installed = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    assert machine["packages"]["qemu-system-x86"] == installed
    assert {"gcc", "libbpf1", "mmdebstrap"} <= set(machine["packages"])


def test_tells_the_guests_kernel_and_compilers(versions: dict[str, Any]) -> None:
    if versions["guest"] is None:
        pytest.skip("no guest root: make vm")
    names = versions["guest"]["packages"]
    for start in ("linux-image-6.12.", "linux-source-6.12", "gcc-", "clang-", "dwarves"):
        assert any(name.startswith(start) for name in names), start


def test_before_there_is_a_guest(tmp_path: Path) -> None:
    empty = tmp_path / "cache"
    assert written(tmp_path / "versions.json", FUSEBPF_CACHE=str(empty))["guest"] is None
