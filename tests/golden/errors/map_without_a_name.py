# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
counters = filters.hash("", key=u32, value=u64, max_entries=16)
