from dataclasses import dataclass

from fusebpf import FilterSet
from fusebpf.types import u32

filters = FilterSet("s")


@dataclass
class Who:
    uid: u32
    name: str


uses = filters.hash("uses", key=Who, value=u32, max_entries=4)
