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
map1 = filters.hash("map1", key=u32, value=u64, max_entries=4)
LIMIT = 1000
SECRETS = {".env", "id_rsa"}


def helper2(p0: s64, p1: s64, p2: s64) -> s64:
    v3: u64 = (((u64(9223372036854775807) ^ u64(0)) % 129) * u64(128))
    map1.put(u32(u64(p0)), ((v3 if 1 in map1 else u64(2)) << 57))
    return ((s64(-8589934597) + s64(7)) << 59)

@filters.opendir.pre
def filter4(ctx: Context, s0: OpenIn):
    v5 = ((s64(helper2(s64(s0.open_flags), s64(ctx.pid), s64(s0.flags))) ^ s64(s0.flags)) >= (u64(s0.flags) if u64(ctx.euid) < u64(helper2(s64(helper2(s64(ctx.egid), s64(s0.open_flags), s64(8589934597))), s64(0), s64(helper2(s64(ctx.tag), s64(4611686018427387904), s64(s0.flags))))) else u64(ctx.uid)) or u32(u64(helper2(s64(8), s64(-256), s64(-7)))) in map1)
    return -EIO
