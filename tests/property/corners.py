# SPDX-License-Identifier: MIT
"""A set that shows what it computes: each result goes to a map, so that no difference stays inside.

Random filters decide by most of what they compute; faults of rare nodes are found here.
"""

from __future__ import annotations

from tests.property.inputs import Generated, MapShape

SOURCE = """
from dataclasses import dataclass

from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("corners")
out = filters.array("out", value=u64, max_entries=32)
table = filters.hash("table", key=u32, value=u64, max_entries=8)


@dataclass
class Key:
    num: u32
    text: bytes16


@dataclass
class Value:
    hits: u64
    last: u64


records = filters.hash("records", key=Key, value=Value, max_entries=8)


def told(name: Name) -> u64:
    return len(name) * 8 + u64(name in {"a", "pem", ".env", "id_rsa"}) + 2 * u64(name[2:] == "m")


@filters.write_iter.pre
def numbers(ctx: Context, req: WriteIn):
    a = s64(req.offset)
    b = s64(req.lock_owner)
    u = req.offset
    v = req.fh
    small = req.size
    out[0] = u64(min(a, b))
    out[1] = u64(max(a, b))
    out[2] = min(u, v)
    out[3] = max(u, v)
    if b != 0:
        out[4] = u64(a // b)
        out[5] = u64(a % b)
    if v != 0:
        out[6] = u // v
        out[7] = u % v
    out[8] = u and v
    out[9] = u or v
    out[10] = u64(u < b) + 2 * u64(a < v) + 4 * u64(u == b) + 8 * u64(a >= v)
    out[11] = u64(3 <= small < 64) + 2 * u64(req.flags < small <= req.write_flags)
    out[12] = u64(small in range(3, 64)) + 2 * u64(small in {0, 8, 255, 2**32 - 1})
    out[13] = u64(a) << (u & 63)
    out[14] = u64(a >> (v & 63))
    out[15] = u64(-a ^ ~b) + (u & 0xFF | v)
    out[16] = u64(u32(a)) + u64(s64(s8(b)))
    out[17] = u64(a if small > 7 else b)
    turns = 0
    for i in range(min(small, 9)):
        turns += i + 1
    for i in range(5, -1, -2):
        turns += i * 100
    for i in range(7, 13):
        turns += i * 10000
        if i == req.flags:
            break
    out[18] = turns
    out[19] += 3
    out[19] -= 1
    out[20] -= u
    out[21] = s64(-5)
    return refuse(a)


@filters.create.pre
def names(ctx: Context, req: CreateIn, name: Name):
    at = s64(req.mode) - 4
    out[0] = name[at]
    out[1] = name[-1]
    out[2] = len(name[at:])
    out[3] = len(name[1:at])
    out[4] = u64(name[1:] == "pem") + 2 * u64(name[:1] == ".") + 4 * u64(name[-3:] == "pem")
    out[5] = u64(name.startswith("a")) + 2 * u64(name.endswith(".pem")) + 4 * u64(name == "a")
    out[6] = u64(name.lower() == "readme.md") + 2 * u64(name in {"a", ".env", "pem", "id_rsa"})
    out[7] = u64(name.startswith(".env")) + 2 * u64(name.endswith("a")) + 4 * u64(name == ".pem")
    out[8] = u64(name.glob("*.p?m")) + 2 * u64(name.glob("*[a-e].*")) + 4 * u64(name.glob("?*"))
    out[9] = u64(name.glob("*.*")) + 2 * u64(name.glob("i*_*a")) + 4 * u64(name.glob("[!.]*e*"))
    out[10] = u64(name.lower().glob("*read*.m*")) + 2 * u64(".e" in name)
    out[11] = u64(name[:2] == name[2:4]) + 2 * u64(name[1:] == name[1:at])
    out[12] = u64(name[2:5] == "_rs") + 2 * u64(name[2:] == "_rsa") + 4 * u64(name.glob("*e*.pem"))
    total = 0
    for byte in name:
        total = total * 3 + byte
    out[13] = total
    out[15] = told(name)
    key = Key(req.flags, name)
    records[key].hits += 1
    records.put(Key(9, "sixteen-letters!"), Value(ctx.uid, 5))
    value = records.get(Key(num=9, text="sixteen-letters!"))
    if value is not None:
        out[14] = value.hits * 7 + value.last


@filters.link.pre
def maps(ctx: Context, req: LinkIn, name: Name):
    key = u32(req.oldnodeid)
    out[0] = table.get(key, 77)
    out[1] = u64(key in table)
    found = table.get(ctx.uid)
    out[2] = 1 if found is None else found + 2
    table[key] += 5
    table[key] -= req.oldnodeid
    out[3] = u64(table.discard(ctx.gid)) + 2 * u64(table.put(ctx.pid, ctx.egid + ctx.euid))
    out[4] = ctx.egid * 3 + ctx.tid
    out[5] = told(name)
    if name.startswith("."):
        name[:] = "X" + name[1:].lower() + ".z"
    elif name == "a":
        name[:] = "b"
    elif ctx.uid == 0:
        name[:] = name[1:]


@filters.lookup.pre
def tags(ctx: Context, name: Name):
    ctx.tag = ctx.tag + ctx.tag2 * 2
    ctx.keep_answer(ctx.nodeid)
    out[0] = told(name)


@filters.fsync.post
def cleared(ctx: Context, req: FsyncIn):
    out[0] = 7 if 1 <= req.fsync_flags < 128 else 9
    if req.fsync_flags == 1:
        ctx.clear_error()


@filters.readdir.post
def entries(ctx: Context, req: ReadIn, listing_out: ReadOut, entries: Dirents):
    for entry in entries:
        if entry.type == 4 and entry.ino % 2 == 1:
            entry.drop()
        elif entry.name.startswith("."):
            entry.name = entry.name[1:] + "+."
            entry.type = 12 + req.flags
        else:
            entry.name = entry.name.lower()
"""

CORNERS = Generated(
    SOURCE,
    [
        MapShape("out", "array", "u32", "u64", 32),
        MapShape("table", "hash", "u32", "u64", 8),
    ],
    {
        "numbers": "write_iter_prefilter",
        "names": "create_open_prefilter",
        "maps": "link_prefilter",
        "tags": "lookup_prefilter",
        "cleared": "fsync_postfilter",
        "entries": "readdir_postfilter",
    },
)
