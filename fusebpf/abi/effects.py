# SPDX-License-Identifier: MIT
"""What changes of a filter's arguments do, in words: the reference's table is made of it.

Members that are not named identify things to a daemon, and a change has no effect. What is said
here is shown by the kernel part's tests, argument for argument.
"""

from __future__ import annotations

from fusebpf.frozen import dataclass


@dataclass(frozen=True)
class Effect:
    """One operation's. ``pre`` and ``post``: what is used of a change; empty: nothing can change.

    ``clears``: what the caller gets when a postfilter calls a failure success; ``stays``: why it
    cannot.
    """

    pre: str = ""
    post: str = ""
    clears: str = ""
    stays: str = ""


#: Results of an operation that tell a postfilter what is there; a change has no effect. By hook.
SHOWN: dict[str, str] = {
    "lookup_postfilter": "entry_out.attr",
    "create_open_postfilter": "entry_out.attr",
    "setattr_postfilter": "attr_out",
}

_NO_OBJECT = "there is no object"
_NO_CHANGE = "the kernel would take the name for gone, or moved"
_NO_CONTENT = "there is no content"
_DONE = "success"
_OPEN = "flags: access mode, APPEND, NONBLOCK, SYNC, DSYNC, DIRECT, NOATIME, TRUNC"
_EMPTY = "open_flags: FUSE_BPF_OPEN_EMPTY"
_MASK = "umask can take bits only"

#: By operation of the opcode table.
EFFECTS: dict[str, Effect] = {
    "open": Effect(_OPEN, _EMPTY, stays=_NO_OBJECT),
    "opendir": Effect("flags, as of `open`", f"{_EMPTY}: an empty listing", stays=_NO_OBJECT),
    "create_open": Effect(
        f"flags, as of `open`; mode; {_MASK}", "entry_out.nodeid", stays=_NO_OBJECT
    ),
    "release": Effect(stays="it does not fail"),
    "releasedir": Effect(stays="it does not fail"),
    "flush": Effect(clears=_DONE),
    "lseek": Effect(
        "offset, whence", "offset", clears="the position that is set, else the one before"
    ),
    "copy_file_range": Effect(
        "off_in, off_out; len up to what was asked for",
        "size, up to len; not of FICLONE and FIDEDUPERANGE",
        stays=_NO_CONTENT,
    ),
    "fsync": Effect("fsync_flags: FDATASYNC", clears=_DONE),
    "dir_fsync": Effect("fsync_flags: FDATASYNC", clears=_DONE),
    "getxattr": Effect(
        "name; size: of the value that is fetched, 0 for its length only",
        "result, up to 64 KiB: ERANGE when it is longer than the caller's memory. A caller that "
        "asks for a length gets getxattr_out.size, or the result's when the prefilter set a size",
        stays=_NO_CONTENT,
    ),
    "listxattr": Effect(
        "size: of the list that is fetched, 0 for its length only",
        "result and getxattr_out.size, as of `getxattr`; it ends with NUL",
        stays=_NO_CONTENT,
    ),
    "setxattr": Effect(
        "name; value, up to 64 KiB; its length by the buffer or by size; flags", clears=_DONE
    ),
    "removexattr": Effect("name", clears=_DONE),
    "read_iter": Effect(
        "offset; size up to what was asked for",
        "ret, up to what was read",
        clears="0: the end of the file",
    ),
    "write_iter": Effect(
        "offset (a file in append mode is written at its end); size up to what was asked for",
        "ret, up to what was asked for; of a splice up to what was taken",
        clears="the result that is set, up to what was asked for",
    ),
    "file_fallocate": Effect("mode, offset, length", stays=_NO_CONTENT),
    "lookup": Effect(
        "name",
        "nodeid; entry_valid; entries. attr is for reading",
        stays=_NO_OBJECT,
    ),
    "mknod": Effect(
        f"permission bits of mode; rdev; {_MASK}. The kind of file stays", stays=_NO_OBJECT
    ),
    "mkdir": Effect(f"permission bits of mode; {_MASK}", stays=_NO_OBJECT),
    "rmdir": Effect(stays=_NO_CHANGE),
    "rename2": Effect(
        "flags: RENAME_NOREPLACE; another flag's change gives EINVAL", stays=_NO_CHANGE
    ),
    "rename": Effect(stays=_NO_CHANGE),
    "unlink": Effect(stays=_NO_CHANGE),
    "link": Effect(
        "name: made under that name in the same directory; EEXIST when it is taken",
        stays=_NO_OBJECT,
    ),
    "getattr": Effect(
        "getattr_flags: AT_STATX_*SYNC",
        "attr: all but flags; the kind of file stays. The inode itself keeps what is below",
        stays=_NO_CONTENT,
    ),
    "setattr": Effect(
        "valid, mode, uid, gid, size, atime, mtime; the caller's rights are checked on the result",
        "attr_out shows what the file has now; a change has no effect",
        clears=f"{_DONE}; not where set-id bits had to go with a write",
    ),
    "statfs": Effect("", "all of st; the type stays", stays=_NO_CONTENT),
    "get_link": Effect("name: the target of that link in the same directory", stays=_NO_OBJECT),
    "symlink": Effect("path", stays=_NO_OBJECT),
    "readdir": Effect(
        "offset: the call ends after one pass; size, of at least one entry",
        "listing, offset, again",
        stays=_NO_CONTENT,
    ),
    "access": Effect("mask: read, write and execute", clears="the permission"),
}
