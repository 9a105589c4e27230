# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
def weight(uid, factor=2):
    return uid * factor


def double(uid):
    return uid * 2


def pick(req: list) -> int:
    return 1


@filters.open.pre
def f(ctx: Context, req: OpenIn):
    if weight(ctx.uid) > 1 or double(ctx.uid) > 4 or pick(req) == 1:
        return -EPERM
