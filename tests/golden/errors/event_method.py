# SPDX-License-Identifier: MIT
from dataclasses import dataclass

from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")


@dataclass
class Opened:
    uid: u32


opened = filters.events("opened", Opened)
@filters.open.pre
def f(ctx: Context, req: OpenIn):
    opened.send(Opened(ctx.uid))
