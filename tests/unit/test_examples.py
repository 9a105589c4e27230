# SPDX-License-Identifier: MIT
"""The examples do what their first line says: in plain Python, in the typed run, in this kernel."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusebpf import Name
from fusebpf.build import build_compiled, compile_file
from fusebpf.dsl import Context
from fusebpf.testing.case import Caller, Case, Cell, Entry, Outcome
from tests.unit.runs import runs_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

Run = Callable[..., Outcome]
CALLER = Caller(uid=5)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Any:
    """Runs a hook of the example named by the test's parameter; both runs must agree."""
    name, config = request.param
    with runs_of(EXAMPLES / f"{name}.py", config=config) as runs:
        yield lambda hook, **case: runs.run(hook, Case(**case))


def example(name: str, config: dict[str, int] | None = None) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("run", [(name, config or {})], indirect=True, ids=[name])


def plain(name: str) -> dict[str, Any]:
    """The example's names, as ordinary Python."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def looked(run: Run, name: bytes) -> int:
    return run("lookup_prefilter", buffers={"name": name}).verdict


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_builds(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 40 or "fusebpf.daemon" in text  # daemons are two programs
    compiled = compile_file(path)
    assert not compiled.warnings
    assert build_compiled(compiled).data.startswith(b"\x7fELF")


@example("hide_everywhere")
def test_hide_everywhere(run: Run) -> None:
    hidden = {b"a.pem": -2, b"id_ed25519": -2, b"id_ed25519.pub": 0, b".env.local": -2, b"id_": 0}
    assert {name: looked(run, name) for name in hidden} == hidden
    entries = tuple(Entry(name) for name in hidden)
    kept = run("readdir_postfilter", listing=entries).listing
    assert [entry.name for entry in kept] == [b"id_ed25519.pub", b"id_"]
    moved = {"old_name": b"a", "new_name": b"a.key"}
    assert run("rename2_prefilter", buffers=moved).verdict == -2
    harmless = plain("hide_everywhere")["harmless"]
    assert [harmless(Context(), Name(name)) for name in hidden] == [v == 0 for v in hidden.values()]


@example("media_only")
def test_media_only(run: Run) -> None:
    for name, verdict in ((b"A.JPG", 0), (b"notes.txt", -2), (b"2024", 0), (b"..", 0)):
        assert looked(run, name) == verdict


@example("protect_suffix", {"erofs": True})
def test_protect_suffix(run: Run) -> None:
    user, root = Caller(uid=1000), Caller(uid=0)
    for name, protected in ((b"app.DB", 1), (b"x.journal", 1), (b"app.txt", 0), (b"db", 0)):
        assert run("lookup_prefilter", buffers={"name": name}, tag=1 - protected).tag == protected
        names = {"old_name": b"a", "new_name": name}
        back = {"old_name": name, "new_name": b"a"}
        for caller, verdict in ((user, -30 * protected), (root, 0)):
            removed = run("unlink_prefilter", buffers={"name": name}, caller=caller)
            moved = [run("rename2_prefilter", buffers=n, caller=caller) for n in (names, back)]
            assert [done.verdict for done in (removed, *moved)] == [verdict] * 3
    for flags, size, verdict in ((os.O_RDWR, 8, -30), (os.O_TRUNC, 9, -30), (os.O_APPEND, 1, 0)):
        asked = {"open_in": {"flags": flags}}
        assert run("open_prefilter", structs=asked, caller=user, tag=1).verdict == verdict
        assert run("open_prefilter", structs=asked, caller=user, tag=0).verdict == 0
        asked = {"setattr_in": {"valid": size}}
        assert run("setattr_prefilter", structs=asked, caller=user, tag=1).verdict == verdict
        assert run("setattr_prefilter", structs=asked, caller=root, tag=1).verdict == 0


@example("frozen_subtree")
def test_frozen_subtree(run: Run) -> None:
    # What is looked up in a directory has its tag where none is set.
    assert run("lookup_prefilter", buffers={"name": b"vendor"}).tag == 1
    assert run("lookup_prefilter", buffers={"name": b"x"}, tag=1).tag is None

    def refused(op: str, tag: int, tag2: int = 0, uid: int = 5, **names: bytes) -> bool:
        buffers = names or {"name": b"n"}
        case = {"buffers": buffers, "tag": tag, "tag2": tag2, "caller": Caller(uid=uid)}
        return bool(run(f"{op}_prefilter", **case).verdict == -30)

    for op in ("create_open", "mkdir", "symlink", "unlink", "link", "setattr", "removexattr"):
        assert [refused(op, tag) for tag in (0, 1)] == [False, True]
        assert not refused(op, 1, uid=0)
    # Into it, and of the directory itself; but contents may be copied from it.
    assert [refused("link", 0, tag2) for tag2 in (0, 1)] == [False, True]
    assert [refused("copy_file_range", 1 - tag2, tag2) for tag2 in (0, 1)] == [False, True]
    for tags, old, new in (((0, 1), b"a", b"b"), ((0, 0), b".git", b"b"), ((0, 0), b"a", b".git")):
        assert refused("rename2", *tags, old_name=old, new_name=new)
    assert not refused("rename2", 0, old_name=b"a", new_name=b"b")


@example("redacted_logs")
def test_redacted_logs(run: Run) -> None:
    def found(name: bytes, mode: int, error: int = 0) -> tuple[int, int | None]:
        out = {"entry_out": {"attr.mode": mode}}
        done = run("lookup_postfilter", buffers={"name": name}, structs=out, tag=9, error_in=error)
        return done.verdict, done.tag

    # The daemon numbers logs and directories; only logs are marked, and left to it when opened.
    assert found(b"a.log", 0o100644) == (4, 1)
    assert found(b"a.txt", 0o100644) == (0, 0)
    assert found(b"a.log", 0o040755) == (4, 0)
    assert found(b"a.log", 0, -2)[0] == 0
    for tag, opened, written in ((0, 0, 0), (1, 1, -13)):
        assert run("open_prefilter", tag=tag).verdict == opened
        asked = {"open_in": {"flags": os.O_RDWR}}
        assert run("open_prefilter", structs=asked, tag=tag).verdict == written
        assert run("link_prefilter", buffers={"name": b"x"}, tag=tag).verdict == -tag
    assert run("unlink_prefilter", buffers={"name": b"a.log"}).verdict == -1
    assert run("create_open_prefilter", buffers={"name": b"a.log"}).verdict == -1
    text = "card 4111-1111, total 7 €".encode()
    assert text.translate(plain("redacted_logs")["MASKED"]).decode() == "card ####-####, total # €"


@example("workspace")
def test_workspace(run: Run) -> None:
    assert [looked(run, name) for name in (b".env", b".git", b"README")] == [-2, -13, 0]
    for uid, verdict in ((0, -30), (1000, 3)):
        made = run("mkdir_prefilter", buffers={"name": b"new"}, caller=Caller(uid=uid))
        assert made.verdict == verdict
    assert run("mkdir_postfilter", ktime=1, buffers={"name": b"new"}).events["audit"]


@example("fault_injection", {"fault_every": 3, "fault_errno": 28})
def test_fault_injection(run: Run) -> None:
    verdicts = [run("fsync_prefilter", maps={"fault_calls": {0: n}}).verdict for n in range(3)]
    assert verdicts == [0, 0, -28]


@example("hide_denied")
def test_hide_denied(run: Run) -> None:
    for error, verdict in ((-13, -2), (-1, -2), (-5, 0), (0, 0)):
        assert run("lookup_postfilter", error_in=error).verdict == verdict


@example("uid_shift")
def test_uid_shift(run: Run) -> None:
    shown = run("getattr_postfilter", structs={"attr_out": {"attr.uid": 5, "attr.gid": 6}})
    assert shown.structs["attr_out"]["attr.uid"] == 100005


@example("masked_env")
def test_masked_env(run: Run) -> None:
    tags = {b".env": 1, b".env.local": 1, b".envrc": 0, b"x": 0}
    for name, tag in tags.items():
        assert run("lookup_prefilter", buffers={"name": name}, tag=1 - tag).tag == tag
    for tag, verdict in ((0, 3), (1, -13)):
        asked = {"open_in": {"flags": os.O_WRONLY}}
        assert run("open_prefilter", structs=asked, tag=tag).verdict == verdict
        assert run("open_prefilter", tag=tag).verdict == 3
        opened = run("open_postfilter", tag=tag).structs["open_out"]
        assert opened["open_flags"] == tag << 31
        attributes = run("getattr_postfilter", structs={"attr_out": {"attr.size": 9}}, tag=tag)
        assert attributes.structs["attr_out"]["attr.size"] == 9 * (1 - tag)


@example("as_text")
def test_as_text(run: Run) -> None:
    names = {b"a.txt": b"a.mdx", b"a.mdx": b"a.txt.hidden", b"a.md": b"a.md"}
    for name, below in names.items():
        assert run("lookup_prefilter", buffers={"name": name}).buffers["name"] == below
    listing = tuple(map(Entry, (b"a.mdx", b"b.txt", b"dir")))
    kept = run("readdir_postfilter", listing=listing).listing
    assert [entry.name for entry in kept] == [b"a.txt", b"dir"]
    assert run("mkdir_prefilter", buffers={"name": b"new.txt"}).verdict == -1


@example("any_case")
def test_any_case(run: Run) -> None:
    found = run("lookup_prefilter", buffers={"name": "ReadMÉ".encode()})
    assert found.buffers["name"] == "readmÉ".encode()
    kept = run("readdir_postfilter", listing=tuple(map(Entry, (b"a", b"aB", b"Z")))).listing
    assert [entry.name for entry in kept] == [b"a"]
    for name, verdict in ((b"new", 0), (b"New", -1)):
        assert run("mkdir_prefilter", buffers={"name": name}).verdict == verdict


@example("quota", {"limit": 10000})
def test_quota(run: Run) -> None:
    def wrote(size: int, before: int) -> int:
        asked = {"write_in": {"size": size}}
        maps: dict[str, dict[Cell, Cell]] = {"written": {5: before}}
        return run("write_iter_prefilter", structs=asked, caller=CALLER, maps=maps).verdict

    assert [wrote(4000, before) for before in (0, 6000, 6001)] == [3, 3, -122]
    done = run("write_iter_postfilter", structs={"write_iter_out": {"ret": 7}}, caller=CALLER)
    assert done.maps["written"] == {5: 7}
    failed = run("write_iter_postfilter", error_in=-28, caller=CALLER)
    assert failed.maps["written"] == {}
    for before, left in ((0, 9), (9500, 0), (20000, 0)):
        outcome = run(
            "statfs_postfilter",
            structs={"statfs_out": {"st.frsize": 1024}},
            caller=CALLER,
            maps={"written": {5: before}},
        )
        shown = outcome.structs["statfs_out"]
        assert (shown["st.blocks"], shown["st.bfree"], shown["st.bavail"]) == (9, left, left)


@example("own_files")
def test_own_files(run: Run) -> None:
    owners: dict[str, dict[Cell, Cell]] = {"owners": {b"anna".ljust(64, b"\0"): 5}}
    for uid, name, verdict in ((5, b"anna", 0), (6, b"anna", -2), (0, b"anna", 0), (6, b"x", 0)):
        found = run("lookup_prefilter", buffers={"name": name}, caller=Caller(uid=uid), maps=owners)
        assert found.verdict == verdict
