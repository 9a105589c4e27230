# SPDX-License-Identifier: MIT
"""The commands of the README, run as a newcomer types them, and the demo. Boots the guest."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def by_hand() -> list[str]:
    """The commands of the section "To work by hand"."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.search(r"To work by hand:\n\n((?: {4}.*\n)+)", text)
    assert match is not None
    return [line.strip() for line in match.group(1).splitlines()]


def run(command: str) -> str:
    """What a command printed; fails the test when its status is not 0."""
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.timeout(900)
def test_the_commands_to_work_by_hand() -> None:
    dev, check, vm = by_hand()
    assert dev.split("#")[0].strip() == "make dev"
    run(dev)
    assert "verified as a stand-in" in run(check) or os.geteuid() != 0
    shown = run(vm)
    assert "certs" in shown, "a listing of /etc/ssl"


@pytest.mark.timeout(1800)
def test_every_promise_of_the_demo_holds() -> None:
    out = run("scripts/demo.sh")
    match = re.search(r"(\d+) of (\d+) promises held", out)
    assert match is not None, out
    assert match.group(1) == match.group(2), out
    assert int(match.group(2)) >= 25
