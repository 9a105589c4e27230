# SPDX-License-Identifier: MIT
"""What a filter does is what Python says, in both runs: widths, orders, and what is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fusebpf import OpenIn
from fusebpf.build import BuildError, compile_file
from fusebpf.constants import O_APPEND
from fusebpf.testing import load

HEAD = """\
from dataclasses import dataclass
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("meaning")

@dataclass
class Use:
    made: u64
    last: u32

@dataclass
class Key:
    uid: u32
    gid: u32

uses = filters.hash("uses", key=u32, value=Use, max_entries=8)
signed = filters.hash("signed_", key=u32, value=s64, max_entries=8)
m = filters.hash("m", key=u32, value=u64, max_entries=8)
a = filters.array("a", value=u32, max_entries=8)
wide = filters.array("wide", value=s64, max_entries=4)
stats = filters.array("stats", value=Use, max_entries=4)
ids = filters.hash("ids", key=Key, value=u64, max_entries=8)

def bump(ctx: Context) -> int:
    a[7] = (a[7] + 1) & 255
    return a[7]

def put(ctx: Context) -> u32:
    return 7 if m.put(1, 50) else 8

"""

OPEN = "@filters.open.pre\ndef f(ctx: Context, req: OpenIn):\n"
UNLINK = "@filters.unlink.pre\ndef f(ctx: Context, name: Name):\n"
LOOKUP = "@filters.lookup.pre\ndef f(ctx: Context, name: Name):\n"
READDIR = """\
@filters.readdir.post
def f(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):
"""
RUNS = ("python", "kernel") if os.geteuid() == 0 else ("python",)


def indented(lines: str) -> str:
    return "".join(f"    {line}\n" for line in lines.splitlines())


def check(
    path: Path,
    text: str,
    hook: str,
    wanted: int,
    given: Mapping[str, Any] | None = None,
    maps: Mapping[str, Mapping[Any, Any]] | None = None,
) -> None:
    """Whether the filter of a hook gives a verdict, in each of the runs."""
    file = path / "meaning.py"
    file.write_text(HEAD + text)
    for run in RUNS:
        with load(file, run=run) as filters:  # type: ignore[arg-type]
            for name, cells in (maps or {}).items():
                for key, value in cells.items():
                    filters.maps[name][key] = value
            assert filters.call(hook, **(given or {})).verdict == wanted, run


def codes(path: Path, text: str) -> list[str]:
    """What a file is refused for."""
    file = path / "meaning.py"
    file.write_text(HEAD + text)
    with pytest.raises(BuildError) as refused:
        load(file)
    return [found.code for found in refused.value.diagnostics]


# ---------------------------------------------------------------- widths


@pytest.mark.parametrize(
    "test",
    [
        "req.flags >> (ctx.uid & 63) & 1",
        "(req.flags >> (ctx.uid & 63)) != 0",
        "req.flags >> 40",
        "u32(1024) >> (ctx.uid & 63)",
        "u16(req.flags) >> (ctx.uid & 63)",
    ],
)
def test_a_narrow_number_is_shifted_out(tmp_path: Path, test: str) -> None:
    text = OPEN + indented(f"if {test}:\n    return -EPERM")
    check(tmp_path, text, "open.pre", 0, {"req": OpenIn(flags=O_APPEND), "uid": 42})


# ---------------------------------------------------------------- what is known

CHANGING = """\
def grow(req: OpenIn) -> bool:
    req.flags = 5000000
    return True

def zero(req: OpenIn) -> int:
    req.flags = 0
    return 3

