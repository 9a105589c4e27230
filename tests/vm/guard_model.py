# SPDX-License-Identifier: MIT
"""What operations on a mount by rules give: once more, slow and obvious, from the rules alone.

The model walks each path from the root, name by name, as a twin of the lower tree has it, and
asks tests.unit.guard_cases what the rules say of each. Nothing is shared with fusebpf.guard.
"""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.unit.guard_cases import NAMES, Line, own_state, some_lines

ROOT, SLOTS = 0, 4
"""Held directories: the root, and others."""
REFUSALS = {"read-only": "EROFS", "deny": "EACCES", "hidden": "ENOENT", "empty": "EACCES"}
Names = tuple[str, ...]


class Refused(Exception):
    """An errno, by its name."""


@dataclass(frozen=True)
class Step:
    """An operation: what, on which names below which held directory (0: the root)."""

    what: str
    base: int = ROOT
    path: str = ""
    other_base: int = ROOT
    other: str = ""
    lines: tuple[Line, ...] = ()

    def __str__(self) -> str:
        if self.what == "rules":
            return "rules " + "; ".join(map(str, self.lines))
        second = f" {self.other_base}:{self.other}" if self.other else ""
        return f"{self.what} {self.base}:{self.path}{second}"


@dataclass
class Model:
    """A twin of the lower tree, the rules in force, and the directories that are held."""

    twin: Path
    lines: list[Line]
    held: dict[int, Names] = field(default_factory=lambda: {ROOT: ()})

    def own(self, path: Names, directory: bool) -> str:
        return own_state(self.lines, path, directory)

    def at(self, path: Names) -> Path:
        return self.twin.joinpath(*path)

    def kind(self, path: Names) -> str:
        """none, dir, file or link."""
        try:
            mode = os.lstat(self.at(path)).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return "none"
        return "dir" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "file"

    def state(self, path: Names) -> str:
        return self.own(path, self.kind(path) == "dir")

    def enter(self, path: Names) -> None:
        """Names in a directory are to be looked up."""
        self.search(path)
        if path and self.own(path, True) in ("hidden", "empty"):
            raise Refused("ENOENT")

    def search(self, path: Names) -> None:
        """A directory lets its names be asked for."""
        if path and self.own(path, True) == "deny":
            raise Refused("EACCES")

    def held_at(self, base: int) -> Names:
        """The path of a held directory, to which nothing bars the way."""
        path = self.held[base]
        for depth in range(len(path)):
            self.enter(path[:depth])
            self.look_up(path[: depth + 1])
        return path

    def look_up(self, path: Names) -> None:
        """The last name of a path is seen, or is free."""
        if self.kind(path) != "none" and self.state(path) == "hidden":
            raise Refused("ENOENT")

    def parent(self, base: int, text: str) -> Names:
        """Walk to the directory of a path's last name, and enter it."""
        path = self.parent_at(base, text)
        self.enter(path)
        return path

    def parent_at(self, base: int, text: str) -> Names:
        """Walk to the directory of a path's last name: it may be searched, nothing more."""
        path = self.held_at(base)
        for part in text.split("/")[:-1]:
            self.enter(path)
            path = (*path, part)
            self.look_up(path)
            match self.kind(path):
                case "none":
                    raise Refused("ENOENT")
                case "file":
                    raise Refused("ENOTDIR")
                case "link":
                    raise Refused(self.followed(path))
        self.search(path)
        return path

    def walk(self, base: int, text: str) -> Names:
        """Walk to a path; its last name may be free."""
        path = (*self.parent(base, text), text.rpartition("/")[2])
        self.look_up(path)
        return path

    def followed(self, path: Names) -> str:
        """What following a link gives; all of them lead to a name that nothing has."""
        state = self.own(path, False)
        return "EACCES" if state in ("deny", "empty") else "ENOENT"

    def there(self, step: Step, follow: bool = False) -> Names:
        """As ``walk``, to what is there."""
        path = self.walk(step.base, step.path)
        if self.kind(path) == "none":
            raise Refused("ENOENT")
        if follow and self.kind(path) == "link":
            raise Refused(self.followed(path))
        return path

    def change(self, state: str) -> None:
        if state != "allow":
            raise Refused(REFUSALS[state])

    # What each step gives: a text, or Refused. The twin is changed.

    def stat(self, step: Step) -> str:
        path = self.there(step)
        found = os.lstat(self.at(path))
        size = 0 if self.state(path) == "empty" else found.st_size
        return f"{self.kind(path)} {size if self.kind(path) == 'file' else ''}"

    def read(self, step: Step) -> str:
        path = self.there(step, follow=True)
        if self.kind(path) == "dir":
            return self._list(path)
        match self.state(path):
            case "deny":
                raise Refused("EACCES")
            case "empty":
                return ""
        return self.at(path).read_text()

    def _list(self, path: Names) -> str:
        match self.own(path, True) if path else "allow":
            case "deny":
                raise Refused("EACCES")
            case "empty":
                return "[]"
        names = [n for n in os.listdir(self.at(path)) if self.state((*path, n)) != "hidden"]
        return str(sorted(names))

    def list_held(self, step: Step) -> str:
        return self._list(self.held_at(step.base))

    def write(self, step: Step) -> str:
        path = self.there(step, follow=True)
        if self.kind(path) == "dir":
            raise Refused("EISDIR")
        self.change(self.state(path))
        with self.at(path).open("a") as file:
            file.write("+")
        return ""

    def create(self, step: Step) -> str:
        return self._made(step, False, lambda path: path.write_text("new"))

    def mkdir(self, step: Step) -> str:
        return self._made(step, True, Path.mkdir)

    def symlink(self, step: Step) -> str:
        return self._made(step, False, lambda path: path.symlink_to("nowhere"))

    def _made(self, step: Step, directory: bool, make: Callable[[Path], object]) -> str:
        path = self.walk(step.base, step.path)
        if self.kind(path) != "none":
            raise Refused("EEXIST")
        self.change(self.own(path, directory))
        make(self.at(path))
        return ""

    def readlink(self, step: Step) -> str:
        path = self.there(step)
        if self.kind(path) != "link":
            raise Refused("EINVAL")
        if self.state(path) in ("deny", "empty"):
            raise Refused("EACCES")
        return "nowhere"

    def unlink(self, step: Step) -> str:
        path = self.there(step)
        if self.kind(path) == "dir":
            raise Refused("EISDIR")
        self.change(self.state(path))
        self.at(path).unlink()
        return ""

    def rmdir(self, step: Step) -> str:
        path = self.there(step)
        if self.kind(path) != "dir":
            raise Refused("ENOTDIR")
        self.change(self.state(path))
        self._done(lambda: self.at(path).rmdir())
        return ""

    def chmod(self, step: Step) -> str:
        path = self.there(step, follow=True)
        self.change(self.state(path))
        return ""

    def truncate(self, step: Step) -> str:
        path = self.there(step, follow=True)
        if self.kind(path) == "dir":
            raise Refused("EISDIR")
        self.change(self.state(path))
        os.truncate(self.at(path), 1)
        return ""

    def setxattr(self, step: Step) -> str:
        path = self.there(step, follow=True)
        self.change(self.state(path))
        os.setxattr(self.at(path), "trusted.a", b"v")
        return ""

    def getxattr(self, step: Step) -> str:
        path = self.there(step, follow=True)
        if self.state(path) in ("deny", "empty"):
            raise Refused("ENODATA")
        return self._done(lambda: os.getxattr(self.at(path), "trusted.a").decode())

    def rename(self, step: Step) -> str:
        """EXDEV is right for each directory: it may not be told what lies below other names."""
        # Both are found before a name is looked up in either
        parents = [
            self.parent_at(step.base, step.path),
            self.parent_at(step.other_base, step.other),
        ]
        old, new = (
            (*parent, text.rpartition("/")[2])
            for parent, text in zip(parents, (step.path, step.other), strict=True)
        )
        self.enter(parents[0])
        self.look_up(old)
        if self.kind(old) == "none":
            raise Refused("ENOENT")
        self.enter(parents[1])
        self.look_up(new)
        if new[: len(old)] == old and new != old:
            raise Refused("EINVAL")
        if old[: len(new)] == new and new != old:
            raise Refused("ENOTEMPTY")
        if old == new:
            return ""
        target = self.kind(new)
        if target != "none" and (self.kind(old) == "dir") != (target == "dir"):
            raise Refused("ENOTDIR" if self.kind(old) == "dir" else "EISDIR")
        if self.kind(old) == "dir" and old[:-1] != new[:-1] and self.own(old, True) == "deny":
            raise Refused("EACCES")  # its entry for what is above is to be written
        for path in (old, new):
            if self.own(path, True) != self.own(path, False):
                raise Refused("EXDEV")
            self.change(self.own(path, False))
        self._done(lambda: os.rename(self.at(old), self.at(new)))
        for slot, path in self.held.items():
            if path[: len(old)] == old:
                self.held[slot] = (*new, *path[len(old) :])
        return ""

    def _done(self, action: Callable[[], object]) -> str:
        """What the twin itself refuses, the mount does, too."""
        try:
            result = action()
        except OSError as error:
            raise Refused(errno.errorcode[error.errno or 0]) from None
        return result if isinstance(result, str) else ""

    def hold(self, step: Step) -> str:
        path = self.there(step, follow=True)
        if self.kind(path) != "dir":
            raise Refused("ENOTDIR")
        self.held[int(step.other)] = path
        return ""

    def below(self, step: Step) -> str:
        """Without the mount: a new file or directory."""
        path = (*self.held[step.base], *step.path.split("/"))
        if self.kind(path) != "none" or self.kind(path[:-1]) != "dir":
            return "not done"
        if len(step.path) % 3 == 1:
            self.at(path).write_text("new")
        else:
            self.at(path).mkdir()
        return ""


