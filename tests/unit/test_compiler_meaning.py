# SPDX-License-Identifier: MIT
"""What a filter does is what Python says, in both runs: widths, orders, and what is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fusebpf import OpenIn
from fusebpf.build import BuildError
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
m = filters.hash("m", key=u32, value=u64, max_entries=8)
a = filters.array("a", value=u32, max_entries=8)
wide = filters.array("wide", value=s64, max_entries=4)
ids = filters.hash("ids", key=Key, value=u64, max_entries=8)

def bump(ctx: Context) -> int:
    a[7] = (a[7] + 1) & 255
    return a[7]

"""

OPEN = "@filters.open.pre\ndef f(ctx: Context, req: OpenIn):\n"
UNLINK = "@filters.unlink.pre\ndef f(ctx: Context, name: Name):\n"
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
        "u32(256) >> (ctx.uid & 63)",
        "u16(req.flags) >> (ctx.uid & 63)",
    ],
)
def test_a_narrow_number_is_shifted_out(tmp_path: Path, test: str) -> None:
    text = OPEN + indented(f"if {test}:\n    return -EPERM")
    check(tmp_path, text, "open.pre", 0, {"req": OpenIn(flags=0x100), "uid": 40})
