# SPDX-License-Identifier: MIT
"""`make test`: what its steps wait for, and what a failed one takes along."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]

CODE = """
import json, sys
from stepping import Step, run_all

def step(name, body, needs=None):
    return Step(name, ["sh", "-c", body.format(directory=sys.argv[1])], needs=needs)

steps = (
    step(
        "slow",
        "until [ -e {directory}/beside ]; do sleep 0.01; done; touch {directory}/slow",
    ),
    step("behind it", "test -e {directory}/slow", "slow"),
    step("beside it", "touch {directory}/beside; exit 3"),
    step("behind that", "true", "beside it"),
    step("behind what never was", "true", "behind that"),
    step("of another run", "true", "not of these"),
)
found = [(ended.step.name, ended.status) for ended in run_all(steps, 2)]
print(json.dumps(found), file=sys.stderr)
"""


def ran(code: str, directory: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Code that imports the checks, with a directory as its first argument."""
    return subprocess.run(
        [sys.executable, "-c", code, directory, *more],
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
        "behind what never was": None,
        "of another run": 0,
    }


# Whoever runs the tests may have these ignored.
HEARD = """
import signal
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
"""
ENDLESS = """
import signal, sys
from stepping import Step, ToldToEndError, ending_by_signals, run_all

script = "trap 'touch {0}/told-$1; exit 9' TERM; touch {0}/began-$1; while :; do sleep 0.02; done"
steps = [
    Step(name, ["sh", "-c", script.format(sys.argv[1]), "sh", name]) for name in ("a", "b", "c")
]
try:
    with ending_by_signals():
        list(run_all(steps, 2))
except ToldToEndError as told:
    sys.exit(128 + told.number)
"""


def test_a_hang_up_that_nohup_has_ignored_ends_nothing(tmp_path: Path) -> None:
    code = ENDLESS.replace("list(run_all(steps, 2))", "signal.raise_signal(signal.SIGHUP)")
    code = f"import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n{code}"
    assert ran(code, tmp_path).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_what_runs_ends_with_it_and_nothing_more_begins(tmp_path: Path, number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HEARD + ENDLESS, tmp_path],
        env={**os.environ, "PYTHONPATH": str(TREE / "scripts")},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            wait_for(tmp_path / "began-a", tmp_path / "began-b")
            process.send_signal(number)
            status = process.wait(timeout=60)
        finally:
            process.kill()
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    wait_for(tmp_path / "told-a", tmp_path / "told-b")
    assert not (tmp_path / "began-c").exists()


BELOW = """
import sys
import stepping

stepping.GRACE_SECONDS = 5.0
step = stepping.Step("a", ["sh", "-c", sys.argv[2], "sh", sys.argv[1]])
try:
    with stepping.ending_by_signals():
        list(stepping.run_all([step], 1))
except stepping.ToldToEndError as told:
    sys.exit(128 + told.number)
"""
STUBBORN = """
(trap 'touch $1/told' TERM; touch $1/began; while [ -e $1/began ]; do sleep 0.02; done) &
wait
"""


LONG = "(sleep 30; touch $1/ended) & wait"
AT_ONCE = BELOW.replace(
    "try:\n",
    """
begin = stepping.subprocess.Popen
def told_meanwhile(*arguments, **options):
    before = sys.argv[3] == "before"
    if before:
        stepping.signal.raise_signal(stepping.signal.SIGTERM)
    process = begin(*arguments, **options)
    if not before:
        stepping.signal.raise_signal(stepping.signal.SIGTERM)
    return process
stepping.subprocess.Popen = told_meanwhile
stepping.GRACE_SECONDS = 60.0  # who does not hear the signal is killed only then
try:
""",
)


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_just_being_started_ends_too(tmp_path: Path, when: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", AT_ONCE, tmp_path, LONG, when],
        env={**os.environ, "PYTHONPATH": str(TREE / "scripts")},
        stdout=subprocess.PIPE,
    ) as process:
        process.communicate(timeout=30)  # to the end of all that have its output
    assert process.returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "ended").exists()


def test_what_a_step_started_ends_with_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BELOW, tmp_path, STUBBORN],
        env={**os.environ, "PYTHONPATH": str(TREE / "scripts")},
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            wait_for(tmp_path / "began")
            process.terminate()
            # To the end of its output, which all of them have open.
            process.communicate(timeout=30)
        finally:
            (tmp_path / "began").unlink()
            process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert (tmp_path / "told").exists()


def wait_for(*paths: Path) -> None:
    """Until they exist, for a minute at most."""
    end = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, [path for path in paths if not path.exists()]
        time.sleep(0.01)


SUMMARY = """
import sys
from pathlib import Path

import check

check.JUNIT = Path(sys.argv[1])
steps = {step.name: step for step in check.STEPS}
told = dict(word.split("=") for word in sys.argv[2:])
outcomes = [
    check.Ended(steps[name], int(status) if status else None, 2.0) for name, status in told.items()
]
sys.exit(check.summarize(outcomes))
"""

REPORT = """<testsuites><testsuite tests="4" failures="1" errors="1" skipped="1">
<testcase classname="tests.unit.test_a" name="test_well"/>
<testcase classname="tests.unit.test_a" name="test_left"><skipped message="not here"/></testcase>
<testcase classname="tests.unit.test_a" name="test_bad[x-y]"
  ><failure message="assert 1 == 2&#10;more of it">lines</failure></testcase>
<testcase classname="tests.unit.test_b" name="test_set_up"><error message="no disk"/></testcase>
</testsuite></testsuites>"""
GOOD = """<testsuites><testsuite tests="1" failures="0" errors="0" skipped="0">
<testcase classname="tests.unit.test_a" name="test_well"/></testsuite></testsuites>"""


def test_the_summary_ends_with_what_failed_and_the_count(tmp_path: Path) -> None:
    (tmp_path / "unit.xml").write_text(REPORT)
    done = ran(SUMMARY, tmp_path, "lint=0", "unit=1")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-7:] == [
        "failed of unit:",
        "  tests.unit.test_a::test_bad[x-y]: assert 1 == 2",
        "  tests.unit.test_b::test_set_up: no disk",
        "",
        "steps that failed or could not run: unit",
        "",
        "1 passed, 2 failed, 1 skipped",
    ]


WHOLE = """
import sys
from pathlib import Path

import check
import versions

def unwritable(path):
    raise OSError("no space left")

check.JUNIT = Path(sys.argv[1])
check.STEPS = (check.Step("a", ["true"]),)
versions.write = unwritable
sys.argv[1:] = []
sys.exit(check.main())
"""


def test_the_summary_is_shown_whatever_happens_to_the_versions(tmp_path: Path) -> None:
    done = ran(WHOLE, tmp_path)
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert done.stdout.splitlines()[-1] == "0 passed, 0 failed, 0 skipped"


@pytest.mark.parametrize("cut", [None, 0, 40])
@pytest.mark.parametrize("told", ["vm-rest=125", "vm-rest=", "vm-rest=0"])
def test_tests_that_nobody_knows_of_are_no_success(
    tmp_path: Path, told: str, cut: int | None
) -> None:
    """A guest that died, over its report too, one that was never booted, one without a report."""
    (tmp_path / "unit.xml").write_text(GOOD)
    if cut is not None:
        (tmp_path / "vm-rest.xml").write_text(GOOD[:cut])
    done = ran(SUMMARY, tmp_path, "unit=0", told)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1] == "1 passed, 1 failed, 0 skipped"
