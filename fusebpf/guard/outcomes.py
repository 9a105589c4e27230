# SPDX-License-Identifier: MIT
"""THE table: what each operation gives on a path of each state.

`fusebpf guard explain` and docs/guard.md show it, the tests hold the mount to it.
"""

from __future__ import annotations

from fusebpf.frozen import dataclass
from fusebpf.guard.match import Place
from fusebpf.guard.rules import State

#: Nothing is refused, nothing is different.
DONE = "yes"


@dataclass(frozen=True)
class Operation:
    """A family of operations. ``results`` stand in the order of the states.

    Each is "yes", an errno, or what is different.
    """

    name: str
    what: str
    results: tuple[str, str, str, str, str]
    #: Of files alone (False), of directories alone (True), or of both.
    directories: bool | None = None

    def is_for(self, directory: bool) -> bool:
        """Whether there is such an operation."""
        return self.directories in (None, directory)

    def on(self, state: State) -> str:
        """What it gives on a path of this state."""
        return self.results[list(State).index(state)]


_CHANGE = (DONE, "EROFS", "EACCES", "ENOENT", "EACCES")

OPERATIONS = (
    Operation(
        "listed", "its name is in the listing of its directory", (DONE, DONE, DONE, "no", DONE)
    ),
    Operation("stat", "stat, statx, O_PATH", (DONE, DONE, DONE, "ENOENT", "size 0")),
    Operation("read", "open a file for reading", (DONE, DONE, "EACCES", "ENOENT", "empty"), False),
    Operation("write", "open for writing or with O_TRUNC", _CHANGE, False),
    Operation("execute", "execve", (DONE, DONE, "EACCES", "ENOENT", "ENOEXEC"), False),
    Operation("list", "open a directory", (DONE, DONE, "EACCES", "ENOENT", "empty"), True),
    Operation("enter", "look up a name in it", (DONE, DONE, "EACCES", "ENOENT", "ENOENT"), True),
    Operation(
        "readlink",
        "read or follow a symbolic link",
        (DONE, DONE, "EACCES", "ENOENT", "EACCES"),
        False,
    ),
    Operation(
        "getxattr", "getxattr, listxattr, ACLs", (DONE, DONE, "ENODATA", "ENOENT", "ENODATA")
    ),
    Operation("setattr", "chmod, chown, truncate, utimensat", _CHANGE),
    Operation("setxattr", "setxattr, removexattr", _CHANGE),
    Operation("create", "make a file, directory, node or link of its name", _CHANGE),
    Operation("link", "link(2) from it or to it", _CHANGE),
    Operation("rename", "rename(2) from it or to it", _CHANGE),
    Operation("remove", "unlink, rmdir", _CHANGE),
)


def outcome(operation: Operation, place: Place) -> str:
    """What an operation gives on a path, who first has to get there."""
    if place.barrier is not None and place.barrier.own is State.DENY:
        return "no" if operation.name == "listed" else "EACCES"
    return operation.on(place.state)


def markdown() -> str:
    """The table as docs/guard.md has it."""
    lines = [f"| operation | {' | '.join(State)} |", "|-|" + "-|" * len(State)]
    lines += [f"| {op.what} | {' | '.join(op.results)} |" for op in OPERATIONS]
    return "\n".join(lines) + "\n"
