from fusebpf import Context, FilterSet, OpenIn
from fusebpf.constants import EPERM
from fusebpf.types import u8

filters = FilterSet("s")
other = FilterSet("t")
limit = other.config("limit", u8, 3)
own = filters.config("own", u8, 3)


@filters.open.pre
def opened(ctx: Context, req: OpenIn):
    if ctx.uid > limit or ctx.uid in {own, 3} or ctx.uid // own == 1:
        return -EPERM
