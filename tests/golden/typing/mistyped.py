# SPDX-License-Identifier: MIT
"""Mistakes that mypy finds in filter files and their tests; its code stands behind each."""

from fusebpf import (
    CONTINUE,
    Context,
    Dirents,
    FilterSet,
    GetattrIn,
    Name,
    OpenIn,
    ReadIn,
    ReadOut,
    Verdict,
)
from fusebpf import OpenInn as OpenInn  # attr-defined
from fusebpf.constants import EACCES, ENOENT
from fusebpf.constants import ENOENNT as ENOENNT  # attr-defined
from fusebpf.testing import FilterRun
from fusebpf.testing import lod as lod  # attr-defined
from fusebpf.types import u32, u64
from fusebpf.types import u65 as u65  # attr-defined

filters = FilterSet("mistyped")
opens = filters.hash("opens", key=u32, value=u64, max_entries=4)
extra = filters.hashh("extra", key=u32, value=u64, max_entries=4)  # attr-defined
short = filters.array("short", value=u64)  # call-arg


@filters.open.pre
def a_field(ctx: Context, req: OpenIn) -> Verdict:
    req.flagz = 1  # attr-defined
    req.flags = "r"  # assignment
    return CONTINUE if ctx.uidd == 0 else -EACCES  # attr-defined


@filters.lookup.pre
def an_errno_for_a_verdict(ctx: Context, name: Name) -> Verdict:
    if name.startswth("x"):  # attr-defined
        return 0  # return-value
    return ENOENT  # return-value


@filters.mkdir.pre  # arg-type
def a_struct_of_another_hook(ctx: Context, req: OpenIn, name: Name) -> Verdict:
    return CONTINUE


@filters.unlink.pre  # arg-type
def an_argument_too_few(ctx: Context) -> Verdict:
    return CONTINUE


@filters.getattr.pre  # type-var
def a_number_for_a_verdict(ctx: Context, req: GetattrIn) -> int:
    return 0


@filters.visible  # arg-type
def a_verdict_for_a_predicate(ctx: Context, name: Name) -> Verdict:
    return CONTINUE


@filters.lookpu.pre  # attr-defined, untyped-decorator
def no_such_operation(ctx: Context, name: Name) -> Verdict:
    return CONTINUE


@filters.rmdir.before  # attr-defined, untyped-decorator
def no_such_phase(ctx: Context, name: Name) -> Verdict:
    return CONTINUE


@filters.readdir.post
def an_entry(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents) -> None:
    for entry in entries:
        entry.dropp()  # attr-defined
        if entry.name == ".":
            opens.gett(1)  # attr-defined


def test_a_result(filters: FilterRun) -> None:
    result = filters.call("lookup.pre", name="x")
    assert result.verdct == -ENOENT  # attr-defined
    filters.call(1)  # arg-type
