# SPDX-License-Identifier: MIT
"""The FUSE wire protocol around the opcode table: headers, plain requests, fuse-bpf's extensions.

Layouts and numbers are those of include/uapi/linux/fuse.h, protocol 7.41, and for the extensions
those of the fuse-bpf RFC v4. Arguments that filters see stand in `structs.py`.
"""

from __future__ import annotations

from typing import Literal

from fusebpf.abi.model import Struct, make_struct
from fusebpf.abi.opcodes import OPS
from fusebpf.abi.structs import STRUCTS
from fusebpf.frozen import dataclass

FUSE_KERNEL_VERSION = 7
FUSE_KERNEL_MINOR_VERSION = 41

# name, Python class, what it is, members, whether the stock header has it
_ROWS: tuple[tuple[str, str, str, str, bool], ...] = (
    (
        "fuse_in_header",
        "InHeader",
        "Begins every request; total_extlen in units of 8 bytes.",
        "__u32 len; __u32 opcode; __u64 unique; __u64 nodeid; __u32 uid; __u32 gid; __u32 pid;"
        "__u16 total_extlen; __u16 -padding",
        True,
    ),
    (
        "fuse_out_header",
        "OutHeader",
        "Begins every reply; error is 0 or a negative errno, of a notification its code.",
        "__u32 len; __s32 error; __u64 unique",
        True,
    ),
    (
        "fuse_init_in",
        "InitIn",
        "What the kernel offers.",
        "__u32 major; __u32 minor; __u32 max_readahead; __u32 flags; __u32 flags2;"
        "__u32 -unused[11]",
        True,
    ),
    (
        "fuse_init_out",
        "InitOut",
        "What the daemon takes of it; max_write in bytes.",
        "__u32 major; __u32 minor; __u32 max_readahead; __u32 flags; __u16 max_background;"
        "__u16 congestion_threshold; __u32 max_write; __u32 time_gran; __u16 max_pages;"
        "__u16 map_alignment; __u32 flags2; __u32 max_stack_depth; __u32 -unused[6]",
        True,
    ),
    ("fuse_forget_in", "ForgetIn", "Lookups to be forgotten.", "__u64 nlookup", True),
    (
        "fuse_forget_one",
        "ForgetOne",
        "One node of a batch and its lookups.",
        "__u64 nodeid; __u64 nlookup",
        True,
    ),
    (
        "fuse_batch_forget_in",
        "BatchForgetIn",
        "How many nodes follow.",
        "__u32 count; __u32 -dummy",
        True,
    ),
    (
        "fuse_interrupt_in",
        "InterruptIn",
        "The request that its caller gave up.",
        "__u64 unique",
        True,
    ),
    (
        "fuse_file_lock",
        "FileLock",
        "A range in bytes, its last byte included; type is F_RDLCK, F_WRLCK or F_UNLCK.",
        "__u64 start; __u64 end; __u32 type; __u32 pid",
        True,
    ),
    (
        "fuse_lk_in",
        "LkIn",
        "A lock to test, take or drop.",
        "__u64 fh; __u64 owner; fuse_file_lock lk; __u32 lk_flags; __u32 -padding",
        True,
    ),
    ("fuse_lk_out", "LkOut", "The lock in the way.", "fuse_file_lock lk", True),
    (
        "fuse_bmap_in",
        "BmapIn",
        "Block of a file.",
        "__u64 block; __u32 blocksize; __u32 -padding",
        True,
    ),
    ("fuse_bmap_out", "BmapOut", "Block of the device.", "__u64 block", True),
    (
        "fuse_ioctl_in",
        "IoctlIn",
        "An ioctl; sizes in bytes.",
        "__u64 fh; __u32 flags; __u32 cmd; __u64 arg; __u32 in_size; __u32 out_size",
        True,
    ),
    (
        "fuse_ioctl_out",
        "IoctlOut",
        "Result of an ioctl.",
        "__s32 result; __u32 flags; __u32 in_iovs; __u32 out_iovs",
        True,
    ),
    (
        "fuse_poll_in",
        "PollIn",
        "Readiness asked for; kh names the waiter.",
        "__u64 fh; __u64 kh; __u32 flags; __u32 events",
        True,
    ),
    ("fuse_poll_out", "PollOut", "Readiness now.", "__u32 revents; __u32 -padding", True),
    ("fuse_syncfs_in", "SyncfsIn", "Write everything back.", "__u64 -padding", True),
    (
        "fuse_dirent",
        "WireDirent",
        "One directory entry, its name after it, padded to 8 bytes.",
        "__u64 ino; __u64 off; __u32 namelen; __u32 type",
        True,
    ),
    (
        "fuse_notify_poll_wakeup_out",
        "NotifyPollOut",
        "Wake a waiter of poll.",
        "__u64 kh",
        True,
    ),
    (
        "fuse_notify_inval_inode_out",
        "NotifyInvalInodeOut",
        "Drop cached attributes and data; off and len in bytes.",
        "__u64 ino; __s64 off; __s64 len",
        True,
    ),
    (
        "fuse_notify_inval_entry_out",
        "NotifyInvalEntryOut",
        "Drop a cached name.",
        "__u64 parent; __u32 namelen; __u32 flags",
        True,
    ),
    (
        "fuse_notify_delete_out",
        "NotifyDeleteOut",
        "A name was deleted.",
        "__u64 parent; __u64 child; __u32 namelen; __u32 -padding",
        True,
    ),
    (
        "fuse_notify_store_out",
        "NotifyStoreOut",
        "Put data into the kernel's cache; offset and size in bytes.",
        "__u64 nodeid; __u64 offset; __u32 size; __u32 -padding",
        True,
    ),
    (
        "fuse_ext_header",
        "ExtHeader",
        "Begins an extension; size in bytes, with this.",
        "__u32 size; __u32 type",
        True,
    ),
    (
        "fuse_bpf_entry_out",
        "BpfEntryOut",
        "Backing or program of a lookup's result. A program's name lies over the last two members.",
        "__u32 entry_type; __u32 -unused; __u64 -unused2; __u64 fd",
        False,
    ),
)


