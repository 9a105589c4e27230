# SPDX-License-Identifier: MIT
"""Loops in loops, and what happens once: in Python, in the typed run and in the kernel's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusebpf import Context, Dirent, Dirents, FilterSet, Name, ReadIn, ReadOut, Verdict
from fusebpf.build import compile_file
from fusebpf.testing.case import Entry
from tests.unit.test_compiler_meaning import HEAD, OPEN, READDIR, UNLINK, check, codes, indented

RENAME = "@filters.rename.pre\ndef f(ctx: Context, req: Rename2In, old: Name, new: Name):\n"


def called(path: Path, text: str, *given: Any) -> int:
    """The verdict of a filter that is called as the Python function that it is."""
    namespace: dict[str, Any] = {"__name__": "turns"}
    exec(compile(HEAD + text, str(path / "turns.py"), "exec", dont_inherit=True), namespace)
    assert isinstance(namespace["filters"], FilterSet)
    found: Verdict | None = namespace["f"](*given)
    return 0 if found is None else found.value


# ---------------------------------------------------------------- one variable for two loops


@pytest.mark.parametrize(
    "loops",
    [
        "for c in old[k:8]:\n    n += c & 15\n    for c in new[k + 2:8]:\n        n += c & 3",
        "for c in old[k:8]:\n    for c in new[k + 2:][c & 1:k + 5]:\n        n += c & 3\n"
        "    n += 1",
        "for c in old[k:8]:\n    for c in new[:9]:\n        n += c & 3\n    for c in old[k:8]:\n"
        "        for c in new[k:5]:\n            n += c & 1",
        "for i in range(k, k + 4):\n    for i in range(i, k + 5):\n        n += i",
    ],
)
def test_loops_in_loops_over_one_variable(tmp_path: Path, loops: str) -> None:
    lines = f"n = 1\nk = ctx.uid & 7\n{loops}\nreturn refuse(n & 255)"
    text = RENAME + indented(lines)
    given = {"old": "abcdefghij", "new": "xyzuvwrstq"}
    for uid in (0, 1, 3):
        wanted = called(tmp_path, text, Context(uid=uid), None, *map(Name, given.values()))
        check(tmp_path, text, "rename.pre", wanted, {**given, "uid": uid})


# ---------------------------------------------------------------- entries that were dropped


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("for e in entries:\n    if e.name == 'b':\n        e.drop()\n        n += e.type\n"
        "for e in entries:\n    n += 10", 35),
        ("for e in entries:\n    for d in entries:\n        if d.type != e.type:\n"
        "            d.drop()\n            n += 1\n    n += 10", 23),
        ("for e in entries:\n    e.name = 'more than it has room for'\n    n += 1\n"
        "for e in entries:\n    n += 10", 5),
    ],
)  # fmt: skip
def test_a_loop_goes_past_dropped_entries(tmp_path: Path, lines: str, wanted: int) -> None:
    text = READDIR + indented(f"n = 1\n{lines}\nreturn refuse(n)")
    names = ["a", "b", "c", "d"]
    listing = Dirents([Dirent(name, type=4 + ord(name) % 2) for name in names])
    assert called(tmp_path, text, Context(), ReadIn(), ReadOut(), listing) == -wanted
    given = [Entry(name.encode(), type=4 + ord(name) % 2) for name in names]
    check(tmp_path, text, "readdir.post", -wanted, {"entries": given})


# ---------------------------------------------------------------- once, and not left out

FLAG = """\
from enum import IntFlag

class Flag(IntFlag):
    A = 1
    B = 4

