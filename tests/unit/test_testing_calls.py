# SPDX-License-Identifier: MIT
"""Filters called by ``fusebpf.testing``: what an author writes, what they get to see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusebpf import (
    CALL_DEFAULT,
    CONTINUE,
    POSTFILTER,
    Attr,
    AttrOut,
    Context,
    CreateIn,
    EntryOut,
    FilterSet,
    FsyncIn,
    Name,
    OpenIn,
    OpenOut,
    Verdict,
)
from fusebpf.constants import (
    EACCES,
    EIO,
    ENOENT,
    EPERM,
    O_CREAT,
    O_EXCL,
    O_NOCTTY,
    O_RDWR,
    O_TMPFILE,
    O_WRONLY,
)
from fusebpf.errors import UsageError
from fusebpf.testing import DisagreementError, Entry, FilterRun, load
from fusebpf.testing.filterrun import Run
from fusebpf.testing.pyrun import PyRun
from fusebpf.types import u32, u64

SOURCE = """\
from dataclasses import dataclass
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("guard")
most = filters.config("most", u32, 2, least=1, most=9)

@dataclass
class Use:
    made: u64
    last: u64

@dataclass
class Who:
    uid: u32
    name: bytes32

uses = filters.hash("uses", key=Who, value=Use, max_entries=2)
total = filters.array("total", value=u64, max_entries=3)
sent = filters.events("sent", Who)

def private(name: Name) -> bool:
    if name.startswith("."):
        return True
    return name == "core"

@filters.lookup.pre
def hide(ctx: Context, found: Name):
    if private(found):
        return -ENOENT
    if found.endswith(".TXT"):
        found[:] = found.lower()
    ctx.tag = 7

@filters.mkdir.pre
def made(ctx: Context, req: MkdirIn, name: Name):
    who = Who(uid=ctx.uid, name=name)
    uses[who].made += 1
    total[1] += 1
    sent.emit(who)
    use = uses.get(who)
    return refuse(EDQUOT) if use is not None and use.made > most else CONTINUE

@filters.getattr.post
def shown(ctx: Context, req: GetattrIn, out: AttrOut):
    out.attr.uid += 100

@filters.readdir.post
def listing(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):
    for entry in entries:
        if private(entry.name):
            entry.drop()

@filters.fsync.post
def synced(ctx: Context, req: FsyncIn):
    ctx.clear_error()

@filters.default
def anything(ctx: Context):
    if ctx.opcode == 45:
        return -EPERM
