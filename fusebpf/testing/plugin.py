# SPDX-License-Identifier: MIT
"""The pytest plugin: filters as fixtures, each test in both runs.

It is loaded by every pytest run of its environment, so nothing of fusebpf is imported until a
test asks for a filter.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fusebpf.dsl import FilterSet
    from fusebpf.testing import FilterRun, LoadFilters
    from fusebpf.testing.coverage import FileCoverage
    from fusebpf.testing.filterrun import Loader, Run

RUNS = ("python", "kernel")
#: The runs that a test called filters in, and the line that decided last, on its report.
RUN, DECIDED = "fusebpf_run", "fusebpf_decided"
#: So many calls of a failed test are shown.
_SHOWN = 5


class Session:
    """What the tests of one pytest run share. ``loader`` is made when a test needs it."""

    def __init__(self) -> None:
        self.loader: Loader | None = None
        #: Why the kernel run was left out.
        self.unavailable: str | None = None
        #: Lines that ran, by file.
        self.reached: dict[Path, set[int]] = {}

    def load(self) -> Loader:
        """The loader of all tests."""
        if self.loader is None:
            from fusebpf.testing.filterrun import Loader

            self.loader = Loader()
        return self.loader

    def note(self, run: FilterRun) -> None:
        """Remember the lines that a test's calls ran."""
        for place in {place for result in run.results for place in result.trace}:
            self.reached.setdefault(Path(place.file).resolve(), set()).add(place.line)

    def coverage(self, file: str) -> FileCoverage:
        """How much of a filter file the tests reached. Raises BuildError."""
        from fusebpf.build import load_file
        from fusebpf.testing.coverage import FileCoverage, filter_lines

        path, loader = Path(file).resolve(), self.load()
        whole = [entry for entry in load_file(file).sets if not entry.part_of]
        names = [entry.name for entry in whole] if len(whole) > 1 else [None]
        lines = filter_lines((loader.compile(file, name) for name in names), path)
        missed = lines - self.reached.get(path, set())
        return FileCoverage(file, tuple(sorted(lines)), tuple(sorted(missed)))


SESSION = pytest.StashKey[Session]()
_CALLED = pytest.StashKey[list["FilterRun"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fusebpf", "filters of fusebpf")
    group.addoption(
        "--fusebpf-run",
        choices=[*RUNS, "both"],
        default="both",
        help="run filters as typed Python, on this host's kernel (root), or both (default)",
    )
    group.addoption(
        "--fusebpf-coverage",
        metavar="FILE",
        action="append",
        default=[],
        help="say which lines of this filter file no test reached; may be repeated",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash.setdefault(SESSION, Session())


def pytest_unconfigure(config: pytest.Config) -> None:
    session = config.stash.get(SESSION, None)
    if session is not None and session.loader is not None:
        session.loader.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fusebpf_run" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("--fusebpf-run")
        runs = RUNS if wanted == "both" else (wanted,)
        metafunc.parametrize("fusebpf_run", runs, indirect=True)


@pytest.fixture
def fusebpf_run(request: pytest.FixtureRequest) -> Run:
    """The run that a test is in, "python" or "kernel"; skips where the kernel cannot be had."""
    run: Run = request.param
    request.node.user_properties.append((RUN, run))
    if run == "kernel":
        from fusebpf.testing.standin import unavailable

        reason = unavailable()
        if reason is not None:
            request.config.stash[SESSION].unavailable = reason
            pytest.skip(f"no kernel run: {reason}")
    return run


@pytest.fixture
def load_filters(request: pytest.FixtureRequest, fusebpf_run: Run) -> Iterator[LoadFilters]:
    """``load_filters("guard.py", config={"limit": 3})``: a filter file beside the test."""
    from fusebpf.build import BuildError

    session = request.config.stash[SESSION]
    called = request.node.stash.setdefault(_CALLED, [])

    def load(
        filters: str | os.PathLike[str] | FilterSet,
        *,
        name: str | None = None,
        config: Mapping[str, int] | None = None,
    ) -> FilterRun:
        if isinstance(filters, str | os.PathLike):
            path = request.path.parent / filters
            filters = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        try:
            made = session.load().load(filters, run=fusebpf_run, name=name, config=config)
        except BuildError as error:
            pytest.fail(error.render(), pytrace=False)
        called.append(made)
        return made

    yield load
    for made in called:
        session.note(made)


@pytest.fixture
def filters(request: pytest.FixtureRequest, load_filters: LoadFilters) -> FilterRun:
    """The filter file that the test file is named after: guard.py of test_guard.py.

    It lies beside the test file, or beside the directory tests that holds it.
    """
    from fusebpf.testing.naming import filter_file

    found = filter_file(request.path)
    if found is None:
        pytest.fail(
            f"{request.path.name} is named after no filter file here: "
            'take the fixture load_filters, and load_filters("FILE.py")',
            pytrace=False,
        )
    return load_filters(found)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    called = item.stash.get(_CALLED, [])
    if report.failed and report.when == "call":
        results = [result for made in called for result in made.results]
        if results:
            shown = "\n".join(result.describe() for result in results[-_SHOWN:])
            if len(results) > _SHOWN:
                shown = f"(the last {_SHOWN} of {len(results)} calls)\n{shown}"
            report.sections.append(("calls of filters, the last one last", shown))
            report.user_properties.append((DECIDED, _decided(results[-1].decided)))
    return report


def _decided(place: Any) -> dict[str, Any] | None:
    return place and {"file": place.file, "line": place.line, "text": place.text}


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    module = sys.modules.get("fusebpf.testing.result")
    if module is None:
        return None
    results = [one.result for one in (left, right) if isinstance(one, module.Decision)]
    if not results or results[0] is None:
        return None
    return [f"{left!r} {op} {right!r}", results[0].call, results[0].why]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = config.stash[SESSION]
    write: Callable[[str], None] = terminalreporter.write_line
    counts = dict.fromkeys(RUNS, 0)
    skipped = 0
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.getreports(outcome):
            run = dict(report.user_properties).get(RUN)
            if run in counts and (outcome != "skipped" or report.when == "call"):
                counts[run] += 1
            elif run == "kernel":
                skipped += 1
    if any(counts.values()) or skipped:
        tests = "1 test" if counts["python"] == 1 else f"{counts['python']} tests"
        text = f"filters: {tests} as Python, {counts['kernel']} on this kernel"
        if skipped:
            text += f", {skipped} not: {session.unavailable or 'skipped'}"
        write(text)
    for file in config.getoption("--fusebpf-coverage"):
        write(str(session.coverage(file)))
