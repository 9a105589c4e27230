# SPDX-License-Identifier: MIT
"""Tests of redacted_logs.py: `fusebpf test examples/redacted_logs.py`."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

from fusebpf import CONTINUE, USER, USER_POSTFILTER, Attr, EntryOut, OpenIn, Verdict
from fusebpf.constants import EACCES, ENOENT, EPERM
from fusebpf.testing import FilterRun

LOG, FILE, DIRECTORY = 1, 0o100644, 0o040755


@pytest.mark.parametrize(
    ("name", "mode", "verdict", "tag"),
    [
        ("a.log", FILE, USER_POSTFILTER, LOG),
        ("a.txt", FILE, CONTINUE, 0),
        ("a.log", DIRECTORY, USER_POSTFILTER, 0),
    ],
)
def test_logs_are_marked_and_numbered_by_the_daemon(
    filters: FilterRun, name: str, mode: int, verdict: Verdict, tag: int
) -> None:
    found = filters.call("lookup.post", name=name, out=EntryOut(attr=Attr(mode=mode)), tag=9)
    assert (found.verdict, found.tag) == (verdict, tag)


def test_what_is_not_there_is_nobodys(filters: FilterRun) -> None:
    assert filters.call("lookup.post", name="a.log", error_in=-ENOENT).verdict == CONTINUE


def test_the_daemon_opens_logs_and_nobody_writes_them(filters: FilterRun) -> None:
    writing = OpenIn(flags=os.O_RDWR)
    for tag, opened, written in ((0, CONTINUE, CONTINUE), (LOG, USER, -EACCES)):
        assert filters.call("open.pre", tag=tag).verdict == opened
        assert filters.call("open.pre", req=writing, tag=tag).verdict == written
        assert filters.call("link.pre", tag=tag).verdict == (-EPERM if tag else CONTINUE)
    for op in ("unlink", "create_open"):
        assert filters.call(f"{op}.pre", name="a.log").verdict == -EPERM


def test_digits_are_masked() -> None:
    example = runpy.run_path(str(Path(__file__).parents[1] / "redacted_logs.py"))
    text = "card 4111-1111, total 7 €".encode()
    assert text.translate(example["MASKED"]).decode() == "card ####-####, total # €"