"""


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(SOURCE.splitlines(), 1) if text in line)


@pytest.fixture(params=["python", "kernel"])
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FilterRun]:
    if request.param == "kernel" and os.geteuid() != 0:
        pytest.skip("loading BPF programs needs root (CAP_BPF)")
    path = tmp_path / "guard.py"
    path.write_text(SOURCE)
    with load(path, run=request.param) as made:
        yield made


def test_a_verdict_and_the_line_that_gave_it(guard: FilterRun) -> None:
    result = guard.call("lookup.pre", found=".env")
    assert result.verdict == -ENOENT
    assert repr(result.verdict) == "-ENOENT"
    assert result.decided is not None
    assert (result.decided.line, result.decided.text) == (
        line_of("return -ENOENT"),
        "return -ENOENT",
    )
    assert [place.line for place in result.trace] == [
        line_of("if private(found)"),
        line_of("if name.startswith"),
        line_of("return True"),
        line_of("return -ENOENT"),
    ]
    assert f"guard.py:{result.decided.line}: return -ENOENT" in repr(result)


def test_names_tags_and_arguments_that_change(guard: FilterRun) -> None:
    result = guard.call("lookup.pre", found="A.TXT")
    assert result.arguments == {"found": b"a.txt"}
    assert result.changed == {"found": b"a.txt"}
    assert result.tag == 7
    assert result.verdict == CONTINUE
    assert result.decided is not None
    assert result.decided.line == line_of("ctx.tag = 7")
    assert "found = b'a.txt'" in result.describe()


def test_maps_are_kept_between_calls_and_hold_dataclasses(guard: FilterRun) -> None:
    verdicts = [guard.call("mkdir.pre", name="new", uid=5).verdict for _ in range(3)]
    assert [v.value for v in verdicts] == [0, 0, -122]
    ((who, use),) = guard.maps["uses"].items()
    assert (who.uid, who.name, use.made) == (5, b"new", 3)
    assert (guard.maps["total"][0], guard.maps["total"][1]) == (0, 3)
    guard.maps["uses"][5, "new"] = (0, 0)
    assert guard.call("mkdir.pre", name="new", uid=5).verdict == CONTINUE
    del guard.maps["uses"][who]
    assert dict(guard.maps["uses"]) == {}


def test_events_are_dataclasses(guard: FilterRun) -> None:
    (event,) = guard.call("mkdir.pre", name="new", uid=5).events["sent"]
    assert (event.uid, event.name) == (5, b"new")


def test_structs_are_written_as_structs(guard: FilterRun) -> None:
    result = guard.call("getattr.post", out=AttrOut(attr=Attr(uid=5, size=9)))
    assert result.changed == {"out.attr.uid": 105}
    assert (result.arguments["out"].attr.uid, result.arguments["out"].attr.size) == (105, 9)


def test_a_postfilter_that_a_mount_never_asks_is_told(guard: FilterRun) -> None:
    """The default filter decides what comes before it, and never asks for it."""
    result = guard.call("getattr.post")
    assert result.idle == "shown never runs: nothing returns POSTFILTER for getattr"
    assert f"on a mount {result.idle}" in result.describe()
    for hook in ("getattr.pre", "lookup.pre", "mknod.post"):
        assert guard.call(hook).idle is None
    assert load(nameless).call("create.post").idle is None
    assert load(local).call("unlink.post").idle is None


def test_a_listing(guard: FilterRun) -> None:
    entries = ["a", Entry(b".b", type=4), "core", "c"]
    assert guard.call("readdir.post", entries=entries).names == (b"a", b"c")


def test_errors_come_in_and_go(guard: FilterRun) -> None:
    assert guard.call("fsync.post", error_in=-ENOENT).cleared
    assert not guard.call("fsync.post").cleared


def test_a_hook_without_a_filter_does_what_the_kernel_does(guard: FilterRun) -> None:
    # The default filter is asked, and sees which operation it is (RENAME2 is 45, MKNOD 8).
    assert repr(guard.call("rename.pre", old_name="a", new_name="b").verdict) == "-EPERM"
    assert guard.call("mknod.pre", name="a").verdict == CONTINUE
    # After the operation, too, once a postfilter was asked for.
    assert guard.call("rename.post", old_name="a", new_name="b").verdict == -EPERM
    asked = guard.call("mknod.post", name="a")
    assert asked.verdict == CONTINUE
    assert [place.line for place in asked.trace] == [line_of("if ctx.opcode == 45")]


def test_the_default_filter_is_told_the_operation(guard: FilterRun) -> None:
    """By its name in the language or the protocol, or its number; one without hooks, too."""
    for opcode in ("rename", "rename2", "RENAME2", 45):
        assert guard.call("default", opcode=opcode).verdict == -EPERM
    for opcode in ("mkdir", "create", "IOCTL", "read", 37, 12, 51):
        result = guard.call("default", opcode=opcode, uid=1)
        assert result.verdict == CONTINUE
        assert [place.line for place in result.trace] == [line_of("if ctx.opcode == 45")]


nameless = FilterSet("nameless")


@nameless.create_open.pre
def made_by_name(ctx: Context, req: CreateIn, name: Name) -> Verdict:
    if ctx.opcode == 51 and name == "":
        return -EPERM
    return POSTFILTER


@nameless.create_open.post
def opened_too(ctx: Context, req: CreateIn, name: Name, out: EntryOut, opened: OpenOut) -> Verdict:
    return -EPERM if ctx.opcode == 51 else CONTINUE


@pytest.mark.parametrize("run", ["python", "kernel"])
def test_a_file_without_a_name(run: Run) -> None:
    """O_TMPFILE asks the filters of CREATE, with an empty name and a number of its own."""
    if run == "kernel" and os.geteuid() != 0:
        pytest.skip("loading BPF programs needs root (CAP_BPF)")
    with load(nameless, run=run) as filters:
        for hook in ("create.pre", "create_open.post"):
            for name in ("", b""):
                req = CreateIn(flags=O_TMPFILE | O_RDWR)
                assert filters.call(hook, name=name, req=req).verdict == -EPERM
            assert filters.call(hook, name="a").verdict != -EPERM


@pytest.mark.parametrize(
    ("hook", "given", "message"),
    [
        ("default", {}, "say which operation it decides: opcode="),
        ("default", {"opcode": 0}, "no default filter is asked about that"),
        ("default", {"opcode": 26}, "no default filter is asked about that"),
        ("default", {"opcode": None}, "no default filter is asked about that"),
        ("default", {"opcode": "mkdri"}, "did you mean 'mkdir'"),
        ("default", {"operation": 1}, "say which operation it decides: opcode="),
        ("default", {"opcode": 1, "name": "x"}, "default has no argument 'name'"),
        ("mkdir.pre", {"opcode": 9}, "mkdir.pre has no argument 'opcode'"),
        ("open.pre", {"open_in": OpenIn(flags=O_CREAT)}, "O_CREAT: the kernel takes that out"),
        ("opendir.pre", {"open_in": OpenIn(flags=O_NOCTTY)}, "leave O_NOCTTY out"),
        ("open.post", {"open_in": OpenIn(flags=O_EXCL)}, "leave O_EXCL out"),
        (
            "create.pre",
            {"create_in": CreateIn(flags=O_WRONLY | O_CREAT | O_EXCL)},
            "create_in.flags has O_CREAT and O_EXCL",
        ),
        ("lookpu.pre", {}, "did you mean 'lookup'"),
        ("lookup", {}, '"lookup.pre" or "lookup.post"'),
        ("lookup.pre", {"fond": "x"}, "did you mean 'found'"),
        ("lookup.pre", {"found": ""}, "1 to 255 bytes"),
        ("lookup.pre", {"found": "x" * 256}, "at most 255"),
        ("lookup.pre", {"found": "a\0b"}, "no NUL"),
        ("lookup.pre", {"found": 5}, "is no text"),
        ("lookup.pre", {"uid": -1}, "does not fit 32 bits"),
        ("lookup.pre", {"uid": "root"}, "is no number"),
        ("mkdir.pre", {"req": {"mode": 1}}, "is no MkdirIn"),
        ("mkdir.pre", {"req": OpenIn()}, "is no MkdirIn"),
        ("readdir.post", {"entries": "abc"}, "is no listing"),
        ("readdir.post", {"entries": [""]}, "1 to 255 bytes"),
        ("fsync.post", {"error_in": 5}, "the minus is missing"),
        ("fsync.post", {"error_in": ENOENT}, "the minus is missing"),
    ],
)
def test_wrong_arguments_are_told(
    tmp_path: Path, hook: str, given: dict[str, object], message: str
) -> None:
    path = tmp_path / "guard.py"
    path.write_text(SOURCE)
    with pytest.raises(UsageError, match=message):
        load(path).call(hook, **given)


def test_wrong_values_of_maps_and_config_are_told(tmp_path: Path) -> None:
    path = tmp_path / "guard.py"
    path.write_text(SOURCE)
    guard = load(path)
    with pytest.raises(UsageError, match="no index 3"):
        guard.maps["total"][3] = 1
    with pytest.raises(UsageError, match="is no u64"):
        guard.maps["total"][0] = -1
    with pytest.raises(UsageError, match="is no Use"):
        guard.maps["uses"][5, "a"] = 1
    for name in "ab":
        guard.maps["uses"][5, name] = (0, 0)
    with pytest.raises(UsageError, match="full"):
        guard.maps["uses"][5, "c"] = (0, 0)
    with pytest.raises(UsageError, match="no config value 'mots'"):
        load(path, config={"mots": 1})
    with pytest.raises(UsageError, match="not from 1 to 9"):
        load(path, config={"most": 10})
    strict = load(path, config={"most": 1})
    verdicts = [strict.call("mkdir.pre", name="a").verdict.value for _ in range(2)]
    assert verdicts == [0, -122]


@dataclass
class Opened:
    uid: u32


local = FilterSet("local")
opened = local.events("opened", Opened)
count = local.hash("count", key=u32, value=u64, max_entries=4)


@local.open.pre
def look(ctx: Context, req: OpenIn) -> Verdict:
    opened.emit(Opened(uid=ctx.uid))
    return POSTFILTER if ctx.uid == 0 else -EACCES


@local.unlink.post
def counted(ctx: Context, name: Name) -> None:
    count[ctx.uid] += 1


def test_a_set_of_the_running_program() -> None:
    guard = load(local)
    result = guard.call("open.pre", uid=3)
    assert result.verdict == -EACCES
    assert result.events["opened"] == (Opened(uid=u32(3)),)
    # There is a postfilter and nothing before it: the kernel goes on to it.
    assert guard.call("unlink.pre", name="a").verdict == POSTFILTER


deferring = FilterSet("deferring")
noted = deferring.events("noted", Opened)
turns = deferring.hash("turns", key=u32, value=u64, max_entries=4)


@deferring.lookup.pre
def deferred(ctx: Context, name: Name) -> Verdict:
    turns[ctx.uid] += 1
    noted.emit(Opened(uid=u32(1)))
    ctx.tag = 7
    if name == "A":
        name[:] = name.lower()
    return CALL_DEFAULT


@deferring.fsync.post
def synced_or_not(ctx: Context, req: FsyncIn) -> Verdict:
    ctx.clear_error()
    return CALL_DEFAULT


@deferring.default
def decides(ctx: Context) -> Verdict:
    turns[ctx.uid] += 10
    noted.emit(Opened(uid=u32(2)))
    if ctx.uid == 9:
        return CALL_DEFAULT
    if ctx.tag == 7:
        return -EPERM
    return -EACCES if turns.get(ctx.uid, 0) >= 21 else POSTFILTER


alone = FilterSet("alone")


@alone.unlink.pre
def nobody_decides(ctx: Context, name: Name) -> Verdict:
    return CALL_DEFAULT


@pytest.mark.parametrize("run", ["python", "kernel"])
def test_a_filter_that_defers_is_decided_by_the_default_filter(run: Run) -> None:
    if run == "kernel" and os.geteuid() != 0:
        pytest.skip("loading BPF programs needs root (CAP_BPF)")
    with load(deferring, run=run) as filters:
        result = filters.call("lookup.pre", name="A", uid=5)
        assert result.verdict == POSTFILTER
        # What both did: the default filter finds the maps as they are by then, the tag as it was.
        assert (result.tag, result.changed) == (7, {"name": b"a"})
        assert filters.maps["turns"][5] == 11
        assert result.events["noted"] == (Opened(uid=u32(1)), Opened(uid=u32(2)))
        assert result.decided is not None
        assert result.decided.text.startswith("return -EACCES if turns.get")
        assert result.trace[-1] == result.decided
        assert "return CALL_DEFAULT" in [place.text for place in result.trace]
        assert filters.call("lookup.pre", name="a", uid=5).verdict == -EACCES
        # The default filter has nobody to defer to.
        assert filters.call("lookup.pre", name="a", uid=9).verdict == -EIO
        assert filters.call("mkdir.pre", name="a", uid=9).verdict == -EIO
        # After the operation it is the same.
        result = filters.call("fsync.post", uid=1, error_in=-EPERM)
        assert (result.verdict, result.cleared) == (POSTFILTER, True)


def test_a_filter_that_defers_to_nobody_goes_on() -> None:
    result = load(alone).call("unlink.pre", name="a")
    assert result.verdict == CONTINUE
    assert result.decided is not None
    assert result.decided.text == "return CALL_DEFAULT"


@pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root (CAP_BPF)")
def test_runs_that_disagree_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python gets one number of the context wrong.
    real = PyRun._context
    monkeypatch.setattr(PyRun, "_context", lambda self, name: real(self, name) + (name == "uid"))
    with (
        load(local, run="kernel") as guard,
        pytest.raises(DisagreementError, match="the kernel did another thing"),
    ):
        guard.call("open.pre", uid=3)


def test_the_part_that_refused_decides(tmp_path: Path) -> None:
    path = tmp_path / "whole.py"
    path.write_text("""\
