# SPDX-License-Identifier: MIT
"""Names that Windows cannot store, and names that look like a trick, are refused."""
from fusebpf import CONTINUE, Context, CreateIn, FilterSet, Name, Verdict
from fusebpf.constants import EINVAL, ENAMETOOLONG

RESERVED = ("con", "prn", "aux", "nul", "com1", "com2", "lpt1")
BAD = (ord("<"), ord(">"), ord(":"), ord('"'), ord("|"), ord("?"), ord("*"), 92)

filters = FilterSet("names")


def check(name: Name) -> Verdict:
    if len(name) > 200:
        return -ENAMETOOLONG
    if name.lower() in RESERVED or name[-1:] == "." or name[-1] == 32:
        return -EINVAL
    for byte in name:
        if byte < 32 or byte in BAD:
            return -EINVAL
    return CONTINUE


@filters.create.pre
def create(ctx: Context, req: CreateIn, name: Name):
    return check(name)


@filters.unlink.pre
def unlink(ctx: Context, name: Name):
    verdict = check(name)
    if verdict != CONTINUE:
        return verdict
