from fusebpf import Context, FilterSet, Name
from fusebpf.constants import EPERM

filters = FilterSet("s")
NAMES = {f"{number:0200}" for number in range(200)}


@filters.lookup.pre
def looked(ctx: Context, name: Name):
    if name in NAMES or name[1:] in NAMES:
        return -EPERM