from fusebpf import *
from fusebpf.constants import *
first, second = FilterSet("first"), FilterSet("second")

@first.unlink.pre
def one(ctx: Context, name: Name):
    return POSTFILTER

def check(name: Name) -> Verdict:
    verdict = CONTINUE
    if name == "keep":
        verdict = -EPERM
    return verdict

@second.unlink.pre
def two(ctx: Context, name: Name):
    return -EACCES if name == "a" else check(name)

whole = FilterSet("whole", first, second)
""")
    guard = load(path)
    lines = {"a": "return -EACCES if", "keep": "return verdict", "other": "return POSTFILTER"}
    for name, text in lines.items():
        decided = guard.call("unlink.pre", name=name).decided
        assert decided is not None
        assert decided.text.startswith(text)


recent = FilterSet("recent")
seen = recent.lru_hash("seen", key=u32, value=u64, max_entries=2)


@recent.unlink.pre
def remembered(ctx: Context, name: Name) -> Verdict:
    known = ctx.uid in seen
    seen[ctx.uid] += 1
    return CONTINUE if known else -EACCES


@pytest.mark.parametrize("run", ["python", "kernel"])
def test_a_full_lru_map_forgets(run: Run) -> None:
    if run == "kernel" and os.geteuid() != 0:
        pytest.skip("loading BPF programs needs root (CAP_BPF)")
    with load(recent, run=run) as filters:
        for uid in (1, 2, 3):
            assert filters.call("unlink.pre", name="a", uid=uid).verdict == -EACCES
        assert filters.call("unlink.pre", name="a", uid=3).verdict == CONTINUE
        assert filters.maps["seen"][3] == 2
        assert len(filters.maps["seen"]) <= 2


def test_a_run_that_there_is_not_is_told() -> None:
    with pytest.raises(UsageError, match="there is no run 'both'"):
        load(FilterSet("any"), run="both")  # type: ignore[arg-type]
