# SPDX-License-Identifier: MIT
"""Lock-step runs of a script on two directories, and their comparison."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FsPath

from tests.differential.observe import Rules, Token, tree
from tests.differential.script import Script, text
from tests.differential.worker import Side, WorkerError

# Done by the runner to a process
KILL = "kill"


@dataclass(frozen=True)
class Difference:
    """Where the sides first differ; `index` is the length of the script for the final trees."""

    index: int
    kind: str
    bare: object
    mount: object

    def __str__(self) -> str:
        return (
            f"step {self.index}, {self.kind}\n"
            f"  on the bare directory: {self.bare!r}\n  on the mount: {self.mount!r}"
        )


def runs(script: Script) -> Iterator[tuple[int, int]]:
    """First step and end of each run of steps that one process does on its own."""
    first = 0
    for index in range(1, len(script) + 1):
        here, before = script[index] if index < len(script) else None, script[index - 1]
        if here is None or here.actor != before.actor or KILL in (here.kind, before.kind):
            yield first, index
            first = index


Sided = tuple[FsPath, FsPath]
"""A directory to work on, and the one below it (itself, where there is none)."""


def compare(one: Sided, two: Sided, script: Script, rules: Rules) -> Difference | None:
    """Run a script on two empty directories; the first difference, None if there is none."""
    # Trees when the processes are gone: they hold leases that opening a file would wait for
    return (
        _steps(one, two, script, rules)
        or _trees(one[0], two[0], script, rules)
        or _trees(one[1], two[1], script, rules)
    )


def _steps(one: Sided, two: Sided, script: Script, rules: Rules) -> Difference | None:
    sides = Side(*one, rules, script), Side(*two, rules, script)
    try:
        for first, end in runs(script):
            actor = script[first].actor
            if script[first].kind == KILL:
                for side in sides:
                    side.kill(actor)
                continue
            for side in sides:
                side.order(actor, first, end)
            try:
                got, other = (side.results(actor) for side in sides)
            except WorkerError as error:
                error.add_note(f"steps {first} to {end - 1}:\n{text(script[first:end])}")
                raise
            if got != other:
                answers = ast.literal_eval(f"{got.decode()}, {other.decode()}")
                if found := _first(first, script, answers, rules):
                    return found
        return None
    finally:
        for side in sides:
            side.close()


Answers = list[tuple[object, list[Token]]]


def _first(
    first: int, script: Script, answers: tuple[Answers, Answers], rules: Rules
) -> Difference | None:
    for index, (one, two) in enumerate(zip(*answers, strict=True), first):
        if one[0] != two[0] and not (rules.nameless and (one[0], two[0]) == ("ENOENT", "EPERM")):
            return Difference(index, script[index].kind, one[0], two[0])
        if one[1] != two[1]:
            return Difference(index, f"{script[index].kind}, after it", one[1], two[1])
    return None


def _trees(bare: FsPath, other: FsPath, script: Script, rules: Rules) -> Difference | None:
    """The first entry that differs; a tree that ends early differs by the other's next entry."""
    one, two = tree(str(bare), rules), tree(str(other), rules)
    for index in range(max(len(one), len(two))):
        left, right = (side[index] if index < len(side) else None for side in (one, two))
        if left != right:
            return Difference(len(script), "trees", left, right)
    return None
