# SPDX-License-Identifier: MIT
"""Scripts: what is done, by whom, in which order. Their text is Python that replays them."""

from __future__ import annotations

import runpy
from pathlib import Path as FsPath
from typing import NamedTuple

ROOT = 0
USERS = (1000, 1001)
# Root too, but it works in the lower directory itself
BELOW = -1
ACTORS = (ROOT, *USERS, BELOW)


class Path(NamedTuple):
    """A relative path; `at` is the slot of its directory, -1 the working directory."""

    at: int
    path: str


class Slot(NamedTuple):
    """A place for a descriptor of the process that acts: the next one that is filled, when used."""

    number: int


class Step(NamedTuple):
    """One operation. `actor` is the process that does it: its user id, or BELOW."""

    kind: str
    actor: int
    args: tuple[object, ...]


Script = list[Step]


def text(script: Script) -> str:
    """A script as Python text."""
    steps = "\n".join(f"    Step{tuple(step)!r}," for step in script)
    return f"SCRIPT = [\n{steps}\n]\n"


def load(file: FsPath) -> dict[str, object]:
    """The names that a file with a script sets: SCRIPT, and where it was found."""
    return runpy.run_path(str(file))
