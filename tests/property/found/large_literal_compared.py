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
map1 = filters.lru_hash("map1", key=s32, value=u64, max_entries=64)
map2 = filters.percpu_array("map2", value=s64, max_entries=3)
map3 = filters.array("map3", value=s64, max_entries=4)
LIMIT = 1000
SECRETS = {".env", "id_rsa"}


def helper4(p0: u64, p1: u64, p2: s64) -> u64:
    map3[0] ^= p2
    map2[1] += (p2 + s64(p0))
    if (not ((u64(256) * p0) > p1) and (s64(127) & p2) < (p0 ^ p1)):
        v5: s64 = (((p2 * p2) << 25) & (~p2))
    else:
        map2[0] &= (s64(4611686018427387904) << 3)
    return (p0 if p2 > p2 else (~p1))

@filters.copy_file_range.post
def filter6(ctx: Context, s0: CopyFileRangeIn, s1: WriteOut):
    if u64(helper4(u64(2147483647), u64(helper4(u64(65535), u64(s1.size), s64(ctx.euid))), s64(0))) in {1, 2, 64, LIMIT}:
        v7: u64 = u64(map1.get(3, 5))
        for i8 in range(2, 9, 3):
            v9 = u64(8589934597) <= (u64(helper4(v7, v7, i8)) + u64(ctx.egid))
            v10: s64 = (~s64(255))
            if (u64(s1.size) >> 60) <= u64(i8) == (u64(s1.size) & v7):
                if (v7 & u64(s0.nodeid_out)) < v7:
                    s1.size = s64(helper4(u64(helper4(v7, u64(4294967295), s64(s0.len))), u64(s1.size), s64(s0.flags)))
                    map2[u64(s1.size) % 3] += s64(ctx.euid)
                else:
                    if (2 in map1 and 2 in map1):
                        s1.size = s64(helper4(v7, v7, s64(2)))
                    elif s64(v7) < s64(s0.nodeid_out):
                        map3[(u64(s0.len) | u64(256)) % 4] += (i8 & (s64(s1.size) * s64(s0.off_out)))
            elif s64(256) in {1, 2, 64, LIMIT}:
                map2[(v7 ^ v7) % 3] &= (~s64(helper4(v7, u64(s1.size), s64(2147483648))))
    return USER_POSTFILTER

@filters.access.pre
def filter11(ctx: Context, s0: AccessIn):
    map3[0] -= ((s64(helper4(u64(ctx.tid), u64(s0.mask), s64(s0.mask))) | s64(helper4(u64(ctx.nodeid), u64(helper4(u64(ctx.tag), u64(ctx.error_in), s64(s0.mask))), s64(4611686018427387904)))) * s64(s0.mask))
    map2[2] ^= ((s64(helper4(u64(helper4(u64(ctx.uid), u64(s0.mask), s64(s0.mask))), u64(s0.mask), s64(s0.mask))) - s64(s0.mask)) % 2147483649)
    s0.mask = (u64(2147483648) if (s64(s0.mask) % 32768) in {1, 2, 64, LIMIT} else u64(helper4(u64(64), u64(ctx.egid), s64(helper4(u64(4294967295), u64(helper4(u64(s0.mask), u64(ctx.egid), s64(ctx.pid))), s64(ctx.gid))))))
    pass

@filters.rename.post
def filter12(ctx: Context, s0: Rename2In, n1: Name, n2: Name):
    if n2.endswith(('xxxxxxxxxxxxxxxxxxxx', 'READ')):
        map3[0] += ((~s64(ctx.opcode)) * s64(ctx.pid))
        for i13 in range(5, -1, -2):
            if (s64(s0.newdir) - s64(-127)) <= s64(u64(65535)) != s64(u64(ctx.uid)):
                map1.discard(2)
    return USER_POSTFILTER

@filters.lseek.post
def filter14(ctx: Context, s0: LseekIn, s1: LseekOut):
    if (~s64(helper4(u64(7), u64(ctx.error_in), s64(-63)))) <= u64(4294967296):
        if (u64(u8(u64(helper4(u64(helper4(u64(s0.fh), u64(s0.whence), s64(ctx.opcode))), u64(helper4(u64(s0.fh), u64(s1.offset), s64(ctx.uid))), s64(s1.offset))))) <= (u64(8) ^ u64(s0.fh)) < (u64(0) if (u64(32767) if s32(s64(helper4(u64(s1.offset), u64(s0.offset), s64(s1.offset)))) in map1 else u64(helper4(u64(ctx.tid), u64(4294967295), s64(s0.fh)))) > (u64(s0.whence) if (s64(helper4(u64(s1.offset), u64(ctx.error_in), s64(0))) // 65536) >= (s64(s1.offset) // 2147483649) else u64(s0.fh)) else u64(ctx.gid)) and (s64(s0.offset) % 128) == u64(s0.offset)):
            s1.offset = u64(ctx.gid)
    else:
        v15: s64 = s64((u64(2) + u64(65535)))
    pass
