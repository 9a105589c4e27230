# SPDX-License-Identifier: MIT
"""What filters reach of the kernel: tags, kept answers, cleared errors, entries, new names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf import Dirent, Name
from fusebpf.build import BuildError, compile_file
from fusebpf.dsl import Context
from fusebpf.testing.case import Case, Entry
from tests.unit.runs import Runs, runs_of

GOLDEN = Path(__file__).parents[1] / "golden/accept/kernel_side.py"

HEAD = """
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *
filters = FilterSet("side")
"""


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    with runs_of(GOLDEN) as made:
        yield made


def test_tags_of_both_sides(runs: Runs) -> None:
    for tag, tag2, verdict in ((1, 1, 0), (1, 0, -18), (0, 1, 0), (1, 2**63, -18)):
        assert runs.run("rename2_prefilter", Case(tag=tag, tag2=tag2)).verdict == verdict


def test_a_lookup_says_how_long_its_answer_holds(runs: Runs) -> None:
    outcome = runs.run("lookup_prefilter", Case(buffers={"name": b"shared.md"}))
    assert (outcome.tag, outcome.kept_ns) == (1, 5_000_000_000)
    outcome = runs.run("lookup_prefilter", Case(buffers={"name": b"other"}))
    assert (outcome.tag, outcome.kept_ns) == (None, 0)
    lookup = next(f for f in runs.program.filters if f.hook == "lookup_prefilter")
    assert not lookup.pure


def test_an_error_is_cleared(runs: Runs) -> None:
    for error, cleared in ((-5, True), (-28, False), (0, False)):
        outcome = runs.run("fsync_postfilter", Case(error_in=error))
        assert (outcome.cleared, outcome.verdict) == (cleared, 0)


def test_a_name_is_made_of_parts(runs: Runs) -> None:
    names = {
        b"READ.me.txt": b"_read.me.mdx",
        b".txt": b"_.mdx",
        b"x.md": b"x.md",
        b"A" * 250 + b".txt": b"_" + b"a" * 250 + b".mdx",
    }
    for name, made in names.items():
        outcome = runs.run("lookup_prefilter", Case(buffers={"name": name}))
        assert outcome.buffers["name"] == made or (len(made) > 255 and outcome.verdict == -22)
    assert outcome.verdict == 0
    long = b"A" * 251 + b".txt"
    assert runs.run("lookup_prefilter", Case(buffers={"name": long})).verdict == -22


def test_entries_get_other_names_and_types(runs: Runs) -> None:
    listing = [
        Entry(b"a.mdx", 1, 10),
        Entry(b"b.txt", 2, 8),
        Entry(b"core.mdx", 3, 8),
        Entry(b"block", 4, 6),
        Entry(b".mdx", 5, 8),
        Entry(b"_link", 6, 10),
        Entry(b"x" * 251 + b".mdx", 7, 8),
    ]
    kept = runs.run("readdir_postfilter", Case(listing=tuple(listing))).listing
    assert [(entry.name, entry.ino, entry.type) for entry in kept] == [
        (b"a.txt", 1, 8),
        (b"Core", 3, 8),
        (b".txt", 5, 8),
        (b"_link", 6, 8),
        (b"x" * 251 + b".txt", 7, 8),
    ]


ROOM = """
@filters.readdir.post
def listed(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):
    for entry in entries:
        if entry.name.startswith("!"):
            entry.name = entry.name[1:1]
        elif entry.name.startswith("+"):
            entry.name = "12345678"
            entry.name = entry.name + entry.name
        else:
            entry.name = "longer-" + entry.name
        entry.type = ctx.uid
