# SPDX-License-Identifier: MIT
"""Loops in loops, and what happens once: in Python, in the typed run and in the kernel's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusebpf import Context, Dirent, Dirents, FilterSet, Name, ReadIn, ReadOut, Verdict
from fusebpf.testing.case import Entry
from tests.unit.test_compiler_meaning import HEAD, READDIR, check, indented

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
