"""Counts by user and name, prefixes with a policy, and an event for each refusal."""
from dataclasses import dataclass

from fusebpf import Context, CreateIn, FilterSet, Name, OpenIn
from fusebpf.constants import EACCES, EDQUOT
from fusebpf.types import bytes32, bytes64, s32, u32, u64

filters = FilterSet("records")


@dataclass
class Who:
    uid: u32
    name: bytes32


@dataclass
class Use:
    made: u64
    last: u64
    refused: u32


@dataclass
class Prefix:
    prefixlen: u32
    name: bytes64


@dataclass
class Refusal:
    when: u64
    uid: u32
    error: s32
    name: bytes64


uses = filters.lru_hash("uses", key=Who, value=Use, max_entries=1024)
policy = filters.lpm_trie("policy", key=Prefix, value=u32, max_entries=64)
totals = filters.percpu_array("totals", value=Use, max_entries=2)
refusals = filters.events("refusals", Refusal, size=1 << 17)


def tell(ctx: Context, name: Name, error: s32):
    refusals.emit(Refusal(when=ctx.ktime, uid=ctx.uid, error=error, name=name))


@filters.create.pre
def made(ctx: Context, req: CreateIn, name: Name):
    who = Who(ctx.uid, name[:8])
    use = uses.get(who)
    if use is not None and use.made > 100 and ctx.ktime - use.last < 1_000_000_000:
        uses[who].refused += 1
        tell(ctx, name, -122)
        return -EDQUOT
    if use is None:
        uses.put(who, Use(made=1, last=ctx.ktime, refused=0))
    else:
        uses[who].made += 1
    if policy.get(Prefix(8 * min(len(name), 64), name), 0) == 1 or Prefix(24, "tmp") in policy:
        tell(ctx, name, -13)
        return -EACCES
    totals[ctx.uid % 2].made += 1


@filters.open.pre
def opened(ctx: Context, req: OpenIn):
    if totals[0].made > 10 and totals[0].last == 0:
        totals[0] = Use(totals[0].made, ctx.ktime, refused=3)
