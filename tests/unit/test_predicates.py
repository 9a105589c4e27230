# SPDX-License-Identifier: MIT
"""Predicates: every hook in which a name appears answers alike, in both runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf.build import BuildError, compile_file
from fusebpf.testing.case import Caller, Case, Entry, Outcome
from tests.unit.runs import Runs, runs_of

HEAD = """
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *
filters = FilterSet("asked")
hits = filters.array("hits", value=u64, max_entries=2)
"""
VISIBLE = """
@filters.visible
def shown(ctx: Context, name: Name) -> bool:
    return not name.endswith('.pem')
"""
DELETABLE = """
@filters.deletable
def loose(ctx: Context, name: Name) -> bool:
    return ctx.uid == 0 or name != "keep"
"""
WRITABLE = """
@filters.writable
def owner(ctx: Context) -> bool:
    return ctx.uid == 7
"""
CREATABLE = """
@filters.creatable
def plain(ctx: Context, name: Name) -> bool:
    return name[0] != 0x2E
"""
COUNT = """
@filters.lookup.pre
def count(ctx: Context, name: Name):
    hits[0] += 1
    return -EIO if name == "broken" else POSTFILTER

@filters.lookup.post
def found(ctx: Context, name: Name, out: EntryOut, entries: Buffer):
    pass
"""


@pytest.fixture
def runs(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Runs]:
    with runs_of(tmp_path / "asked.py", HEAD + request.param) as made:
        yield made


MAKING = ("create_open", "mknod", "mkdir", "symlink", "link")


@pytest.mark.parametrize("runs", [VISIBLE], indirect=True)
def test_what_is_not_visible_is_nowhere(runs: Runs) -> None:
    assert runs.verdict("lookup", "a.pem") == -2
    assert runs.verdict("lookup", "a") == 0
    for op in (*MAKING, "unlink", "rmdir"):
        assert runs.verdict(op, "a.pem") == -2
        assert runs.verdict(op, "a") == 0
    assert runs.verdict("rename2", "", old_name="a.pem", new_name="b") == -2
    assert runs.verdict("rename2", "", old_name="a", new_name="b.pem") == -2
    assert runs.verdict("rename2", "", old_name="a", new_name="b") == 0
    assert runs.run("readdir_prefilter", Case()).verdict == 3
    entries = tuple(Entry(name) for name in (b".", b"a.pem", b"b", b".pem"))
    outcome = runs.run("readdir_postfilter", Case(listing=entries))
    assert [entry.name for entry in outcome.listing] == [b".", b"b"]


@pytest.mark.parametrize("runs", [VISIBLE.replace("endswith('.pem')", "glob('.*')")], indirect=True)
def test_a_directory_and_its_parent_are_listed_whatever_is_hidden(runs: Runs) -> None:
    names = (b".", b"..", b"...", b".env", b"a")
    kept = runs.run("readdir_postfilter", Case(listing=tuple(Entry(name) for name in names)))
    assert [entry.name for entry in kept.listing] == [b".", b"..", b"a"]


@pytest.mark.parametrize("runs", [DELETABLE + CREATABLE], indirect=True)
def test_what_may_not_be_removed_is_not_moved_or_replaced(runs: Runs) -> None:
    for op in ("unlink", "rmdir"):
        assert runs.verdict(op, "keep") == -1
        assert runs.verdict(op, "keep", uid=0) == 0
        assert runs.verdict(op, "other") == 0
    assert runs.verdict("rename2", "", old_name="keep", new_name="b") == -1
    assert runs.verdict("rename2", "", old_name="b", new_name="keep") == -1
    # Both predicates ask about a rename: what the first lets pass, the second may refuse.
    assert runs.verdict("rename2", "", old_name="a", new_name=".b") == -1
    assert runs.verdict("rename2", "", old_name=".a", new_name="b") == 0
    for op in MAKING:
        assert runs.verdict(op, ".a") == -1
        assert runs.verdict(op, "keep") == 0


@pytest.mark.parametrize("runs", [WRITABLE], indirect=True)
def test_who_may_write(runs: Runs) -> None:
    def open_with(flags: int, uid: int) -> int:
        case = Case(structs={"open_in": {"flags": flags}}, caller=Caller(uid=uid))
        return runs.run("open_prefilter", case).verdict

    assert open_with(os.O_RDONLY, 1) == 0
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
        assert open_with(flags, 1) == -13
        assert open_with(flags, 7) == 0
    assert runs.verdict("create_open", "x") == -13
    for valid, verdict in ((8, -13), (1, 0)):  # FATTR_SIZE, FATTR_MODE
        case = Case(structs={"setattr_in": {"valid": valid}})
        assert runs.run("setattr_prefilter", case).verdict == verdict
    # What is copied from is read only, and what is copied to was opened for writing.
    assert "copy_file_range_prefilter" not in {f.hook for f in runs.program.filters}


@pytest.mark.parametrize("runs", [VISIBLE + COUNT], indirect=True)
def test_filters_of_one_hook_run_in_order_and_the_first_refusal_wins(runs: Runs) -> None:
    def looked(name: bytes) -> Outcome:
        return runs.run("lookup_prefilter", Case(buffers={"name": name}))

    assert looked(b"a").verdict == 3
    assert looked(b"broken").verdict == -5
    assert looked(b"a.pem").verdict == -2
    assert looked(b"a.pem").maps["hits"] == {0: 1}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (VISIBLE.replace(" -> bool", "").replace("return not", "x ="), "E2"),
        ("\n@filters.visible\ndef shown(ctx: Context) -> bool:\n    return True\n", "E290"),
        ("\n@filters.visible\ndef shown(ctx: Context, name: Name):\n    return -ENOENT\n", "E216"),
    ],
)
def test_a_predicate_is_a_helper_that_gives_a_bool(tmp_path: Path, source: str, said: str) -> None:
    path = tmp_path / "asked.py"
    path.write_text(HEAD + source)
    with pytest.raises(BuildError) as caught:
        compile_file(path)
    assert said in str(caught.value.render())
    assert "E999" not in caught.value.render()
    assert "<fusebpf>" not in caught.value.render()


ONE_FOR_TWO = """
@filters.creatable
@filters.deletable
def loose(ctx: Context, name: Name) -> bool:
    return name != "keep"
