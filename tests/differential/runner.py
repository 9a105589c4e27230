# SPDX-License-Identifier: MIT
"""Lock-step runs, their comparison, and shrinking of a failure to few operations."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as FsPath
from typing import NamedTuple

# Registers the operations
from tests.differential import attributes, files, names  # noqa: F401
from tests.differential.observe import Rules, Token, stat_token, tree
from tests.differential.registry import SPECS, Chooser
from tests.differential.world import EmptySlot, Path, Slot, World

MAKING = {"open", "create_exclusive", "mkdir", "mknod", "symlink", "link", "rename"}
USERS = (0, 0, 0, 0, 1000, 1001)


class Step(NamedTuple):
    """One operation of a script; its text is Python that replays it."""

    kind: str
    uid: int
    args: tuple[object, ...]


Script = list[Step]


def _first_steps() -> Script:
    """A small tree to begin with, where all users may work, and some open files."""
    steps = [Step("umask", 0, (0,)), Step("chmod", 0, (Path(-1, "."), 0o777))]
    for name in ("a", "b", "a/b"):
        steps.append(Step("mkdir", 0, (Path(-1, name), 0o777)))
    for number, name in enumerate(("c", "a/c", "b/c", "a/b/d")):
        slot = Slot(2 + number)
        steps.append(Step("create_exclusive", 0, (Path(-1, name), 0o666, slot)))
        steps.append(Step("pwrite", 0, (slot, number, 5000 * number, 0)))
    steps.append(Step("symlink", 0, ("a/c", Path(-1, "d"))))
    steps.append(Step("open_directory", 0, (Path(-1, "a"), 0, Slot(0))))
    steps.append(Step("open_directory", 0, (Path(-1, "a/b"), 0, Slot(1))))
    return [*steps, Step("umask", 0, (0o022,))]


@dataclass(frozen=True)
class Difference:
    """Where the sides first differ; `index` is the length of the script for the final trees."""

    index: int
    kind: str
    bare: object
    mount: object


def generate(seed: int, count: int) -> Script:
    """A script; the same for the same seed."""
    random = Chooser(seed)
    kinds = sorted(SPECS)
    weights = [SPECS[kind].weight for kind in kinds]
    script = _first_steps()
    for kind in random.choices(kinds, weights, k=count - len(script)):
        uid = random.choice(USERS)
        step = Step(kind, uid, tuple(maker(random) for maker in SPECS[kind].makers))
        script.append(step)
        if kind in MAKING:
            random.note(step.args)
    return script


def perform(world: World, step: Step) -> object:
    """Do one operation; an errno's name is a result like any other."""
    with world.acting(step.uid):
        try:
            return SPECS[step.kind].run(world, *step.args)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        except EmptySlot:
            return "empty slot"
        except NotImplementedError as error:
            return f"not done: {error}"


def watch(world: World, step: Step, rules: Rules) -> list[Token]:
    """Attributes, as root sees them, of all that an operation names."""
    seen: list[Token] = []
    for arg in step.args:
        with suppress(EmptySlot):
            if isinstance(arg, Path):
                try:
                    st = os.stat(arg.path, dir_fd=world.at(arg), follow_symlinks=False)
                    seen.append(stat_token(st, rules))
                except OSError as error:
                    seen.append((errno.errorcode[error.errno or 0],))
            elif isinstance(arg, Slot):
                seen.append(_descriptor(world.fd(arg), rules))
    return seen


def _descriptor(fd: int, rules: Rules) -> Token:
    st = os.fstat(fd)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        position: object = os.lseek(fd, 0, os.SEEK_CUR)
    except OSError as error:
        position = errno.errorcode[error.errno or 0]
    if st.st_mode & 0o170000 == 0o040000:
        position = None  # the file system's own, as in list_directory
    return (oct(flags), position, *stat_token(st, rules))


def compare(bare: FsPath, mount: FsPath, script: Script, rules: Rules) -> Difference | None:
    """Run a script on two empty directories; the first difference, None if there is none."""
    one, two = World(bare, rules), World(mount, rules)
    try:
        for index, step in enumerate(script):
            results = perform(one, step), perform(two, step)
            if results[0] != results[1]:
                return Difference(index, step.kind, *results)
            seen = watch(one, step, rules), watch(two, step, rules)
            if seen[0] != seen[1]:
                return Difference(index, f"{step.kind}, after it", *seen)
    finally:
        one.close()
        two.close()
    for left, right in zip(tree(str(bare), rules), tree(str(mount), rules), strict=False):
        if left != right:
            return Difference(len(script), "trees", left, right)
    return None


Attempt = Callable[[Script], Difference | None]


def shrink(script: Script, found: Difference, attempt: Attempt, seconds: float) -> Script:
    """Leave out steps as long as the same kind of operation differs; gives up after some time."""
    end = time.monotonic() + seconds
    script = script[: found.index + 1]
    chunk = max(1, len(script) // 2)
    while True:
        at = 0
        smaller = False
        while at < len(script):
            if time.monotonic() > end:
                return script
            fewer = script[:at] + script[at + chunk :]
            again = attempt(fewer)
            if again is not None and again.kind == found.kind:
                script, smaller = fewer[: again.index + 1], True
            else:
                at += chunk
        if chunk == 1 and not smaller:
            return script
        chunk = max(1, chunk // 2)


def report(script: Script, found: Difference) -> str:
    """A script as Python text, and what it shows."""
    steps = "\n".join(f"    Step{tuple(step)!r}," for step in script)
    return (
        f"{found.kind}\n  on the bare directory: {found.bare!r}\n  on the mount: {found.mount!r}\n"
        f"replay with:\nSCRIPT = [\n{steps}\n]"
    )