"""


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ('match name[bump(ctx):]:\n    case "x": n = 10\n    case "b" | "cd": n = 20\n'
         '    case _ if ctx.uid == 5: n = 30\n    case "bc": n = 40', 41),
        ('k = 1\nmatch name[k:]:\n    case "x": n = 10\n    case _ if kept(k, name): n = 20\n'
         '    case "bc": n = 30', 30),
        ('match name[bump(ctx):].lower():\n    case "bc": n = 10', 11),
        ('if "" in name[bump(ctx):]: n = 10', 11),
        ('if "" not in name[bump(ctx):] or "" in name: n = 10', 11),
        ("if name[bump(ctx):].glob(()): n = 10", 1),
        ("if not name[bump(ctx):].glob(NOTHING): n = 10", 11),
        ("if name[bump(ctx):] in (): n = 10", 1),
        ("n = Key(1, u32(ctx.uid)).gid", 4),
        ("made = Key(u32(bump(ctx)), 7)\nn = made.gid", 8),
        ("n = len({1, 1, 2}) + len({1, True, 'a', b'a'})", 5),
        ("n = ~int(Flag.A | 1) & 15", 14),
        ("n = ~len(name) & 15 | Flag.B", 12),
        ("n = len((1, 1)) + len(b'caf\\xc3\\xa9') + len('cafe')", 11),
    ],
)  # fmt: skip
def test_what_is_asked_happens_once(tmp_path: Path, lines: str, wanted: int) -> None:
    helper = 'NOTHING = ()\n\ndef kept(k: int, name: Name) -> bool:\n    return name[k:] == "x"\n\n'
    text = FLAG + helper + UNLINK + indented(f"n = 0\n{lines}\nreturn refuse(n + a[7])")
    check(tmp_path, text, "unlink.pre", -wanted, {"name": "abc", "uid": 4})


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("n = Key(u32(bump(ctx)), 7).gid\nreturn refuse(n)", "E271"),
        ("n = Key(put(ctx), put(ctx)).gid\nreturn refuse(n)", "E271"),
        ("n = 5 & ~Flag.A\nreturn refuse(n)", "E224"),
        ("n = ~(ctx.uid & Flag.A) & 7\nreturn refuse(n)", "E224"),
        ("n = ~(Flag.A | 8)\nreturn refuse(n)", "E224"),
        ("n = len('caf\u00e9')\nreturn refuse(n)", "E253"),
    ],
)
def test_what_would_be_left_out_is_refused(tmp_path: Path, lines: str, code: str) -> None:
    assert codes(tmp_path, FLAG + OPEN + indented(lines)) == [code]


RENAMING = """\
def renamed(entry: Dirent) -> None:
    if entry.name == "a":
        entry.name = "b"

def passed(number: u64, entry: Dirent) -> bool:
    renamed(entry)
    return number == 1

def looked(entry: Dirent) -> bool:
    return entry.name == "x"

"""


@pytest.mark.parametrize(
    ("turn", "refused"),
    [
        ("renamed(e)", True),
        ("if c == 3 and passed(1, e): e.drop()", True),
        ("if c == 3:\n    renamed(e)\n    break", False),
        ("if looked(e): e.drop()", False),
    ],
)
def test_a_helper_renames_no_entry_while_its_bytes_are_gone_through(
    tmp_path: Path, turn: str, refused: bool
) -> None:
    loop = f"for e in entries:\n    for c in e.name[:8]:\n{indented(indented(turn))}"
    text = RENAMING + READDIR + indented(loop)
    if refused:
        assert codes(tmp_path, text) == ["E267"]
    else:
        check(tmp_path, text, "readdir.post", 0, {"entries": ["x", "ab"]})


# ---------------------------------------------------------------- buffers that nobody looks into

BUFFERS = """\
def ignores(value: Buffer, number: u64) -> bool:
    return number == 3

def looks(value: Buffer) -> bool:
    return value[:1] == "#" or ignores(value, 4)

@filters.setxattr.pre
def f(ctx: Context, req: SetxattrIn, name: Name, value: Buffer):
    return -EPERM if {test} else CONTINUE

other = FilterSet("other")

@other.setxattr.pre
def g(ctx: Context, req: SetxattrIn, name: Name, value: Buffer):
    return -EPERM if name == "user.x" else CONTINUE

both = FilterSet("both", filters, other)
"""


@pytest.mark.parametrize(
    ("test", "read"),
    [
        ("ignores(value, ctx.uid)", False),
        ("name == 'user.y'", False),
        ("ignores(value[1:], 3)", True),
        ("looks(value)", True),
        ("len(value) > 3", True),
    ],
)
def test_only_what_is_looked_into_has_a_limit(tmp_path: Path, test: str, read: bool) -> None:
    path = tmp_path / "buffers.py"
    path.write_text(HEAD + BUFFERS.format(test=test))
    assert ("fusebpf_read_bytes" in compile_file(path).c_source) == read
