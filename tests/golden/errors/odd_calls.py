# SPDX-License-Identifier: MIT
from dataclasses import dataclass

from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")


@dataclass
class Stat:
    hits: u64
    text: bytes16


@dataclass
class Unused:
    hits: u64


stats = filters.array("stats", value=Stat, max_entries=4)
users = filters.hash("users", key=u32, value=u64, max_entries=16)
told = filters.events("told", Stat)
PAIR = (3, 4)


@filters.create.pre
def calls(ctx: Context, req: CreateIn, name: Name):
    told(1)
    stats[0](1)
    kept = told
    row = stats[0]
    kind = Stat
    if len(None) or len(name + "x"):
        return CONTINUE
    sent = told.emit(Stat(1, "a"))
    cleared = ctx.clear_error()
    made = CreateIn(mode=3)
    day = dataclass(3)
    size = len(value=name)
    least = min(name, name)
    turned = range(0, 9, ctx.uid)
    far = Verdict(-4000)
    asked = Verdict(ctx.uid)
    twice = Stat(1, hits=2, text="a")
    spread = Stat(**PAIR)
    text = Stat(1, "abc").text
    unused = Unused(1)
    ten = PAIR[7]
    third = PAIR[ctx.uid]
    users.has(3, 4)
    users.contains(3)
    stats.get(1)
    stats.set(1, Stat(1, "a"))
    return CONTINUE


@filters.symlink.pre
def names(ctx: Context, name: Name, path: Buffer):
    if name.match("*.x") or name.decode() == "x" or name.encode("utf-8") == "x":
        return CONTINUE
    if name.startswith(prefix="x") or name.lower("x") == "x" or name.glob("a", "b"):
        return CONTINUE
    if name == "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" or "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" in name:
        return CONTINUE
    if name.lower()[0] == 3 or name[{1}] == 3 or name["a":] == "x" or name[9999] == 3:
        return CONTINUE
    if name < "b" or name == {"a"} or name.lower() == path:
        return CONTINUE
    name[:] = "a" + path
    name[:] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" + name
    return CONTINUE
