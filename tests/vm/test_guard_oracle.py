# SPDX-License-Identifier: MIT
"""Random rules, trees and operations: a mount gives what the model says (tests/vm/guard_model.py).

FUSEBPF_GUARD_OPS is how many operations, FUSEBPF_GUARD_SEED where to begin. A failing case prints
its seed and the steps that are needed for it.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusebpf.guard import mounting
from fusebpf.guard.rules import Rules, parse_text
from fusebpf.runtime import detach
from tests.unit import guard_cases as cases
from tests.vm.guard_model import ROOT, Model, Refused, Step, some_path, some_rules, some_steps

OPS = int(os.environ.get("FUSEBPF_GUARD_OPS", "250"))
SEED = int(os.environ.get("FUSEBPF_GUARD_SEED", "1"))
# Mounting and updating take seconds in an emulated guest
STEPS = 250 if OPS < 10_000 else 1_000
#: A failing case is shrunk for so long.
SHRINK_SECONDS = 120
# So that all rules need filters that tell callers apart; whether these deny is left to the rules.
ANY_USER = "read-only uid=77 /none\n"


@dataclass
class Case:
    """Rules, the names in the tree before it is mounted, and what is done then."""

    seed: str
    lines: list[cases.Line]
    tree: list[tuple[str, str]]
    steps: list[Step]

    @classmethod
    def random(cls, seed: str) -> Case:
        rng = random.Random(seed)
        lines = some_rules(rng)
        tree = [(some_path(rng), rng.choice(("dir", "dir", "file", "link"))) for _ in range(40)]
        return cls(seed, lines, tree, some_steps(rng, STEPS, lines))


class Mount:
    """The mount of a case: does steps, and says what they gave."""

    def __init__(self, case: Case, top: Path) -> None:
        self.lower, self.mnt, twin = top / "lower", top / "mnt", top / "twin"
        for directory in (self.lower, self.mnt, twin):
            directory.mkdir()
        for directory in (self.lower, twin):
            for path, kind in case.tree:
                plant(directory / path, kind)
        self.model = Model(twin, case.lines)
        self.fds: dict[int, int] = {}
        self.since_update: set[int] = set()
        mounting.mount(parsed(case.lines), self.lower, self.mnt).close()
        self.fds[ROOT] = os.open(self.mnt, os.O_PATH)

    def close(self) -> None:
        for fd in self.fds.values():
            os.close(fd)
        detach(self.mnt)

    def run(self, step: Step) -> str | None:
        """What is wrong with the answer to a step, or None."""
        if step.what == "rules":
            mounting.update(parsed(step.lines), self.mnt)
            self.model.lines = list(step.lines)
            self.since_update.clear()
            return None
        bases = {step.base, *([step.other_base] if step.what == "rename" else [])}
        if not bases <= {*self.fds} or self._takes_held(step):
            return None
        got = answer(lambda: self._do(step))
        old = bases - {ROOT} - self.since_update
        if got == "ESTALE" and old:
            # Another entry by the new rules: it is entered anew.
            for slot in old:
                os.close(self.fds.pop(slot))
                del self.model.held[slot]
            return None
        if step.what == "rename" and got == "EXDEV" and self._names_directory(step):
            return None
        try:
            wanted = getattr(self.model, step.what)(step)
        except Refused as refused:
            wanted = str(refused)
        if step.what == "hold" and got == "":
            self.since_update.add(int(step.other))
        return None if got == wanted else f"{step}: {got!r}, and not {wanted!r}"

    def _takes_held(self, step: Step) -> bool:
        """Whether it would remove a directory that is held, or one name of a file with two."""
        if step.what not in ("rmdir", "rename"):
            return False
        base, text = (
            (step.base, step.path) if step.what == "rmdir" else (step.other_base, step.other)
        )
        return (*self.model.held[base], *text.split("/")) in self.model.held.values()

    def _names_directory(self, step: Step) -> bool:
        old = (*self.model.held[step.base], *step.path.split("/"))
        new = (*self.model.held[step.other_base], *step.other.split("/"))
        return "dir" in (self.model.kind(old), self.model.kind(new))

    def _do(self, step: Step) -> str:
        path, at = step.path, self.fds[step.base]
        full = f"/proc/self/fd/{at}/{path}"
        match step.what:
            case "stat":
                found = os.stat(path, dir_fd=at, follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    return f"file {found.st_size}"
                return "dir " if stat.S_ISDIR(found.st_mode) else "link "
            case "read" | "list_held":
                fd = os.open(path if step.what == "read" else ".", os.O_RDONLY, dir_fd=at)
                try:
                    if stat.S_ISDIR(os.fstat(fd).st_mode):
                        return str(sorted(os.listdir(fd)))
                    return os.read(fd, 4096).decode()
                finally:
                    os.close(fd)
            case "write":
                fd = os.open(path, os.O_WRONLY | os.O_APPEND, dir_fd=at)
                os.write(fd, b"+")
                os.close(fd)
            case "create":
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=at)
                os.write(fd, b"new")
                os.close(fd)
            case "mkdir":
                os.mkdir(path, dir_fd=at)
            case "symlink":
                os.symlink("nowhere", path, dir_fd=at)
            case "readlink":
                return os.readlink(path, dir_fd=at)
            case "unlink":
                os.unlink(path, dir_fd=at)
            case "rmdir":
                os.rmdir(path, dir_fd=at)
            case "chmod":
                os.chmod(path, 0o700, dir_fd=at)
            case "truncate":
                os.truncate(full, 1)
            case "setxattr":
                os.setxattr(full, "trusted.a", b"v")
            case "getxattr":
                return os.getxattr(full, "trusted.a").decode()
            case "rename":
                other = self.fds[step.other_base]
                os.rename(path, step.other, src_dir_fd=at, dst_dir_fd=other)
            case "hold":
                slot = int(step.other)
                fd = os.open(path, os.O_PATH | os.O_DIRECTORY, dir_fd=at)
                if slot in self.fds:
                    os.close(self.fds[slot])
                self.fds[slot] = fd
            case "below":
                return self._below(step)
        return ""

    def _below(self, step: Step) -> str:
        target = self.lower.joinpath(*self.model.held[step.base], step.path)
        if os.path.lexists(target) or target.parent.is_symlink() or not target.parent.is_dir():
            return "not done"
        plant(target, "file" if len(step.path) % 3 == 1 else "dir")
        return ""


def plant(path: Path, kind: str) -> None:
    """Make an entry where there can be one."""
    for above in reversed(path.parents[:-1]):
        if os.path.lexists(above) and (above.is_symlink() or not above.is_dir()):
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        return
    if kind == "dir":
        path.mkdir()
    elif kind == "file":
        path.write_text("new")
    else:
        path.symlink_to("nowhere")


def parsed(lines: Sequence[cases.Line]) -> Rules:
    return parse_text(ANY_USER + "\n".join(map(str, lines)), "rules")


def answer(action: Callable[[], str]) -> str:
    try:
        return action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def wrong(case: Case, steps: list[Step]) -> tuple[int, str] | None:
    """Do a case with these steps alone; the number of one that was wrong, and what was."""
    with tempfile.TemporaryDirectory() as name:
        mount = Mount(case, Path(name))
        try:
            for number, step in enumerate(steps):
                if problem := mount.run(step):
                    return number, problem
            different = difference(mount.lower, mount.model.twin)
            return (len(steps) - 1, different) if different else None
        finally:
            mount.close()


def difference(lower: Path, twin: Path) -> str | None:
    """What is below is what the model's twin has."""
    trees = [
        {
            path.relative_to(top).as_posix(): path.read_text()
            if path.is_file()
            else "dir"
            if path.is_dir()
            else "link"
            for path in top.rglob("*")
        }
        for top in (lower, twin)
    ]
    return None if trees[0] == trees[1] else f"below is {trees[0]}, and not {trees[1]}"


