# SPDX-License-Identifier: MIT
"""vagrant/test.py where there is nothing to test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]


def test_without_a_box_it_says_what_makes_one(tmp_path: Path) -> None:
    (tmp_path / "vagrant").mkdir()
    shutil.copy(TREE / "vagrant/test.py", tmp_path / "vagrant")
    done = subprocess.run(
        [sys.executable, tmp_path / "vagrant/test.py", "--", "--version"],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "make vagrant-box" in done.stderr
    assert done.stdout == ""
