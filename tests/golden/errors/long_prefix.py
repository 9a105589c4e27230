# SPDX-License-Identifier: MIT
from dataclasses import dataclass

from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("golden")


@dataclass
class Prefix:
    prefixlen: u32
    name: bytes32


policy = filters.lpm_trie("policy", key=Prefix, value=u32, max_entries=64)


@filters.unlink.pre
def f(ctx: Context, name: Name):
    if policy.get(Prefix(8 * len(name), name), 0) == 1:
        return -EACCES
    if Prefix(257, name) in policy:
        return -EACCES
    if len(name) <= 32 and policy.get(Prefix(8 * len(name), name), 0) == 2:
        return -EPERM
    if policy.get(Prefix(8 * min(len(name), 32), name), 0) == 3 or Prefix(ctx.uid, name) in policy:
        return -EPERM
