# SPDX-License-Identifier: MIT
"""Tests that run inside the guest; after each one the kernel's log must be clean."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from fusebpf.build import build_file
from fusebpf.runtime import mountinfo
from fusebpf.runtime.fsmount import umount
from fusebpf.vm.console import MARK
from tests.vm import kernel_twins, sanitizers
from tests.vm.attach_objects import GUARD
from tests.vm.kernel_log import KernelLog, findings, last_lines
from tests.vm.limits import SLOWNESS
from tests.vm.versions import guest_versions

IN_GUEST = "FUSEBPF_VM" in os.environ


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On the host these tests have no kernel to run on; on a slow kernel they get more time."""
    if IN_GUEST:
        for item in items if SLOWNESS != 1 else ():
            marker = item.get_closest_marker("timeout")
            limit = marker.args[0] if marker else float(config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(limit * SLOWNESS), append=False)
        return
    skip = pytest.mark.skip(reason="runs in the guest only: make test-vm T=...")
    for item in items:
        if "tests/vm/" in item.path.as_posix():
            item.add_marker(skip)


def again(nodeid: str) -> str:
    """Return the command that runs one test on such a machine."""
    return f"{os.environ['FUSEBPF_VM_RUN']} python -m pytest {shlex.quote(nodeid)}"


def pytest_runtest_logstart(nodeid: str) -> None:
    """Tell the console what runs: when the machine dies, that is among its last words."""
    if IN_GUEST:
        Path("/dev/kmsg").write_text(f"<3>{MARK}{again(nodeid)}\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """To a failure belongs what the kernel said meanwhile, and how to see it again."""
    report = yield
    if IN_GUEST and report.failed:
        report.sections.append(("kernel log, last lines", "\n".join(last_lines())))
        report.sections.append(("again", again(item.nodeid)))
    return report


@pytest.fixture(scope="session", autouse=True)
def versions(record_testsuite_property: Callable[[str, object], None]) -> None:
    """Write into the report on what these tests ran."""
    if IN_GUEST:
        for name, value in guest_versions().items():
            record_testsuite_property(name, value)


@pytest.fixture(scope="session")
def kernel_log() -> Iterator[KernelLog]:
    """The log since boot; what came before the first test fails that one."""
    log = KernelLog()
    yield log
    log.close()


@pytest.fixture(scope="session", autouse=True)
def no_leaks() -> Iterator[None]:
    """On a debug kernel: nothing is leaked at the end, and the lock checks were on until then."""
    if not IN_GUEST:
        yield
        return
    sanitizers.forget_leaks()
    yield
    if problems := sanitizers.problems():
        pytest.fail("after the last test:\n" + "\n".join(problems), pytrace=False)


@pytest.fixture(autouse=True)
def clean_kernel_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test after which the kernel's log has a splat, its fixtures' teardown included."""
    if not IN_GUEST:
        yield
        return
    log: KernelLog = request.getfixturevalue("kernel_log")
    before = findings(log.new_lines())
    if before:
        pytest.fail("the kernel's log has, from before this test:\n" + "\n".join(before))
    yield
    after = findings(log.new_lines())
    if after:
        pytest.fail("the kernel's log has, from this test:\n" + "\n".join(after), pytrace=False)


@pytest.fixture(scope="module", params=kernel_twins.KINDS)
def fs(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of each kind, for the tests of a module."""
    with kernel_twins.file_system(str(request.param)) as directory:
        yield directory


@pytest.fixture
def kind(fs: Path, request: pytest.FixtureRequest) -> str:
    """Kind of `fs`."""
    return str(request.node.callspec.params["fs"])


@pytest.fixture
def place(fs: Path, request: pytest.FixtureRequest) -> Path:
    """A directory of the test's own there."""
    directory = fs / str(request.node.name).replace("/", ".")
    directory.mkdir()
    return directory


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the filter file of GUARD."""
    directory = tmp_path_factory.mktemp("guard")
    (directory / "guard.py").write_text(GUARD)
    return directory


@pytest.fixture(scope="session")
def guard(shared: Path) -> Path:
    """The object of GUARD, compiled once for all modules."""
    return build_file(shared / "guard.py").path


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    """A small lower directory, to which modules add what they need."""
    directory = tmp_path / "lower"
    (directory / "dir").mkdir(parents=True)
    (directory / "file").write_text("content\n")
    return directory


@pytest.fixture
def mnt(tmp_path: Path) -> Iterator[Path]:
    """Where to mount; what is still mounted at the end is taken off."""
    directory = tmp_path / "mnt"
    directory.mkdir()
    yield directory
    while mountinfo.at(directory) is not None:
        umount(directory, lazy=True)


@pytest.fixture
def documented() -> Iterator[tuple[Path, Path]]:
    """The lower directory and the mount point that the documents name."""
    lower, mnt = Path("/srv/data"), Path("/mnt/data")
    for directory in (lower, mnt):
        directory.mkdir()
    (lower / "file").write_text("content\n")
    yield lower, mnt
    if mountinfo.at(mnt) is not None:
        umount(mnt, lazy=True)
    for directory in (lower, mnt):
        shutil.rmtree(directory)
