# SPDX-License-Identifier: MIT
"""The filters of guard, called one by one: they answer what the table of docs/guard.md says."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf import Attr, EntryOut, OpenIn, Rename2In
from fusebpf.constants import O_RDWR, O_TRUNC
from fusebpf.guard.automaton import Automaton, build
from fusebpf.guard.filters import filters
from fusebpf.guard.outcomes import OPERATIONS
from fusebpf.guard.rules import State, parse_text
from fusebpf.guard.tags import number
from fusebpf.testing import Entry, FilterRun, Result, load
from tests.unit.documents import ROOT
from tests.unit.runtime_objects import needs_root

RULES = "".join(f"{state} *.{state}\n" for state in State) + (
    "hidden build/\nread-only /d/kept\ndeny uid=7 x\nempty gid=9 x\n"
)
#: What runs the filters: Python, and the kernel.
RUNS = ["python", pytest.param("kernel", marks=needs_root)]
MODES = {"dir": 0o040755, "file": 0o100644}
RESULTS = {"yes": 0, "EROFS": -errno.EROFS, "EACCES": -errno.EACCES, "ENOENT": -errno.ENOENT}


class Guard:
    """The filters, with the automaton of RULES in their maps."""

    def __init__(self, run: FilterRun, made: Automaton) -> None:
        self.run = run
        self.made = made
        table = number(made)
        for state, row in enumerate(table.rows):
            run.maps["guard_states"][state] = tuple(row)
            run.maps["guard_ends"][state] = table.ends[state]
        for tag, outcome in table.outcomes.items():
            run.maps["guard_outcomes"][tag] = outcome
        for name, numbers in (("uids", made.callers.uids), ("gids", made.callers.gids)):
            for who, caller in numbers.items():
                run.maps[f"guard_{name}"][who] = caller

    def look_up(self, name: str, kind: str, above: int = 0, **who: int) -> tuple[int, Result]:
        """The tag of an entry that is there, and what the lookup gave."""
        before = self.run.call("lookup.pre", name=name, tag=above, **who)
        if before.verdict.value != 3:
            return 0, before
        there = EntryOut(attr=Attr(mode=MODES[kind]))
        found = self.run.call("lookup.post", name=name, tag=above, out=there, **who)
        return found.tag or 0, found

    def verdict(self, hook: str, **given: object) -> int:
        return self.run.call(f"{hook}.pre", **given).verdict.value


@pytest.fixture(scope="module", params=RUNS)
def guard(request: pytest.FixtureRequest) -> Iterator[Guard]:
    made = build(parse_text(RULES, "rules"))
    with load(filters(512, callers=True, tags=64), run=request.param) as run:
        yield Guard(run, made)


@pytest.mark.parametrize("state", list(State))
def test_the_table(guard: Guard, state: State) -> None:
    name = f"a.{state}"
    table = {operation.name: operation.on(state) for operation in OPERATIONS}
    file, found = guard.look_up(name, "file")
    directory, _ = guard.look_up(name, "dir")
    assert found.verdict.value == (-errno.ENOENT if state is State.HIDDEN else 0)
    raw = name.encode()
    listing = [Entry(raw, type=4), Entry(raw, type=8), Entry(b".", type=4), Entry(b"b")]
    left = guard.run.call("readdir.post", entries=listing, tag=0).names
    assert left == (*[raw] * (0 if table["listed"] == "no" else 2), b".", b"b")
    for operation, hooks in {
        "create": ["create", "mknod", "mkdir", "symlink"],
        "remove": ["unlink", "rmdir"],
        "link": ["link"],
    }.items():
        for hook in hooks:
            assert guard.verdict(hook, name=name) == RESULTS[table[operation]], hook
    for old, new in ((name, "b"), ("b", name)):
        got = guard.verdict("rename", req=Rename2In(), old=old, new=new)
        assert got == RESULTS[table["rename"]]
    if state is State.HIDDEN:  # nothing has its tag
        return
    for flags in (O_RDWR, O_TRUNC):
        got = guard.verdict("open", req=OpenIn(flags=flags), tag=file)
        assert got == RESULTS[table["write"]]
    for operation, hooks in {
        "setattr": ["setattr"],
        "setxattr": ["setxattr", "removexattr"],
        "link": ["link"],
    }.items():
        for hook in hooks:
            assert guard.verdict(hook, tag=file) == RESULTS[table[operation]], hook
    assert guard.verdict("get_link", tag=file) == RESULTS[table["readlink"]]
    for operation, hook, tag in (("read", "open", file), ("list", "opendir", directory)):
        got = guard.verdict(hook, tag=tag)
        assert got == (3 if table[operation] == "empty" else RESULTS[table[operation]])
        emptied = guard.run.call(f"{hook}.post", tag=tag).changed
        assert emptied == {"out.open_flags": 1 << 31}  # called for `empty` alone
    assert guard.verdict("getattr", tag=file) == (3 if table["stat"] == "size 0" else 0)
    size = guard.run.call("getattr.post", tag=file, out=attributes()).arguments["out"].attr.size
    assert size == 0  # called for `empty` alone
    assert guard.verdict("getxattr", tag=file) == (
        -errno.ENODATA if table["getxattr"] == "ENODATA" else 0
    )
    below = guard.look_up("inner", "file", directory)[1].verdict.value
    assert below == RESULTS[table["enter"]]


def attributes() -> object:
    from fusebpf import AttrOut

    return AttrOut(attr=Attr(size=5, blocks=8))


def test_a_rule_for_directories(guard: Guard) -> None:
    assert guard.look_up("build", "dir")[1].verdict.value == -errno.ENOENT
    tag, found = guard.look_up("build", "file")
    assert found.verdict.value == 0
    assert guard.verdict("setattr", tag=tag) == 0
    assert guard.verdict("mkdir", name="build") == -errno.ENOENT
    assert guard.verdict("create", name="build") == 0
    # A free name is both; what is made there was allowed, and is decided when it is looked up.
    free = guard.run.call("lookup.post", name="build", error_in=-errno.ENOENT)
    assert free.verdict.value == 0
    assert guard.verdict("open", req=OpenIn(flags=O_RDWR), tag=free.tag) == 0
    for old, new in (("build", "b"), ("b", "build")):
        assert guard.verdict("rename", req=Rename2In(), old=old, new=new) == -errno.EXDEV


def test_a_path_is_walked(guard: Guard) -> None:
    top, _ = guard.look_up("d", "dir")
    assert guard.verdict("unlink", name="kept", tag=top) == -errno.EROFS
    assert guard.verdict("unlink", name="kept") == 0
    kept, _ = guard.look_up("kept", "dir", top)
    assert guard.verdict("mkdir", name="new", tag=kept) == -errno.EROFS
    assert guard.verdict("link", name="kept", tag2=top) == -errno.EROFS


def test_callers_are_told_apart(guard: Guard) -> None:
    tag, _ = guard.look_up("x", "file")
    answers = [guard.verdict("open", tag=tag, uid=uid, gid=gid) for gid in (0, 9) for uid in (6, 7)]
    assert answers == [0, -errno.EACCES, 3, 3]  # of two rules the later one


def test_what_all_are_told_is_kept(guard: Guard) -> None:
    def kept(name: str, above: int = 0) -> bool:
        return guard.look_up(name, "file", above, uid=6)[1].kept_ns >= 1 << 60

    assert [kept(name) for name in ("b", "build", "a.read-only", "a.deny")] == [True] * 4
    assert not kept("x"), "others are told another thing"
    top, _ = guard.look_up("x", "dir", uid=6)
    assert not kept("b", above=top), "others may not enter"
    free = guard.run.call("lookup.post", name="free", error_in=-errno.ENOENT)
    assert free.kept_ns >= 1 << 60


def test_states_that_nothing_has_need_no_filters() -> None:
    def hooks(**served: bool) -> set[str]:
        made = filters(256, callers=False, tags=64, **served)
        return {each.hook.rpartition("_")[0] for each in made.filters}

    all_of_them, least = hooks(), hooks(deny=False, empty=False)
    assert all_of_them - least == {"access", "getattr", "getxattr", "listxattr"}
    assert all_of_them - hooks(deny=False) == {"access"}
    assert all_of_them - hooks(empty=False) == {"getattr"}


def test_a_tag_that_stands_for_nothing_is_stale(guard: Guard) -> None:
    tag = 63
    assert guard.look_up("b", "file", above=tag)[1].verdict.value == -errno.ESTALE
    for hook in ("create", "mknod", "mkdir", "symlink", "unlink", "rmdir"):
        assert guard.verdict(hook, name="b", tag=tag) == -errno.ESTALE
    for hook in ("open", "opendir", "readdir", "setattr", "setxattr", "link"):
        assert guard.verdict(hook, tag=tag) == -errno.ESTALE
    listing = [Entry(b"b", type=4), Entry(b"c", type=8)]
    assert guard.run.call("readdir.post", entries=listing, tag=tag).names == ()


def test_the_filters_are_compiled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The second time nothing that compiles or looks into them is imported."""
    monkeypatch.setenv("FUSEBPF_CACHE", str(tmp_path))
    script = (
        "import sys; from hashlib import sha256; from fusebpf.guard.objects import compiled;"
        "from fusebpf.runtime.objects import object_of; import fusebpf.runtime.mounting;"
        "data, *_ = object_of(compiled(256, False, {audit}, False, False), None);"
        "print(sha256(data).hexdigest(),"
        " sum(heavy in sys.modules for heavy in ('fusebpf.compiler', 'elftools')))"
    )

    def made(audit: bool) -> list[str]:
        subprocess.run([sys.executable, "-c", script.format(audit=audit)], check=True, cwd=ROOT)
        return capfd.readouterr().out.split()

    first, again, audited = made(False), made(False), made(True)
    assert [first[1], again[1], audited[1]] == ["1", "0", "1"]
    assert first[0] == again[0] != audited[0]
