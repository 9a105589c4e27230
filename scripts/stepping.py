# SPDX-License-Identifier: MIT
"""Runs commands that wait for each other, several at once, and ends them all when it is ended."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

TREE = Path(__file__).resolve().parent.parent
GRACE_SECONDS = 20.0
"""A step that is told to end may take down a guest first."""
OUTPUT_SECONDS = 5.0
"""How long the last output of a step that has ended is waited for."""
GUEST_BYTES = 3 << 30
"""What a step that boots a guest may take, with the host's share."""


@dataclass(frozen=True)
class Step:
    """One command. ``suite`` names its junit file when it is a pytest run."""

    name: str
    command: Sequence[str]
    suite: str | None = None
    needs: str | None = None


@dataclass(frozen=True)
class Ended:
    """How a step ended; ``status`` is None when what it needs was missing."""

    step: Step
    status: int | None
    seconds: float


class ToldToEndError(Exception):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class _Deferred:
    """Whether signals wait, and the one that does."""

    on: bool = False
    number: int | None = None


_deferred = _Deferred()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Have a signal wait that would end us: what is begun here must be known to whoever ends it."""
    _deferred.on = True
    try:
        yield
    finally:
        _deferred.on = False
        if (number := _deferred.number) is not None:
            _deferred.number = None
            signal.raise_signal(number)


@contextmanager
def ending_by_signals() -> Iterator[None]:
    """Raise ToldToEndError where a signal would end the process at once."""

    def told(number: int, _frame: FrameType | None) -> None:
        if _deferred.on:  # and not ignored, which a step that is started would take over
            _deferred.number = number if _deferred.number is None else _deferred.number
            return
        # A second one must not keep the first from being served.
        for other in watched:
            signal.signal(other, signal.SIG_IGN)
        raise ToldToEndError(number)

    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # Those that the caller has us ignore (nohup) stay so.
    watched = [number for number in asked if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, told) for number in watched}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def places() -> int:
    """How many steps may run at once: an emulated guest keeps little more than a processor busy."""
    memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            memory = int(line.split()[1]) << 10
    return max(1, min(_processors(), memory // GUEST_BYTES))


def _processors() -> int:
    """Those that this process may use; a container may have a share of them (cgroups(7))."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except OSError:
        return allowed
    return allowed if quota == "max" else min(allowed, max(1, int(quota) // int(period)))


def run_all(steps: Sequence[Step], at_once: int) -> Iterator[Ended]:
    """Run steps, the first ones first, each when what it needs has ended; yield how each ended.

    However it is left, no step of it goes on.
    """
    waiting = list(steps)
    running: dict[str, _Child] = {}
    over: queue.SimpleQueue[Ended] = queue.SimpleQueue()
    known = {step.name for step in steps}
    ended: dict[str, int | None] = {}
    beside = at_once > 1 and len(steps) > 1

    def state(step: Step) -> str:
        if step.needs not in known or ended.get(step.needs) == 0:
            return "ready"
        return "broken" if step.needs in ended else "early"

    try:
        while waiting or running:
            for step in list(waiting):
                now = state(step)
                if now == "broken":
                    over.put(Ended(step, None, 0.0))
                elif now == "early" or len(running) == at_once:
                    continue
                else:
                    with _undisturbed():
                        running[step.name] = _Child(step, beside, over)
                waiting.remove(step)
            outcome = over.get()
            running.pop(outcome.step.name, None)
            ended[outcome.step.name] = outcome.status
            yield outcome
    finally:
        _end(list(running.values()))


def _end(children: Sequence[_Child]) -> None:
    """End steps with all that they started, which is in the process group of each."""
    groups = {child.process.pid for child in children}
    _signal(groups, signal.SIGTERM)
    limit = time.monotonic() + GRACE_SECONDS
    while (left := _alive(groups)) and time.monotonic() < limit:
        time.sleep(0.02)  # nothing tells of the end of processes that are not children
    _signal(left, signal.SIGKILL)
    for child in children:
        child.process.wait()


def _signal(groups: set[int], number: int) -> None:
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, number)


def _alive(groups: set[int]) -> set[int]:
    """Those of the groups that have a process; one that only nobody has waited for is none."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            # proc_pid_stat(5): the name before them may hold anything
            state, _parent, group = path.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if state not in "ZX":
                found.add(int(group))
    return groups & found


class _Child:
    """A running step; its output goes where ours goes, line by line under its name if `beside`."""

    def __init__(self, step: Step, beside: bool, over: queue.SimpleQueue[Ended]) -> None:
        self.step = step
        self.started = time.monotonic()
        print(f"\n=== {step.name} ===", flush=True)
        # The kernel ends it with this thread, even if that is killed (prctl(2)).
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *step.command],
            cwd=TREE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if beside else None,
            stderr=subprocess.STDOUT if beside else None,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._shown = threading.Thread(target=self._show, daemon=True)
        self._shown.start()
        threading.Thread(target=self._wait, args=(over,), daemon=True).start()

    def _show(self) -> None:
        for line in self.process.stdout or ():
            print(f"{self.step.name}: {line}", end="", flush=True)

    def _wait(self, over: queue.SimpleQueue[Ended]) -> None:
        status = self.process.wait()
        # Something that the step left behind may keep its output open.
        self._shown.join(OUTPUT_SECONDS)
        over.put(Ended(self.step, status, time.monotonic() - self.started))
