# SPDX-License-Identifier: MIT
from fusebpf import Context, FilterSet, Name, Verdict
from fusebpf.constants import ENOSPC
from fusebpf.types import s8, s64, u64

filters = FilterSet("generated")
map2 = filters.percpu_array("map2", value=u64, max_entries=3)
map3 = filters.automaton("map3", states=3)
CHOSEN = filters.config("chosen", u64, 5, least=1, most=50)


@filters.lookup.pre
def filter6(ctx: Context, n0: Name) -> Verdict:
    if (w17 := s64(ctx.nodeid)) > (s64(map2[0]) or s64(len(n0))):
        v18: s64 = s64(min(s64(w17), s64(s64(max(s64(s64(s8(s64(CHOSEN)))), s64((s64(map3.walk(n0, u64(len(n0)))) ^ s64(map3.walk(n0, u64(map2[1])))))))), s64(s64(min(s64(w17), s64((w17 << 58)))))))
    return -ENOSPC
