# SPDX-License-Identifier: MIT
"""Sets joined into one: who runs, in which order, and what clashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusebpf.build import BuildError, build_file, build_set, compile_file, load_file
from fusebpf.testing.case import Caller, Case, Entry
from tests.unit.runs import Runs, runs_of

HEAD = """
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

def counting(name, bit, refused="", pre=None):
    filters = FilterSet(name)

    def note(post: bool) -> None:
        order[0] = order[0] * 16 + (bit + 8 if post else bit)

    @filters.lookup.pre
    def before(ctx: Context, name: Name):
        note(False)
        if name == refused:
            return refuse(bit)
        return POSTFILTER

    @filters.lookup.post
    def after(ctx: Context, name: Name, out: EntryOut, entries: Buffer):
        note(True)

    return filters
"""
SHARED = """
shared = FilterSet("shared")
order = shared.array("order", value=u64, max_entries=1)
"""
TWO = f"""{SHARED}
first = counting("first", 1, "a")
second = counting("second", 2, "b")
filters = FilterSet("both", shared, first, second)

@filters.lookup.pre
def before(ctx: Context, name: Name):
    order[0] = order[0] * 16 + 3
"""


def looked(runs: Runs, name: bytes, phase: str = "pre") -> tuple[int, str]:
    """The verdict on a name, and who ran in which order."""
    outcome = runs.run(f"lookup_{phase}filter", Case(buffers={"name": name}))
    ran = outcome.maps["order"].get(0, 0)
    assert isinstance(ran, int)
    return outcome.verdict, f"{ran:x}"


def test_parts_run_in_order_and_their_postfilters_in_reverse(tmp_path: Path) -> None:
    with runs_of(tmp_path / "joined.py", HEAD + TWO) as runs:
        assert looked(runs, b"x") == (3, "123")
        assert looked(runs, b"a") == (-1, "1")
        assert looked(runs, b"b") == (-2, "12")
        assert looked(runs, b"x", "post") == (0, "a9")


def test_a_part_of_a_part_runs_in_its_place(tmp_path: Path) -> None:
    source = (
        HEAD
        + SHARED
        + (
            'inner = FilterSet("inner", counting("one", 1), counting("two", 2))\n'
            'zero, three = counting("zero", 4), counting("three", 3)\n'
            'filters = FilterSet("outer", zero, shared, inner, three)\n'
        )
    )
    with runs_of(tmp_path / "joined.py", source) as runs:
        assert looked(runs, b"x") == (3, "4123")


DEFAULTS = """
def closed(name, number, errno, opens=False):
    filters = FilterSet(name)

    @filters.default
    def refuse_all(ctx: Context):
        return -errno if ctx.uid == number else CONTINUE

    if opens:
        @filters.open.pre
        def ask(ctx: Context, req: OpenIn):
            return CALL_DEFAULT if req.flags & O_APPEND else CONTINUE

    return filters

def seeing(name):
    filters = FilterSet(name)

    @filters.getattr.post
    def show(ctx: Context, req: GetattrIn, out: AttrOut):
        out.attr.uid = 7

    return filters
