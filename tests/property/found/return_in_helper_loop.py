# SPDX-License-Identifier: MIT
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
    Buffer,
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
    RenameIn,
    SetattrIn,
    SetxattrIn,
    StatfsOut,
    WriteIn,
    WriteIterOut,
    WriteOut,
)
from fusebpf.constants import EPERM, ENOENT, EIO, EACCES, EROFS, ENOSPC
from fusebpf.types import s8, s16, s32, s64, u8, u16, u32, u64

filters = FilterSet("generated")
map1 = filters.percpu_array("map1", value=s64, max_entries=6)
map2 = filters.hash("map2", key=u32, value=s64, max_entries=1)
LIMIT = 1000
SECRETS = {".env", "id_rsa"}


def helper3(p0: s64, p1: u64, p2: s64) -> u64:
    for i4 in range(0, 9):
        if u64(s8(p1)) in {1, 2, 64, LIMIT}:
            return p1
    map2.put(2, (s64(s16(s64(0))) << 11))
    return p1

def helper5(p0: s64, p1: s64) -> u64:
    v6: u64 = (((-u64(4294967296)) ^ u64(8)) ^ ((-u64(2147483648)) if (s64(65535) // 2147483649) >= u64(9223372036854775807) else u64(1)))
    v7 = (v6 * v6) <= (v6 & v6) == v6
    return v6

@filters.opendir.post
def filter8(ctx: Context, s0: OpenIn, s1: OpenOut):
    s1.open_flags = s64(helper3(s64(ctx.opcode), u64(s1.fh), s64(8)))
    pass

@filters.symlink.post
def filter9(ctx: Context, n0: Name, b1: Buffer):
    v10 = (u64(ctx.pid) + u64(n0[2])) <= u64(n0[2]) == (u64(len(n0)) >> 34)
    if len(n0) < 4:
        v11: s64 = s64(map2.get(u32((u64(n0[-1]) | u64(len(n0)))), 5))
        if n0.endswith('id_'):
            return -EROFS
    else:
        for i12 in range(3, 10, 3):
            if v10:
                v13 = 2 in map2
            else:
                if s64(ctx.pid) in {1, 2, 64, LIMIT}:
                    if (i12 ^ i12) < (u64(len(n0)) - u64(ctx.gid)):
                        v14: u64 = (u64(u32((u64(helper5(s64(n0[0]), s64(helper5(i12, i12)))) ^ u64(len(n0))))) | (u64(s32(u64(n0[2]))) | (u64(len(n0)) if s64(s16(s64(n0[1]))) > s64(u64(helper5(i12, s64(4294967295)))) else u64(helper3(s64(len(n0)), u64(3), s64(helper5(s64(n0[1]), s64(ctx.euid))))))))
                elif n0.endswith('.'):
                    v15: s64 = s64(((u64(n0[1]) - u64(n0[3])) if (n0.endswith('a') and u32(u64(len(n0))) in map2) else (u64(ctx.opcode) if n0 == 'a.b.c' else u64(len(n0)))))
    pass

@filters.removexattr.post
def filter16(ctx: Context, n0: Name):
    if not (2 in map2):
        if (s64(ctx.error_in) // 256) <= (u64(ctx.nodeid) if n0.endswith('id_') else u64(1)):
            map1[(u64(helper3(s64(len(n0)), u64(helper3(s64(n0[-1]), u64(len(n0)), s64(n0[3]))), s64(helper5(s64(65535), s64(len(n0)))))) ^ u64(ctx.opcode)) % 6] |= s64(len(n0))
            v17 = s64(u64(4294967296)) <= (s64(helper5(s64(ctx.tid), s64(len(n0)))) & s64(helper3(s64(9223372036854775807), u64(ctx.pid), s64(256))))
        v18 = s64(len(n0)) <= (u64(len(n0)) % 256)
    pass

@filters.opendir.pre
def filter19(ctx: Context, s0: OpenIn):
    if (s64(helper3(s64(256), u64(helper5(s64(s0.open_flags), s64(3))), s64(-64))) in {1, 2, 64, LIMIT} and (s64(s0.flags) + s64(s0.flags)) == u64(u16(u64(64)))):
        if s64(s0.open_flags) <= (-s64(3)) != s64(s16(s64(helper5(s64(-1), s64(helper3(s64(s0.open_flags), u64(ctx.euid), s64(-32767))))))):
            return -EACCES
    return -EACCES if not (0 in map2) else POSTFILTER
