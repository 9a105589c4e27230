# SPDX-License-Identifier: MIT
"""The opcode table: every operation that filters can stand before and after.

One source of truth: the C header, the DSL's types, the docs' tables and the generated tests
come from it. Rows are in the order of the members of ``struct fuse_ops``. The argument column
holds what the prefilter gets, then what the postfilter gets after the same inputs, which are
read-only by then. ``!`` marks an argument that the filter may change.
"""

from __future__ import annotations

from fusebpf.abi.model import Arg, Hook, Op
from fusebpf.abi.structs import STRUCTS

#: Sizes of buffers in bytes (linux/limits.h; names include their NUL).
NAME_SIZE = 256
PATH_SIZE = 4096
XATTR_SIZE = 65536
PAGE_SIZE = 4096
ENTRIES_SIZE = 48

#: Memory that one operation offers to a filter, in bytes.
SCRATCH_SIZE = 2048

# Buffer arguments: what they hold, kind, largest size in bytes.
_BUFFERS: dict[str, tuple[str, int]] = {
    "name": ("name", NAME_SIZE),
    "old_name": ("name", NAME_SIZE),
    "new_name": ("name", NAME_SIZE),
    "path": ("bytes", PATH_SIZE),
    "value": ("bytes", XATTR_SIZE),
    "result": ("bytes", XATTR_SIZE),
    "listing": ("dirents", PAGE_SIZE),
    "entries": ("entries", ENTRIES_SIZE),
}

# op, opcode name, number, deciding inode, prefilter inputs, postfilter outputs, what it is
_ROWS: tuple[tuple[str, str, int, str, str, str, str], ...] = (
    ("open", "OPEN", 14, "inode", "open_in!", "open_out!", "Open a file."),
    ("opendir", "OPENDIR", 27, "inode", "open_in!", "open_out!", "Open a directory."),
    (
        "create_open",
        "CREATE",
        35,
        "parent",
        "create_in! name",
        "entry_out! open_out!",
        "Create a file and open it.",
    ),
    ("release", "RELEASE", 18, "inode", "release_in!", "", "Close a file for the last time."),
    ("releasedir", "RELEASEDIR", 29, "inode", "release_in!", "", "Close a directory."),
    ("flush", "FLUSH", 25, "inode", "flush_in!", "", "Close a descriptor."),
    ("lseek", "LSEEK", 46, "inode", "lseek_in!", "lseek_out!", "Move a file offset."),
    (
        "copy_file_range",
        "COPY_FILE_RANGE",
        47,
        "inode of the source",
        "copy_file_range_in!",
        "write_out!",
        "Copy between files.",
    ),
    ("fsync", "FSYNC", 20, "inode", "fsync_in!", "", "Write a file back."),
    ("dir_fsync", "FSYNCDIR", 30, "inode", "fsync_in!", "", "Write a directory back."),
    (
        "getxattr",
        "GETXATTR",
        22,
        "inode",
        "getxattr_in! name!",
        "result! getxattr_out!",
        "Read an extended attribute.",
    ),
    (
        "listxattr",
        "LISTXATTR",
        23,
        "inode",
        "getxattr_in!",
        "result! getxattr_out!",
        "List extended attributes.",
    ),
    (
        "setxattr",
        "SETXATTR",
        21,
        "inode",
        "setxattr_in! name! value!",
        "",
        "Set an extended attribute.",
    ),
    ("removexattr", "REMOVEXATTR", 24, "inode", "name!", "", "Remove an extended attribute."),
    ("read_iter", "READ", 15, "inode", "read_in!", "read_iter_out!", "Read from a file."),
    ("write_iter", "WRITE", 16, "inode", "write_in!", "write_iter_out!", "Write to a file."),
    ("file_fallocate", "FALLOCATE", 43, "inode", "fallocate_in!", "", "Allocate or punch."),
    ("lookup", "LOOKUP", 1, "parent", "name!", "entry_out! entries!", "Find a name."),
    ("mknod", "MKNOD", 8, "parent", "mknod_in! name", "", "Make a node."),
    ("mkdir", "MKDIR", 9, "parent", "mkdir_in! name", "", "Make a directory."),
    ("rmdir", "RMDIR", 11, "parent", "name", "", "Remove a directory."),
    (
        "rename2",
        "RENAME2",
        45,
        "old parent",
        "rename2_in! old_name new_name",
        "",
        "Rename with flags.",
    ),
    ("rename", "RENAME", 12, "old parent", "rename_in! old_name new_name", "", "Rename."),
    ("unlink", "UNLINK", 10, "parent", "name", "", "Remove a file."),
    ("link", "LINK", 13, "source inode", "link_in! name!", "", "Make a hard link."),
    ("getattr", "GETATTR", 3, "inode", "getattr_in!", "attr_out!", "Read attributes."),
    ("setattr", "SETATTR", 4, "inode", "setattr_in!", "attr_out!", "Change attributes."),
    ("statfs", "STATFS", 17, "inode", "", "statfs_out!", "Read file system totals."),
    ("get_link", "READLINK", 5, "inode", "name!", "", "Read a symbolic link."),
    ("symlink", "SYMLINK", 6, "parent", "name path!", "", "Make a symbolic link."),
    ("readdir", "READDIR", 28, "inode", "read_in!", "read_out! listing!", "List a directory."),
    ("access", "ACCESS", 34, "inode", "access_in!", "", "Check access."),
)


