# SPDX-License-Identifier: MIT
import fnmatch
import os
import re
import time

from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")
@filters.lookup.pre
def f(ctx: Context, name: Name):
    if re.match("a.*", name) or fnmatch.fnmatch(name, "*.pem"):
        return -ENOENT
    if os.path.exists(name) or os.getuid() == 0:
        return -ENOENT
    if time.time() > 3:
        return DENY
    return ALLOW
