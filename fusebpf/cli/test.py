# SPDX-License-Identifier: MIT
"""`fusebpf test`."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusebpf.errors import EXIT_USAGE

if TYPE_CHECKING:
    import pytest

#: pytest's statuses (pytest.ExitCode) when it was used wrongly, and when it found no test.
_USAGE, _NO_TESTS = 4, 5
#: The path of a test, in its report.
_PATH = "fusebpf_path"


@click.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--run",
    type=click.Choice(["python", "kernel", "both"]),
    default="both",
    show_default=True,
    help="Run filters as typed Python, on this host's kernel (root), or both where that can be.",
)
@click.option("-k", "only", metavar="EXPR", help="Only tests whose names fit, as pytest -k.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; what pytest says to stderr.")
def test(files: tuple[Path, ...], run: str, only: str | None, as_json: bool) -> int:
    """Run the tests of filter files. Nothing is mounted, and no root needed.

    The tests of guard.py are test_guard.py beside it, or in the directory tests there; `fusebpf
    new` writes an example. Last come the lines of each filter file that no test reached.
    """
    tests = [_tests_of(file) for file in files]
    _check_pytest()
    if run == "kernel":
        _check_kernel()
    # A rejected file is told as by `fusebpf check`, before any test runs.
    seen = _Seen(files, tests)
    for file in files:
        seen.session.coverage(str(file))
    status = _pytest(tests, run, only, seen, as_json)
    if status == _USAGE and seen.configured:  # what it said of -k stands there; else of settings
        return EXIT_USAGE
    if as_json:
        from fusebpf.cli.output import json_out

        json_out(seen.report())
    if seen.interrupted:
        raise KeyboardInterrupt
    if status == _NO_TESTS:
        from fusebpf.errors import FusebpfError

        listed = ", ".join(map(str, tests))
        help = "tests are functions named test_..."
        if only is not None:
            help += f", and of their names none may fit -k {only!r}"
        raise FusebpfError(f"no test to run in {listed}", help)
    return 1 if status else 0


def _tests_of(file: Path) -> Path:
    from fusebpf.errors import FusebpfError, UsageError
    from fusebpf.testing.naming import PREFIX, filter_file, test_file

    if file.name.startswith(PREFIX) and (wanted := filter_file(file.resolve())):
        raise UsageError(
            f"{file} has the tests", f"name the filter file: {os.path.relpath(wanted)}"
        )
    if file.is_dir():
        raise UsageError(f"{file} is a directory", f"name filter files: {file}/*.py")
    if not file.is_file():
        raise FusebpfError(f"{file} does not exist")
    found = test_file(file)
    if found is None:
        name = f"{PREFIX}{file.name}"
        raise FusebpfError(
            f"{file} has no tests",
            f"write {file.parent / name}, or tests/{name} beside {file.name}",
        )
    if "[" in str(found) or "::" in str(found):
        resolved = file.resolve()
        where, name = map(shlex.quote, (str(resolved.parent), resolved.name))
        raise UsageError(
            f"pytest takes no path with [ or :: ({found})",
            f"name the file from its directory: cd {where} && fusebpf test {name}",
        )
    return found


def _check_pytest() -> None:
    from importlib.util import find_spec

    from fusebpf.errors import FusebpfError

    if find_spec("pytest") is None:
        raise FusebpfError("fusebpf test needs pytest", "pip install 'fusebpf[test]'")


def _check_kernel() -> None:
    from fusebpf.errors import FusebpfError, PrivilegeError
    from fusebpf.testing.standin import unavailable

    reason = unavailable()
    if reason is not None:
        kind = FusebpfError if os.geteuid() == 0 else PrivilegeError
        raise kind(f"no kernel run: {reason}", "--run python needs nothing")


def _pytest(tests: list[Path], run: str, only: str | None, seen: _Seen, as_json: bool) -> int:
    from importlib.metadata import entry_points

    import pytest

    arguments = [*map(str, tests), "-q", f"--fusebpf-run={run}"]
    arguments += [f"--fusebpf-coverage={file}" for file in seen.files]
    # pytest would rewrite the assertions of its plugin, which has none.
    arguments += ["-W", "ignore:Module already imported so cannot be rewritten; fusebpf"]
    if only is not None:
        arguments += ["-k", only]
    if len({path.name for path in tests}) < len({path.resolve() for path in tests}):
        # Modules of one name get others; what is beside them is to be found all the same.
        arguments += ["--import-mode=importlib"]
        sys.path[:0] = dict.fromkeys(map(str, _importing(tests)))
    if not entry_points(group="pytest11", name="fusebpf"):  # run from a tree, not installed
        arguments += ["-p", "fusebpf.testing.plugin"]
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        return int(pytest.main(arguments, plugins=[seen]))


def _importing(tests: list[Path]) -> Iterator[Path]:
    """The directories that pytest imports from by itself: those of the tests and conftest.py."""
    for path in map(Path.resolve, tests):
        for directory in path.parents:
            if directory == path.parent or (directory / "conftest.py").exists():
                yield directory


class _Seen:
    """A pytest plugin that remembers how each test ended."""

    def __init__(self, files: tuple[Path, ...], tests: list[Path]) -> None:
        from fusebpf.testing.plugin import Session

        self.files = files
        self.session = Session()
        self.interrupted = False
        self._owners = {path.resolve(): str(file) for file, path in zip(files, tests, strict=True)}
        self._tests: list[dict[str, Any]] = []
        self._collecting = Path()
        self.configured = False

    def pytest_configure(self, config: pytest.Config) -> None:
        from fusebpf.testing.plugin import SESSION

        config.stash[SESSION] = self.session
        self.configured = True

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        # pytest's own kind means that tests could not be collected.
        self.interrupted = excinfo.type is KeyboardInterrupt

    # Ids of tests are no paths where pytest's settings lie in another directory.
    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        self._collecting = collector.path

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            item.user_properties.append((_PATH, item.path))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._add(report, {_PATH: self._collecting}, 0.0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self._add(report, dict(report.user_properties), report.duration)

    def _add(
        self,
        report: pytest.TestReport | pytest.CollectReport,
        known: dict[str, Any],
        seconds: float,
    ) -> None:
        from fusebpf.testing.plugin import DECIDED, RUN

        path = known[_PATH]
        self._tests.append(
            {
                "file": self._owners.get(path.resolve(), str(path)),
                "test": report.nodeid,
                "run": known.get(RUN),
                "outcome": report.outcome,
                "seconds": round(seconds, 3),
                "message": _message(report),
                "decided": known.get(DECIDED),
            }
        )

    def report(self) -> dict[str, Any]:
        """All of it, for JSON."""
        outcomes = [entry["outcome"] for entry in self._tests]
        coverage = [self.session.coverage(str(file)) for file in self.files]
        return {
            "passed": outcomes.count("passed"),
            "failed": outcomes.count("failed"),
            "skipped": outcomes.count("skipped"),
            "kernel_unavailable": self.session.unavailable,
            "tests": self._tests,
            "coverage": [
                {"file": entry.file, "lines": entry.lines, "missed": entry.missed}
                for entry in coverage
            ],
        }


def _message(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    if report.passed:
        return None
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message) if crash is not None else report.longreprtext
