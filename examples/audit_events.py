# SPDX-License-Identifier: MIT
"""Who makes and removes what: an event for each, read with `mount.events["changes"].follow()`."""

from dataclasses import dataclass

from fusebpf import Context, CreateIn, FilterSet, MkdirIn, Name
from fusebpf.types import bytes256, u32, u64

filters = FilterSet("audit_events")


@dataclass
class Change:
    when: u64
    pid: u32
    uid: u32
    opcode: u32
    name: bytes256


changes = filters.events("changes", Change, size=1 << 20)


def tell(ctx: Context, name: Name) -> None:
    changes.emit(Change(ctx.ktime, ctx.pid, ctx.uid, ctx.opcode, name))


@filters.create.pre
def created(ctx: Context, req: CreateIn, name: Name) -> None:
    tell(ctx, name)


@filters.mkdir.pre
def made(ctx: Context, req: MkdirIn, name: Name) -> None:
    tell(ctx, name)


@filters.unlink.pre
def removed(ctx: Context, name: Name) -> None:
    tell(ctx, name)
