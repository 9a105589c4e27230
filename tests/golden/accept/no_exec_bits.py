# SPDX-License-Identifier: MIT
"""Files made here are never executable, and belong to nobody else."""
from fusebpf import Context, CreateIn, FilterSet, MkdirIn, MknodIn, Name, SetattrIn
from fusebpf.constants import EPERM, FATTR_MODE, S_IFBLK, S_IFCHR, S_IFMT, S_ISGID, S_ISUID

ANY_X = 0o111
filters = FilterSet("noexec")


@filters.create.pre
def create(ctx: Context, req: CreateIn, name: Name):
    req.mode &= ~ANY_X
    req.umask |= 0o077


@filters.mkdir.pre
def mkdir(ctx: Context, req: MkdirIn, name: Name):
    req.umask |= 0o027


@filters.mknod.pre
def mknod(ctx: Context, req: MknodIn, name: Name):
    kind = req.mode & S_IFMT
    if kind == S_IFCHR or kind == S_IFBLK:
        return -EPERM
    req.mode &= ~(S_ISUID | S_ISGID | ANY_X)


@filters.setattr.pre
def setattr(ctx: Context, req: SetattrIn):
    if req.valid & FATTR_MODE and req.mode & (S_ISUID | S_ISGID):
        return -EPERM