def _build() -> dict[str, Struct]:
    structs: dict[str, Struct] = {}
    for name, py_name, doc, members, stock in _ROWS:
        structs[name] = make_struct(name, py_name, doc, members, structs, stock)
    return structs


#: Structs of the protocol that no filter gets, by C name.
PROTOCOL_STRUCTS: dict[str, Struct] = _build()

PartKind = Literal["struct", "name", "data", "dirents"]


@dataclass(frozen=True)
class Part:
    """One part of a message: a struct, a name with its NUL, bytes or entries up to the end."""

    name: str
    kind: PartKind
    struct: Struct | None = None


@dataclass(frozen=True)
class Request:
    """A plain request: ``name`` is also the daemon's method. ``reply`` is False for a forget."""

    name: str
    opcode_name: str
    opcode: int
    ins: tuple[Part, ...]
    outs: tuple[Part, ...]
    reply: bool = True


# opcode name, number, parts of the request, parts of the reply
_REQUESTS: tuple[tuple[str, int, str, str], ...] = (
    ("LOOKUP", 1, "name", "entry_out"),
    ("FORGET", 2, "forget_in", ""),
    ("GETATTR", 3, "getattr_in", "attr_out"),
    ("SETATTR", 4, "setattr_in", "attr_out"),
    ("READLINK", 5, "", "data"),
    ("SYMLINK", 6, "name target", "entry_out"),
    ("MKNOD", 8, "mknod_in name", "entry_out"),
    ("MKDIR", 9, "mkdir_in name", "entry_out"),
    ("UNLINK", 10, "name", ""),
    ("RMDIR", 11, "name", ""),
    ("RENAME", 12, "rename_in old_name new_name", ""),
    ("LINK", 13, "link_in name", "entry_out"),
    ("OPEN", 14, "open_in", "open_out"),
    ("READ", 15, "read_in", "data"),
    ("WRITE", 16, "write_in data", "write_out"),
    ("STATFS", 17, "", "statfs_out"),
    ("RELEASE", 18, "release_in", ""),
    ("FSYNC", 20, "fsync_in", ""),
    ("SETXATTR", 21, "setxattr_in name data", ""),
    ("GETXATTR", 22, "getxattr_in name", "data"),
    ("LISTXATTR", 23, "getxattr_in", "data"),
    ("REMOVEXATTR", 24, "name", ""),
    ("FLUSH", 25, "flush_in", ""),
    ("INIT", 26, "init_in", "init_out"),
    ("OPENDIR", 27, "open_in", "open_out"),
    ("READDIR", 28, "read_in", "dirents"),
    ("RELEASEDIR", 29, "release_in", ""),
    ("FSYNCDIR", 30, "fsync_in", ""),
    ("GETLK", 31, "lk_in", "lk_out"),
    ("SETLK", 32, "lk_in", ""),
    ("SETLKW", 33, "lk_in", ""),
    ("ACCESS", 34, "access_in", ""),
    ("CREATE", 35, "create_in name", "entry_out open_out"),
    ("INTERRUPT", 36, "interrupt_in", ""),
    ("BMAP", 37, "bmap_in", "bmap_out"),
    ("DESTROY", 38, "", ""),
    ("IOCTL", 39, "ioctl_in data", "ioctl_out data"),
    ("POLL", 40, "poll_in", "poll_out"),
    ("BATCH_FORGET", 42, "batch_forget_in data", ""),
    ("FALLOCATE", 43, "fallocate_in", ""),
    ("RENAME2", 45, "rename2_in old_name new_name", ""),
    ("LSEEK", 46, "lseek_in", "lseek_out"),
    ("COPY_FILE_RANGE", 47, "copy_file_range_in", "write_out"),
    ("SYNCFS", 50, "syncfs_in", ""),
    ("TMPFILE", 51, "create_in name", "entry_out open_out"),
)

