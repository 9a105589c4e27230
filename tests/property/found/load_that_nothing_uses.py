# SPDX-License-Identifier: MIT
"""clang made one load of two whose values nothing uses: of an argument and of a setting."""

from fusebpf import (
    CONTINUE,
    POSTFILTER,
    USER,
    USER_PREFILTER,
    USER_POSTFILTER,
    CALL_DEFAULT,
    Context,
    FilterSet,
    Name,
    debug,
    Buffer,
    Dirent,
    Dirents,
    AccessIn,
    AttrOut,
    CopyFileRangeIn,
    CreateIn,
    EntryOut,
    FallocateIn,
    FlushIn,
    FsyncIn,
    GetattrIn,
    GetxattrIn,
    GetxattrOut,
    LinkIn,
    LseekIn,
    LseekOut,
    MkdirIn,
    MknodIn,
    OpenIn,
    OpenOut,
    ReadIn,
    ReadIterOut,
    ReadOut,
    ReleaseIn,
    Rename2In,
    SetattrIn,
    SetxattrIn,
    StatfsOut,
    WriteIn,
    WriteIterOut,
    WriteOut,
    Verdict,
    refuse,
)
from fusebpf.constants import EPERM, ENOENT, EIO, EACCES, EROFS, ENOSPC
from fusebpf.types import bytes16, bytes32, s8, s16, s32, s64, u8, u16, u32, u64
from fusebpf.filters import hide
from dataclasses import dataclass
from enum import IntEnum

@dataclass
class Pair:
    a: u32
    b: s64

@dataclass
class Tagged:
    num: u16
    text: bytes16

@dataclass
class Stat:
    hits: u64
    seen: s32
    flags: u32
    low: u8

@dataclass
class Note:
    num: s16
    big: u64
    text: bytes32

@dataclass
class Prefix:
    prefixlen: u32
    text: bytes16

class Kind(IntEnum):
    SMALL = 3
    LARGE = 2**32 - 1

filters = FilterSet("generated")
map1 = filters.lpm_trie("map1", key=Prefix, value=u64, max_entries=64)
CHOSEN = filters.config("chosen", u64, 5, least=1, most=50)
SIGNED = filters.config("signed", s32, -3)
FLAG = filters.config("flag", bool, True)
notes = filters.events("notes", Note)
LIMIT = 1000
SECRETS = {".env", "id_rsa"}
NOBODY = ()

def matches(name: Name) -> bool:
    return name.glob('a?é') or name[1:].endswith('em')


def helper2(p0: s64) -> s64:
    map1.discard(Prefix(16, '.pem'))
    match u64(4294967295):
        case 0:
            if FLAG:
                return s64(2)
        case Kind.LARGE | Kind.LARGE | 64:
            if (p0 - s64(FLAG)) != p0:
                v3 = (u64(SIGNED) or u64(256)) == u64(min(u64(u64(FLAG)), u64(u64(SIGNED))))
    return s64(0)

def helper4(p0: s64, p1: s64, p2: u64) -> u64:
    map1.put(Prefix(prefixlen=8, text='README.md'), 3)
    return u64(min(u16((p2 // u64(CHOSEN))), u16((u64(CHOSEN) if s64(u8(s64(CHOSEN))) != p1 else p2))))

def plain5(p0: u64) -> None:
    i6 = 0
    for i6 in range((u64(2147483648) if (s64(FLAG) ^ s64(FLAG)) != s64(-4294967296) else u64(63)) % 5, 9):
        if not (s64(CHOSEN) != (i6 + s64(-2**63))):
            return

@filters.unlink.pre
def filter1(ctx: Context, n0: Name):
    plain5((u64(FLAG) ^ u64(helper2(s64(ctx.euid)))))
    return -EACCES

def own7(ctx: Context, s0: WriteIn, s1: WriteIterOut) -> bool:
    for i8 in range(1, 8, 3):
        i9 = 0
        for i9 in range(1, 6):
            if (u32(u64(s32(u64(s0.flags)))) <= s64(s1.ret)) != ((Prefix(prefixlen=129, text='a') in map1) == (Prefix(prefixlen=24, text='key.pem') in map1)):
                return not ((FLAG) != (Prefix(prefixlen=128, text='a') in map1))
    return (u64(CHOSEN) + u64(s0.fh)) <= (u64(ctx.nodeid) % 2147483648) >= (u64(s1.ret) if (u64(ctx.euid) << 13) != u64(min(u64(u64(ctx.tag2)), u64(u64(1)))) else u64(CHOSEN))

@filters.write_iter.post
def filter2(ctx: Context, s0: WriteIn, s1: WriteIterOut):
    if (w10 := u64(s64(s0.write_flags))) > u64(s64(helper2(s64(helper4(s64(SIGNED), s64(2147483647), u64(ctx.tid)))))):
        plain5(u64(min(u32(u64(SIGNED)), u32(u64(ctx.opcode)), u32(u64(CHOSEN)))))
        match (~(s64(ctx.tag) ^ s64(ctx.egid))):
            case 2 | 2 | 64:
                if s64(s1.ret) < (s64(ctx.uid) - s64(4294967295)):
                    own7(ctx, s0, s1)
            case 2 | 64 | 1:
                v11: s64 = ((s64(s1.ret) and s64(u8(s64(helper2(s64(helper4(s64(ctx.opcode), s64(s1.ret), u64(255)))))))) ^ s64(ctx.ktime))
    else:
        notes.emit(Note(num=(s64(s1.ret) - s64(s0.write_flags)), big=w10, text='key.pem'))
    pass

@filters.default
def filter3(ctx: Context):
    if (u64(FLAG) * u64(64)) != u64(2147483648):
        notes.emit(Note(s64(ctx.pid), u64(FLAG), '.env'))
        match (s64(u16(s64(CHOSEN))) * s64(max(s32(s64(helper4(s64(127), s64(helper2(s64(-2**63))), u64(helper2(s64(-8)))))), s32(s64(helper2(s64(helper2(s64(-8)))))), s32(s64(helper2(s64(FLAG))))))):
            case 1:
                v12: s64 = (s64(CHOSEN) * s64(63))
                if (FLAG and Prefix(129, 'id_rsa') in map1):
                    if ((Prefix(prefixlen=24, text='') in map1) != ((u64(SIGNED) * u64(ctx.ktime)) > u64(ctx.nodeid))) != (Prefix(129, 'a') in map1):
                        return USER_PREFILTER
                    v13: s64 = (s64(s16((v12 % s64(CHOSEN)))) * ((v12 if s64(u64(ctx.tag2)) != s64(ctx.gid) else s64(ctx.gid)) if (~u64(CHOSEN)) >= (u64(ctx.tag) + u64(4294967295)) else s64(min(u8(s64(FLAG)), u8(s64(ctx.opcode))))))
                    v12 |= v13
                else:
                    plain5((u64(8589934597) & u64(FLAG)))
            case 0:
                debug('100%', s64(CHOSEN), (s64(ctx.tag2) * s64(SIGNED)), s64(CHOSEN))
            case Kind.LARGE:
                v14: s64 = s64(-128)
    pass
