# SPDX-License-Identifier: MIT
"""The ready parts: in plain Python, in the typed run and in this kernel, alone and joined."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

import fusebpf.filters as parts
from fusebpf import DslError, FilterSet, Name, OpenIn
from fusebpf.abi import HOOKS
from fusebpf.abi.record import Record
from fusebpf.build import BuildError, compile_file
from fusebpf.constants import EPERM
from fusebpf.dsl import Context
from fusebpf.testing.case import Caller, Case, Cell, Entry
from tests.unit.runs import Runs, runs_of

HEAD = """
from fusebpf import FilterSet
from fusebpf.constants import *
from fusebpf.filters import *
"""


@pytest.fixture
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runs]:
    expression, config = request.param
    source = f"{HEAD}filters = {expression}\n"
    with runs_of(tmp_path / "parts.py", source, config) as made:
        yield made


def of(expression: str, **config: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("runs", [(expression, config)], indirect=True, ids=[expression])


def function(fset: FilterSet, hook: str) -> Callable[..., Any]:
    """The Python function of a hook."""
    return next(f.function for f in fset.filters if f.hook == hook)


@of("hide('*.pem', '.env', 'id_[de]*')")
def test_hide(runs: Runs) -> None:
    names = {"a.pem": -2, ".env": -2, ".envrc": 0, "id_ed25519": -2, "id_": 0, "A.PEM": 0}
    assert {name: runs.verdict("lookup", name) for name in names} == names
    for op in ("create_open", "mknod", "mkdir", "symlink", "link", "unlink", "rmdir"):
        assert {name: runs.verdict(op, name) for name in names} == names
    for name, verdict in names.items():
        assert runs.verdict("rename2", "", old_name=name, new_name="x") == verdict
        assert runs.verdict("rename2", "", old_name="x", new_name=name) == verdict
    listing = tuple(Entry(name.encode()) for name in names)
    kept = runs.run("readdir_postfilter", Case(listing=listing)).listing
    assert [entry.name.decode() for entry in kept] == [n for n, v in names.items() if v == 0]
    lookup = next(f for f in runs.program.filters if f.hook == "lookup_prefilter")
    assert lookup.pure
    shown = parts.hide("*.pem", ".env", "id_[de]*").predicates[0].function
    assert [shown(Context(), Name(name)) for name in names] == [v == 0 for v in names.values()]


@of("hide('*.PEM', 'Id_*', ignore_case=True)")
def test_hide_whatever_the_case(runs: Runs) -> None:
    for name, verdict in (("a.pem", -2), ("A.PeM", -2), ("ID_rsa", -2), ("pem", 0)):
        assert runs.verdict("lookup", name) == verdict


@of("hide('É*', 'x[!A-C_].B', 'Y[A-Z0-9]', 'Z?', ignore_case=True)")
def test_case_is_that_of_ascii_letters(runs: Runs) -> None:
    hidden = ("École", "xd.b", "XD.B", "y7", "yq", "YQ", "z_")
    assert {name: runs.verdict("lookup", name) for name in hidden} == dict.fromkeys(hidden, -2)
    for name in ("école", "xb.b", "XB.B", "x_.b", "y_", "z"):
        assert runs.verdict("lookup", name) == 0


@of("hide('*.PEM', 'README')")
def test_hide_with_capital_letters(runs: Runs) -> None:
    for name, verdict in (("a.PEM", -2), ("README", -2), ("a.pem", 0), ("readme", 0)):
        assert runs.verdict("lookup", name) == verdict


@of("deny('.git', '*.key', errno=EPERM)")
def test_deny(runs: Runs) -> None:
    for name, verdict in ((".git", -1), ("a.key", -1), ("key", 0), (".gitignore", 0)):
        assert runs.verdict("lookup", name) == verdict
    assert "readdir_postfilter" not in {f.hook for f in runs.program.filters}
    denied = function(parts.deny(".git", errno=EPERM), "lookup_prefilter")
    assert denied(Context(), Name(".git")) == -EPERM
    assert denied(Context(), Name("git")) == 0


@of("deny('.Git', ignore_case=True)")
def test_deny_whatever_the_case(runs: Runs) -> None:
    assert [runs.verdict("lookup", n) for n in (".git", ".GIT", "git")] == [-13, -13, 0]


#: Operations that change something; listing them again here is the test's point.
CHANGING = (
    *("create_open", "mknod", "mkdir", "symlink", "link", "unlink", "rmdir", "rename2"),
    *("setattr", "setxattr", "removexattr", "file_fallocate"),
)


@of("read_only(writers=[0, 7])")
def test_read_only(runs: Runs) -> None:
    for op in CHANGING:
        for uid, verdict in ((0, 0), (7, 0), (1, -30)):
            case = Case(caller=Caller(uid=uid), buffers={"name": b"x"} if _named(op) else {})
            assert runs.run(f"{op}_prefilter", case).verdict == verdict, op
    for flags, verdict in ((0, 0), (1, -30), (2, -30), (0o1000, -30), (0o2001, -30), (0o2000, 0)):
        case = Case(structs={"open_in": {"flags": flags}}, caller=Caller(uid=1))
        assert runs.run("open_prefilter", case).verdict == verdict
    assert {f.hook for f in runs.program.filters} == {
        f"{op}_prefilter" for op in (*CHANGING, "open")
    }
    opened = function(parts.read_only(), "open_prefilter")
    assert [opened(Context(), OpenIn(flags=flags)).value for flags in (0, 1)] == [0, -30]


@of("read_only(below=['vendor'])")
def test_read_only_below(runs: Runs) -> None:
    for op in ("unlink", "rmdir"):
        assert [runs.verdict(op, name) for name in ("vendor", "vendors")] == [-30, 0]
    assert runs.verdict("mkdir", "vendor") == 0
    for tag, verdict in ((1, -30), (0, 0)):
        case = Case(tag=tag, buffers={"name": b"x"})
        assert runs.run("unlink_prefilter", case).verdict == verdict


def _named(op: str) -> bool:
    return any(arg.name == "name" for arg in HOOKS[f"{op}_prefilter"].args)


AUDITED = Record.make(
    "Audited",
    [("when", "u64"), ("nodeid", "u64"), ("pid", "u32"), ("uid", "u32"), ("opcode", "u32"),
     ("error", "s32"), ("new", "u32"), ("name", "bytes256")],
)  # fmt: skip


@of("audit(name='seen')")
def test_audit(runs: Runs) -> None:
    def told(hook: str, error: int = 0, **buffers: bytes) -> list[tuple[int | bytes, ...]]:
        caller = Caller(uid=5, pid=9)
        case = Case(caller=caller, nodeid=3, ktime=8, error_in=error, buffers=buffers)
        return [AUDITED.unpack(raw) for raw in runs.run(hook, case).events["seen"]]

    assert told("mkdir_postfilter", -17, name=b"dir") == [(8, 3, 9, 5, 9, -17, 0, b"dir")]
    assert told("open_postfilter") == [(8, 3, 9, 5, 14, 0, 0, b"")]
    assert told("rename2_postfilter", old_name=b"a", new_name=b"b") == [
        (8, 3, 9, 5, 45, 0, 0, b"a"),
        (8, 3, 9, 5, 45, 0, 1, b"b"),
    ]
    for op in ("create_open", "mknod", "symlink", "link", "unlink", "rmdir"):
        assert told(f"{op}_postfilter", name=b"x")[0][-1] == b"x"
    fset = parts.audit()
    function(fset, "unlink_postfilter")(Context(uid=4, error_in=-2), Name("x"))
    (event,) = fset.event_kinds["audit"].emitted
    assert (event.uid, event.error, event.name) == (4, -2, "x")


@of("uid_map(offset=1000, name='ids')", ids_offset=2000)
def test_uid_map(runs: Runs) -> None:
    shown = runs.run(
        "getattr_postfilter", Case(structs={"attr_out": {"attr.uid": 5, "attr.gid": 6}})
    ).structs["attr_out"]
    assert (shown["attr.uid"], shown["attr.gid"]) == (2005, 2006)

    def stored(valid: int, uid: int, gid: int) -> tuple[int, int, int]:
        case = Case(structs={"setattr_in": {"valid": valid, "uid": uid, "gid": gid}})
        outcome = runs.run("setattr_prefilter", case)
        asked = outcome.structs["setattr_in"]
        return outcome.verdict, asked["uid"], asked["gid"]

    assert stored(2 | 4, 2005, 2006) == (0, 5, 6)  # FATTR_UID, FATTR_GID
    assert stored(2, 2005, 6) == (0, 5, 6)
    assert stored(2, 5, 0)[0] == -75
    assert stored(4, 0, 5)[0] == -75
    assert stored(1, 5, 6) == (0, 5, 6)


WINDOW = Record.make("Window", [("start", "u64"), ("opens", "u64")])


@of("rate_limit(9, errno=EBUSY)", rate_limit=2, rate_window_ms=10)
def test_rate_limit(runs: Runs) -> None:
    def opened(hook: str, now: int, *before: int) -> tuple[int, tuple[int | bytes, ...]]:
        stored: dict[Cell, Cell] = {5: WINDOW.pack(list(before))} if before else {}
        case = Case(ktime=now, caller=Caller(uid=5), maps={"rate_windows": stored})
        outcome = runs.run(hook, case)
        value = outcome.maps["rate_windows"][5]
        assert isinstance(value, bytes)
        return outcome.verdict, WINDOW.unpack(value)

    for hook in ("open_prefilter", "create_open_prefilter"):
        assert opened(hook, 1000) == (0, (1000, 1))
        assert opened(hook, 2000, 1000, 1) == (0, (1000, 2))
        assert opened(hook, 3000, 1000, 2) == (-16, (1000, 2))
        assert opened(hook, 10_001_000, 1000, 2) == (0, (10_001_000, 1))
    throttle = function(parts.rate_limit(100), "open_prefilter")
    verdicts = [throttle(Context(uid=1, ktime=9), OpenIn()).value for _ in range(101)]
    assert verdicts == [0] * 100 + [-11]


@of("fault_injection(7)", fault_every=3, fault_errno=28)
def test_fault_injection(runs: Runs) -> None:
    for before, verdict in ((0, 0), (1, 0), (2, -28), (3, 0), (5, -28)):
        for hook in ("read_iter_prefilter", "write_iter_prefilter", "fsync_prefilter"):
            case = Case(maps={"fault_calls": {0: before}})
            assert runs.run(hook, case).verdict == verdict
    read = function(parts.fault_injection(), "read_iter_prefilter")
    assert [read(Context(), None).value for _ in range(200)].count(-5) == 2


@of("FilterSet('all', hide('.*'), deny('x'), read_only(), audit())")
def test_parts_together(runs: Runs) -> None:
    assert [runs.verdict("lookup", n) for n in (".x", "x", "y")] == [-2, -13, 0]
    # Hidden first, then read-only; what both let pass is asked for its audit.
    assert [runs.verdict("mkdir", n) for n in (".x", "y")] == [-2, -30]
    assert runs.run("open_prefilter", Case()).verdict == 3
    assert len(runs.run("open_postfilter", Case(ktime=1)).events["audit"]) == 1


@of("FilterSet('all', hide('*.a'), hide('*.b', name='more'), fault_injection(name='f'))")
def test_a_part_twice(runs: Runs) -> None:
    assert [runs.verdict("lookup", n) for n in ("x.a", "x.b", "x.c")] == [-2, -2, 0]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("hide()", "[E130]"),
        ("deny('')", "[E130]"),
        ("read_only(below=['vendor', 1.5])", "[E130]"),
        ("read_only(writers=['root'])", "[E130]"),
        ("hide('a/b')", "[E232]"),
        ("hide('[Z-a]x', ignore_case=True)", "[E130]"),
        ("deny('[!0-Z]', ignore_case=True)", "[E130]"),
        ("rate_limit(0)", "[E125]"),
        ("audit(size=3)", "[E123]"),
        ("audit(name='much_too_long_for_it')", "[E120]"),
        ("FilterSet('all', audit(), audit())", "both have a map 'audit'"),
        ("FilterSet('all', rate_limit(), rate_limit())", "'rate' and 'rate' both have a map"),
    ],
)
def test_mistakes_are_located_where_the_part_is_used(
    tmp_path: Path, expression: str, said: str
) -> None:
    path = tmp_path / "parts.py"
    path.write_text(f"{HEAD}filters = {expression}\n")
    with pytest.raises(BuildError) as caught:
        compile_file(path)
    text = caught.value.render()
    assert said in text
    assert "[E232]" in said or f"parts.py:{len(HEAD.splitlines()) + 1}:" in text
    assert "help:" in text


def test_mistakes_are_errors_in_plain_python_too() -> None:
    with pytest.raises(DslError, match="takes patterns"):
        parts.hide()


PATTERNS = ("*.pem", ".env*", "id_[de]*", "a?c", "[!a]b", "*x*y*", "plain")


def packed(rows: list[tuple[int, ...]]) -> dict[Cell, Cell]:
    return {
        state: b"".join(next_.to_bytes(2, "little") for next_ in row)
        for state, row in enumerate(rows)
    }


def test_transitions_accept_what_the_globs_do() -> None:
    rows = parts.transitions(PATTERNS)
    rng = random.Random(3)
    pieces = (".pem", ".env", "id_", "d", "e", "a", "b", "c", "x", "y", "plain", "\xff", "é")
    names = ["".join(rng.choices(pieces, k=rng.randint(1, 4))).encode() for _ in range(3000)]
    accepted = 0
    for name in names:
        state = 0
        for byte in name:
            state = rows[state][byte]
        matches = any(fnmatchcase(name, pattern.encode()) for pattern in PATTERNS)
        assert state % 2 == matches, name
        accepted += matches
    assert 300 < accepted < 2700


@of("hide_listed(states=128)")
def test_hide_listed(runs: Runs) -> None:
    rows = packed(parts.transitions(PATTERNS))
    assert len(rows) <= 128

    def looked(name: bytes, maps: dict[Cell, Cell]) -> int:
        case = Case(buffers={"name": name}, maps={"hidden": maps})
        return runs.run("lookup_prefilter", case).verdict

    for name, verdict in ((b"a.pem", -2), (b"a.pe", 0), (b".env.local", -2), (b"abc", -2)):
        assert looked(name, rows) == verdict
        assert looked(name, {}) == 0
    # What leads nowhere is hidden, not shown.
    assert looked(b"x", {0: bytes([128, 0]) * 256}) == -2
    fset = parts.hide_listed(states=128)
    for state, row in enumerate(parts.transitions(PATTERNS)):
        fset.maps["hidden"][state] = row  # type: ignore[index]
    shown = fset.predicates[0].function
    assert [shown(Context(), Name(n)) for n in ("a.pem", "a.pe", "abc")] == [False, True, False]
