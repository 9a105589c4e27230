# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *


def keep_out(name: str, suffixes: tuple[str, ...], refusal: Errno) -> FilterSet:
    filters = FilterSet(name)
    hits = filters.array(f"{name}_hits", value=u64, max_entries=1)

    def meant(name: Name) -> bool:
        return name.endswith(suffixes)

    @filters.create.pre
    def made(ctx: Context, req: CreateIn, name: Name):
        if meant(name):
            hits[0] += 1
            return -refusal

    return filters


media = keep_out("media", (".mp3", ".avi"), EPERM)
backup = keep_out("backup", (".bak", "~"), EACCES)
filters = FilterSet("factory", media, backup)


@filters.create.pre
def no_dots(ctx: Context, req: CreateIn, name: Name):
    if name.startswith("."):
        return -EINVAL