"""


def test_a_default_filter_decides_for_its_own_set(tmp_path: Path) -> None:
    source = (
        HEAD
        + DEFAULTS
        + ('filters = FilterSet("all", closed("a", 1, EPERM, True), closed("b", 2, EIO))\n')
    )
    with runs_of(tmp_path / "joined.py", source) as runs:

        def opened(uid: int, flags: int = 0) -> int:
            case = Case(structs={"open_in": {"flags": flags}}, caller=Caller(uid=uid))
            return runs.run("open_prefilter", case).verdict

        # The first has a filter for open, which leaves appending to its default; the second not.
        assert [opened(uid) for uid in (0, 1, 2)] == [0, 0, -5]
        assert [opened(uid, 0o2000) for uid in (0, 1, 2)] == [0, -1, -5]
        everything = [
            runs.run("default_filter", Case(caller=Caller(uid=uid))).verdict for uid in (0, 1, 2)
        ]
        assert everything == [0, -1, -5]


def test_a_postfilter_alone_runs_beside_the_default_filter_of_another_set(tmp_path: Path) -> None:
    source = HEAD + DEFAULTS + 'filters = FilterSet("all", seeing("s"), closed("b", 2, EIO))\n'
    with runs_of(tmp_path / "joined.py", source) as runs:
        assert runs.run("getattr_prefilter", Case()).verdict == 3
        assert runs.run("getattr_postfilter", Case()).structs["attr_out"]["attr.uid"] == 7


def test_postfilters_alone_need_no_prefilter(tmp_path: Path) -> None:
    source = HEAD + DEFAULTS + 'filters = FilterSet("all", seeing("s"), seeing("t"))\n'
    path = tmp_path / "joined.py"
    path.write_text(source)
    assert [hook.hook for hook in compile_file(path).result.hooks] == ["getattr_postfilter"]


def test_parts_of_other_files_keep_their_places_in_errors(tmp_path: Path) -> None:
    module = tmp_path / "part_of_it.py"
    module.write_text(
        HEAD
        + "filters = FilterSet('bad')\nhits = filters.array('hits', value=u64, max_entries=1)\n"
        "@filters.open.pre\ndef opened(ctx: Context, req: OpenIn):\n    hits[0] += 2\n"
        "    if hits[0] > 7:\n        return ENOENT\n"
    )
    main = tmp_path / "joined.py"
    main.write_text(
        "from fusebpf import FilterSet\nimport part_of_it\n"
        "filters = FilterSet('all', part_of_it.filters)\n"
    )
    with pytest.raises(BuildError) as caught:
        compile_file(main)
    said = caught.value.render()
    line = len(module.read_text().splitlines())
    assert f"{module}:{line}:16: error: ENOENT is an Errno" in said
    assert "return ENOENT" in said
    module.write_text(module.read_text().replace("return ENOENT", "return -ENOENT"))
    # What clang copies of the lines into the object is of that file, named without a path.
    data = build_file(main).data
    assert b"part_of_it.py" in data
    assert b"hits[0] += 2" in data
    assert str(tmp_path).encode() not in data


def test_a_joined_set_of_the_running_program_is_built(tmp_path: Path) -> None:
    from fusebpf import FilterSet

    path = tmp_path / "joined.py"
    path.write_text(HEAD + TWO)
    first, second, shared = (load_file(path).choose(n) for n in ("first", "second", "shared"))
    with pytest.raises(BuildError, match="no filter"):
        build_set(FilterSet("none"))
    del shared
    assert FilterSet("of_them", first).parts[0] is first
    assert second.part_of == "both"


def test_the_whole_is_built_unless_a_part_is_named(tmp_path: Path) -> None:
    path = tmp_path / "joined.py"
    path.write_text(HEAD + TWO)
    loaded = load_file(path)
    assert loaded.choose(None).name == "both"
    assert loaded.choose("first").name == "first"


REFUSED = [
    ('FilterSet("all", 3)', "E128", "joins a int"),
    ('FilterSet("all", shared, shared)', "E128", "joins 'shared' twice"),
    ('FilterSet("all", shared, clash)', "E128", "'shared' and 'clash' both have a map 'order'"),
    ('FilterSet("all", one, two)', "E128", "both have a config value 'limit'"),
]


@pytest.mark.parametrize(("line", "code", "message"), REFUSED, ids=[r[2] for r in REFUSED])
def test_what_cannot_be_joined(tmp_path: Path, line: str, code: str, message: str) -> None:
    path = tmp_path / "joined.py"
    source = (
        HEAD
        + SHARED
        + (
            'clash = FilterSet("clash")\nclash.events("order", __import__("late").Event)\n'
            'one, two = FilterSet("one"), FilterSet("two")\n'
            'one.config("limit", u32, 1), two.config("limit", u32, 1)\n'
        )
    )
    (tmp_path / "late.py").write_text(
        "from dataclasses import dataclass\nfrom fusebpf.types import u32\n"
        "@dataclass\nclass Event:\n    uid: u32\n"
    )
    path.write_text(f"{source}filters = {line}\n")
    with pytest.raises(BuildError) as caught:
        load_file(path)
    said = caught.value.render()
    assert f"joined.py:{len(source.splitlines()) + 1}:" in said
    assert message in said
    assert f"[{code}]" in said
    assert "help:" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("@first.open.pre\ndef late(ctx: Context, req: OpenIn):\n    pass\n", "[E129]"),
        ('late = first.array("late", value=u64, max_entries=1)\n', "[E129]"),
        ('late = filters.array("order", value=u64, max_entries=1)\n', "[E121]"),
    ],
)
def test_a_part_stays_as_it_is(tmp_path: Path, more: str, said: str) -> None:
    path = tmp_path / "joined.py"
    path.write_text(HEAD + TWO + more)
    with pytest.raises(BuildError) as caught:
        load_file(path)
    assert said in caught.value.render()


TAGGING = """
def tagging(name):
    filters = FilterSet(name)

    @filters.lookup.pre
    def before(ctx: Context, name: Name):
        ctx.tag = 1

    return filters

