# SPDX-License-Identifier: MIT
"""A record made for the ends of a part lay in the memory of the one that the part was for."""

from dataclasses import dataclass

from fusebpf import Context, FilterSet, Name
from fusebpf.constants import EACCES, ENOENT
from fusebpf.types import bytes16, s64, u32, u64

filters = FilterSet("record_in_a_record")


@dataclass
class Prefix:
    prefixlen: u32
    text: bytes16


@dataclass
class Note:
    first: u64
    text: bytes16
    last: u64


known = filters.lpm_trie("known", key=Prefix, value=u64, max_entries=64)
counted = filters.hash("counted", key=u64, value=u64, max_entries=8)
notes = filters.events("notes", Note)


def count(number: u64) -> s64:
    counted[0] += 1
    return s64(counted.get(0, 0) + number) % 4


@filters.lookup.pre
def looked_up(ctx: Context, name: Name):
    if Prefix(129, text=name[(1 if Prefix(8, text=name) in known else 0) :]) in known:
        return -ENOENT
    known.put(Prefix(24, text=name[(1 if Prefix(8, text=name) in known else 0) :]), 7)


@filters.unlink.pre
def told(ctx: Context, name: Name):
    notes.emit(Note(u64(count(0)), name[count(1) :], u64(count(2))))
    if counted.get(0, 0) > 3:
        return -EACCES