_NAMES = ("name", "target", "old_name", "new_name")
_NO_REPLY = ("FORGET", "BATCH_FORGET", "INTERRUPT")


def _part(word: str) -> Part:
    if word in _NAMES:
        return Part(word, "name")
    if word == "data":
        return Part(word, "data")
    if word == "dirents":
        return Part(word, "dirents")
    c_name = f"fuse_{word}"
    return Part(word, "struct", STRUCTS.get(c_name) or PROTOCOL_STRUCTS[c_name])


def _requests() -> dict[int, Request]:
    # An operation with filters is called as its pair of hooks is.
    names = {op.opcode: op.name for op in OPS.values()}
    return {
        opcode: Request(
            names.get(opcode, opcode_name.lower()),
            opcode_name,
            opcode,
            tuple(_part(word) for word in ins.split()),
            tuple(_part(word) for word in outs.split()),
            opcode_name not in _NO_REPLY,
        )
        for opcode_name, opcode, ins, outs in _REQUESTS
    }


#: Plain requests by opcode.
REQUESTS: dict[int, Request] = _requests()

#: Codes of notifications (enum fuse_notify_code).
NOTIFY: dict[str, int] = {
    "POLL": 1,
    "INVAL_INODE": 2,
    "INVAL_ENTRY": 3,
    "STORE": 4,
    "DELETE": 6,
    "RESEND": 7,
}

#: Flags of FUSE_INIT that this package knows to serve; above 31 they go into flags2.
INIT_FLAGS: dict[str, int] = {
    "ASYNC_READ": 1 << 0,
    "POSIX_LOCKS": 1 << 1,
    "ATOMIC_O_TRUNC": 1 << 3,
    "BIG_WRITES": 1 << 5,
    "DONT_MASK": 1 << 6,
    "FLOCK_LOCKS": 1 << 10,
    "AUTO_INVAL_DATA": 1 << 12,
    "WRITEBACK_CACHE": 1 << 16,
    "PARALLEL_DIROPS": 1 << 18,
    "POSIX_ACL": 1 << 20,
    "MAX_PAGES": 1 << 22,
    "SETXATTR_EXT": 1 << 29,
    "INIT_EXT": 1 << 30,
    "DIRECT_IO_ALLOW_MMAP": 1 << 36,
}

#: Reply to a request that refers to a backing file (fuse-bpf): at most this many entries.
FUSE_BPF_MAX_ENTRIES = 2
#: Size of a program's name in a lookup entry, with its NUL.
BPF_ENTRY_NAME_SIZE = 16
#: enum fuse_bpf_type
BPF_ENTRIES: dict[str, int] = {
    "FUSE_ENTRY_BACKING": 1,
    "FUSE_ENTRY_BPF": 2,
    "FUSE_ENTRY_REMOVE_BACKING": 3,
    "FUSE_ENTRY_REMOVE_BPF": 4,
}
#: Extension of a postfilter request: header, u32 error of the operation, padding.
FUSE_ERROR_IN = 33
ERROR_IN_SIZE = 16


def bpf_response_ioctl(length: int) -> int:
    """The number of FUSE_DEV_IOC_BPF_RESPONSE for a reply of ``length`` bytes (at most 16383)."""
    return (1 << 30) | (length << 16) | (229 << 8) | 125
