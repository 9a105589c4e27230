# SPDX-License-Identifier: MIT
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
a = filters.array("opens", value=u64, max_entries=1)
b = filters.array("opens", value=u64, max_entries=1)
