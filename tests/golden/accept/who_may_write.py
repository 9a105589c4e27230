"""Roles by user id and by name, told apart with match."""
from enum import IntEnum, IntFlag

from fusebpf import CONTINUE, Context, FilterSet, Name, OpenIn
from fusebpf.constants import EACCES, EPERM, EROFS, O_ACCMODE, O_RDONLY


class User(IntEnum):
    ROOT = 0
    BACKUP = 34
    WEB = 33


class Tag(IntFlag):
    FROZEN = 1
    SECRET = 2


filters = FilterSet("roles")


@filters.open.pre
def by_role(ctx: Context, req: OpenIn):
    match ctx.uid:
        case User.ROOT:
            return CONTINUE
        case User.BACKUP if req.flags & O_ACCMODE == O_RDONLY:
            return CONTINUE
        case User.WEB | 1000 | 1001:
            if ctx.tag & (Tag.FROZEN | Tag.SECRET):
                return -EACCES
        case _ if ctx.gid == 100:
            pass
        case _:
            return -EPERM
    match req.flags & O_ACCMODE:
        case 1 | 2 if ctx.tag & Tag.FROZEN:
            return -EROFS


@filters.unlink.pre
def keep(ctx: Context, name: Name):
    match name:
        case "README" | "LICENSE" | "NEWS" | b"COPYING":
            return -EPERM
        case _ if name.endswith(".lock"):
            return CONTINUE
    match name.lower():
        case "makefile":
            return -EPERM
