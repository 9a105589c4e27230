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


def ran(code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Code that imports the checks, with a directory as its argument."""
    return subprocess.run(
        [sys.executable, "-c", code, directory],
        env={**os.environ, "PYTHONPATH": str(TREE / "scripts")},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_steps_wait_for_what_they_need(tmp_path: Path) -> None:
    done = ran(CODE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert dict(json.loads(done.stderr)) == {
        "slow": 0,
        "behind it": 0,
        "beside it": 3,
        "behind that": None,
        "later": 0,
        "not later": None,
    }


SUMMARY = """
import sys
from pathlib import Path

import check

check.JUNIT = Path(sys.argv[1])
(step,) = check.STEPS[1:2]
passed, failed, skipped = check.counts(step.suite)
sys.exit(check.summarize([check.Outcome(step, 1, 2.0, passed, failed, skipped)]))
"""

REPORT = """<testsuites><testsuite tests="4" failures="1" errors="1" skipped="1">
<testcase classname="tests.unit.test_a" name="test_well"/>
<testcase classname="tests.unit.test_a" name="test_left"><skipped message="not here"/></testcase>
<testcase classname="tests.unit.test_a" name="test_bad[x-y]"
  ><failure message="assert 1 == 2&#10;more of it">lines</failure></testcase>
<testcase classname="tests.unit.test_b" name="test_set_up"><error message="no disk"/></testcase>
</testsuite></testsuites>"""


def test_the_summary_ends_with_what_failed_and_the_count(tmp_path: Path) -> None:
    (tmp_path / "unit.xml").write_text(REPORT)
    done = ran(SUMMARY, tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-5:] == [
        "failed of unit:",
        "  tests.unit.test_a::test_bad[x-y]: assert 1 == 2",
        "  tests.unit.test_b::test_set_up: no disk",
        "",
        "1 passed, 2 failed, 1 skipped",
    ]
