"""A loop over its own variable, which nothing has assigned yet."""
from fusebpf import *
from fusebpf.constants import *
filters = FilterSet("golden")

@filters.lookup.pre
def f(ctx: Context, name: Name):
    for part in -part:
        if name.endswith(".key"):
            return -part