def _arg(word: str) -> Arg:
    writable = word.endswith("!")
    word = word.rstrip("!")
    if word in _BUFFERS:
        kind, size = _BUFFERS[word]
        if kind == "name":
            return Arg(word, "name", None, writable, size)
        if kind == "bytes":
            return Arg(word, "bytes", None, writable, size)
        if kind == "dirents":
            return Arg(word, "dirents", None, writable, size)
        return Arg(word, "entries", None, writable, size)
    return Arg(word, "struct", STRUCTS[f"fuse_{word}"], writable)


def _op(row: tuple[str, str, int, str, str, str, str]) -> Op:
    name, opcode_name, opcode, deciding, ins, outs, doc = row
    pre = tuple(_arg(word) for word in ins.split())
    post = tuple(_arg(word.rstrip("!")) for word in ins.split())
    post += tuple(_arg(word) for word in outs.split())
    return Op(name, opcode_name, opcode, doc, deciding, pre, post, form_a=name != "rename")


def _hooks(ops: dict[str, Op]) -> dict[str, Hook]:
    hooks: dict[str, Hook] = {}
    for op in ops.values():
        name = f"{op.name}_prefilter"
        hooks[name] = Hook(name, op.name, "pre", op.opcode, op.pre, op.doc, op.form_a)
        name = f"{op.name}_postfilter"
        hooks[name] = Hook(name, op.name, "post", op.opcode, op.post, op.doc, op.form_a)
    return hooks


#: Every operation with a pair of hooks, in the order of ``struct fuse_ops``.
OPS: dict[str, Op] = {row[0]: _op(row) for row in _ROWS}

#: Every paired hook by member name (``lookup_prefilter``), in the order of ``struct fuse_ops``.
HOOKS: dict[str, Hook] = _hooks(OPS)

#: Names that filters use for some operations, beside the kernel's. What the kernel calls rename is
#: a rename without flags; the language has one operation for both.
LANGUAGE_NAMES: dict[str, str] = {"create": "create_open", "rename": "rename2"}

#: Operations that filters reach under another one's name.
COVERED: dict[str, str] = {"rename": "rename2"}

#: Called with the context alone where an operation's own hook is missing or asks for it.
DEFAULT_FILTER = Hook(
    "default_filter", "default", "pre", 0, (), "Any operation without a filter of its own."
)

#: Verdicts (include/uapi/linux/bpf.h of fuse-bpf); a refusal is a negative errno.
VERDICTS: dict[str, int] = {
    "CONTINUE": 0,
    "USER": 1,
    "USER_PREFILTER": 2,
    "POSTFILTER": 3,
    "USER_POSTFILTER": 4,
    "CALL_DEFAULT": 5,
}

#: Phase bits of ``bpf_fuse_meta_info.opcode``.
FUSE_OPCODE_FILTER = 0x0FFFF
FUSE_PREFILTER = 0x10000
FUSE_POSTFILTER = 0x20000
