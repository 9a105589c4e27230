from dataclasses import dataclass

from fusebpf import Context, FilterSet, Name
from fusebpf.constants import EPERM
from fusebpf.types import bytes128, bytes256, u64

filters = FilterSet("s")


@dataclass
class Long:
    first: bytes256
    second: bytes128
    third: bytes128


seen = filters.hash("seen", key=Long, value=u64, max_entries=4)


def third(name: Name) -> u64:
    return seen.get(Long(name, name, "c"), 0)


def second(name: Name) -> u64:
    return seen.get(Long(name, name, "b"), 0) + third(name)


@filters.lookup.pre
def first(ctx: Context, name: Name):
    if seen.get(Long(name, name, "a"), 0) + second(name) > 3:
        return -EPERM
