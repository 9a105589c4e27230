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
LIMIT = 1000
SECRETS = {".env", "id_rsa"}


def helper1(p0: s64, p1: u64, p2: u64) -> s64:
    v2: s64 = (((s64(-255) >> 49) - p0) | ((p0 if (u64(256) & p1) <= u64(7) else p0) ^ (p0 * p0)))
    v3: s64 = ((~s64(8589934597)) if not ((s64(2) << 49) in {1, 2, 64, LIMIT}) else s64((p2 >> 14)))
    v2 &= (-s64(u8(v2)))
    return ((-s64(-8)) + v3)

@filters.read_iter.pre
def filter4(ctx: Context, s0: ReadIn):
    v5: s64 = s64(s0.read_flags)
    return -ENOSPC

@filters.link.pre
def filter6(ctx: Context, s0: LinkIn, n1: Name):
    v7 = n1.endswith('id_')
    for i8 in range(4, 11):
        if u64(n1[3]) in {1, 2, 64, LIMIT}:
            return -ENOENT if s64(u64(s0.oldnodeid)) < u64(n1[1]) else CALL_DEFAULT
        v9: u64 = u64(n1[0])
        s0.oldnodeid = ((v9 >> 28) ^ (u64(n1[1]) >> 0))
    if s64(s0.oldnodeid) >= (u64(3) if n1 not in {'key.pem', 'key.pem', '.pem'} else u64(len(n1))):
        if v7:
            if u64(s64(-8589934597)) < (u64(n1[2]) * u64(ctx.tag)):
                if s64(helper1(s64(2147483647), u64(ctx.pid), u64(len(n1)))) == s64(helper1(s64(helper1(s64(n1[3]), u64(ctx.nodeid), u64(n1[3]))), u64(ctx.tag), u64(s0.oldnodeid))):
                    return CALL_DEFAULT
            s0.oldnodeid = (u64(s0.oldnodeid) << 0)
        else:
            s0.oldnodeid = (u64(len(n1)) if (s64(s0.oldnodeid) & s64(s0.oldnodeid)) <= (s64(helper1(s64(len(n1)), u64(s0.oldnodeid), u64(s0.oldnodeid))) * s64(s0.oldnodeid)) >= (s64(len(n1)) - s64(n1[3])) else (u64(s0.oldnodeid) << 40))
    elif not (n1.endswith(('.env', '.env'))):
        s0.oldnodeid = u64(s64(s16(s64(ctx.gid))))
    return POSTFILTER
