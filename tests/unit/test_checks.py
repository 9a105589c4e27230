# SPDX-License-Identifier: MIT
"""`make test`: what its steps wait for, and what a failed one takes along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]

CODE = """
import json, sys
from check import Step, run_all

def step(name, body, needs=None, lane=None):
    return Step(name, ["sh", "-c", body.format(directory=sys.argv[1])], needs=needs, lane=lane)

steps = (
    step(
        "slow",
        "until [ -e {directory}/beside ]; do sleep 0.01; done; touch {directory}/slow",
        lane="one",
    ),
    step("behind it", "test -e {directory}/slow", "slow", "one"),
    step("beside it", "touch {directory}/beside; exit 3", lane="one"),
    step("behind that", "true", "beside it", "one"),
    step("later", "true", "slow"),
    step("not later", "true", "beside it"),
)
found = [(outcome.step.name, outcome.status) for outcome in run_all(steps)]
print(json.dumps(found), file=sys.stderr)
"""


def test_steps_wait_for_what_they_need(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path],
        env={**os.environ, "PYTHONPATH": str(TREE / "scripts")},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert dict(json.loads(done.stderr)) == {
        "slow": 0,
        "behind it": 0,
        "beside it": 3,
        "behind that": None,
        "later": 0,
        "not later": None,
    }
