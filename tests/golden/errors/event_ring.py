from dataclasses import dataclass

from fusebpf import FilterSet
from fusebpf.types import u32

filters = FilterSet("s")


@dataclass
class Who:
    uid: u32


told = filters.events("told", Who, size=5000)
