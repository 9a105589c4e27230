# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
SUFFIXES = (".pem", ".key")


@filters.lookup.pre
def f(ctx: Context, name: Name):
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return -ENOENT
