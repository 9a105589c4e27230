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
map1 = filters.hash("map1", key=u32, value=u32, max_entries=1)
LIMIT = 1000
SECRETS = {".env", "id_rsa"}


def helper2(p0: s64, p1: s64, p2: u64) -> u64:
    v3: s64 = p1
    if u64(255) == (u64(63) ^ u64(8589934597)):
        v4: u64 = (p2 * u64(32767))
    return (p2 >> 51)

@filters.copy_file_range.post
def filter5(ctx: Context, s0: CopyFileRangeIn, s1: WriteOut):
    s1.size = s64(s1.size)
    return -ENOENT

@filters.readdir.pre
def filter6(ctx: Context, s0: ReadIn):
    if (u64(s0.size) if u32(u64(s0.offset)) in map1 else u64(255)) in {1, 2, 64, LIMIT}:
        map1[3] += u64(u8((u64(s0.size) << 37)))
        for i7 in range(1, 6):
            if (-u64(64)) == (u64(ctx.tag) + u64(s0.read_flags)):
                continue
            map1.put(u32((u64(ctx.tag) ^ u64(helper2(s64(64), s64(s0.flags), u64(8589934597))))), u64(helper2(s64(64), s64(128), u64(s0.offset))))
        v8 = s64(u8(s64(ctx.egid))) in {1, 2, 64, LIMIT}
    else:
        if 1 in map1:
            if ((s64(ctx.nodeid) ^ s64(ctx.nodeid)) in {1, 2, 64, LIMIT} and u64(s64(s0.read_flags)) > u64(s0.fh)):
                v9: u64 = ((u64(s0.lock_owner) % 4294967296) << 59)
    return -EROFS

@filters.get_link.pre
def filter10(ctx: Context, n0: Name):
    if s64(s8(s64(n0[-2]))) > u64(n0[2]):
        for i11 in range(9, 16, 3):
            if ((s64(8) ^ s64(helper2(i11, i11, u64(helper2(s64(len(n0)), i11, u64(len(n0))))))) in {1, 2, 64, LIMIT} and not ((u64(len(n0)) & u64(n0[2])) <= u64(2))):
                map1.discard(1)
            elif s64(len(n0)) <= s64(ctx.euid) < (-i11):
                if (not ((i11 if n0 == 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' else s64(n0[-2])) in {1, 2, 64, LIMIT}) or not (n0 == 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx')):
                    if n0.endswith(('a', '.')):
                        if n0.endswith(('xxxxxxxxxxxxxxxxxxxx', '.')):
                            v12 = len(n0) > 255
                        elif (s64(len(n0)) >> 53) <= (s64(ctx.euid) if n0.startswith('READ') else s64(ctx.opcode)):
                            map1.put(3, ((u64(helper2(i11, s64(63), u64(ctx.error_in))) ^ u64(ctx.tid)) - u64(i11)))
                        else:
                            found13 = map1.get(3)
                            if found13 is not None:
                                v14: u64 = u64(map1.get(2, 5))
    pass