"""


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("if req.flags < 10 and grow(req):\n    for i in range(req.flags): n += i", "E240"),
        ("if not (req.flags >= 10 or not grow(req)):\n    n = a[req.flags % 8]\n"
         "    for i in range(req.flags): n += i", "E240"),
        ("if req.flags < 10:\n    if ctx.uid or grow(req):\n"
         "        for i in range(req.flags): n += i", "E240"),
        ("if req.flags < 10:\n    b = ctx.uid and grow(req)\n    n = b\n"
         "    for i in range(req.flags): n += i", "E240"),
        ("if req.flags < 10:\n    n = 1 if grow(req) else 2\n"
         "    for i in range(req.flags): n += i", "E240"),
        ("if req.flags < 10:\n    n = zero(req) if ctx.uid else 2\n"
         "    for i in range(req.flags): n += i", "E240"),
        ("if req.flags != 0 and zero(req):\n    n = 100 // req.flags", "E218"),
        ("if 0 < req.flags < zero(req):\n    n = 100 // req.flags", "E218"),
        ("if req.flags < zero(req):\n    n = a[req.flags]", "E260"),
        ("n = 100 // req.flags if req.flags and grow(req) else 0", "E218"),
        ("if req.flags and (ctx.uid or zero(req)):\n    n = 100 // req.flags", "E218"),
        ("match ctx.uid:\n    case 1 if req.flags != 0 and zero(req):\n"
         "        n = 100 // req.flags", "E218"),
        ("if req.flags:\n    match ctx.uid:\n        case 1 if zero(req): pass\n"
         "        case _: n = 100 // req.flags", "E218"),
    ],
)  # fmt: skip
def test_a_call_ends_what_was_known(tmp_path: Path, lines: str, code: str) -> None:
    lines = f"n = 0\n{lines}\nreturn refuse(n)"
    assert codes(tmp_path, CHANGING + OPEN + indented(lines)) == [code]


@pytest.mark.parametrize(
    "lines",
    [
        "if grow(req) and req.flags < 10:\n    for i in range(req.flags): n += i",
        "n = 100 // req.flags if grow(req) and req.flags else 0",
        "n = zero(req) if not req.flags else 100 // req.flags",
    ],
)
def test_what_is_known_after_a_call(tmp_path: Path, lines: str) -> None:
    lines = f"n = 0\n{lines}\nreturn refuse(n)"
    check(
        tmp_path,
        CHANGING + OPEN + indented(lines),
        "open.pre",
        -20 if "zero" in lines else -1,
        {"req": OpenIn(flags=5)},
    )


def test_members_of_another_record_are_not_known(tmp_path: Path) -> None:
    lines = """\
use = uses.get(1)
if use is None or use.made > 4:
    return CONTINUE
n = 0
for i in range(2):
    if use is None:
        break
    for j in range(use.made):
        n += 1
    use = uses.get(2)
return refuse(n)"""
    assert codes(tmp_path, OPEN + indented(lines)) == ["E240"]


LATER = """\
last = m.get(1)
if ctx.uid == 7:
    last = 5
if last is not None:
    return -EPERM"""
BRANCHES = """\
if ctx.uid == 7:
    last = 5
elif ctx.uid == 8:
    last = m.get(1)
else:
    last = 6
if ctx.gid and ctx.uid == 7:
    last = 6
for i in range(ctx.gid & 3):
    last = m.get(i)
    if ctx.uid == 6:
        last = 3
