# SPDX-License-Identifier: MIT
"""Symbols of kernel functions that no instruction calls any more."""

from __future__ import annotations

from pathlib import Path

from fusebpf.build.clang import compile_c, find_clang
from fusebpf.build.symbols import drop_dead_externs
from fusebpf.runtime.libbpf import Object

DEAD = """
#include "fusebpf.h"
asm(".weak bpf_fuse_nobody_calls");
FUSEBPF_OPEN_PREFILTER(f, ctx, req)
{
    return fusebpf_uid(ctx) == 7 ? -1 : FUSEBPF_CONTINUE;
}
FUSEBPF_OPS("dead", .open_prefilter = FUSEBPF_PROG(f))
"""


def test_libbpf_opens_an_object_with_a_dead_extern(tmp_path: Path) -> None:
    data = compile_c(find_clang(), DEAD, tmp_path)
    with Object(data, "dead") as opened:
        assert "f_standin" in opened.programs
        assert "f_ops" in opened.programs


def test_called_externs_stay_and_nothing_is_dropped_twice(tmp_path: Path) -> None:
    data = compile_c(find_clang(), DEAD, tmp_path)
    assert b"bpf_fuse_fsuid" in data
    assert drop_dead_externs(data) == data
