# SPDX-License-Identifier: MIT
"""The rules of guard once more, slow and obvious; and random rules and trees.

Nothing here is shared with fusebpf.guard: a pattern is matched as its text is read, a path is
asked of every rule.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

STATES = ("allow", "read-only", "deny", "hidden", "empty")


@dataclass(frozen=True)
class Line:
    """A rule as it stands in its file."""

    state: str
    pattern: str
    uids: tuple[int, ...] = ()
    gids: tuple[int, ...] = ()

    def __str__(self) -> str:
        who = f" uid={','.join(map(str, self.uids))}" if self.uids else ""
        who += f" gid={','.join(map(str, self.gids))}" if self.gids else ""
        return f"{self.state}{who} {self.pattern}"


def takes(pattern: str, path: tuple[str, ...], directory: bool, ignore_case: bool = False) -> bool:
    """Whether a pattern of gitignore(5), without its `!`, matches a path itself."""
    if pattern.endswith("/"):
        if not directory:
            return False
        pattern = pattern[:-1]
    if "/" not in pattern:
        pattern = "**/" + pattern
    if ignore_case:
        pattern, path = pattern.lower(), tuple(name.lower() for name in path)
    return _takes_path(tuple(pattern.removeprefix("/").split("/")), path)


@cache
def _takes_path(parts: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not parts:
        return not path
    if len(parts[0]) > 1 and not parts[0].strip("*"):
        if len(parts) == 1:
            return bool(path)
        return _takes_path(parts[1:], path) or (bool(path) and _takes_path(parts, path[1:]))
    return bool(path) and _takes_name(parts[0], path[0]) and _takes_path(parts[1:], path[1:])


@cache
def _takes_name(glob: str, name: str) -> bool:
    if not glob:
        return not name
    if glob[0] == "*":
        return _takes_name(glob[1:], name) or (bool(name) and _takes_name(glob, name[1:]))
    if not name:
        return False
    if glob[0] == "?":
        return _takes_name(glob[1:], name[1:])
    if glob[0] == "[":
        end = glob.index("]", 3 if glob[1] in "!^" else 2)
        inner, rest = glob[1:end], glob[end + 1 :]
        inside = name[0] in _members(inner.lstrip("!^") if inner[0] in "!^" else inner)
        return inside != (inner[0] in "!^") and _takes_name(rest, name[1:])
    if glob[0] == "\\":
        glob = glob[1:]
    return glob[0] == name[0] and _takes_name(glob[1:], name[1:])


def _members(inner: str) -> set[str]:
    found = set()
    while inner:
        if inner[1:2] == "-" and len(inner) > 2:
            found |= {chr(c) for c in range(ord(inner[0]), ord(inner[2]) + 1)}
            inner = inner[3:]
        else:
            found.add(inner[0])
            inner = inner[1:]
    return found


def own_state(
    lines: list[Line],
    path: tuple[str, ...],
    directory: bool,
    uid: int = 0,
    gid: int = 0,
    ignore_case: bool = False,
) -> str:
    """What the rules say of a path: the deepest, then the last; `!` takes its state back."""
    taken_back = set()
    for depth in range(len(path), 0, -1):
        for line in reversed(lines):
            if (line.uids and uid not in line.uids) or (line.gids and gid not in line.gids):
                continue
            here = directory or depth < len(path)
            if not takes(line.pattern.removeprefix("!"), path[:depth], here, ignore_case):
                continue
            if line.pattern.startswith("!"):
                taken_back.add(line.state)
            elif line.state not in taken_back:
                return line.state
    return "allow"


def state(
    lines: list[Line],
    path: tuple[str, ...],
    directory: bool,
    uid: int = 0,
    gid: int = 0,
    ignore_case: bool = False,
) -> str:
    """What a path is to its user, who passes the directories above it first."""
    for depth in range(1, len(path)):
        above = own_state(lines, path[:depth], True, uid, gid, ignore_case)
        if above in ("hidden", "empty"):
            return "hidden"
        if above == "deny":
            return "deny"
    return own_state(lines, path, directory, uid, gid, ignore_case)


NAMES = ("a", "b", "ab", "ba", "a.b", ".a", "A", "b a", "#a", "!b", "a-b", "aa")
_GLOBS = ("*", "?", "a*", "*b", "*.*", "[ab]", "[!a]", "[a-b]?", ".*", "?a*", "*a*", "[^b.]b")


def some_pattern(rng: random.Random) -> str:
    """A pattern, with `!` sometimes."""
    parts = []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        kind = rng.random()
        if kind < 0.5:
            parts.append(rng.choice(NAMES).replace("!", "\\!").replace("#", "\\#"))
        else:
            parts.append(rng.choice(_GLOBS))
    text = "/".join(parts)
    if rng.random() < 0.25:
        text = "**/" + text
    if rng.random() < 0.15:
        text = text.replace("/", "/**/", 1)
    if rng.random() < 0.15:
        text += "/**"
    if rng.random() < 0.25:
        text = "/" + text
    if rng.random() < 0.25:
        text += "/"
    return rng.choice(("", "", "!")) + text


def some_lines(rng: random.Random, states: tuple[str, ...] = STATES) -> list[Line]:
    """Rules, some for certain users or groups."""
    lines = []
    for _ in range(rng.randint(1, 8)):
        uids = tuple(rng.sample((0, 1, 2), rng.randint(1, 2))) if rng.random() < 0.2 else ()
        gids = (rng.choice((0, 1)),) if rng.random() < 0.1 else ()
        lines.append(Line(rng.choice(states), some_pattern(rng), uids, gids))
    return lines


def some_paths(rng: random.Random, count: int) -> dict[tuple[str, ...], bool]:
    """About so many paths of a tree, each with whether it is a directory; a directory stands
    before what is in it."""
    found: dict[tuple[str, ...], bool] = {}
    directories: list[tuple[str, ...]] = [()]
    for _ in range(count):
        parent = rng.choice(directories)
        path = (*parent, rng.choice(NAMES))
        if path not in found:
            found[path] = len(path) < 6 and rng.random() < 0.5
            directories += [path] * found[path]
    return found
