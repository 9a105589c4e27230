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
map1 = filters.hash("map1", key=u64, value=u32, max_entries=3)
map2 = filters.hash("map2", key=u64, value=u64, max_entries=2)
LIMIT = 1000
SECRETS = {".env", "id_rsa"}


@filters.statfs.post
def filter3(ctx: Context, s0: StatfsOut):
    s0.st.namelen = ((s64(ctx.opcode) - s64(s0.st.frsize)) % 4)
    pass

@filters.flush.pre
def filter4(ctx: Context, s0: FlushIn):
    map1[(u64(ctx.error_in) & u64(s0.fh))] += u64((~s64(ctx.nodeid)))
    if (s64(s0.fh) // -8) != s64(s16(s64(ctx.egid))):
        if (u64(s64(ctx.gid)) < u64(s0.fh) and not ((s64(64) ^ s64(ctx.tid)) > (s64(ctx.gid) % 2))):
            return -EROFS
        if (u64(8) >> 33) <= u64(u32(u64(ctx.uid))) < u64(ctx.pid):
            return POSTFILTER
        v5: u64 = ((u64(s0.fh) | (u64(s0.fh) + u64(s0.lock_owner))) if (s64(-256) if (s64(2147483648) ^ s64(ctx.euid)) != (~s64(ctx.gid)) else s64(ctx.pid)) == u64(s0.lock_owner) else ((u64(s0.fh) + u64(s0.fh)) if 2 in map2 else (-u64(ctx.uid))))
    else:
        for i6 in range(3, 10):
            map1.put(2, (u64(4294967296) >> 49))
        if not ((u64(s0.lock_owner) ^ u64(s0.lock_owner)) in {1, 2, 64, LIMIT}):
            return -EROFS
    return USER

@filters.setattr.pre
def filter7(ctx: Context, s0: SetattrIn):
    s0.atime = (u64(u16(u64(ctx.tag))) << 39)
    pass
