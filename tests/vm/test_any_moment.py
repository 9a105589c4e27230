# SPDX-License-Identifier: MIT
"""attach, replace and detach that end at any moment: killed, interrupted, without memory or disk.

Then the mount is there and filtered, or it is not there; `ls` says which; and the same command,
undisturbed, does what it is for.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fusebpf.runtime import mountinfo, mounts
from fusebpf.runtime.holders import leftovers
from tests.vm.attach_objects import GUARD, nothing_left, started
from tests.vm.kernel_log import KernelLog, findings
from tests.vm.limits import eventually

MOMENTS = int(os.environ.get("FUSEBPF_KILLS", "12"))
"""How often each command is ended."""

CGROUPS = Path("/sys/fs/cgroup")
COMMANDS = ("attach", "replace", "detach")
SETS = ("guard", "other")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Filter files of the two sets, to be compiled by each command; both hide .env."""
    directory = tmp_path_factory.mktemp("moments")
    found = {name: directory / f"{name}.py" for name in SETS}
    for name, path in found.items():
        path.write_text(GUARD.replace('FilterSet("guard")', f'FilterSet("{name}")'))
    return found


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Path]:
    """A control group that can be given a limit of memory."""
    (CGROUPS / "cgroup.subtree_control").write_text("+memory")
    group = CGROUPS / "moments"
    group.mkdir()
    yield group
    assert eventually(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, to be filled."""
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "small", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


class Moments:
    """The places, and how a command is run there in each way."""

    def __init__(
        self,
        sources: dict[str, Path],
        places: tuple[Path, Path],
        limited: Path,
        small: Path,
    ) -> None:
        self.sources = sources
        self.lower, self.mnt = places
        self.limited, self.small = limited, small
        self.chance = random.Random(5)
        self.cache = small.parent / "cache"
        self.usual = dict.fromkeys(COMMANDS, 0.0)
        self.memory = dict.fromkeys(COMMANDS, 0)

    def words(self, command: str, name: str) -> tuple[str | Path, ...]:
        arguments: dict[str, tuple[str | Path, ...]] = {
            "attach": (self.sources[name], self.lower, self.mnt),
            "replace": (self.mnt, self.sources[name]),
            "detach": (self.mnt,),
        }
        return (command, *arguments[command])

    def run(self, command: str, name: str, before: Callable[[], object] = lambda: None) -> int:
        """Run a command to its end, `before` in its own process; it may be killed."""
        with open(os.devnull, "w") as nothing:
            out = nothing.fileno()
            process = started(self.words(command, name), out, out, before)
            process.join()
        assert process.exitcode is not None
        return process.exitcode

    def measure(self, command: str, name: str) -> None:
        """Run it undisturbed: how long it takes, how much memory."""

        def counted() -> None:
            (self.limited / "memory.max").write_text("max")
            self._enter()

        peak = os.open(self.limited / "memory.peak", os.O_RDWR)
        try:
            os.write(peak, b"again")
            began = time.monotonic()
            assert self.run(command, name, counted) == 0
            self.usual[command] = time.monotonic() - began
            self.memory[command] = int(os.pread(peak, 64, 0))
        finally:
            os.close(peak)

    def _enter(self) -> None:
        (self.limited / "cgroup.procs").write_text(str(os.getpid()))
        os.environ["FUSEBPF_CACHE"] = str(self.cache)

    def signalled(self, command: str, name: str, number: signal.Signals) -> None:
        """Send it a signal at any moment."""
        moment = self.usual[command] * 1.1 * self.chance.random()
        with open(os.devnull, "w") as nothing:
            out = nothing.fileno()
            process = started(self.words(command, name), out, out, self._enter)
            process.join(moment)
            assert process.pid is not None
            if process.exitcode is None:
                os.kill(process.pid, number)  # until it is joined it has its number
            process.join()

    def without_memory(self, command: str, name: str) -> None:
        """Give it less memory than it needs: allocations fail, or the kernel kills it."""
        (self.limited / "memory.max").write_text(str(self.chance.randrange(self.memory[command])))
        self.run(command, name, self._enter)

    def without_disk(self, command: str, name: str) -> None:
        """Let its cache have any part of the room that it needs."""
        kept = self.small / "cache"
        subprocess.run(["rm", "-rf", kept], check=True)
        filler = self.small / "filler"
        filler.write_bytes(bytes(self.chance.randrange(200, 257) << 10))

        def full() -> None:
            os.environ["FUSEBPF_CACHE"] = str(kept)

        self.run(command, name, full)
        filler.unlink()


WAYS: dict[str, Callable[[Moments, str, str], None]] = {
    "killed": lambda moments, *words: moments.signalled(*words, signal.SIGKILL),
    "interrupted": lambda moments, *words: moments.signalled(*words, signal.SIGINT),
    "memory": Moments.without_memory,
    "disk": Moments.without_disk,
}


def in_force(mnt: Path) -> str:
    """The set of the mount, which `ls` has and which works; "" where nothing is mounted."""
    there = mountinfo.at(mnt)
    listed = [entry for entry in mounts.ls() if entry.mountpoint == mnt]
    assert len(listed) == (there is not None)
    if there is None:
        assert (mnt / "in the mount point").exists()
        return ""
    (entry,) = listed
    assert (entry.state, entry.mend) == ("active", "")
    assert not (mnt / ".env").exists()
    assert (mnt / "file").read_text() == "content\n"
    return entry.filter_set


def unreported(log: KernelLog) -> list[str]:
    """What the log must not have, but for the kernel's reports of processes it killed."""
    lines, report = [], False
    for line in log.new_lines():
        report = report or "invoked oom-killer" in line
        if not report:
            lines.append(line)
        report = report and "out of memory: Killed process" not in line
    return findings(lines)


@pytest.mark.timeout(0 if "FUSEBPF_KILLS" in os.environ else 1200)
@pytest.mark.parametrize(
    "way",
    [
        way
        if way == "killed"
        else pytest.param(
            way,
            marks=pytest.mark.skipif(
                "FUSEBPF_KILLS" not in os.environ,
                reason="takes too long when emulated: FUSEBPF_KILLS=50, make test-long",
            ),
        )
        for way in WAYS
    ],
)
def test_any_moment(
    way: str,
    sources: dict[str, Path],
    lower: Path,
    mnt: Path,
    limited: Path,
    small: Path,
    kernel_log: KernelLog,
) -> None:
    (lower / ".env").write_text("secret")
    (mnt / "in the mount point").touch()
    moments = Moments(sources, (lower, mnt), limited, small)
    seen: set[tuple[str, str]] = set()
    with nothing_left():
        # The first one compiles, too, and takes several times as long as those that follow.
        for _ in range(2):
            for command, name in zip(COMMANDS, ("guard", "other", "guard"), strict=True):
                moments.measure(command, name)
        for number in range(MOMENTS * len(COMMANDS) // len(WAYS)):
            command = COMMANDS[number % len(COMMANDS)]
            was = in_force(mnt)
            wanted = {"attach": "", "replace": "guard", "detach": "guard"}[command]
            if was != wanted:
                if was:
                    assert moments.run("detach", was) == 0
                if wanted:
                    assert moments.run("attach", wanted) == 0
            name = "other" if command == "replace" else "guard"
            WAYS[way](moments, command, name)
            now = in_force(mnt)
            goal = {"attach": "guard", "replace": "other", "detach": ""}[command]
            assert now in (wanted, goal), (number, command)
            seen.add((command, "done" if now == goal else "not"))
            assert eventually(lambda: leftovers() == []), (number, command)
            if now != goal:
                assert moments.run(command, name) == 0
                assert in_force(mnt) == goal
            assert unreported(kernel_log) == []
        if mountinfo.at(mnt) is not None:
            assert moments.run("detach", "") == 0
    print(way, sorted(seen))
    assert ("attach", "not") in seen
