# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
RATIO = 0.5
TABLE = {"a": 1}
WORDS = ("a", ("b", "c"))


@filters.lookup.pre
def f(ctx: Context, name: Name):
    if len(name) > RATIO:
        return -ENOENT
    if name in TABLE:
        return -ENOENT
    if name in WORDS or name in ("a", 5):
        return -ENOENT
