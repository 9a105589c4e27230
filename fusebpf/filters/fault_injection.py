# SPDX-License-Identifier: MIT
"""Errors on purpose."""

from __future__ import annotations

from fusebpf.constants import EIO
from fusebpf.dsl import Context, FilterSet, FsyncIn, ReadIn, Verdict, WriteIn, refuse
from fusebpf.dsl.values import CONTINUE, Errno
from fusebpf.types import u32, u64


def fault_injection(every: int = 100, *, errno: Errno = EIO, name: str = "fault") -> FilterSet:
    """Every ``every``-th read, write and sync of a file fails with ``errno``.

    Config values ``NAME_every`` and ``NAME_errno`` (a number from 1 to 511); the map ``NAME_calls``
    counts.
    """
    filters = FilterSet(name)
    turn = filters.config(f"{name}_every", u32, every, least=1)
    error = filters.config(f"{name}_errno", u32, errno.value, least=1, most=511)
    calls = filters.array(f"{name}_calls", value=u64, max_entries=1)

    def fail_sometimes() -> Verdict:
        calls[0] += 1
        return refuse(error) if calls[0] % turn == 0 else CONTINUE

    @filters.read_iter.pre
    def read(ctx: Context, req: ReadIn) -> Verdict:
        return fail_sometimes()

    @filters.write_iter.pre
    def written(ctx: Context, req: WriteIn) -> Verdict:
        return fail_sometimes()

    @filters.fsync.pre
    def synced(ctx: Context, req: FsyncIn) -> Verdict:
        return fail_sometimes()

    return filters
