# SPDX-License-Identifier: MIT
"""What `guard mount --audit` tells: its events, and what they are shown as."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fusebpf import Attr, EntryOut, OpenIn, Rename2In
from fusebpf.abi import OPS
from fusebpf.constants import O_RDWR
from fusebpf.guard.audit import EVENTS, Recorder, Refusal, Refusals
from fusebpf.guard.automaton import build
from fusebpf.guard.filters import DENY, EMPTY, HIDDEN, READ_ONLY, filters
from fusebpf.guard.rules import parse_text
from fusebpf.testing import FilterRun, load
from tests.unit.documents import ROOT
from tests.unit.test_guard_filters import RUNS, Guard

NOT_CONTAINED = os.readlink("/proc/self/ns/pid") == "pid:[4026531836]"
RULES = """hidden .env
read-only /kept/
deny denied
empty *.log
hidden uid=7 x
hidden build/
"""


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest) -> Iterator[FilterRun]:
    """The filters, with RULES in their maps."""
    made = build(parse_text(RULES, "rules"))
    with load(filters(256, callers=True, tags=1024, audit=True), run=request.param) as loaded:
        yield Guard(loaded, made).run


def entered(run: FilterRun, name: str, inode: int, above: int = 0, mode: int = 0o100644) -> int:
    found = run.call(
        "lookup.post", name=name, tag=above, out=EntryOut(attr=Attr(mode=mode, ino=inode))
    )
    return found.tag or 0


def told(run: FilterRun, hook: str, **given: Any) -> list[tuple[int, int, bytes, int]]:
    """The events of a call: what they are of, and for whom."""
    found = run.call(hook, pid=42, uid=1000, **given)
    return [(e.state, e.inode, e.name, e.pid) for e in found.events.get(EVENTS, ())]


def test_events(run: FilterRun) -> None:
    big = (1 << 46) + 77  # of a number only what there is room for
    above = entered(run, "dir", big, mode=0o040755)
    hidden = EntryOut(attr=Attr(mode=0o100644, ino=9))
    assert told(run, "lookup.post", name=".env", tag=above, out=hidden) == [
        (HIDDEN, 77, b".env", 42)
    ]
    assert told(run, "lookup.post", name="plain", tag=above, out=hidden) == []
    missing = told(run, "lookup.post", name=".env", tag=above, error_in=-errno.ENOENT)
    assert missing == []  # there is none
    assert told(run, "mkdir.pre", name=".env", tag=above) == [(HIDDEN, 77, b".env", 42)]
    assert told(run, "unlink.pre", name="kept", tag=0) == []
    denied = entered(run, "denied", 5, above)
    for hook in ("access.pre", "open.pre", "setattr.pre"):
        assert told(run, hook, tag=denied) == [(DENY, 5, b"", 42)], hook
    assert told(run, "getxattr.pre", tag=denied, name="user.a") == []
    log = entered(run, "a.log", 6, above)
    assert told(run, "open.pre", tag=log) == []
    assert told(run, "open.pre", req=OpenIn(flags=O_RDWR), tag=log) == [(EMPTY, 6, b"", 42)]
    kept = entered(run, "kept", 7, mode=0o040755)
    assert told(run, "create.pre", name="new", tag=kept) == [(READ_ONLY, 7, b"new", 42)]
    moved = {"req": Rename2In(), "old": "a", "new": "b", "tag": above, "tag2": kept}
    assert told(run, "rename.pre", **moved) == [(READ_ONLY, 7, b"b", 42)]


@dataclass
class Event:
    """As the kernel sends them."""

    name: bytes
    inode: int
    state: int
    opcode: int
    pid: int = 1
    uid: int = 1000
    gid: int = 0
    when: int = 0


class Stream:
    """Events that wait."""

    def __init__(self, *waiting: Event) -> None:
        self.waiting = [*waiting]

    def read(self, timeout: float) -> list[Event]:
        found, self.waiting = self.waiting, []
        return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("src/.env", "src/denied", "kept/deep/file", "build/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def of(operation: str) -> int:
    return next(op.opcode for op in OPS.values() if op.name == operation)


@pytest.mark.parametrize(
    ("operation", "where", "name", "state", "path", "line"),
    [
        ("lookup", "src", b".env", HIDDEN, b"src/.env", 1),
        ("open", "src/denied", b"", DENY, b"src/denied", 3),
        ("mkdir", "kept/deep", b"new", READ_ONLY, b"kept/deep/new", 2),
        ("lookup", "", b"build", HIDDEN, b"build", 6),
        ("unlink", "", b"a.log", EMPTY, b"a.log", 4),
    ],
)
def test_paths_and_rules(
    tree: Path, operation: str, where: str, name: bytes, state: int, path: bytes, line: int
) -> None:
    inode = (tree / where).stat().st_ino if where else 0
    (refusal,) = told_of(tree, Event(name, inode, state, of(operation), pid=os.getppid()))
    assert (refusal.operation, refusal.path) == (operation, path)
    assert refusal.rule is not None
    assert refusal.rule.where == f"rules:{line}"
    if NOT_CONTAINED:
        assert refusal.command == Path(f"/proc/{os.getppid()}/comm").read_text().strip()


def told_of(tree: Path, *events: Event) -> list[Refusal]:
    return list(Refusals(parse_text(RULES, "rules"), tree).of(events))


def test_rules_of_the_user(tree: Path) -> None:
    events = [Event(b"x", 0, HIDDEN, of("lookup"), uid=uid) for uid in (7, 8)]
    seven, eight = told_of(tree, *events)
    assert seven.rule is not None
    assert seven.rule.line == 5
    assert eight.rule is None


def test_what_is_not_there_any_more(tree: Path) -> None:
    (refusal,) = told_of(tree, Event(b".env", 999999999, HIDDEN, of("lookup"), pid=4194304))
    assert (refusal.path, refusal.name, refusal.rule) == (None, b".env", None)
    assert (refusal.command, refusal.errno) == ("", "ENOENT")


def test_what_is_made_later_is_found(tree: Path) -> None:
    refusals = Refusals(parse_text(RULES, "rules"), tree)
    first = Event(b"", (tree / "src/denied").stat().st_ino, DENY, of("open"))
    assert [r.path for r in refusals.of([first])] == [b"src/denied"]
    (tree / "late").mkdir()
    walked = time.monotonic() + 20  # as long as the last walk took, ten times: nothing, here
    late = Event(b".env", (tree / "late").stat().st_ino, HIDDEN, of("lookup"))
    while [r.path for r in refusals.of([late])] != [b"late/.env"]:
        assert time.monotonic() < walked


def found_at_last(refusals: Refusals, event: Event, path: bytes) -> Refusal:
    """What is told of an event once its path is this one; until then it has none."""
    # Walks are as long as the last one took, ten times, apart: nothing, here.
    walked = time.monotonic() + 20
    while True:
        (refusal,) = refusals.of([event])
        if refusal.path == path:
            return refusal
        assert refusal.path is None
        assert time.monotonic() < walked


def test_what_has_moved_is_told_where_it_is(tree: Path) -> None:
    refusals = Refusals(parse_text(RULES, "rules"), tree)
    event = Event(b"new", (tree / "kept/deep").stat().st_ino, READ_ONLY, of("mkdir"))
    assert found_at_last(refusals, event, b"kept/deep/new").rule is not None
    (tree / "kept").rename(tree / "src/moved")
    assert found_at_last(refusals, event, b"src/moved/deep/new").rule is None
    (tree / "src/moved").rename(tree / "kept")
    (tree / "src/moved").symlink_to("../kept")  # a way there, but not where it is
    assert found_at_last(refusals, event, b"kept/deep/new").rule is not None


def test_what_moves_while_the_walk_rests_is_told_where_it_is(tree: Path) -> None:
    first, *_, last = os.scandir(tree)
    refusals = Refusals(parse_text(RULES, "rules"), tree)
    event = Event(b"new", first.inode(), READ_ONLY, of("mkdir"))
    assert [r.path for r in refusals.of([event])] == [os.fsencode(first.name) + b"/new"]
    Path(last).rename(tree / "moved")
    event = Event(b"new", last.inode(), READ_ONLY, of("mkdir"))
    found_at_last(refusals, event, b"moved/new")


def test_a_number_that_is_used_again_is_told_under_the_new_name(tree: Path) -> None:
    refusals = Refusals(parse_text(RULES, "rules"), tree)
    event = Event(b"", (tree / "src/denied").stat().st_ino, DENY, of("open"))
    assert found_at_last(refusals, event, b"src/denied").rule is not None
    (tree / "src/denied").rename(tree / "other")
    (tree / "src/denied").touch()
    assert found_at_last(refusals, event, b"other").rule is None


def test_what_is_mounted_in_the_tree_keeps_its_path(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing has the number of what is below."""
    refusals = Refusals(parse_text(RULES, "rules"), tree)
    event = Event(b"", (tree / "src/denied").stat().st_ino, DENY, of("open"))
    assert [r.path for r in refusals.of([event])] == [b"src/denied"]
    monkeypatch.setattr(os, "lstat", lambda _path: Path("/proc").stat())
    assert [r.path for r in refusals.of([event])] == [b"src/denied"]


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_in_a_container_the_pid_is_no_process_there(tree: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from tests.unit.test_guard_audit import *;"
        "events = [Event(b'.env', 0, HIDDEN, of('lookup'), pid) for pid in (os.getpid(), 1)];"
        "print([(r.pid, r.command) for r in told_of(Path(sys.argv[1]), *events)])"
    )
    inside = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script, str(tree)]
    done = subprocess.run(inside, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[(1, ''), (1, '')]\n"


@pytest.mark.skipif(not NOT_CONTAINED, reason="needs the initial pid namespace")
def test_own_operations_are_left_out(tree: Path) -> None:
    assert told_of(tree, Event(b".env", 0, HIDDEN, of("lookup"), pid=os.getpid())) == []


def test_the_last_ones_are_recorded(tree: Path) -> None:
    stream = Stream(Event(b".env", 0, HIDDEN, of("lookup")))
    seen: list[bytes | None] = []
    first = threading.Event()

    def tell(refusal: Refusal) -> None:
        seen.append(refusal.path)
        first.set()

    recorder = Recorder(stream, Refusals(parse_text(RULES, "rules"), tree), tell)
    assert first.wait(20)
    stream.waiting.append(Event(b"denied", 0, DENY, of("lookup")))
    recorder.close()
    assert seen == [b".env", b"denied"]
