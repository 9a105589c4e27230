# SPDX-License-Identifier: MIT
"""Random scripts; the same for the same seed."""

from __future__ import annotations

from tests.differential.registry import SPECS, Chooser
from tests.differential.runner import KILL
from tests.differential.script import BELOW, ROOT, USERS, Path, Script, Slot, Step

MAKING = {"open", "create_exclusive", "mkdir", "mknod", "symlink", "link", "rename", "uring_open"}
# A lease that a process breaks without O_NONBLOCK makes it wait for its holder; below, there is
# none to break.
BREAKING = {"truncate", "execute"}
LEASES = {"set_lease", "get_lease"}
WEIGHTS = {ROOT: 5, USERS[0]: 4, USERS[1]: 3, BELOW: 2}
# Runs of one process's steps: each change of process costs two switches of context
STAY = 0.8
KILLED = 0.001


def generate(seed: int, count: int) -> Script:
    """A script. One of four has leases; the others have changes below the mount."""
    random = Chooser(seed)
    leases = seed % 4 == 0
    weights = dict(WEIGHTS)
    if leases:
        del weights[BELOW]
    left_out = BREAKING if leases else LEASES
    kinds = sorted(SPECS.keys() - left_out)
    below = [kind for kind in kinds if SPECS[kind].shared]
    script = _first_steps()
    actor = ROOT
    while len(script) < count:
        if random.random() > STAY:
            actor = random.choices(list(weights), list(weights.values()))[0]
        if random.random() < KILLED:
            script.append(Step(KILL, actor, ()))
            continue
        able = below if actor == BELOW else kinds
        kind = random.choices(able, [SPECS[kind].weight for kind in able])[0]
        step = Step(kind, actor, tuple(maker(random) for maker in SPECS[kind].makers))
        script.append(step)
        if kind in MAKING:
            random.note(step.args)
    return script


def _first_steps() -> Script:
    """A small tree to begin with, where all users may work, and some open files."""
    steps = [Step("umask", ROOT, (0,)), Step("chmod", ROOT, (Path(-1, "."), 0o777))]
    for name in ("a", "b", "a/b"):
        steps.append(Step("mkdir", ROOT, (Path(-1, name), 0o777)))
    files = ("c", "a/c", "b/c", "a/b/d")
    for number, name in enumerate(files):
        slot = Slot(2 + number)
        steps.append(Step("create_exclusive", ROOT, (Path(-1, name), 0o666, slot)))
        steps.append(Step("pwrite", ROOT, (slot, number, 5000 * number, 0)))
    steps.append(Step("symlink", ROOT, ("a/c", Path(-1, "d"))))
    for number, name in enumerate(("a", "a/b")):
        steps.append(Step("open_directory", ROOT, (Path(-1, name), 0, Slot(number))))
    steps.append(Step("umask", ROOT, (0o022,)))
    for user, (one, two) in zip(USERS, (files[:2], files[1:3]), strict=True):
        steps.append(Step("open_directory", user, (Path(-1, "a"), 0, Slot(0))))
        for number, name in enumerate((one, two)):
            steps.append(Step("open", user, (Path(-1, name), 2, 0, Slot(2 + number))))
    return steps