def shrunk(case: Case, steps: list[Step], problem: str) -> tuple[list[Step], str]:
    """The steps that are needed for a failure, as far as some replays show."""
    end = time.monotonic() + SHRINK_SECONDS
    size = len(steps) // 2
    while size:
        at = 0
        while at + size < len(steps):
            if time.monotonic() > end:
                return steps, problem
            fewer = steps[:at] + steps[at + size :]
            if found := wrong(case, fewer):
                steps, problem = fewer[: found[0] + 1], found[1]
            else:
                at += size
        size //= 2
    return steps, problem


@pytest.mark.timeout(0)
def test_operations_give_what_the_model_says() -> None:
    done = 0
    number = SEED
    while done < OPS:
        case = Case.random(f"guard {number}")
        if found := wrong(case, case.steps):
            print(f"FUSEBPF_GUARD_SEED={number}: {found[1]}; shrinking", flush=True)
            steps, problem = shrunk(case, case.steps[: found[0] + 1], found[1])
            rules, told = ("\n".join(map(str, some)) for some in (case.lines, steps))
            pytest.fail(
                f"FUSEBPF_GUARD_SEED={number}: {problem}\nrules:\n{rules}\ntree: {case.tree}\n"
                f"steps:\n{told}"
            )
        done += len(case.steps)
        number += 1
        # What a run of hours has shown when it is cut off
        print(f"{done} operations in {number - SEED} trees agree", flush=True)
