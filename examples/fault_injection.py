# SPDX-License-Identifier: MIT
"""Every `every`th read, write and sync fails with errno `error`: does the program notice?"""

from fusebpf import CONTINUE, Context, FilterSet, FsyncIn, ReadIn, Verdict, WriteIn, refuse
from fusebpf.types import u32, u64

filters = FilterSet("fault_injection")
every = filters.config("every", u32, 100, least=1)
error = filters.config("error", u32, 5, least=1, most=511)
calls = filters.array("calls", value=u64, max_entries=1)


def fail_sometimes() -> Verdict:
    calls[0] += 1
    return refuse(error) if calls[0] % every == 0 else CONTINUE


@filters.read_iter.pre
def read(ctx: Context, req: ReadIn) -> Verdict:
    return fail_sometimes()


@filters.write_iter.pre
def write(ctx: Context, req: WriteIn) -> Verdict:
    return fail_sometimes()


@filters.fsync.pre
def sync(ctx: Context, req: FsyncIn) -> Verdict:
    return fail_sometimes()
