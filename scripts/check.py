# SPDX-License-Identifier: MIT
"""`make test`: every check in turn, then one summary; the last line is the plain test count.

A failed step does not stop the later ones, except those that need what it makes. Neighbours of one
`lane` run side by side, as many as there are processors (an emulated guest keeps little more than
one busy), but for those that need each other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import versions

TREE = Path(__file__).resolve().parent.parent
PYTHON = str(TREE / ".venv/bin/python")
JUNIT = TREE / "build/junit"

SMOKE_TESTS = (
    "tests/vm/test_guest.py",
    "tests/vm/test_kernel_ops.py",
    "tests/vm/test_kernel_verifier.py",
    "tests/vm/test_attach.py::test_command_line_from_file_to_detach",
    "tests/vm/test_attach.py::test_check_verifies_as_struct_ops_here",
    "tests/vm/test_differential.py::test_as_on_the_bare_twin[tmpfs-unfiltered]",
    *("-k", "not caller"),
)
OTHER_KERNELS = {
    "debian12": (
        "tests/vm/test_attach.py::test_one_object_on_two_mounts",
        "tests/vm/test_attach.py::test_forced_detach_of_the_link_fails_closed",
        *SMOKE_TESTS,
    ),
    "backports": (
        "tests/vm/test_v4_daemon.py::test_the_device_before_a_mount",
        "tests/vm/test_guard_update.py::test_no_answer_is_kept",
        *SMOKE_TESTS,
    ),
}
"""What differs most between kernels, in a minute; `make test-long` runs the whole suite there."""


def guest_tests(*patterns: str) -> list[str]:
    """Return the files of tests/vm that match, as a guest sees them."""
    found = (path for pattern in patterns for path in TREE.glob(f"tests/vm/{pattern}"))
    return sorted(str(path.relative_to(TREE)) for path in found)


RACES = guest_tests("test_kernel_races*.py")
"""With four processors and more preemption alone: there is most to be seen."""
KERNEL_TESTS = [path for path in guest_tests("test_kernel_*.py") if path not in RACES]
COMPARING_TESTS = guest_tests("test_differential.py", "test_programs*.py", "test_daemon*.py")
GUARD_TESTS = guest_tests("test_guard_*.py")
ELSEWHERE = (*KERNEL_TESTS, *RACES, *COMPARING_TESTS, *GUARD_TESTS)


@dataclass(frozen=True)
class Part:
    """Tests of tests/vm that share a guest, and the options of `vm run` for it."""

    name: str
    tests: Sequence[str]
    boot: Sequence[str] = ()


ONE_CPU = ("--cpus", "1")
"""A second emulated processor costs a quarter more, and waits for one that the machine has not."""

PARTS = (
    # The longest first
    Part("rest", ["tests/vm", *(f"--ignore={path}" for path in ELSEWHERE)]),
    Part("kernel", KERNEL_TESTS, ONE_CPU),
    Part("compare", COMPARING_TESTS, ONE_CPU),
    Part("guard", GUARD_TESTS, ONE_CPU),
    Part("races", RACES, ("--cpus", "4", "--append", "preempt=full")),
)
"""All of tests/vm."""

GUEST_SECONDS = 3600
"""A part under TCG, with room for a busy machine; a hung test has its own, shorter limit."""


WHY = 300
"""Characters of a failure's message that stand in the summary."""


