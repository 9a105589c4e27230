# SPDX-License-Identifier: MIT
"""Attributes of log files stay fresh for a second, of others for a minute; failures are counted."""
from fusebpf import AttrOut, Context, EntryOut, FilterSet, GetattrIn, Buffer, Name, POSTFILTER
from fusebpf.constants import EACCES, ENOENT, EPERM, S_IFDIR, S_IFMT
from fusebpf.types import s64, u64

filters = FilterSet("cache")
failures = filters.lru_hash("failures", key=u64, value=s64, max_entries=512)


@filters.lookup.pre
def before(ctx: Context, name: Name):
    return POSTFILTER


@filters.lookup.post
def after(ctx: Context, name: Name, out: EntryOut, more: Buffer):
    if ctx.error_in in (-ENOENT, -EACCES, -EPERM):
        failures[ctx.nodeid] -= ctx.error_in
        return
    attr = out.attr
    is_dir = attr.mode & S_IFMT == S_IFDIR
    seconds = 1 if name.endswith(".log") else 60 if not is_dir else 5
    out.entry_valid = seconds
    out.attr_valid = seconds // 2


@filters.getattr.pre
def attr_before(ctx: Context, req: GetattrIn):
    return POSTFILTER


@filters.getattr.post
def attr_after(ctx: Context, req: GetattrIn, out: AttrOut):
    out.attr.mode &= ~0o022
    out.attr.uid = ctx.uid