def renaming(name):
    filters = FilterSet(name)

    @filters.lookup.pre
    def before(ctx: Context, name: Name):
        name[:] = "x"

    return filters
"""


@pytest.mark.parametrize(
    ("join", "message"),
    [
        ('tagging("one"), tagging("two")', "'two' sets ctx.tag, and so does 'one' [E283]"),
        ('renaming("one"), counting("two", 1)', "replaces what another filter"),
        ("counting('two', 1)", "map 'order' belongs to another filter set [E205]"),
    ],
)
def test_what_joined_filters_cannot_do_together(tmp_path: Path, join: str, message: str) -> None:
    path = tmp_path / "joined.py"
    also = "" if "belongs" in message else "shared, "
    source = HEAD + SHARED + TAGGING + f'filters = FilterSet("all", {also}{join})\n'
    path.write_text(source + "del shared\n")
    with pytest.raises(BuildError) as caught:
        compile_file(path)
    assert message in caught.value.render()


def test_variables_of_factories_are_constants_of_their_call(tmp_path: Path) -> None:
    source = (
        HEAD
        + "bit = 9\n"
        + SHARED
        + ('filters = FilterSet("all", shared, counting("a", 1, "x"), counting("b", 2, "y"))\n')
    )
    with runs_of(tmp_path / "joined.py", source) as runs:
        assert looked(runs, b"x") == (-1, "1")
        assert looked(runs, b"y") == (-2, "12")


def test_two_functions_of_one_name_in_one_set_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "joined.py"
    path.write_text(
        HEAD
        + """
filters = FilterSet("all")

def add(phase, number):
    def fails() -> bool:
        return number == 1
    if number == 1:
        @filters.open.pre
        def opened(ctx: Context, req: OpenIn):
            return -EPERM if fails() else CONTINUE
    else:
        @filters.mkdir.pre
        def made(ctx: Context, req: MkdirIn, name: Name):
            return -EPERM if fails() else CONTINUE

add("open", 1)
add("mkdir", 2)
"""
    )
    with pytest.raises(BuildError) as caught:
        compile_file(path)
    assert "two functions that filters call are named fails [E298]" in caught.value.render()


def test_an_unset_variable_of_a_factory_is_an_error_at_its_use(tmp_path: Path) -> None:
    path = tmp_path / "joined.py"
    path.write_text(
        HEAD
        + """
def make():
    filters = FilterSet("all")
    @filters.open.pre
    def opened(ctx: Context, req: OpenIn):
        return -EPERM if ctx.uid == later else CONTINUE
    return filters
    later = 1

filters = make()
"""
    )
    with pytest.raises(BuildError) as caught:
        compile_file(path)
    assert "'later' is not defined [E200]" in caught.value.render()


def test_listings_are_cut_by_every_part(tmp_path: Path) -> None:
    source = (
        HEAD
        + """
def hiding(name, suffix):
    filters = FilterSet(name)

    @filters.visible
    def shown(ctx: Context, name: Name) -> bool:
        return not name.endswith(suffix)

    return filters

filters = FilterSet("all", hiding("pem", ".pem"), hiding("key", ".key"))
"""
    )
    with runs_of(tmp_path / "joined.py", source) as runs:
        listing = tuple(Entry(name) for name in (b"a.pem", b"b", b"c.key"))
        kept = runs.run("readdir_postfilter", Case(listing=listing)).listing
        assert [entry.name for entry in kept] == [b"b"]
        assert [runs.verdict("lookup", n) for n in ("a.pem", "b", "c.key")] == [-2, 0, -2]
        # Both ask for names and constants alone: the whole may be kept as well.
        assert next(f for f in runs.program.filters if f.hook == "lookup_prefilter").pure


AFTERWARDS = """
def closing(name, asks, by_default=False):
    filters = FilterSet(name)

    @filters.default
    def everything(ctx: Context):
        if ctx.error_in == -ENOENT:
            return -EACCES
        return POSTFILTER if by_default else CONTINUE

    if not by_default:
        @filters.getattr.pre
        def before(ctx: Context, req: GetattrIn):
            return asks if ctx.uid != 3 else CONTINUE

    return filters