@dataclass(frozen=True)
class Step:
    """One command. ``suite`` names its junit file when it is a pytest run."""

    name: str
    command: Sequence[str]
    suite: str | None = None
    needs: str | None = None
    lane: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a step ended; ``status`` is None when what it needs was missing."""

    step: Step
    status: int | None
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0


def pytest_step(name: str, lane: str, *arguments: str, needs: str | None = None) -> Step:
    """Return a pytest run on this machine."""
    report = f"--junitxml={JUNIT / name}.xml"
    return Step(name, [PYTHON, "-m", "pytest", "-q", report, *arguments], name, needs, lane)


def guest_step(
    name: str,
    *arguments: str,
    boot: Sequence[str] = (),
    env: Sequence[str] = (),
    needs: str = "guest",
    seconds: int = GUEST_SECONDS,
) -> Step:
    """Return a pytest run in the guest, for `seconds` at most; its report alone is written here.

    `boot` are options of `vm run`, `env` the guest's variables as VAR=VALUE.
    """
    return Step(
        name,
        [
            *(PYTHON, "-m", "fusebpf.vm", "run", "--timeout", str(seconds)),
            *("--rw", str(JUNIT), *boot, "--", "env", *env, "python", "-m", "pytest", "-q"),
            *(
                "-p",
                "no:cacheprovider",
                "-p",
                "no:hypothesispytest",
                f"--junitxml={JUNIT / name}.xml",
                *arguments,
            ),
        ],
        suite=name,
        needs=needs,
        lane="guests",
    )


STEPS: tuple[Step, ...] = (
    Step("lint", ["scripts/lint.sh", "quick"]),
    pytest_step("unit", "host", "tests/unit", "tests/golden", "examples/tests"),
    # What the guests need is mostly fetched and unpacked
    Step("guest", [PYTHON, "-m", "fusebpf.vm", "prepare"], lane="host"),
    *(
        Step(
            f"guest-{kernel}",
            [PYTHON, "-m", "fusebpf.vm", "prepare", "--kernel", kernel],
            needs="guest",
            lane="host",
        )
        for kernel in OTHER_KERNELS
    ),
    Step("lint-kernel", ["scripts/lint.sh", "kernel"], needs="guest", lane="host"),
    pytest_step("property", "host", "tests/property"),
    *(guest_step(f"vm-{part.name}", *part.tests, boot=part.boot) for part in PARTS),
    *(
        guest_step(
            f"vm-{kernel}",
            *tests,
            boot=("--kernel", kernel, *ONE_CPU),
            env=["FUSEBPF_DIFF_OPS=250"],
            needs=f"guest-{kernel}",
        )
        for kernel, tests in OTHER_KERNELS.items()
    ),
    pytest_step("runner", "guests", "tests/vm_host", needs="guest"),
    # On this machine: what a newcomer types, which boots the guest itself.
    pytest_step("e2e", "guests", "tests/e2e", needs="guest"),
)


def counts(suite: str) -> tuple[int, int, int]:
    """Return passed, failed (with errors) and skipped of a junit file; none if it is missing."""
    path = JUNIT / f"{suite}.xml"
    if not path.is_file():
        return 0, 0, 0
    passed = failed = skipped = 0
    for node in ET.parse(path).getroot().iter("testsuite"):
        bad = int(node.get("failures", 0)) + int(node.get("errors", 0))
        left_out = int(node.get("skipped", 0))
        passed += int(node.get("tests", 0)) - bad - left_out
        failed += bad
        skipped += left_out
    return passed, failed, skipped


def failures(suite: str) -> list[str]:
    """Return each failed test of a junit file, and the first line of why; none if it is missing."""
    path = JUNIT / f"{suite}.xml"
    if not path.is_file():
        return []
    found = []
    for case in ET.parse(path).getroot().iter("testcase"):
        for bad in (*case.iter("failure"), *case.iter("error")):
            why = next(iter(bad.get("message", "").splitlines()), "no message")
            found.append(f"{case.get('classname')}::{case.get('name')}: {why[:WHY]}")
    return found


def run(step: Step, beside: bool) -> Outcome:
    """Run one step; its output goes where ours goes, line by line under its name when `beside`."""
    if step.suite:
        (JUNIT / f"{step.suite}.xml").unlink(missing_ok=True)
    print(f"\n=== {step.name} ===", flush=True)
    started = time.monotonic()
    with subprocess.Popen(
        step.command,
        cwd=TREE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if beside else None,
        stderr=subprocess.STDOUT if beside else None,
        text=True,
        errors="replace",
    ) as child:
        for line in child.stdout or ():
            print(f"{step.name}: {line}", end="", flush=True)
    seconds = time.monotonic() - started
    passed, failed, skipped = counts(step.suite) if step.suite else (0, 0, 0)
    return Outcome(step, child.returncode, seconds, passed, failed, skipped)


def run_all(steps: Sequence[Step]) -> Iterator[Outcome]:
    """Run steps in their order, those of one lane side by side; yield how each ended."""
    broken: set[str] = set()

    def in_turn(chain: Sequence[Step], beside: bool) -> list[Outcome]:
        outcomes = []
        for step in chain:
            outcome = Outcome(step, None, 0.0) if step.needs in broken else run(step, beside)
            if outcome.status != 0:
                broken.add(step.name)
            outcomes.append(outcome)
        return outcomes

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _, group in groupby(steps, key=lambda step: step.lane or step.name):
            now = chains(list(group))
            started = [pool.submit(in_turn, chain, len(now) > 1) for chain in now]
            for future in started:
                yield from future.result()


def chains(lane: Sequence[Step]) -> list[list[Step]]:
    """The steps of a lane that have to wait for each other, and those that need not."""
    found: list[list[Step]] = []
    for step in lane:
        chain = next((c for c in found if step.needs in {before.name for before in c}), None)
        if chain is None:
            found.append([step])
        else:
            chain.append(step)
    return found


def main() -> int:
    """Run the steps asked for (all by default); 1 when any did not end well."""
    known = [step.name for step in STEPS]
    parser = argparse.ArgumentParser(description="Run the checks of this project.")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(known)}")
    asked = parser.parse_args().steps or known
    if unknown := sorted(set(asked) - set(known)):
        parser.error(f"no step {', '.join(unknown)}: give some of {', '.join(known)}")
    JUNIT.mkdir(parents=True, exist_ok=True)
    outcomes = list(run_all([step for step in STEPS if step.name in asked]))
    versions.write(JUNIT / "versions.json")
    return summarize(outcomes)


def summarize(outcomes: Sequence[Outcome]) -> int:
    """Print the table and the count; return the exit status."""
    print(f"\n{'step':12} {'result':14} {'time':>7}  tests")
    for outcome in outcomes:
        if outcome.status is None:
            result = f"needs {outcome.step.needs}"
        else:
            result = "ok" if outcome.status == 0 else f"FAILED ({outcome.status})"
        tests = ""
        if outcome.step.suite and outcome.status is not None:
            tests = f"{outcome.passed} passed, {outcome.failed} failed, {outcome.skipped} skipped"
        print(f"{outcome.step.name:12} {result:14} {outcome.seconds:6.0f}s  {tests}")
    # Once more here, as all that a service shows of a long output may be its end
    for outcome in outcomes:
        if outcome.step.suite and outcome.failed:
            print(f"\nfailed of {outcome.step.name}:")
            print("\n".join(f"  {line}" for line in failures(outcome.step.suite)))
    passed, failed, skipped = (
        sum(getattr(outcome, what) for outcome in outcomes)
        for what in ("passed", "failed", "skipped")
    )
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if all(outcome.status == 0 for outcome in outcomes) else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    if shutil.which("git") is None:
        sys.exit("git is not installed: run `make dev`")
    sys.exit(main())
