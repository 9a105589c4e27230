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
map1 = filters.array("map1", value=u32, max_entries=6)
map2 = filters.hash("map2", key=u32, value=u64, max_entries=5)
LIMIT = 1000
SECRETS = {".env", "id_rsa"}


def helper3(p0: s64, p1: s64, p2: s64) -> s64:
    map1[0] |= (u64(1) | (u64(8589934597) % 2))
    if not (u64(3) > u64(256)):
        if ((u64(8) << 10) in {1, 2, 64, LIMIT} or not ((u64(4294967295) & u64(255)) >= u64(s32(u64(1))))):
            return s64(8589934597)
    else:
        map2[3] += u64(4611686018427387904)
    return ((s64(-128) | p1) >> 49)

@filters.open.post
def filter4(ctx: Context, s0: OpenIn, s1: OpenOut):
    if (s64(ctx.egid) >> 50) <= (s64(ctx.opcode) & s64(helper3(s64(ctx.nodeid), s64(helper3(s64(s1.open_flags), s64(ctx.euid), s64(8))), s64(ctx.egid)))):
        for i5 in range(3, -1, -2):
            if s64(s1.fh) > u64(helper3(s64(ctx.error_in), s64(ctx.nodeid), s64(ctx.nodeid))):
                s1.open_flags = (u64(u32(u64(ctx.gid))) | (u64(8589934597) - u64(helper3(i5, s64(-63), s64(ctx.euid)))))
    v6: s64 = s64(u16(s64(s32((s64(ctx.gid) ^ s64(s1.open_flags))))))
    return USER_POSTFILTER

@filters.rename.post
def filter7(ctx: Context, s0: Rename2In, n1: Name, n2: Name):
    v8: s64 = s64(s0.newdir)
    v9: u64 = (-(u64(helper3(s64(ctx.tag), s64(ctx.egid), s64(len(n1)))) if ((s64(n1[1]) % -3) <= s64(u64(ctx.nodeid)) and n2.endswith('.')) else (u64(s0.newdir) if n2.endswith('é') else u64(127))))
    if len(n2) == 4:
        v10: u64 = u64(s0.newdir)
    return -ENOSPC

@filters.fsync.pre
def filter11(ctx: Context, s0: FsyncIn):
    if (s64(ctx.tag) if (u64(s0.fh) if 3 in map2 else u64(helper3(s64(s0.fh), s64(ctx.euid), s64(ctx.opcode)))) == (u64(64) if u64(2) == (~u64(helper3(s64(s0.fsync_flags), s64(helper3(s64(helper3(s64(helper3(s64(s0.fsync_flags), s64(32767), s64(s0.fh))), s64(s0.fh), s64(s0.fh))), s64(s0.fsync_flags), s64(ctx.opcode))), s64(ctx.gid)))) else u64(ctx.pid)) else s64(s0.fsync_flags)) < (s64(ctx.euid) ^ s64(s0.fsync_flags)):
        if s64(s0.fsync_flags) <= s64(s0.fh) < (~s64(helper3(s64(helper3(s64(64), s64(127), s64(8))), s64(ctx.nodeid), s64(s0.fh)))):
            map1[2] ^= (u64(ctx.nodeid) + (u64(127) + u64(helper3(s64(127), s64(s0.fsync_flags), s64(helper3(s64(s0.fh), s64(helper3(s64(8), s64(8), s64(s0.fh))), s64(s0.fh)))))))
            v12: u64 = ((u64(ctx.error_in) if not (s64(ctx.nodeid) < (s64(ctx.uid) + s64(s0.fh))) else (u64(s0.fsync_flags) % 32768)) + u64(s64(u32(s64(ctx.euid)))))
            s0.fh = (-(v12 if (~s64(s0.fsync_flags)) < s64(ctx.egid) else u64(128)))
        v13: s64 = (((s64(ctx.gid) << 49) * s64(s0.fsync_flags)) ^ s64(ctx.uid))
    elif u32((u64(ctx.tid) + u64(s0.fh))) in map2:
        v14 = (s64(helper3(s64(s0.fh), s64(s0.fh), s64(ctx.opcode))) in {1, 2, 64, LIMIT} and (s64(-4611686018427387904) << 9) in {1, 2, 64, LIMIT})
    else:
        found15 = map2.get(0)
        if found15 is not None:
            v16 = (not ((s64(s0.fsync_flags) & s64(4294967295)) == s64(u64(8589934597))) or (u64(s0.fh) ^ found15) != u64(u16(u64(ctx.uid))))
    return -ENOSPC
