# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
counters = filters.hash("opens", key=u32, value=int, max_entries=16)
