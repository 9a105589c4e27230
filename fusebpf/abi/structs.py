# SPDX-License-Identifier: MIT
"""The argument structs of filters: the FUSE wire format (include/uapi/linux/fuse.h).

``-name`` marks a member that filters do not see (padding, file handles of the daemon's own use).
"""

from __future__ import annotations

from fusebpf.abi.model import Struct, make_struct

# name, Python class, what it is, members
_STOCK: tuple[tuple[str, str, str, str], ...] = (
    (
        "fuse_attr",
        "Attr",
        "Attributes of a file; times in seconds and nanoseconds, size in bytes.",
        "__u64 ino; __u64 size; __u64 blocks; __u64 atime; __u64 mtime; __u64 ctime;"
        "__u32 atimensec; __u32 mtimensec; __u32 ctimensec; __u32 mode; __u32 nlink; __u32 uid;"
        "__u32 gid; __u32 rdev; __u32 blksize; __u32 flags",
    ),
    (
        "fuse_kstatfs",
        "Kstatfs",
        "File system totals; blocks are counted in units of frsize bytes.",
        "__u64 blocks; __u64 bfree; __u64 bavail; __u64 files; __u64 ffree; __u32 bsize;"
        "__u32 namelen; __u32 frsize; __u32 -padding; __u32 -spare[6]",
    ),
    (
        "fuse_entry_out",
        "EntryOut",
        "What a lookup found; validity in seconds and nanoseconds.",
        "__u64 nodeid; __u64 generation; __u64 entry_valid; __u64 attr_valid;"
        "__u32 entry_valid_nsec; __u32 attr_valid_nsec; fuse_attr attr",
    ),
    (
        "fuse_getattr_in",
        "GetattrIn",
        "Request for attributes; getattr_flags are the AT_* flags of statx(2).",
        "__u32 getattr_flags; __u32 -dummy; __u64 fh",
    ),
    (
        "fuse_attr_out",
        "AttrOut",
        "Attributes and how long they hold.",
        "__u64 attr_valid; __u32 attr_valid_nsec; __u32 -dummy; fuse_attr attr",
    ),
    (
        "fuse_mknod_in",
        "MknodIn",
        "Request for a new node; rdev in the kernel's new encoding.",
        "__u32 mode; __u32 rdev; __u32 umask; __u32 -padding",
    ),
    ("fuse_mkdir_in", "MkdirIn", "Request for a new directory.", "__u32 mode; __u32 umask"),
    ("fuse_rename_in", "RenameIn", "Request for a rename without flags.", "__u64 newdir"),
    (
        "fuse_rename2_in",
        "Rename2In",
        "Request for a rename; flags are RENAME_* of renameat2(2).",
        "__u64 newdir; __u32 flags; __u32 -padding",
    ),
    ("fuse_link_in", "LinkIn", "Request for a hard link.", "__u64 oldnodeid"),
    (
        "fuse_setattr_in",
        "SetattrIn",
        "Attributes to set; valid is a mask of FATTR_*, whose bits say which.",
        "__u32 valid; __u32 -padding; __u64 fh; __u64 size; __u64 lock_owner; __u64 atime;"
        "__u64 mtime; __u64 ctime; __u32 atimensec; __u32 mtimensec; __u32 ctimensec; __u32 mode;"
        "__u32 -unused4; __u32 uid; __u32 gid; __u32 -unused5",
    ),
    (
        "fuse_open_in",
        "OpenIn",
        "Request to open; flags are O_* of open(2) without O_CREAT, O_EXCL and O_NOCTTY.",
        "__u32 flags; __u32 open_flags",
    ),
    (
        "fuse_create_in",
        "CreateIn",
        "Request to create and open a file; flags are as in OpenIn.",
        "__u32 flags; __u32 mode; __u32 umask; __u32 open_flags",
    ),
    (
        "fuse_open_out",
        "OpenOut",
        "Result of an open; FUSE_BPF_OPEN_EMPTY (1 << 31) in open_flags: it reads as empty.",
        "__u64 fh; __u32 open_flags; __s32 -backing_id",
    ),
    (
        "fuse_release_in",
        "ReleaseIn",
        "The last reference to an open file went away.",
        "__u64 fh; __u32 flags; __u32 release_flags; __u64 lock_owner",
    ),
    (
        "fuse_flush_in",
        "FlushIn",
        "A descriptor was closed.",
        "__u64 fh; __u32 -unused; __u32 -padding; __u64 lock_owner",
    ),
    (
        "fuse_read_in",
        "ReadIn",
        "Request to read; offset and size in bytes.",
        "__u64 fh; __u64 offset; __u32 size; __u32 read_flags; __u64 lock_owner; __u32 flags;"
        "__u32 -padding",
    ),
    (
        "fuse_write_in",
        "WriteIn",
        "Request to write; offset and size in bytes.",
        "__u64 fh; __u64 offset; __u32 size; __u32 write_flags; __u64 lock_owner; __u32 flags;"
        "__u32 -padding",
    ),
    ("fuse_write_out", "WriteOut", "Bytes written.", "__u32 size; __u32 -padding"),
    ("fuse_statfs_out", "StatfsOut", "Result of statfs(2).", "fuse_kstatfs st"),
    (
        "fuse_fsync_in",
        "FsyncIn",
        "Request to write back; fsync_flags is 1 for fdatasync(2).",
        "__u64 fh; __u32 fsync_flags; __u32 -padding",
    ),
    (
        "fuse_setxattr_in",
        "SetxattrIn",
        "Request to set an extended attribute; size of the value in bytes.",
        "__u32 size; __u32 flags; __u32 setxattr_flags; __u32 -padding",
    ),
    (
        "fuse_getxattr_in",
        "GetxattrIn",
        "Request for an extended attribute; size 0 asks for the length only.",
        "__u32 size; __u32 -padding",
    ),
    (
        "fuse_getxattr_out",
        "GetxattrOut",
        "Length of an extended attribute in bytes.",
        "__u32 size; __u32 -padding",
    ),
    (
        "fuse_access_in",
        "AccessIn",
        "Request to check access; mask of R_OK, W_OK, X_OK, and of MAY_* (docs/kernel.md).",
        "__u32 mask; __u32 -padding",
    ),
    (
        "fuse_fallocate_in",
        "FallocateIn",
        "Request to allocate or punch; offset and length in bytes.",
        "__u64 fh; __u64 offset; __u64 length; __u32 mode; __u32 -padding",
    ),
    (
        "fuse_lseek_in",
        "LseekIn",
        "Request to seek; whence is SEEK_*.",
        "__u64 fh; __u64 offset; __u32 whence; __u32 -padding",
    ),
    ("fuse_lseek_out", "LseekOut", "The new offset in bytes.", "__u64 offset"),
    (
        "fuse_copy_file_range_in",
        "CopyFileRangeIn",
        "Request to copy; offsets and len in bytes.",
        "__u64 fh_in; __u64 off_in; __u64 nodeid_out; __u64 fh_out; __u64 off_out; __u64 len;"
        "__u64 flags",
    ),
)

_ADDED: tuple[tuple[str, str, str, str], ...] = (
    (
        "fuse_read_out",
        "ReadOut",
        "Where a directory listing goes on; again asks for the next page at once.",
        "__u64 offset; __u32 again; __u32 -padding",
    ),
    ("fuse_read_iter_out", "ReadIterOut", "Result of a read in bytes.", "__u64 ret"),
    ("fuse_write_iter_out", "WriteIterOut", "Result of a write in bytes.", "__u64 ret"),
)


def _build() -> dict[str, Struct]:
    structs: dict[str, Struct] = {}
    for stock, rows in ((True, _STOCK), (False, _ADDED)):
        for name, py_name, doc, members in rows:
            structs[name] = make_struct(name, py_name, doc, members, structs, stock)
    return structs


#: Every argument struct by its C name, nested ones before their users.
STRUCTS: dict[str, Struct] = _build()
