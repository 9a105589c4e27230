# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    return CONTINUE


@filters.lookup.post
def g(ctx: Context, name: Name, out: EntryOut, entries: Buffer):
    return -EPERM


@filters.open.post
def h(ctx: Context, req: OpenIn, out: OpenOut):
    return -EPERM


@filters.default
def also(ctx: Context):
    return POSTFILTER


@filters.mkdir.pre
def made(ctx: Context, req: MkdirIn, name: Name):
    verdict = -EPERM if ctx.uid == 5 else CONTINUE
    return verdict


@filters.mkdir.post
def unseen(ctx: Context, req: MkdirIn, name: Name):
    return -EPERM


@filters.rmdir.pre
def asks(ctx: Context, name: Name):
    return CALL_DEFAULT


@filters.rmdir.post
def seen(ctx: Context, name: Name):
    return -EPERM
