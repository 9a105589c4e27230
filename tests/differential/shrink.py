# SPDX-License-Identifier: MIT
"""From a script that shows a difference to a small one, and to a file that replays it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path as FsPath

from tests.differential.runner import Difference
from tests.differential.script import ROOT, Path, Script, Slot, Step, text
from tests.differential.worker import WorkerError

# Shared with the guest for writing (Makefile, scripts/check.py)
FOLDER = FsPath(__file__).parents[2] / "build/junit/differential"

Attempt = Callable[[Script], Difference | None]


class _Shrinker:
    def __init__(self, script: Script, found: Difference, attempt: Attempt, end: float) -> None:
        self.script = script[: found.index + 1]
        self._kind, self._attempt, self._end = found.kind, attempt, end

    def late(self) -> bool:
        return time.monotonic() > self._end

    def better(self, script: Script) -> bool:
        """Take a script if the same kind of operation differs in it."""
        try:
            again = None if self.late() else self._attempt(script)
        except WorkerError:  # smaller arguments are not always possible ones
            return False
        if again is None or again.kind != self._kind:
            return False
        self.script = script[: again.index + 1]
        return True

    def leave_out(self) -> bool:
        """Fewer steps; whether some went."""
        size = len(self.script)
        chunk = max(1, size // 2)
        while True:
            at, smaller = 0, False
            while at < len(self.script) and not self.late():
                if self.better(self.script[:at] + self.script[at + chunk :]):
                    smaller = True
                else:
                    at += chunk
            if self.late() or (chunk == 1 and not smaller):
                return len(self.script) < size
            chunk = max(1, chunk // 2)

    def simplify(self) -> bool:
        """Simpler processes and arguments; whether some became so."""
        changed = False
        for index in reversed(range(len(self.script))):
            again = index < len(self.script)
            while again:
                again = any(self._with(index, step) for step in simpler(self.script[index]))
                changed |= again
        return changed

    def _with(self, index: int, step: Step) -> bool:
        return self.better([*self.script[:index], step, *self.script[index + 1 :]])


def simpler(step: Step) -> Iterator[Step]:
    """Steps that do nearly the same with less, the simplest first."""
    if step.actor != ROOT:
        yield step._replace(actor=ROOT)
    for index, arg in enumerate(step.args):
        for less in _less(arg):
            yield step._replace(args=(*step.args[:index], less, *step.args[index + 1 :]))


def _less(arg: object) -> Iterator[object]:
    if isinstance(arg, bool):
        if arg:
            yield False
    elif isinstance(arg, Path):
        if arg.at >= 0:
            yield Path(-1, arg.path)
        for cut in ("/".join(arg.path.split("/")[1:]), arg.path.rstrip("/"), arg.path[:1]):
            if cut and cut != arg.path:
                yield Path(arg.at, cut)
    elif isinstance(arg, int) and not isinstance(arg, Slot):
        yield from _smaller(arg)


def _smaller(number: int) -> Iterator[int]:
    """Towards 0: by half, to whole pages, by one bit."""
    found = [0, number // 2, number & ~4095]
    if number > 0:
        found += [number & ~(1 << bit) for bit in range(number.bit_length())]
    seen = set()
    for less in found:
        if less not in seen and 0 <= less < number:
            seen.add(less)
            yield less


def shrink(script: Script, found: Difference, attempt: Attempt, seconds: float) -> Script:
    """A smaller script in which the same kind of operation differs; gives up after some time."""
    work = _Shrinker(script, found, attempt, time.monotonic() + seconds)
    work.leave_out()
    while work.simplify() and work.leave_out() and not work.late():
        pass
    return work.script


def keep(script: Script, found: Difference, lower: str, mount: str, seed: int) -> FsPath:
    """Write a file that `make replay` takes; its path.

    Raises OSError.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{lower}-{mount}-{seed}.py"
    shown = "\n".join(f"# {line}" for line in str(found).splitlines())
    file.write_text(
        "# SPDX-License-Identifier: MIT\n"
        f"# make replay SCRIPT={file.relative_to(FOLDER.parents[2])}\n{shown}\n"
        "from tests.differential.script import Path, Slot, Step\n\n"
        f"LOWER = {lower!r}\nMOUNT = {mount!r}\n{text(script)}"
    )
    return file
