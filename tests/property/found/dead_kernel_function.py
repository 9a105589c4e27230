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
map1 = filters.percpu_array("map1", value=u32, max_entries=2)
map2 = filters.percpu_array("map2", value=u64, max_entries=3)
map3 = filters.percpu_hash("map3", key=u64, value=u32, max_entries=2)
LIMIT = 1000
SECRETS = {".env", "id_rsa"}


@filters.getattr.post
def filter4(ctx: Context, s0: GetattrIn, s1: AttrOut):
    for i5 in range(3, 4):
        if (s64(128) << 45) in {1, 2, 64, LIMIT}:
            v6: u64 = u64(s1.attr.rdev)
            if (u64(s0.getattr_flags) - u64(s0.fh)) > (u64(255) if (v6 % 65536) != (-u64(ctx.egid)) else u64(s1.attr_valid)):
                s1.attr.mtimensec = u64(u32(u64(i5)))
    pass
