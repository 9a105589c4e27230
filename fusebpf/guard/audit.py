# SPDX-License-Identifier: MIT
"""What a mount of `guard mount --audit` refused: to whom, which path, by which rule.

An event has a name and the number of the inode of its directory, or that of an inode alone. The
tree is walked for its path, which is looked at again when another event has the inode, and then
the rules are asked as `guard explain` does.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from fusebpf.abi import FUSE_OPCODE_FILTER, OPS
from fusebpf.frozen import dataclass
from fusebpf.guard.filters import EVENTS, INODE_BITS
from fusebpf.guard.match import Matcher
from fusebpf.guard.rules import Rule, Rules, State

__all__ = ["EVENTS", "Recorder", "Refusal", "Refusals"]

_INODES = (1 << INODE_BITS) - 1
#: By the number of a state in an event (fusebpf.guard.filters).
_STATES = (None, *State)
_ERRNOS = ("ESTALE", "", "EROFS", "EACCES", "ENOENT", "EACCES")
_OPERATIONS = {op.opcode: op.name for op in OPS.values() if op.form_a}
_FOR_DIRECTORIES = ("mkdir", "rmdir", "opendir")
_SHARE = 10  # one part of so many of the time goes into walks for what is not found
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Refusal:
    """Something refused. ``command`` is empty when the process has ended, or is not seen here.

    ``path`` is that in the tree, or None when nothing there has the inode any more; then ``name``
    may be known. ``when`` is seconds since 1970.
    """

    when: float
    pid: int
    command: str
    uid: int
    gid: int
    operation: str
    path: bytes | None
    inode: int
    name: bytes
    errno: str
    rule: Rule | None


class _Places:
    """Paths of a tree by the numbers of their inodes."""

    def __init__(self, tree: Path) -> None:
        self._root = tree
        self._tree = os.fsencode(tree)
        self._known: dict[int, bytes] = {0: b""}
        self._walk: Iterator[tuple[int, bytes]] = iter(())
        self._next = 0.0

    def find(self, inode: int) -> bytes | None:
        """A path, "" for the root of the tree; None when it is not there."""
        if self._is_known(inode):
            return self._known[inode]
        if (found := self._on(inode)) is not None:
            return found
        begun = time.monotonic()
        if begun < self._next:
            return None
        self._walk = self._entries()
        found = self._on(inode)
        self._next = time.monotonic() + _SHARE * (time.monotonic() - begun)
        return found

    def _is_known(self, inode: int) -> bool:
        """Whether its path is known; one that another has by now, or none, is forgotten."""
        path = self._known.get(inode)
        if not path:
            return path is not None  # the root is where it is
        try:
            places = accumulate([self._tree, *path.split(b"/")], _joined)
            _tree, *above, found = map(os.lstat, places)
            # What is mounted there has another number than the listing gave.
            there = found.st_ino & _INODES == inode or found.st_dev != self._root.stat().st_dev
            there = there and not any(stat.S_ISLNK(entry.st_mode) for entry in above)
        except (FileNotFoundError, NotADirectoryError):
            there = False
        except OSError:
            there = True  # refused to us
        if not there:
            del self._known[inode]
        return there

    def _on(self, inode: int) -> bytes | None:
        """Walk on until it is found, or to the end."""
        for number, path in self._walk:
            self._known[number] = path
            # The listing may be older than a change: the walk rests between two events.
            if number == inode and self._is_known(inode):
                return path
        return None

    def _entries(self) -> Iterator[tuple[int, bytes]]:
        waiting = [b""]
        for directory in waiting:
            try:
                entries = list(os.scandir(_joined(self._tree, directory)))
            except OSError:
                continue  # gone, or refused to us as well
            for entry in entries:
                path = _joined(directory, entry.name)
                yield entry.inode() & _INODES, path
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)


def is_of_others(event: Any) -> bool:
    """Whether it was refused to another process than this one, which looks at the tree itself."""
    return not _pids_are_ours() or event.pid != os.getpid()


class Refusals:
    """Tells what events mean. The tree is read with the rights, and the view, of this process."""

    def __init__(self, rules: Rules, tree: Path) -> None:
        self._rules = rules
        self._places = _Places(tree)
        self._matchers: dict[tuple[int, int], Matcher] = {}

    def of(self, events: Iterable[Any]) -> Iterator[Refusal]:
        """What was refused to others than this process."""
        offset = time.time() - time.monotonic()
        for event in filter(is_of_others, events):
            yield self._told(event, offset)

    def _told(self, event: Any, offset: float) -> Refusal:
        code = event.opcode & FUSE_OPCODE_FILTER
        operation = _OPERATIONS.get(code, str(code))
        path = self._places.find(event.inode)
        if path is not None and event.name:
            path = _joined(path, event.name)
        path = path or None  # the root is allowed: an inode that was not looked up yet
        return Refusal(
            when=event.when / 1e9 + offset,
            pid=event.pid,
            command=_command(event.pid),
            uid=event.uid,
            gid=event.gid,
            operation=operation,
            path=path,
            inode=event.inode,
            name=event.name,
            errno=_ERRNOS[event.state],
            rule=None if path is None else self._rule(event, operation, path),
        )

    def _rule(self, event: Any, operation: str, path: bytes) -> Rule | None:
        who = (event.uid, event.gid)
        if who not in self._matchers:
            self._matchers[who] = Matcher(self._rules, *who)
        # Whether it is a directory is asked of the rules, not of the tree: it may be gone.
        first = operation in _FOR_DIRECTORIES
        for directory in (first, not first):
            place = self._matchers[who].find(path.split(b"/"), directory)
            claims = (place.barrier or place).claims
            if claims and claims[0].state is _STATES[event.state]:
                return claims[0]
        return None


def _joined(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


@cache
def _pids_are_ours() -> bool:
    """Whether events have the numbers of processes that are seen here: those of no container.

    Theirs are of the initial pid namespace, whose own number never changes (linux/nsfs.h).
    """
    return str(Path("/proc/self/ns/pid").readlink()) == "pid:[4026531836]"


def _command(pid: int) -> str:
    if not _pids_are_ours():
        return ""  # another process has the number
    try:
        return Path(f"/proc/{pid}/comm").read_bytes().decode("utf-8", "replace").strip()
    except OSError:
        return ""


class Recorder:
    """Hands on what is refused, from a thread, until it is closed."""

    def __init__(self, stream: Any, refusals: Refusals, tell: Callable[[Refusal], None]) -> None:
        """Take events from a ``fusebpf.runtime.EventStream``, which stays the caller's."""
        self._stream, self._refusals, self._tell = stream, refusals, tell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        while not self._ended.is_set():
            self._hand_on(_LOOK_SECONDS)

    def _hand_on(self, timeout: float) -> None:
        for refusal in self._refusals.of(self._stream.read(timeout)):
            self._tell(refusal)

    def close(self) -> None:
        """Hand on what is left."""
        self._ended.set()
        self._thread.join()
        self._hand_on(0)
