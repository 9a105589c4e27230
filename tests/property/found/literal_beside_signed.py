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
    Rename2In,
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
map1 = filters.array("map1", value=u32, max_entries=5)
LIMIT = 1000
SECRETS = {".env", "id_rsa"}


def helper2(p0: s64) -> u64:
    if p0 <= u64(64):
        if (-u64(8589934597)) > (u64(4294967295) << 0):
            map1[(u64(63) | u64(65535)) % 5] |= u64(65535)
    return (u64(1) if s64(u8(p0)) <= (p0 + s64(127)) else (u64(4611686018427387904) // 256))

def helper3(p0: u64, p1: u64, p2: u64) -> u64:
    v4: s64 = (s64(-4611686018427387904) & (s64(0) + s64(u64(3))))
    v5 = v4 in {1, 2, 64, LIMIT}
    v4 *= v4
    return ((p0 % 65) - p1)

@filters.mkdir.post
def filter6(ctx: Context, s0: MkdirIn, n1: Name):
    v7 = n1 not in {'key.pem', 'README.md', '.env', 'key.pem'}
    map1[1] += (u64(s0.mode) // 4)
    return CALL_DEFAULT

@filters.fsync.pre
def filter8(ctx: Context, s0: FsyncIn):
    s0.fh = ((u64(s0.fh) & u64(ctx.tid)) if ((u64(helper3(u64(127), u64(s0.fh), u64(helper3(u64(ctx.tag), u64(s0.fh), u64(helper3(u64(helper3(u64(helper2(s64(helper3(u64(ctx.opcode), u64(s0.fh), u64(helper2(s64(-1))))))), u64(helper2(s64(ctx.nodeid))), u64(256))), u64(2147483648), u64(s0.fh))))))) >> 32) < u64(s0.fsync_flags) or (u64(ctx.gid) >> 28) < u64(helper3(u64(ctx.opcode), u64(8589934597), u64(helper3(u64(2147483647), u64(s0.fh), u64(s0.fsync_flags)))))) else (u64(4294967296) // 129))
    return CONTINUE

@filters.lookup.pre
def filter9(ctx: Context, n0: Name):
    if len(n0) == 4:
        for i10 in range(2, 5):
            map1[u64(helper2(s64(n0[3]))) % 5] ^= ((u64(ctx.gid) << 50) if (~u64(n0[2])) in {1, 2, 64, LIMIT} else u64(s16(u64(2147483647))))
    elif (s64(len(n0)) - s64(helper2(s64(helper2(s64(helper3(u64(n0[-1]), u64(64), u64(helper3(u64(n0[-1]), u64(helper2(s64(n0[0]))), u64(128)))))))))) >= (s64(n0[2]) << 7):
        v11: s64 = s64(ctx.euid)
    return -EPERM

@filters.rename.pre
def filter12(ctx: Context, s0: Rename2In, n1: Name, n2: Name):
    s0.newdir = (~(~u64(n2[1])))
    map1[2] &= u64(s8((u64(n2[1]) >> 60)))
    return -EACCES
