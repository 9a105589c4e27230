from dataclasses import dataclass

from fusebpf import Context, FilterSet, Name
from fusebpf.constants import EPERM
from fusebpf.types import bytes32, u8, u32, u64

filters = FilterSet("s")


@dataclass
class Who:
    uid: u32
    name: bytes32


@dataclass
class Use:
    made: u64
    small: u8
    last: bytes32


@dataclass
class Unused:
    made: u64


uses = filters.hash("uses", key=Who, value=Use, max_entries=4)
plain = filters.hash("plain", key=u32, value=u64, max_entries=4)
slots = filters.array("slots", value=Use, max_entries=4)
told = filters.events("told", Who)
other = FilterSet("t").events("told", Who)


@filters.lookup.pre
def looked(ctx: Context, name: Name):
    if uses.get(3) is None or uses.get(Who(1)) is None or ctx.uid in uses:
        return -EPERM
    uses.put(Who(uid=1, nam="x"), Use(1, 2, "y"))
    uses.put(Who(uid=1, name=4), Use(1, 2, "y", 5))
    uses[Who(1, "x")].mad += 1
    uses[Who(1, "x")].small += 1
    uses[Who(1, "x")] += 1
    uses[Who(1, "x")].made = 1
    plain[3].made += 1
    slots[1] = 5
    slots[0].last = "x"
    told.emit(ctx.uid)
    told.emit(Who(1, "x"), 2)
    other.emit(Who(1, "x"))
    found = uses.get(Who(1, "x"))
    if found.made == 1:
        return -EPERM
    if found is not None and (found.last == "x" or found == 3 or found):
        return -EPERM
    if uses.get(Who(1, "x"), 0) or Unused(1):
        return -EPERM
