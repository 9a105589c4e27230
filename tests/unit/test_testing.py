# SPDX-License-Identifier: MIT
"""The two runs without a mount: arguments in, outcome out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fusebpf.abi import STRUCTS
from fusebpf.build import compile_file
from fusebpf.build.clang import compile_c, find_clang
from fusebpf.compiler import ir
from fusebpf.testing.case import Caller, Case, Entry, Outcome, pack, unpack
from fusebpf.testing.pyrun import PyRun
from fusebpf.testing.standin import StandIn

SOURCE = """
from fusebpf import CONTINUE, POSTFILTER, Context, Dirents, FilterSet, Name, OpenIn, ReadIn, ReadOut
from fusebpf.constants import EACCES, ENOENT
from fusebpf.types import u32, u64

filters = FilterSet("both")
seen = filters.hash("seen", key=u32, value=u64, max_entries=2)
hits = filters.percpu_array("hits", value=u64, max_entries=2)

@filters.lookup.pre
def lookup(ctx: Context, name: Name):
    seen[ctx.uid] += 1
    if name.endswith(".pem"):
        hits[1] += 1
        return -ENOENT
    ctx.tag = ctx.tag + 1

@filters.open.pre
def open_file(ctx: Context, req: OpenIn):
    req.flags |= 1024
    if ctx.pid == 42:
        return -EACCES
    return POSTFILTER

@filters.readdir.post
def listing(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):
    for entry in entries:
        if entry.name.startswith(".") and entry.type == 8:
            entry.drop()
"""

Run = Callable[[str, Case], Outcome]


@pytest.fixture(params=["python", "kernel"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """Call a filter of SOURCE by name, in one of the two runs."""
    path = tmp_path / "both.py"
    path.write_text(SOURCE)
    compiled = compile_file(path)
    program = compiled.result.ir
    assert isinstance(program, ir.Program)
    functions = {function.name: function for function in program.filters}
    if request.param == "python":
        python = PyRun(program)
        yield lambda name, case: python.run(functions[name], case)
        return
    if os.geteuid() != 0:
        pytest.skip("loading BPF programs needs root (CAP_BPF)")
    with StandIn(compile_c(find_clang(), compiled.c_source, tmp_path), program) as standin:
        yield lambda name, case: standin.run(functions[name], case)


def test_a_refusal_counts_and_sets_no_tag(run: Run) -> None:
    case = Case(buffers={"name": b"a.pem"}, caller=Caller(uid=7), maps={"seen": {7: 4}})
    outcome = run("lookup", case)
    assert outcome.verdict == -2
    assert outcome.tag is None
    assert outcome.maps == {"seen": {7: 5}, "hits": {1: 1}}


def test_a_full_map_stays_as_it_is(run: Run) -> None:
    case = Case(buffers={"name": b"x"}, caller=Caller(uid=7), tag=8, maps={"seen": {1: 1, 2: 2}})
    outcome = run("lookup", case)
    assert outcome.verdict == 0
    assert outcome.tag == 9
    assert outcome.maps == {"seen": {1: 1, 2: 2}, "hits": {}}


def test_fields_of_a_request_are_read_and_written(run: Run) -> None:
    outcome = run("open_file", Case(structs={"open_in": {"flags": 2}}))
    assert outcome.verdict == 3
    assert outcome.structs == {"open_in": {"flags": 1026, "open_flags": 0}}
    assert run("open_file", Case(caller=Caller(pid=42))).verdict == -13


def test_dropped_entries_leave_the_listing(run: Run) -> None:
    entries = (Entry(b"a"), Entry(b".hidden"), Entry(b".dir", type=4), Entry(b".x" * 100))
    outcome = run("listing", Case(listing=entries))
    assert outcome.listing == (entries[0], entries[2])


def test_maps_are_fresh_for_every_call(run: Run) -> None:
    case = Case(buffers={"name": b"a.pem"})
    assert run("lookup", case) == run("lookup", case)


def test_structs_are_packed_by_the_table() -> None:
    struct = STRUCTS["fuse_entry_out"]
    raw = pack(struct, {"attr.mode": 0o100644, "nodeid": 2**64 - 1})
    assert len(raw) == struct.size
    assert unpack(struct, raw)["attr.mode"] == 0o100644
    assert unpack(struct, raw)["nodeid"] == 2**64 - 1
    with pytest.raises(OverflowError):
        pack(struct, {"attr.mode": 2**32})
    with pytest.raises(KeyError):
        pack(struct, {"attr.none": 1})