"""
NAMED_ALIKE = """
def shown_unlink_pre(name: Name) -> bool:
    return name == "other"

@filters.open.pre
def shown_mkdir_pre(ctx: Context, req: OpenIn):
    return -EIO

@filters.rmdir.pre
def removed(ctx: Context, name: Name):
    return -EIO if shown_unlink_pre(name) else CONTINUE
"""


@pytest.mark.parametrize("runs", [ONE_FOR_TWO], indirect=True)
def test_one_function_can_be_several_predicates(runs: Runs) -> None:
    for op in (*MAKING, "unlink", "rmdir"):
        assert runs.verdict(op, "keep") == -1
        assert runs.verdict(op, "other") == 0
    for old, new in (("keep", "b"), ("b", "keep")):
        assert runs.verdict("rename2", "", old_name=old, new_name=new) == -1


@pytest.mark.parametrize("runs", [VISIBLE + NAMED_ALIKE], indirect=True)
def test_the_filters_of_a_predicate_take_no_names_from_their_author(runs: Runs) -> None:
    assert [runs.verdict("rmdir", name) for name in ("a.pem", "other", "b")] == [-2, -5, 0]
    assert [runs.verdict("unlink", name) for name in ("a.pem", "other")] == [-2, 0]
    assert [runs.verdict("mkdir", name) for name in ("a.pem", "other")] == [-2, 0]
    assert runs.verdict("open", "") == -5


def test_a_set_that_changes_a_name_says_the_order_itself(tmp_path: Path) -> None:
    path = tmp_path / "asked.py"
    path.write_text(
        HEAD + VISIBLE + "\n@filters.lookup.pre\ndef other(ctx: Context, name: Name):\n"
        "    name[:] = 'x'\n"
    )
    with pytest.raises(BuildError, match="1 error") as caught:
        compile_file(path)
    assert "replaces what another filter of lookup_prefilter sees" in caught.value.render()


OWN = """
_ENOENT = 7
_P1 = 3
_O_TRUNC = "text"

@filters.lookup.pre
def count(ctx: Context, name: Name):
    hits[0] += _P1
    if name == "seven":
        return refuse(_ENOENT)
    if name == _O_TRUNC:
        return -EIO
"""


@pytest.mark.parametrize("runs", [OWN + VISIBLE], indirect=True)
def test_an_authors_own_names_stay(runs: Runs) -> None:
    assert runs.verdict("lookup", "seven") == -7
    assert runs.verdict("lookup", "text") == -5
    assert runs.verdict("lookup", "a.pem") == -2
