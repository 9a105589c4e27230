from fusebpf import FilterSet
from fusebpf.types import u8

filters = FilterSet("s")
limit = filters.config("limit", u8, 300)