if last is not None:
    return -EPERM"""


@pytest.mark.parametrize(
    ("lines", "ids", "wanted"),
    [
        (LATER, (7, 0), -1),
        (LATER, (8, 0), 0),
        (BRANCHES, (7, 0), -1),
        (BRANCHES, (8, 0), 0),
        (BRANCHES, (9, 0), -1),
        (BRANCHES, (9, 2), 0),
        (BRANCHES, (6, 2), -1),
    ],
)
def test_a_local_with_a_number_is_not_none(
    tmp_path: Path, lines: str, ids: tuple[int, int], wanted: int
) -> None:
    text = OPEN + indented(lines.replace("m.get(i)", "m.get(u32(i))"))
    check(tmp_path, text, "open.pre", wanted, {"uid": ids[0], "gid": ids[1]})


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("use = uses.get(1)\nuse = 5\nif use is not None: return refuse(use.made)", "E208"),
        ("x = signed.get(1)\nfor x in range(3):\n    if x is None: return -EPERM", "E243"),
        ("x = m.get(1)\nfor x in name:\n    if x is None: return -EPERM", "E243"),
    ],
)
def test_a_local_is_one_thing(tmp_path: Path, lines: str, code: str) -> None:
    assert code in codes(tmp_path, UNLINK + indented(lines))


def test_an_entry_is_nothing_else(tmp_path: Path) -> None:
    lines = "for e in entries:\n    e.drop()\ne = uses.get(1)\nif e is not None: return CONTINUE"
    head = (
        "@filters.readdir.post\ndef f(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):\n"
    )
    assert codes(tmp_path, head + indented(lines)) == ["E243"]


# ---------------------------------------------------------------- names of an author


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("use_made = ctx.uid\nuse = uses.get(5)\nreturn refuse(use_made)", -3),
        ("use = uses.get(5)\nuse_made = ctx.uid\n"
         "return CONTINUE if use is None or use_made != 3 else refuse(use.made)", -100),
        ("k = Key(ctx.uid, ctx.gid)\nk_uid = 9\nreturn refuse(ids.get(k, 0) + k_uid)", -29),
        ("rest_start = 9\nrest = name[ctx.uid:]\nreturn refuse(rest_start + len(rest))", -10),
        ("rest = name[ctx.uid:]\nrest_start = 0\nreturn refuse(len(rest))", -1),
        ("c_at = 90\nfor c in name:\n    n = c\nreturn refuse(c_at)", -90),
        ("match_36_4 = 7\nmatch ctx.uid + 1:\n    case 4: return refuse(match_36_4)", -7),
    ],
)  # fmt: skip
def test_hidden_locals_leave_an_authors_alone(tmp_path: Path, lines: str, wanted: int) -> None:
    check(
        tmp_path,
        UNLINK + indented(lines),
        "unlink.pre",
        wanted,
        {"name": "abcd", "uid": 3, "gid": 4},
        {"uses": {5: (100, 1)}, "ids": {(3, 4): 20}},
    )


def test_the_ends_of_a_range_may_be_far_apart(tmp_path: Path) -> None:
    lines = """\
n = 0
low = wide[0]
high = wide[1]
if low >= 0 and high <= 10:
    for i in range(low, high):
        n += 1
    for i in range(high, low, -2):
        n += 100
