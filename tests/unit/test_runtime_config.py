# SPDX-License-Identifier: MIT
"""Config values: parsed, checked against the set's declarations, in force in both runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusebpf.build import build_compiled, compile_file
from fusebpf.compiler import ir
from fusebpf.errors import UsageError
from fusebpf.objfile import parse as parse_object
from fusebpf.runtime.config import choose, parse
from fusebpf.testing.case import Caller, Case
from fusebpf.testing.pyrun import PyRun
from fusebpf.testing.standin import StandIn

SOURCE = """
from fusebpf import *
from fusebpf.constants import EPERM
from fusebpf.types import s32, u32
filters = FilterSet("configured")
limit = filters.config("limit", u32, 10, least=1, most=100)
strict = filters.config("strict", bool, False)
below = filters.config("below", s32, -1)

@filters.open.pre
def opened(ctx: Context, req: OpenIn):
    if ctx.uid > limit and strict and below == -7:
        return -EPERM
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "configured.py"
    path.write_text(SOURCE)
    return path


def test_settings_are_numbers_or_words() -> None:
    assert parse(["limit=20", "mask=0x10", "strict=True", "low=-4", "off=no"]) == {
        "limit": 20,
        "mask": 16,
        "strict": 1,
        "low": -4,
        "off": 0,
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["limit"], "--set limit is no NAME=VALUE"),
        (["=3"], "--set =3 is no NAME=VALUE"),
        (["limit=ten"], "'ten' is no number"),
        (["limit=1", "limit=2"], "--set limit is given twice"),
    ],
)
def test_what_is_no_setting(settings: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(settings)


def test_values_are_checked_against_the_object_itself(file: Path) -> None:
    built = build_compiled(compile_file(file))
    metadata = parse_object(file, built.data).metadata
    assert choose(metadata, {"limit": 20, "strict": True, "below": -7}) == {
        "fusebpf_config_limit": b"\x14\0\0\0",
        "fusebpf_config_strict": b"\1",
        "fusebpf_config_below": b"\xf9\xff\xff\xff",
    }
    with pytest.raises(UsageError, match=r"no config value 'limit_'\nhelp: did you mean 'limit'"):
        choose(metadata, {"limit_": 1})
    with pytest.raises(UsageError, match=r"limit \(u32, 1 to 100\), strict \(bool, 0 to 1\)"):
        choose(metadata, {"zzz": 1})
    for name, value in (("limit", 0), ("limit", 101), ("strict", 2)):
        with pytest.raises(UsageError, match=f"{name}={value} is not from"):
            choose(metadata, {name: value})


@pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root (CAP_BPF)")
@pytest.mark.parametrize(
    ("config", "verdict"),
    [({}, 0), ({"strict": 1, "below": -7}, -1), ({"strict": 1, "below": -7, "limit": 100}, 0)],
)
def test_both_runs_use_the_chosen_values(file: Path, config: dict[str, int], verdict: int) -> None:
    compiled = compile_file(file)
    program = compiled.result.ir
    assert isinstance(program, ir.Program)
    case = Case(caller=Caller(uid=50))
    assert PyRun(program, config).run(program.filters[0], case).verdict == verdict
    with StandIn(build_compiled(compiled).data, program, config) as standin:
        assert standin.run(program.filters[0], case).verdict == verdict
