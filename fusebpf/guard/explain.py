# SPDX-License-Identifier: MIT
"""Why a path is what it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fusebpf.errors import UsageError
from fusebpf.frozen import dataclass
from fusebpf.guard.match import Matcher, Place
from fusebpf.guard.outcomes import OPERATIONS, outcome
from fusebpf.guard.rules import Rule, State
from fusebpf.guard.tree import absolute, root

_LINKS = 40  # the kernel follows no more in a path


@dataclass(frozen=True)
class Explanation:
    """What a path is. ``above`` is the directory that nobody gets past, if there is one.

    ``links`` are the symbolic links of the tree that it was asked by, ``target`` is what it holds
    if it is one itself. The first of ``rules`` says what it is, the others would without those
    before them. ``operations`` are their results by name.
    """

    path: str
    directory: bool
    links: tuple[str, ...]
    target: str | None
    state: State
    above: str | None
    rules: tuple[Rule, ...]
    operations: dict[str, str]


def explain(matcher: Matcher, tree: Path, path: str) -> Explanation:
    """Explain a path, counted from the current directory, of the tree below ``tree``.

    Raises UsageError for a path that is not in the tree, FusebpfError for a tree that is none.
    """
    real = root(tree)
    full, links = _followed(matcher, real, absolute(Path(path)), path.endswith("/"))
    inside = full.is_relative_to(real)
    if full == real or (not inside and Path(os.path.realpath(full)) == real):
        raise UsageError("the root of the tree has no rule", "name what is in it")
    if not inside:
        if links:
            raise UsageError(
                f"{path} leads out of the tree, to {full}, by the symbolic link {links[-1]}",
                "no rule is for it there; name a path that stays in the tree",
            )
        raise UsageError(
            f"{path} is not in the tree {tree}", "name the root of the tree: --tree DIR"
        )
    directory = path.endswith("/") or _is_directory(full)
    place = _place(matcher, real, full, directory)
    deciding = place.barrier or place
    return Explanation(
        path=str(full.relative_to(real)),
        directory=directory,
        links=tuple(links),
        target=_target(full),
        state=place.state,
        above=os.fsdecode(b"/".join(place.barrier.path)) if place.barrier else None,
        rules=deciding.claims,
        operations={op.name: outcome(op, place) for op in OPERATIONS if op.is_for(directory)},
    )


def _place(matcher: Matcher, real: Path, full: Path, directory: bool) -> Place:
    return matcher.find([os.fsencode(name) for name in full.relative_to(real).parts], directory)


def _is_directory(path: Path) -> bool:
    """Whether one is to be seen there; a path need not exist, nor be in reach."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _target(path: Path) -> str | None:
    """What a symbolic link holds; None for what is none."""
    try:
        return str(path.readlink())
    except OSError:
        return None


def _followed(matcher: Matcher, real: Path, path: Path, last: bool) -> tuple[Path, list[str]]:
    """Where a path leads, and by which links of the tree; the ``last`` name is followed on demand.

    A link that the rules refuse is not followed: it is among the names that nobody gets past.
    """
    at, links, left = Path("/"), [], _LINKS
    waiting = list(reversed(path.parts[1:]))
    while waiting:
        name = waiting.pop()
        if name == "..":
            at = at.parent
            continue
        at /= name
        target = _target(at) if left and (waiting or last) else None
        if target is None:
            continue
        if at.is_relative_to(real):
            if _place(matcher, real, at, False).state not in (State.ALLOW, State.READ_ONLY):
                continue
            links.append(str(at.relative_to(real)))
        left -= 1
        leads = Path(target)
        at = Path("/") if leads.is_absolute() else at.parent
        waiting += reversed(leads.relative_to(leads.root).parts)
    return at, list(dict.fromkeys(links))
