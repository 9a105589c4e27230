# SPDX-License-Identifier: MIT
"""What few filters have: conversions, constants in odd places, locals whose type comes late."""
import fusebpf
from dataclasses import dataclass

from fusebpf import Context, CreateIn, FilterSet, Name, OpenIn, ReadIn, Verdict, refuse
from fusebpf.constants import ENOENT, EPERM
from fusebpf.types import bytes16, s64, u8, u16, u32, u64

filters = FilterSet("odd")


@dataclass
class Stat:
    hits: u64
    text: bytes16


stats = filters.array("stats", value=Stat, max_entries=4)
plain = filters.array("plain", value=u64, max_entries=8)
users = filters.hash("users", key=u32, value=u64, max_entries=16)
PAIR = (3, 4)
NAMES = ("a", "b")


def flag(on: bool, at: "u64", kind: int) -> bool:
    return on and at > 3 or kind < 0


def chosen(verdict: Verdict, asked: "Verdict") -> "Verdict":
    return verdict if verdict != asked else asked


def nothing(req: OpenIn) -> None:
    req.flags |= 1


@filters.open.pre
def numbers(ctx: fusebpf.Context, req: "OpenIn") -> "Verdict | None":
    yes: bool = bool(ctx.uid)
    no: "bool" = bool(yes)
    whole: int = int(ctx.uid) + int(yes) + int(3)
    kept: "Verdict" = CONTINUE_OR(ctx)
    late: u64
    late = req.flags
    n = 0
    for i in range(4):
        n = min(n, i, 7) + max(1, 2) + n % 5 + (n << 2) + (-n) + ~n + (+n)
        n = u16(n) if n in {1, 2} else n & 0xFF
        plain[n & 7] += len(PAIR) + len(stats) + len("abc") + PAIR[1] + PAIR[-1]
        plain[i] |= u64(n) or 3
        yes = n < 5 or n == i or yes == no
        n = n if yes else i
    nothing(req)
    if flag(yes, late, whole) or n > 3 or len(NAMES[0]) == n:
        return chosen(kept, Verdict(-1))
    big = 2**63 if yes else 2**64 - 1
    if big > ctx.nodeid or late == 2**31:
        return refuse(ENOENT)
    match yes:
        case True:
            return refuse(5)
        case False:
            return refuse(late)


def CONTINUE_OR(ctx: Context) -> Verdict:
    return fusebpf.CONTINUE if ctx.uid else -EPERM


@filters.create.pre
def names(ctx: Context, req: CreateIn, name: Name):
    part = name[1:]
    if part == "" or name[:0] == "x" or "" in name or name.startswith("") and name[2:4] == "ab":
        return -EPERM
    if name[-2:] == "x" or name[-2:] == "xyz" or name.glob(()) or name.glob("*"):
        return -EPERM
    if Stat(3, "abc").hits > ctx.uid or name.startswith(Stat(3, "abc").text):
        return -EPERM
    if ctx.uid in range(3) or ctx.uid in range(4, 9) or users.get(3) is not None:
        stats[1] = Stat(ctx.uid, part)
        stats[1].hits += 1
    match name:
        case "a" | "b" | "c" if ctx.uid != 3:
            return -ENOENT


@filters.read_iter.pre
def bits(ctx: Context, req: ReadIn):
    low = req.flags & 0xF | 1
    return refuse(u64(low ^ u8(req.size) & req.read_flags) // 3 % 7)