READING = ("stat", "stat", "read", "read", "readlink", "getxattr", "list_held")
CHANGING = ("write", "create", "create", "mkdir", "mkdir", "symlink", "unlink", "rmdir")
OTHERS = ("chmod", "truncate", "setxattr", "rename", "rename", "rename", "below", "below", "hold")


def some_steps(rng: random.Random, count: int, lines: list[Line]) -> list[Step]:
    """Operations on few names, so that they meet; rules change about five times."""
    steps: list[Step] = []
    for _ in range(count):
        if rng.random() < 5 / count:
            lines = changed(rng, lines)
            steps.append(Step("rules", lines=tuple(lines)))
            continue
        what = rng.choice((*READING, *CHANGING, *OTHERS))
        base = rng.choice((ROOT, ROOT, rng.randint(1, SLOTS - 1)))
        if what == "hold":
            base = ROOT
        steps.append(
            Step(
                what,
                base,
                some_path(rng),
                rng.choice((ROOT, rng.randint(1, SLOTS - 1))) if what != "hold" else base,
                some_path(rng) if what == "rename" else str(rng.randint(1, SLOTS - 1)),
            )
        )
    return steps


def some_path(rng: random.Random) -> str:
    return "/".join(rng.choice(NAMES[:7]) for _ in range(rng.choice((1, 1, 2, 2, 3, 4))))


def some_rules(rng: random.Random) -> list[Line]:
    """Rules for everyone, for root, and for a user who is not here."""
    return [
        Line(line.state, line.pattern, ((0,) if 0 in line.uids else (77,)) if line.uids else ())
        for line in some_lines(rng)
    ]


def changed(rng: random.Random, lines: list[Line]) -> list[Line]:
    """Rules with some taken away and some added."""
    kept = [line for line in lines if rng.random() < 0.7]
    for line in some_rules(rng)[: rng.randint(0, 3)]:
        kept.insert(rng.randint(0, len(kept)), line)
    return kept
