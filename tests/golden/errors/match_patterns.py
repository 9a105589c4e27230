from enum import IntEnum

from fusebpf import Context, FilterSet, Name, OpenIn
from fusebpf.constants import EPERM
from fusebpf.types import u32, u64

filters = FilterSet("s")
seen = filters.hash("seen", key=u32, value=u64, max_entries=4)
limit = 7


class Colour(IntEnum):
    RED = 1


@filters.open.pre
def opened(ctx: Context, req: OpenIn):
    match ctx.uid:
        case limit:
            return -EPERM
    match ctx.uid:
        case [1, 2]:
            return -EPERM
        case "root":
            return -EPERM
        case True:
            return -EPERM
        case Colour.GREEN:
            return -EPERM
    match seen.get(1):
        case 0:
            return -EPERM


@filters.lookup.pre
def looked(ctx: Context, name: Name):
    match name:
        case 5:
            return -EPERM
        case "a" | 7:
            return -EPERM
