from fusebpf import FilterSet

filters = FilterSet("s")
limit = filters.config("limit", int, 3)
