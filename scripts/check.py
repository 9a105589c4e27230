# SPDX-License-Identifier: MIT
"""`make test`: every check, then one summary; the last line is the plain test count.

A failed step does not stop the others, except those that need what it makes. As many run side by
side as there are processors (an emulated guest keeps little more than one busy).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import versions
from stepping import TREE, Ended, Step, ToldToEndError, ending_by_signals, places, run_all

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
ATTACH_TESTS = guest_tests(
    *("test_attach.py", "test_replace.py", "test_any_moment.py", "test_watch.py", "test_trace.py")
)
"""With two processors: maps and events of each, and commands beside what they watch or replace."""
ELSEWHERE = (*ATTACH_TESTS, *KERNEL_TESTS, *RACES, *COMPARING_TESTS, *GUARD_TESTS)


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
    Part("rest", ["tests/vm", *(f"--ignore={path}" for path in ELSEWHERE)], ONE_CPU),
    Part("compare", COMPARING_TESTS, ONE_CPU),
    Part("kernel", KERNEL_TESTS, ONE_CPU),
    Part("guard", GUARD_TESTS, ONE_CPU),
    Part("attach", ATTACH_TESTS),
    Part("races", RACES, ("--cpus", "4", "--append", "preempt=full")),
)
"""All of tests/vm."""

GUEST_SECONDS = 3600
"""A part under TCG, with room for a busy machine; a hung test has its own, shorter limit."""


WHY = 300
"""Characters of a failure's message that stand in the summary."""


@dataclass(frozen=True)
class Counts:
    """Tests of a suite."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def pytest_step(name: str, *arguments: str, needs: str | None = None) -> Step:
    """Return a pytest run on this machine."""
    report = f"--junitxml={JUNIT / name}.xml"
    return Step(name, [PYTHON, "-m", "pytest", "-q", report, *arguments], name, needs)


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
    )


PART_STEPS = [guest_step(f"vm-{part.name}", *part.tests, boot=part.boot) for part in PARTS]

STEPS: tuple[Step, ...] = (
    # What others wait for, and then the longest first: nothing long is left alone at the end.
    Step("guest", [PYTHON, "-m", "fusebpf.vm", "prepare"]),
    Step("lint", ["scripts/lint.sh", "quick"]),
    pytest_step("unit", "tests/unit", "tests/golden", "examples/tests"),
    *PART_STEPS[:4],
    # Mostly fetched and unpacked
    *(
        Step(
            f"guest-{kernel}",
            [PYTHON, "-m", "fusebpf.vm", "prepare", "--kernel", kernel],
            needs="guest",
        )
        for kernel in OTHER_KERNELS
    ),
    pytest_step("runner", "tests/vm_host", needs="guest"),
    *PART_STEPS[4:],
    # On this machine: what a newcomer types, which boots the guest itself.
    pytest_step("e2e", "tests/e2e", needs="guest"),
    pytest_step("property", "tests/property"),
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
    Step("lint-kernel", ["scripts/lint.sh", "kernel"], needs="guest"),
)


def counts(outcome: Ended) -> Counts:
    """Count what a suite's junit file has.

    A suite that ended badly without a failed test, or whose report is missing, counts as one that
    failed: its tests are not known.
    """
    path = JUNIT / f"{outcome.step.suite}.xml"
    if outcome.step.suite is None:
        return Counts()
    passed = failed = skipped = 0
    if outcome.status is not None:
        for node in _nodes(path, "testsuite"):
            bad = int(node.get("failures", 0)) + int(node.get("errors", 0))
            left_out = int(node.get("skipped", 0))
            passed += int(node.get("tests", 0)) - bad - left_out
            failed += bad
            skipped += left_out
    if not failed and (outcome.status != 0 or not passed + skipped):
        failed = 1
    return Counts(passed, failed, skipped)


def _nodes(report: Path, tag: str) -> list[ET.Element]:
    """Nodes of a junit file; none if it is missing, or its writer died over it."""
    try:
        return list(ET.parse(report).getroot().iter(tag))
    except (FileNotFoundError, ET.ParseError):
        return []


def failures(suite: str) -> list[str]:
    """Return each failed test of a junit file, and the first line of why; none if it is missing."""
    found = []
    for case in _nodes(JUNIT / f"{suite}.xml", "testcase"):
        for bad in (*case.iter("failure"), *case.iter("error")):
            why = next(iter(bad.get("message", "").splitlines()), "no message")
            found.append(f"{case.get('classname')}::{case.get('name')}: {why[:WHY]}")
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
    steps = [step for step in STEPS if step.name in asked]
    for step in steps:
        if step.suite:
            (JUNIT / f"{step.suite}.xml").unlink(missing_ok=True)
    try:
        with ending_by_signals():
            outcomes = list(run_all(steps, places()))
    except ToldToEndError as signal:
        print(f"\nended by {signal}; nothing of it goes on", file=sys.stderr)
        return 128 + signal.number
    # First what took so long
    status = summarize(outcomes)
    versions.write(JUNIT / "versions.json")
    return status


def summarize(outcomes: Sequence[Ended]) -> int:
    """Print the table and the count; return the exit status."""
    counted = {outcome.step.name: counts(outcome) for outcome in outcomes}
    print(f"\n{'step':14} {'result':20} {'time':>6}  tests")
    for outcome in outcomes:
        if outcome.status is None:
            result = f"needs {outcome.step.needs}"
        else:
            result = "ok" if outcome.status == 0 else f"FAILED ({outcome.status})"
        tests = counted[outcome.step.name] if outcome.step.suite else ""
        print(f"{outcome.step.name:14} {result:20} {outcome.seconds:5.0f}s  {tests}")
    # Once more here, as all that a service shows of a long output may be its end
    for outcome in outcomes:
        if outcome.step.suite and (found := failures(outcome.step.suite)):
            print(f"\nfailed of {outcome.step.name}:")
            print("\n".join(f"  {line}" for line in found))
    bad = [outcome.step.name for outcome in outcomes if outcome.status != 0]
    if bad:
        print(f"\nsteps that failed or could not run: {', '.join(bad)}")
    total = Counts(
        *(
            sum(getattr(one, what) for one in counted.values())
            for what in ("passed", "failed", "skipped")
        )
    )
    print(f"\n{total}", flush=True)
    return 1 if bad or total.failed else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    if shutil.which("git") is None:
        sys.exit("git is not installed: run `make dev`")
    sys.exit(main())