return refuse(n + 1)"""
    text = OPEN + indented(lines)
    far = {"wide": {0: 3 << 61, 1: -(3 << 61)}}
    check(tmp_path, text, "open.pre", -1, maps=far)
    check(tmp_path, text, "open.pre", -204, maps={"wide": {0: 5, 1: 8}})


# ---------------------------------------------------------------- once, and in order


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("n = 0\nfor i in range(bump(ctx) & 3, 5): n += i\nreturn refuse(n * 10 + a[7])", -101),
        ("n = 0\nfor i in range(a[7], 3 if bump(ctx) else 0):\n    n += i\nreturn refuse(n)", -3),
        ("a[bump(ctx) % 4] = a[7] + 5\nreturn refuse(a[1])", -5),
        ("a[a[7] % 4] = 3 + bump(ctx)\nreturn refuse(a[1])", -4),
        ("stats[a[7] % 4].last = 3 + bump(ctx)\nreturn refuse(stats[1].last)", -4),
        ("stats[a[7] % 4] = Use(0, 3 + bump(ctx))\nreturn refuse(stats[1].last)", -4),
        ("return refuse(m.get(1, put(ctx)))", -50),
        ("m.put(1, 5)\nreturn refuse(m.get(1, u64(bump(ctx))) + a[7])", -6),
        ("m.put(2, 5)\nreturn refuse(m.get(u32(m.get(2, 1)) & 2, m.get(2, 0) + m.get(3, 4)))", -9),
        ("return refuse(ids.get(Key(1, 2), u64(bump(ctx))) + a[7])", -2),
        ("req.flags = x = req.flags + 1\nreturn refuse(x * 10 + req.flags)", -11),
        ("a[1] = x = a[2] = bump(ctx)\nreturn refuse(x + a[1] * 10 + a[2] * 100)", -111),
        ("stats[1] = stats[2] = Use(bump(ctx), stats[1].last + 1)\n"
         "return refuse(stats[1].last * 10 + stats[2].last + 100 * a[7])", -111),
        ("req.flags = req.open_flags = 7\nreturn refuse(req.flags + req.open_flags)", -14),
        ("x = 5\nn = 10 if x in range(9, bump(ctx)) else 20\nreturn refuse(n + a[7])", -21),
        ("x = 2\nn = 10 if x in range(bump(ctx), bump(ctx) + 1) else 20\nreturn refuse(n + a[7])",
         -12),
        ("x = 1\nn = 10 if x not in range(bump(ctx), a[7]) else 20\nreturn refuse(n + a[7])", -11),
        ("n = 10 if bump(ctx) in range(1, 2) else 20\nreturn refuse(n + a[7])", -11),
    ],
)  # fmt: skip
def test_once_and_in_order(tmp_path: Path, lines: str, wanted: int) -> None:
    check(tmp_path, OPEN + indented(lines), "open.pre", wanted)


@pytest.mark.parametrize(
    ("lines", "name", "wanted"),
    [
        ('if name[bump(ctx):].glob(("a*b*c", "d?e")): return refuse(a[7])', "xdie", -1),
        ('if name[bump(ctx):].glob(("a*", "*e", "x?")): return refuse(a[7])', "xo", 0),
        ("n = 0\nfor c in name[bump(ctx):]: n += c\nreturn refuse(n * 10 + a[7] - 1900)",
         "xdb", -81),
        ("n = 0\nfor i in range(4):\n    for i in range(i): n += 1\nreturn refuse(n)", "a", -6),
        ("n = 0\nfor i in range(len(name), 0, -1):\n    for i in range(i, 3): n += i\n"
         "return refuse(n)", "ab", -5),
        ("k = ctx.gid\nfor c in name[k:]: k += 2\nreturn refuse(k)", "abc", -6),
        ('k = ctx.uid\npart = name[k:][1:]\nk = 5\nreturn -EPERM if part == "c" else CONTINUE',
         "abc", -1),
        ('k = ctx.uid\npart = name[:k + 1][k:][:9]\nk = 5\n'
         'return -EPERM if part == "b" else CONTINUE', "abc", -1),
    ],
)  # fmt: skip
def test_parts_of_names_are_cut_off_once(
    tmp_path: Path, lines: str, name: str, wanted: int
) -> None:
    check(tmp_path, UNLINK + indented(lines), "unlink.pre", wanted, {"name": name, "uid": 1})


@pytest.mark.parametrize(
    "lines",
    [
        'n = name\npart = name[:2]\nn[:] = "zzzz"\nreturn -EPERM if part == "zz" else CONTINUE',
        'n = o = name\np = o\npart = n[:2]\np[:] = "zz"\nif part == "z": return -EPERM',
        'n = name\nfor c in name[1:ctx.uid]:\n    if c == 3: n[:] = "zz"',
        'for c in name:\n    for i in range(2):\n        name[:] = "zz"\n        break',
        'for c in name:\n    if c == 3:\n        name[:] = "zz"\n        continue\n    break',
    ],
)
def test_parts_of_replaced_names_are_not_kept(tmp_path: Path, lines: str) -> None:
    assert codes(tmp_path, LOOKUP + indented(lines)) == ["E267"]


@pytest.mark.parametrize(
    "lines",
    [
        'for c in name:\n    if c == 98:\n        name[:] = "zz"\n        break',
        'for c in name:\n    if c == 98:\n        name[:] = "zz"\n        return CONTINUE',
        "for c in name:\n    for i in range(2):\n        if c == 98 and i:\n"
        '            name[:] = "zz"\n            return CONTINUE',
    ],
)
def test_a_name_that_its_loop_replaces_last(tmp_path: Path, lines: str) -> None:
    file = tmp_path / "meaning.py"
    file.write_text(HEAD + LOOKUP + indented(lines))
    for run in RUNS:
        with load(file, run=run) as filters:  # type: ignore[arg-type]
            assert filters.call("lookup.pre", name="abc").arguments["name"] == b"zz"


def test_entries_under_another_word(tmp_path: Path) -> None:
    text = "def other(e: Dirent):\n    e.name = e.name + 'x'\n\n"
    lines = "for e in entries:\n    d = e\n    n = e.name\n    other(d)\n    if n == 'ax': e.drop()"
    assert codes(tmp_path, text + READDIR + indented(lines)) == ["E267"]


def test_a_name_goes_to_one_target(tmp_path: Path) -> None:
    lines = "name[:] = name[:] = name[1:]"
    assert codes(tmp_path, LOOKUP + indented(lines)) == ["E102"]


# ---------------------------------------------------------------- what C would take otherwise


def test_the_type_of_an_entry_is_cut_off_whole(tmp_path: Path) -> None:
    file = tmp_path / "meaning.py"
    file.write_text(HEAD + READDIR + "    for e in entries: e.type = ctx.tag ^ 3\n")
    for run in RUNS:
        with load(file, run=run) as filters:  # type: ignore[arg-type]
            result = filters.call("readdir.post", entries=["a"], tag=0x17)
            assert [entry.type for entry in result.entries] == [4]


@pytest.mark.parametrize(
    ("test", "wanted"),
    [
        ('name[4294967296:] == "x"', 0),
        ('name[4294967296:] == ""', -1),
        ('name[256:] == ""', -1),
        ('name[:4294967297] == "x"', -1),
        ('name[-4294967297:] == "x"', -1),
        ('name[-4294967297:4294967297] == "x"', -1),
        ("len(name[10000000000000000000000:])", 0),
    ],
)
def test_ends_behind_every_name(tmp_path: Path, test: str, wanted: int) -> None:
    text = UNLINK + indented(f"if {test}:\n    return -EPERM")
    check(tmp_path, text, "unlink.pre", wanted, {"name": "x"})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (UNLINK + indented("seen_set = len(name) + 2\nseen = m.get(1)\nif seen is None:\n"
                           "    return refuse(seen_set)"), -3),
        ("@dataclass\nclass Sets:\n    set: u32\n\n"
         's = filters.hash("s", key=u32, value=Sets, max_entries=4)\n'
         + UNLINK + indented("s.put(1, Sets(5))\nx = s.get(1)\nreturn refuse(x.set) "
                             "if x is not None else CONTINUE"), -5),
        ("@dataclass\nclass Ints:\n    int: u32\n    int_: u32\n\n"
         's = filters.array("s", value=Ints, max_entries=4)\n'
         + UNLINK + indented("s[1].int_ = 5\ns[1].int += 2\ns[1].int_ += 2\n"
                             "return refuse(s[1].int * 10 + s[1].int_)"), -27),
        ('c = filters.array("f_ops", value=u32, max_entries=4)\n'
         + UNLINK + indented("c[0] = 3\nreturn refuse(c[0])"), -3),
        ("def f_ops(x: int) -> int:\n    return x + 1\n\ndef f_standin(x: int) -> int:\n"
         "    return x + 2\n\n" + UNLINK + indented("return refuse(f_ops(f_standin(2)))"), -5),
        ("def _license(x: int) -> int:\n    return x + 1\n\n"
         + UNLINK + indented("return refuse(_license(2))"), -3),
        ("@filters.rename2.pre\ndef f(ctx: Context, req: Rename2In, old: Name, new: Name):\n"
         "    return -EACCES\n\n@filters.unlink.pre\ndef f_rename(ctx: Context, name: Name):\n"
         "    return -EPERM\n", -1),
    ],
)  # fmt: skip
def test_names_that_c_has_already(tmp_path: Path, text: str, wanted: int) -> None:
    check(tmp_path, text, "unlink.pre", wanted)


def test_a_local_beside_the_name_of_an_entry(tmp_path: Path) -> None:
    file = tmp_path / "meaning.py"
    helper = (
        "def bad(e: Dirent, e_name: int) -> bool:\n    return e.name == 'a' and e_name == 3\n\n"
    )
    lines = "e_name = ctx.uid\nfor e in entries:\n    if e.name == 'b' or bad(e, e_name): e.drop()"
    file.write_text(HEAD + helper + READDIR + indented(lines))
    for run in RUNS:
        with load(file, run=run) as filters:  # type: ignore[arg-type]
            result = filters.call("readdir.post", entries=["a", "b", "c"], uid=3)
            assert [entry.name for entry in result.entries] == [b"c"]


@pytest.mark.parametrize("name", ["default", "int", "frame", "memory", "NULL", "_found", "__u64"])
def test_maps_whose_names_c_has(tmp_path: Path, name: str) -> None:
    text = f'x = filters.hash("{name}", key=u32, value=u64, max_entries=4)\n'
    assert codes(tmp_path, text + UNLINK + "    x[1] += 1\n") == ["E120"]


# ---------------------------------------------------------------- refused, and never a crash


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ('n = old if ctx.uid else new\nif n == "x": return -EPERM', "E211"),
        ('if (old if ctx.uid else new) == "x": return -EPERM', "E211"),
        ('n = old or new\nif n == "x": return -EPERM', "E211"),
        ("n = old if ctx.uid else new\nfor c in n: return -EPERM", "E211"),
        ('n = old[1:] if ctx.uid else new[1:]\nif n == "x": return -EPERM', "E211"),
        ("for old in range(1): return -EPERM", "E209"),
        ("for ctx in range(3): return -EPERM", "E209"),
        ("for req in old: return -EPERM", "E209"),
        ('if old == "\\ud800": return -EPERM', "E232"),
        ('if old in ("a", "\\ud800"): return -EPERM', "E232"),
        ("for i in range(-(1 << 63), (1 << 63) - 1): return -EPERM", "E240"),
        ("if req.newdir in range(3, bump(ctx)): return -EPERM", "E228"),
        ("if bump(ctx) in range(a[7], 9): return -EPERM", "E228"),
    ],
)
def test_refused_and_no_crash(tmp_path: Path, lines: str, code: str) -> None:
    text = "@filters.rename2.pre\ndef f(ctx: Context, req: Rename2In, old: Name, new: Name):\n"
    assert codes(tmp_path, text + indented(lines)) == [code]


def test_a_long_chain_is_told_at_its_function(tmp_path: Path) -> None:
    chain = "".join(f"elif ctx.uid == {i}: x = {i}\n" for i in range(1, 269))
    text = OPEN + indented(f"x = 0\nif ctx.uid == 5000: x = 1\n{chain}return refuse(x)")
    assert codes(tmp_path, text) == ["E299"]


def test_a_file_name_of_two_lines(tmp_path: Path) -> None:
    where = tmp_path / "of"
    where.mkdir()
    file = where / 'two\n"li\\nes".py'
    file.write_text(HEAD + UNLINK + "    return -EPERM\n")
    for run in RUNS:
        with load(file, run=run) as filters:  # type: ignore[arg-type]
            assert filters.call("unlink.pre").verdict == -1


def test_the_c_of_a_set_is_always_the_same(tmp_path: Path) -> None:
    file = tmp_path / "meaning.py"
    words = ", ".join(f'"{word}"' for word in ("gamma", "alpha", "beta", "delta", "x1", "x2"))
    text = f"words = frozenset([{words}])\n{UNLINK}"
    file.write_text(HEAD + text + "    if name[2:] in words: return -EPERM\n")
    program = "import sys; from fusebpf.build import compile_file; "
    program += "print(compile_file(sys.argv[1]).c_source)"
    made = {
        subprocess.run(
            [sys.executable, "-c", program, str(file)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(made) == 1


def test_a_bound_that_was_proved_holds_in_c_too(tmp_path: Path) -> None:
    file = tmp_path / "meaning.py"
    lines = "n = 0\nif req.flags < 10:\n    for i in range(req.flags): n += i\nreturn refuse(n)"
    file.write_text(HEAD + OPEN + indented(lines))
    assert ", 9)) {" in compile_file(file).c_source
    check(tmp_path, OPEN + indented(lines), "open.pre", -10, {"req": OpenIn(flags=5)})


def test_the_name_of_a_map_is_mended_and_not_its_variable(tmp_path: Path) -> None:
    line = (
        "seen_by_all_users = filters.hash('seen_by_all_users', key=u32, value=u64, max_entries=4)"
    )
    file = tmp_path / "meaning.py"
    file.write_text(f"{HEAD}{line}\n{UNLINK}    return -EPERM\n")
    with pytest.raises(BuildError) as refused:
        load(file)
    (found,) = refused.value.diagnostics
    assert found.col == line.index("'") + 2
    assert found.fixes[0].edits[0].col == found.col
