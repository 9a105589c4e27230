from dataclasses import dataclass

from fusebpf import FilterSet
from fusebpf.types import u32

filters = FilterSet("s")


@dataclass
class Who:
    prefixlen: u32
    uid: u32


uses = filters.lpm_trie("uses", key=Who, value=u32, max_entries=4)