"""


def test_an_entry_without_room_for_its_name_is_left_out(tmp_path: Path) -> None:
    with runs_of(tmp_path / "room.py", HEAD + ROOM) as runs:
        names = (b"a", b"ab", b"!x", b"+2345678", b"+23456789", b"x" * 9, b"y" * 10)
        kept = runs.run("readdir_postfilter", Case(listing=tuple(map(Entry, names)))).listing
        assert [entry.name for entry in kept] == [
            b"longer-a",
            b"1234567812345678",
            b"longer-" + b"x" * 9,
        ]
        assert {entry.type for entry in kept} == {0}


def test_plain_python_does_the_same() -> None:
    entry = Dirent("a.mdx", type=10)
    entry.name = entry.name[:-4] + ".txt"
    entry.type = 24
    assert (entry.name, entry.type, entry.dropped) == (Name("a.txt"), 8, False)
    entry.name = "123456789"
    assert entry.dropped
    context = Context(error_in=-5)
    context.clear_error()
    context.keep_answer(9)
    assert (context.cleared, context.kept_ns) == (True, 9)
    assert "_" + Name("A.txt")[:-4].lower() + ".mdx" == Name("_a.mdx")


LOOKUP = "@filters.lookup.pre\ndef f(ctx: Context, name: Name):\n    "
OPEN = "@filters.open.post\ndef f(ctx: Context, req: OpenIn, out: OpenOut):\n    "
LIST = (
    "@filters.readdir.post\ndef f(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):\n"
    "    for e in entries:\n        "
)
HELPER = "def h(ctx: Context) -> None:\n    ctx.clear_error()\n\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (OPEN + "ctx.clear_error()", "cannot succeed without what failed [E282]"),
        (HELPER + OPEN + "h(ctx)", "h() uses ctx.clear_error: this operation cannot"),
        (OPEN + "ctx.keep_answer(3)", "only answers of lookup filters are kept [E282]"),
        (LOOKUP + "ctx.keep_answer()", "keep_answer() takes 1 arguments [E252]"),
        (LOOKUP + "ctx.clear_error(1)", "clear_error() takes no arguments [E252]"),
        (LOOKUP + "x = ctx.keep_answer(1)", "keep_answer() is a statement [E254]"),
        (LOOKUP + "ctx.tag2 = 1", "ctx.tag2 is read-only [E282]"),
        (LOOKUP + "ctx.keep(1)", "Context has no member 'keep' [E206]"),
        (LOOKUP + "name[:] = name + 'a/b'", "'a/b' has a '/'"),
        (LOOKUP + "name[:] = name + 1", "names cannot be joined or repeated"),
        (LOOKUP + "name[:] = name * 2", "names cannot be joined or repeated"),
        (LOOKUP + "x = name + '.x'", "names cannot be joined or repeated"),
        (LOOKUP + "if name + '.x' == 'y.x':\n        return -EPERM", "[E2"),
        (LIST + "e.ino = 3", "e.ino cannot be changed [E280]"),
        (LIST + "e.size = 3", "Dirent has no member 'size' [E206]"),
        (LIST + "e.type = 16", "16 is no type of a directory entry [E280]"),
        (LIST + "e.name = 3", "the number 3 cannot replace a Name [E267]"),
        (LIST + "e.name = 'a/b'", "'a/b' has a '/'"),
    ],
)
def test_what_cannot_be(tmp_path: Path, source: str, said: str) -> None:
    path = tmp_path / "side.py"
    path.write_text(f"{HEAD}{source}\n")
    with pytest.raises(BuildError) as caught:
        compile_file(path)
    text = caught.value.render()
    assert said in text
    assert "help:" in text
    assert "E999" not in text


@pytest.mark.parametrize(
    ("other", "refused"),
    [("ctx.uid == 7", True), ("name == 'x'", False)],
)
def test_a_kept_answer_is_the_whole_answer(tmp_path: Path, other: str, refused: bool) -> None:
    path = tmp_path / "side.py"
    path.write_text(
        f"{HEAD}@filters.lookup.pre\ndef f(ctx: Context, name: Name):\n    ctx.keep_answer(7)\n\n"
        "second = FilterSet('second')\n@second.lookup.pre\n"
        f"def g(ctx: Context, name: Name):\n    return -ENOENT if {other} else CONTINUE\n\n"
        "both = FilterSet('both', filters, second)\n"
    )
    if refused:
        with pytest.raises(BuildError) as caught:
            compile_file(path)
        assert "says how long the answer holds, which g decides" in caught.value.render()
    else:
        with runs_of(path) as runs:
            outcome = runs.run("lookup_prefilter", Case(buffers={"name": b"y"}))
            assert outcome.kept_ns == 7


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        # A default filter of the other set decides look-ups, too.
        ("{kept}{second}{joined}", True),
        ("{kept}{second}@second.open.pre\ndef o(ctx: Context, req: OpenIn): pass\n{joined}", True),
        ("{kept}{second}{handing}{joined}", True),
        # Not where that set has a filter of its own, which does not hand on to it.
        (
            "{kept}{second}@second.lookup.pre\ndef p(ctx: Context, name: Name): pass\n{joined}",
            False,
        ),
        # The set's own, to which its filter hands on.
        ("{kept}    return CALL_DEFAULT if name == 'x' else CONTINUE\n{first}", True),
        ("{kept}{first}", False),
        ("{after}{first}{seen}", True),
        ("{after}{seen}", False),
    ],
)
def test_a_default_filter_has_its_part_in_a_kept_answer(
    tmp_path: Path, source: str, refused: bool
) -> None:
    default = "@{0}.default\ndef g(ctx: Context):\n    return -EPERM if ctx.uid else CONTINUE\n"
    path = tmp_path / "side.py"
    path.write_text(
        HEAD
        + source.format(
            kept="@filters.lookup.pre\ndef f(ctx: Context, name: Name):\n    ctx.keep_answer(7)\n",
            first=default.format("filters"),
            second="second = FilterSet('second')\n" + default.format("second"),
            handing="@second.lookup.pre\ndef h(ctx: Context, name: Name):\n"
            "    verdict = CALL_DEFAULT\n    return verdict\n",
            joined="both = FilterSet('both', filters, second)\n",
            after="@filters.lookup.post\n"
            "def f(ctx: Context, name: Name, out: EntryOut, e: Buffer):\n    ctx.keep_answer(7)\n",
            seen="@filters.visible\ndef s(ctx: Context, name: Name) -> bool:\n"
            "    return name != 'x'\n",
        )
    )
    codes = []
    try:
        compile_file(path)
    except BuildError as error:
        codes = [d.code for d in error.diagnostics]
    assert codes == ["E284"] * refused