def telling(name):
    filters = FilterSet(name)

    @filters.getattr.post
    def after(ctx: Context, req: GetattrIn, out: AttrOut):
        return USER_POSTFILTER

    return filters
"""


@pytest.mark.parametrize(
    ("part", "verdict"),
    [
        ('closing("a", POSTFILTER)', -13),
        ('closing("a", CALL_DEFAULT, by_default=True)', -13),
        ('closing("a", CONTINUE)', 4),
        ('closing("a", CALL_DEFAULT)', 4),
    ],
)
def test_a_default_filter_stands_for_the_postfilter_that_its_set_asks_for(
    tmp_path: Path, part: str, verdict: int
) -> None:
    for sets in (f'telling("b"), {part}', f'{part}, telling("b")'):
        source = HEAD + AFTERWARDS + f'filters = FilterSet("all", {sets})\n'
        with runs_of(tmp_path / "joined.py", source) as runs:
            assert runs.run("getattr_postfilter", Case(error_in=-2)).verdict == verdict
            # What a default filter says besides, does not hide what means something now.
            assert runs.run("getattr_postfilter", Case()).verdict == 4


DAEMON = """
def leaving(name, word, by_default=False):
    filters = FilterSet(name)

    def leave(uid: u32) -> Verdict:
        return word if uid == 5 else CONTINUE

    if by_default:
        @filters.default
        def everything(ctx: Context):
            return leave(ctx.uid)
    else:
        @filters.readdir.pre
        def listing(ctx: Context, req: ReadIn):
            found = leave(ctx.uid)
            return found

    return filters

def hiding(name):
    filters = FilterSet(name)

    @filters.visible
    def shown(ctx: Context, name: Name) -> bool:
        return not name.endswith(".pem")

    return filters

def watching(name, asks=True):
    filters = FilterSet(name)

    @filters.readdir.post
    def after(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):
        pass

    if not asks:
        @filters.readdir.pre
        def before(ctx: Context, req: ReadIn):
            return CONTINUE if word_of(ctx.uid) == POSTFILTER else -EPERM

    return filters

def word_of(uid: u32) -> Verdict:
    return POSTFILTER if uid == 6 else CONTINUE
"""


@pytest.mark.parametrize(
    ("join", "word"),
    [
        ('leaving("a", USER), hiding("b")', "USER"),
        ('hiding("b"), leaving("a", USER_POSTFILTER)', "USER_POSTFILTER"),
        ('leaving("a", USER_PREFILTER), watching("b"), leaving("c", CONTINUE)', "USER_PREFILTER"),
        ('leaving("a", USER, True), hiding("b")', "USER"),
        ('leaving("a", USER), leaving("b", USER_PREFILTER)', "USER"),
        ('leaving("b", USER_PREFILTER), leaving("a", USER_POSTFILTER)', "USER_POSTFILTER"),
    ],
)
def test_no_set_leaves_to_the_daemon_what_another_wants_to_see(
    tmp_path: Path, join: str, word: str
) -> None:
    path = tmp_path / "joined.py"
    path.write_text(HEAD + DAEMON + f'filters = FilterSet("all", {join})\n')
    with pytest.raises(BuildError) as caught:
        compile_file(path)
    said = caught.value.render()
    assert f"of 'a' can return {word} for readdir; the postfilters that 'b' asks for" in said
    assert "[E285]" in said


def test_a_set_that_asks_for_nothing_is_joined_to_one_of_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "joined.py"
    joins = (
        'leaving("a", USER), watching("b", asks=False)',
        'leaving("a", CONTINUE), hiding("b")',
        'leaving("a", USER), leaving("b", USER_POSTFILTER)',
    )
    for join in joins:
        path.write_text(HEAD + DAEMON + f'filters = FilterSet("all", {join})\n')
        assert "E285" not in [d.code for d in compile_file(path).result.diagnostics]


TAGS = """
tags = FilterSet("tags")

@tags.lookup.pre
def marks(ctx: Context, name: Name):
    if name == "vault":
        ctx.tag = 7
    elif name == "public":
        ctx.tag = 0
    elif name == "handed":
        ctx.tag = 7
        return CALL_DEFAULT
    if ctx.tag == 7 and name == "vault":
        return CALL_DEFAULT

@tags.default
def rest(ctx: Context):
    return CONTINUE if ctx.tag == 7 else -EXDEV

