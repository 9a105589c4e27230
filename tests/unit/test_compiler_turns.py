# SPDX-License-Identifier: MIT
"""Loops in loops, and what happens once: in Python, in the typed run and in the kernel's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusebpf import Context, Dirent, Dirents, FilterSet, ReadIn, ReadOut, Verdict
from fusebpf.testing.case import Entry
from tests.unit.test_compiler_meaning import HEAD, READDIR, check, indented


def called(path: Path, text: str, *given: Any) -> int:
    """The verdict of a filter that is called as the Python function that it is."""
    namespace: dict[str, Any] = {"__name__": "turns"}
    exec(compile(HEAD + text, str(path / "turns.py"), "exec", dont_inherit=True), namespace)
    assert isinstance(namespace["filters"], FilterSet)
    found: Verdict | None = namespace["f"](*given)
    return 0 if found is None else found.value


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
