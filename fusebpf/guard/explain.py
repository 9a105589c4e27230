# SPDX-License-Identifier: MIT
"""Why a path is what it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fusebpf.errors import FusebpfError, UsageError
from fusebpf.frozen import dataclass
from fusebpf.guard.match import Matcher
from fusebpf.guard.outcomes import OPERATIONS, outcome
from fusebpf.guard.rules import Rule, State
from fusebpf.guard.tree import root


@dataclass(frozen=True)
class Explanation:
    """What a path is. ``above`` is the directory that nobody gets past, if there is one.

    The first of ``rules`` says it, the others would without those before them. ``operations`` are
    their results by name.
    """

    path: str
    directory: bool
    state: State
    above: str | None
    rules: tuple[Rule, ...]
    operations: dict[str, str]


def explain(matcher: Matcher, tree: Path, path: str) -> Explanation:
    """Explain a path, counted from the current directory, of the tree below ``tree``.

    Raises UsageError for a path that is not in the tree, FusebpfError for a tree that is none.
    """
    names = components(tree, path)
    full = root(tree).joinpath(*names)
    directory = path.endswith("/") or _is_directory(full)
    place = matcher.find([os.fsencode(name) for name in names], directory)
    deciding = place.barrier or place
    return Explanation(
        path="/".join(names),
        directory=directory,
        state=place.state,
        above=os.fsdecode(b"/".join(place.barrier.path)) if place.barrier else None,
        rules=deciding.claims,
        operations={op.name: outcome(op, place) for op in OPERATIONS if op.is_for(directory)},
    )


def _is_directory(path: Path) -> bool:
    """Whether one is to be seen there; a path need not exist, nor be in reach."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def components(tree: Path, path: str) -> list[str]:
    """A path as names from the root of the tree on; links in it are not followed."""
    real = root(tree)
    try:
        full = Path(os.path.normpath(Path.cwd() / path))
        bases = (real, Path(os.path.normpath(tree.absolute())))
    except FileNotFoundError:
        raise FusebpfError(
            "the current directory is not there any more", "cd to one, or give absolute paths"
        ) from None
    for base in bases:
        if full == base:
            raise UsageError("the root of the tree has no rule", "name what is in it")
        if full.is_relative_to(base):
            return list(full.relative_to(base).parts)
    raise UsageError(f"{path} is not in the tree {tree}", "name the root of the tree: --tree DIR")