@tags.visible
def shown(ctx: Context, name: Name) -> bool:
    return ctx.tag != 9
"""
BEHIND = """
other = FilterSet("other")

@other.lookup.pre
def sees(ctx: Context, name: Name):
    return -EDQUOT if ctx.tag == 5 else CONTINUE
"""


@pytest.mark.parametrize("join", ["tags", "tags, other"])
def test_a_tag_is_read_as_by_each_set_alone(tmp_path: Path, join: str) -> None:
    """Not as what another of the joined filters made it, but that which set it reads it back."""
    source = HEAD + TAGS + (BEHIND if "other" in join else "")
    source += f'filters = FilterSet("all", {join})\n'
    with runs_of(tmp_path / "joined.py", source) as runs:

        def looked_up(name: bytes, tag: int) -> tuple[int, int | None]:
            outcome = runs.run("lookup_prefilter", Case(buffers={"name": name}, tag=tag))
            return outcome.verdict, outcome.tag

        # Read back where it was set; by the default filter as the operation began.
        assert looked_up(b"vault", 1) == (-18, 7)
        assert looked_up(b"handed", 7) == (0, 7)
        assert looked_up(b"handed", 0) == (-18, 7)
        # The predicate is for the directory that the name is in, as in its listing.
        assert looked_up(b"public", 9) == (-2, 0)
        assert looked_up(b"public", 7) == (0, 0)
        assert looked_up(b"x", 5) == (-122 if "other" in join else 0, None)


LATE = """
def deciding(name, said, before=None, asks=False):
    filters = FilterSet(name)

    @filters.default
    def rest(ctx: Context):
        calls[0] += 1
        return said

    @filters.open.pre
    def opens(ctx: Context, req: OpenIn):
        return POSTFILTER if asks else CONTINUE

    return filters

shared = FilterSet("shared")
calls = shared.array("calls", value=u64, max_entries=1)

@shared.mkdir.pre
def makes(ctx: Context, req: MkdirIn, name: Name):
    return CONTINUE
"""


@pytest.mark.parametrize(
    ("join", "verdict", "calls"),
    [
        # Only the default filter of the set that wanted a postfilter is asked for one.
        ('deciding("a", -EPERM), deciding("b", CONTINUE, asks=True)', 0, 1),
        ('deciding("a", -EPERM, asks=True), deciding("b", CONTINUE)', -1, 1),
        ('deciding("a", USER), deciding("b", USER_POSTFILTER, asks=True)', 4, 1),
        # One that hands on has nobody behind it, and is asked once.
        ('deciding("a", CALL_DEFAULT, asks=True), deciding("b", CONTINUE)', -5, 1),
    ],
)
def test_whoever_wanted_a_postfilter_has_its_default_filter_asked(
    tmp_path: Path, join: str, verdict: int, calls: int
) -> None:
    source = HEAD + LATE + f'filters = FilterSet("all", shared, {join})\n'
    with runs_of(tmp_path / "joined.py", source) as runs:
        assert runs.run("open_prefilter", Case()).verdict == 3
        outcome = runs.run("open_postfilter", Case())
        assert (outcome.verdict, outcome.maps["calls"].get(0, 0)) == (verdict, calls)


def test_who_wants_a_postfilter_and_has_no_default_filter_gets_none(tmp_path: Path) -> None:
    source = (
        HEAD
        + LATE
        + """
b = FilterSet("b")

@b.open.pre
def asks(ctx: Context, req: OpenIn):
    return POSTFILTER

filters = FilterSet("all", shared, deciding("a", -EPERM), b)
"""
    )
    with runs_of(tmp_path / "joined.py", source) as runs:
        outcome = runs.run("open_postfilter", Case())
        assert (outcome.verdict, outcome.maps["calls"].get(0, 0)) == (0, 0)


def test_a_kept_answer_is_not_one_that_a_predicate_gives(tmp_path: Path) -> None:
    path = tmp_path / "kept.py"
    path.write_text(
        HEAD
        + """
filters = FilterSet("kept")

@filters.visible
def shown(ctx: Context, name: Name) -> bool:
    return not (name == ".git" and ctx.uid == 1000)

@filters.lookup.post
def keeping(ctx: Context, name: Name, out: EntryOut, entries: Buffer):
    if ctx.error_in == 0:
        ctx.keep_answer(1 << 40)
"""
    )
    with pytest.raises(BuildError) as caught:
        compile_file(path)
    assert "[E284]" in caught.value.render()
