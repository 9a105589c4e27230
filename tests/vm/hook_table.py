# SPDX-License-Identifier: MIT
"""How every operation with filters is provoked from user space, and what a change of theirs shows.

The tests take the operations and their arguments from the opcode table; one that is not described
here fails them. Every member of a struct and every buffer that a filter may change is either in
`pre` or `post`, with what to set and how the change shows, or in `none`, with the reason why a
change has no effect.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusebpf.abi.structs import STRUCTS
from tests.vm import hook_calls as calls

BAD_OFFSET = 1 << 63
#: What opendir() lists when a listing starts over.
TWICE = [".", ".", "..", "..", "a", "a", "b", "b"]


@dataclass(frozen=True)
class Change:
    """Set an argument to a value; `shows` gets the mount, the lower directory and the result."""

    value: int | bytes
    shows: Callable[[Path, Path, Any], bool]


@dataclass(frozen=True)
class Failure:
    """A lower operation that fails: how to provoke it, its errno, what a prefilter sets for it."""

    provoke: Callable[[Path], Any]
    code: int
    pre: dict[str, int | bytes] = field(default_factory=dict)
    #: What the caller gets when a postfilter clears the error, where that is allowed.
    cleared: Callable[[Any], bool] | None = None
    #: A lower directory or file that is a mount point meanwhile.
    busy: str = ""
    #: The lower file system has no room.
    full: bool = False


@dataclass(frozen=True)
class Case:
    """One operation."""

    provoke: Callable[[Path], Any]
    pre: dict[str, Change] = field(default_factory=dict)
    post: dict[str, Change] = field(default_factory=dict)
    none: dict[str, str] = field(default_factory=dict)
    fails: Failure | None = None
    #: Why there is no failing lower operation to show.
    never_fails: str = ""
    #: A verdict changes nothing for the caller.
    no_verdict: bool = False


_IDS = "a number that names an object to a daemon"


def _ids(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, _IDS)


_ATTRIBUTES = [f"attr.{member.name}" for member in STRUCTS["fuse_attr"].fields]

_ENTRY_NONE = {
    f"entry_out.{name}": "a lookup's attributes are asked again by whoever needs them"
    for name in ("generation", "attr_valid", "attr_valid_nsec", *_ATTRIBUTES)
}

_SETATTR_OUT = {
    f"attr_out.{name}": "a change of attributes returns none"
    for name in ("attr_valid", "attr_valid_nsec", *_ATTRIBUTES)
}


def _has_xattr(name: str, value: bytes) -> Callable[[Path, Path, Any], bool]:
    def shows(_mnt: Path, lower: Path, _result: Any) -> bool:
        return name in os.listxattr(lower / "file") and os.getxattr(lower / "file", name) == value

    return shows


def _holds(expected: bytes) -> Callable[[Path, Path, Any], bool]:
    return lambda _mnt, lower, _result: (lower / "other").read_bytes() == expected


def _size(expected: int) -> Callable[[Path, Path, Any], bool]:
    return lambda _mnt, lower, _result: (lower / "other").stat().st_size == expected


def _mode(name: str, expected: int) -> Callable[[Path, Path, Any], bool]:
    return lambda _mnt, lower, _result: stat.S_IMODE((lower / name).stat().st_mode) == expected


def _stat_is(name: str, expected: int) -> Callable[[Path, Path, Any], bool]:
    return lambda _mnt, _lower, result: getattr(result, name) == expected


def _file_is(name: str, expected: int) -> Callable[[Path, Path, Any], bool]:
    def shows(_mnt: Path, lower: Path, _result: Any) -> bool:
        found = (lower / "file").stat()
        value = stat.S_IMODE(found.st_mode) if name == "st_mode" else getattr(found, name)
        return bool(value == expected)

    return shows


CASES: dict[str, Case] = {
    "open": Case(
        calls.open_file,
        pre={
            "open_in.flags": Change(os.O_APPEND, lambda m, low, r: bool(r[0] & os.O_APPEND)),
        },
        post={"open_out.open_flags": Change(1 << 31, lambda m, low, r: r[1] == b"")},
        none={
            "open_in.open_flags": "flags of the protocol, which no lower open knows",
            "open_out.fh": "what a daemon's requests carry; other filters see it in fh",
        },
        fails=Failure(calls.open_running, errno.ETXTBSY),
    ),
    "opendir": Case(
        calls.opendir_quietly,
        pre={
            "open_in.flags": Change(
                os.O_DIRECTORY, lambda m, low, r: (low / "dir").stat().st_atime > calls.LONG_AGO
            )
        },
        post={"open_out.open_flags": Change(1 << 31, lambda m, low, r: r == [])},
        none={
            "open_in.open_flags": "flags of the protocol, which no lower open knows",
            "open_out.fh": "what a daemon's requests carry; other filters see it in fh",
        },
        never_fails="a lower directory that was found can be opened",
    ),
    "create_open": Case(
        calls.create,
        pre={
            "create_in.flags": Change(
                os.O_RDWR | os.O_APPEND, lambda m, low, r: bool(r & os.O_APPEND)
            ),
            "create_in.mode": Change(0o100600, _mode("new", 0o600)),
            "create_in.umask": Change(0o077, _mode("new", 0o600)),
        },
        none={
            **_ENTRY_NONE,
            "entry_out.nodeid": "shown by test_nodes_that_postfilters_give",
            "entry_out.entry_valid": "an answer of a lookup, not of a creation",
            "entry_out.entry_valid_nsec": "an answer of a lookup, not of a creation",
            "create_in.open_flags": "flags of the protocol, which no lower open knows",
            "open_out.fh": "what a daemon's requests carry; other filters see it in fh",
            "open_out.open_flags": "an empty file cannot be opened for writing",
        },
        fails=Failure(calls.create, errno.ENOSPC, full=True),
    ),
    "release": Case(
        calls.close,
        none=_ids(
            "release_in.fh", "release_in.flags", "release_in.release_flags", "release_in.lock_owner"
        ),
        never_fails="the lower file goes whatever is said",
        no_verdict=True,
    ),
    "releasedir": Case(
        calls.opendir,
        none=_ids(
            "release_in.fh", "release_in.flags", "release_in.release_flags", "release_in.lock_owner"
        ),
        never_fails="the lower directory goes whatever is said",
        no_verdict=True,
    ),
    "flush": Case(
        calls.close,
        none=_ids("flush_in.fh", "flush_in.lock_owner"),
        never_fails="no lower file system of the tests has a flush",
    ),
    "lseek": Case(
        calls.lseek,
        pre={
            "lseek_in.offset": Change(5, lambda m, low, r: r == (5, 10)),
            "lseek_in.whence": Change(os.SEEK_END, lambda m, low, r: r == (11, 8)),
        },
        post={"lseek_out.offset": Change(2, lambda m, low, r: r[0] == 2)},
        none=_ids("lseek_in.fh"),
        fails=Failure(
            calls.lseek_past_the_end,
            errno.ENXIO,
            cleared=lambda r: bool(r == 0),
        ),
    ),
    "copy_file_range": Case(
        calls.copy,
        pre={
            "copy_file_range_in.off_in": Change(2, _holds(b"nten456")),
            "copy_file_range_in.off_out": Change(4, _holds(b"0123cont")),
            "copy_file_range_in.len": Change(2, _holds(b"co23456")),
        },
        post={"write_out.size": Change(3, lambda m, low, r: r == 3)},
        none={
            **_ids(
                "copy_file_range_in.fh_in",
                "copy_file_range_in.fh_out",
                "copy_file_range_in.nodeid_out",
            ),
            "copy_file_range_in.flags": "there are none: another value fails with EINVAL",
        },
        fails=Failure(calls.copy, errno.EINVAL, pre={"copy_file_range_in.flags": 1}),
    ),
    "fsync": Case(
        calls.fsync,
        none={
            **_ids("fsync_in.fh"),
            "fsync_in.fsync_flags": "the difference is what the lower file system writes",
        },
        never_fails="no lower file system of the tests fails to write back",
    ),
    "dir_fsync": Case(
        calls.fsyncdir,
        none={
            **_ids("fsync_in.fh"),
            "fsync_in.fsync_flags": "the difference is what the lower file system writes",
        },
        never_fails="no lower file system of the tests fails to write back",
    ),
    "getxattr": Case(
        calls.getxattr,
        pre={
            "getxattr_in.size": Change(
                0, lambda m, low, r: r == b""
            ),  # nothing is fetched, only its length
            "name": Change(b"user.two\0", lambda m, low, r: r == b"2nd"),
        },
        post={
            "result": Change(b"other", lambda m, low, r: r == b"other"),
        },
        none={"getxattr_out.size": "shown by test_length_of_an_attribute"},
        fails=Failure(lambda m: os.getxattr(m / "file", "user.none"), errno.ENODATA),
    ),
    "listxattr": Case(
        calls.listxattr,
        pre={"getxattr_in.size": Change(0, lambda m, low, r: r == [])},
        post={"result": Change(b"user.x\0", lambda m, low, r: r == ["user.x"])},
        none={"getxattr_out.size": "shown by test_length_of_an_attribute"},
        fails=Failure(calls.listxattr_once, errno.ERANGE, pre={"getxattr_in.size": 1}),
    ),
    "setxattr": Case(
        calls.setxattr,
        pre={
            "setxattr_in.size": Change(2, _has_xattr("user.new", b"va")),
            "setxattr_in.flags": Change(
                os.XATTR_REPLACE, lambda m, low, r: "user.new" not in os.listxattr(low / "file")
            ),
            "name": Change(b"user.alias\0", _has_xattr("user.alias", b"value")),
            "value": Change(b"another value", _has_xattr("user.new", b"another value")),
        },
        none={"setxattr_in.setxattr_flags": "of an ACL, whose rule is the kernel's"},
        fails=Failure(
            lambda m: os.setxattr(m / "file", "user.none", b"x", os.XATTR_REPLACE),
            errno.ENODATA,
            cleared=lambda r: r is None,
        ),
    ),
    "removexattr": Case(
        calls.removexattr,
        pre={
            "name": Change(
                b"user.two\0",
                lambda m, low, r: sorted(os.listxattr(low / "file")) == ["user.one"],
            )
        },
        fails=Failure(
            lambda m: os.removexattr(m / "file", "user.none"),
            errno.ENODATA,
            cleared=lambda r: r is None,
        ),
    ),
    "read_iter": Case(
        calls.read,
        pre={
            "read_in.offset": Change(2, lambda m, low, r: r == (b"ntent", 5)),
            "read_in.size": Change(3, lambda m, low, r: r == (b"con", 3)),
        },
        post={"read_iter_out.ret": Change(2, lambda m, low, r: r == (b"co", 2))},
        none={
            **_ids("read_in.fh", "read_in.lock_owner"),
            "read_in.read_flags": "flags of the protocol",
            "read_in.flags": "those of the open file",
        },
        fails=Failure(
            calls.read,
            errno.EINVAL,
            pre={"read_in.offset": BAD_OFFSET},
            cleared=lambda r: bool(r == (b"", 0)),
        ),
    ),
    "write_iter": Case(
        calls.write,
        pre={
            "write_in.offset": Change(2, _holds(b"01WRITE")),
            "write_in.size": Change(3, _holds(b"WRI3456")),
        },
        post={"write_iter_out.ret": Change(2, lambda m, low, r: r == (2, 2))},
        none={
            **_ids("write_in.fh", "write_in.lock_owner"),
            "write_in.write_flags": "flags of the protocol",
            "write_in.flags": "those of the open file",
        },
        fails=Failure(
            calls.write,
            errno.EINVAL,
            pre={"write_in.offset": BAD_OFFSET},
            cleared=lambda r: bool(r == (0, 0)),
        ),
    ),
    "file_fallocate": Case(
        calls.fallocate,
        pre={
            "fallocate_in.offset": Change(10, _size(110)),
            "fallocate_in.length": Change(50, _size(50)),
            "fallocate_in.mode": Change(1, _size(7)),  # FALLOC_FL_KEEP_SIZE
        },
        none=_ids("fallocate_in.fh"),
        fails=Failure(calls.fallocate_odd, errno.EOPNOTSUPP),
    ),
    "lookup": Case(
        calls.lookup,
        pre={"name": Change(b"other\0", lambda m, low, r: r == 7)},
        none={
            **_ENTRY_NONE,
            "entry_out.nodeid": "shown by test_nodes_that_postfilters_give",
            "entry_out.entry_valid": "shown by test_kernel_cache.py",
            "entry_out.entry_valid_nsec": "shown by test_kernel_cache.py",
            "entries": "what another lower directory needs a daemon for",
        },
        fails=Failure(lambda m: os.stat(m / "none"), errno.ENOENT),
    ),
    "mknod": Case(
        lambda m: os.mknod(m / "node", 0o666 | stat.S_IFCHR, os.makedev(1, 3)),
        pre={
            "mknod_in.mode": Change(0o20600, _mode("node", 0o600)),
            "mknod_in.rdev": Change(
                0x105, lambda m, low, r: (low / "node").stat().st_rdev == os.makedev(1, 5)
            ),
            "mknod_in.umask": Change(0o077, _mode("node", 0o600)),
        },
        fails=Failure(lambda m: os.mkfifo(m / "node"), errno.ENOSPC, full=True),
    ),
    "mkdir": Case(
        lambda m: os.mkdir(m / "made", 0o777),
        pre={
            "mkdir_in.mode": Change(0o700, _mode("made", 0o700)),
            "mkdir_in.umask": Change(0o077, _mode("made", 0o700)),
        },
        fails=Failure(lambda m: os.mkdir(m / "made"), errno.ENOSPC, full=True),
    ),
    "rmdir": Case(
        lambda m: os.rmdir(m / "empty"),
        fails=Failure(lambda m: os.rmdir(m / "dir"), errno.ENOTEMPTY),
    ),
    # RENAME_NOREPLACE: EEXIST for a rename without flags, EINVAL in place of another flag
    "rename2": Case(
        calls.rename2,
        pre={"rename2_in.flags": Change(1, _holds(b"0123456"))},
        none=_ids("rename2_in.newdir"),
        fails=Failure(calls.rename2, errno.EBUSY, busy="file"),
    ),
    "rename": Case(
        calls.rename,
        none=_ids("rename_in.newdir"),
        fails=Failure(calls.rename, errno.EBUSY, busy="file"),
    ),
    "unlink": Case(
        lambda m: os.unlink(m / "file"),
        fails=Failure(lambda m: os.unlink(m / "file"), errno.EBUSY, busy="file"),
    ),
    "link": Case(
        calls.link,
        pre={
            "name": Change(
                b"elsewhere\0",
                lambda m, low, r: (
                    (low / "elsewhere").samefile(low / "file")
                    and (m / "elsewhere").exists()
                    and not (low / "hard").exists()
                    and not (m / "hard").exists()
                ),
            )
        },
        none=_ids("link_in.oldnodeid"),
        fails=Failure(calls.link, errno.EEXIST, pre={"name": b"other\0"}),
    ),
    "getattr": Case(
        calls.attributes,
        post={
            "attr_out.attr.ino": Change(77, _stat_is("st_ino", 77)),
            "attr_out.attr.size": Change(12345, _stat_is("st_size", 12345)),
            "attr_out.attr.blocks": Change(9, _stat_is("st_blocks", 9)),
            "attr_out.attr.atime": Change(11, lambda m, low, r: int(r.st_atime) == 11),
            "attr_out.attr.mtime": Change(12, lambda m, low, r: int(r.st_mtime) == 12),
            "attr_out.attr.ctime": Change(13, lambda m, low, r: int(r.st_ctime) == 13),
            "attr_out.attr.atimensec": Change(5, lambda m, low, r: r.st_atime_ns % 10**9 == 5),
            "attr_out.attr.mtimensec": Change(6, lambda m, low, r: r.st_mtime_ns % 10**9 == 6),
            "attr_out.attr.ctimensec": Change(7, lambda m, low, r: r.st_ctime_ns % 10**9 == 7),
            "attr_out.attr.mode": Change(0o40711, _stat_is("st_mode", 0o100711)),
            "attr_out.attr.nlink": Change(44, _stat_is("st_nlink", 44)),
            "attr_out.attr.uid": Change(1234, _stat_is("st_uid", 1234)),
            "attr_out.attr.gid": Change(4321, _stat_is("st_gid", 4321)),
            "attr_out.attr.rdev": Change(0x105, _stat_is("st_rdev", os.makedev(1, 5))),
            "attr_out.attr.blksize": Change(8192, _stat_is("st_blksize", 8192)),
        },
        none={
            **_ids("getattr_in.fh"),
            "getattr_in.getattr_flags": "how hard a remote lower file system asks",
            "attr_out.attr_valid": "attributes are asked each time",
            "attr_out.attr_valid_nsec": "attributes are asked each time",
            "attr_out.attr.flags": "statx attributes are the lower file's",
        },
        never_fails="attributes of a lower inode of the tests can be read",
    ),
    "setattr": Case(
        calls.chmod,
        pre={
            "setattr_in.mode": Change(0o100600, _file_is("st_mode", 0o600)),
            "setattr_in.valid": Change(0, _file_is("st_mode", 0o644)),
        },
        none={
            **_SETATTR_OUT,
            **_ids("setattr_in.fh", "setattr_in.lock_owner"),
            **{
                f"setattr_in.{name}": "shown by test_every_attribute_can_be_set"
                for name in ["size", "atime", "mtime", "atimensec", "mtimensec", "uid", "gid"]
            },
            "setattr_in.ctime": "the lower file system's own",
            "setattr_in.ctimensec": "the lower file system's own",
        },
        fails=Failure(
            lambda m: os.truncate(m / "file", 3),
            errno.EINVAL,
            pre={"setattr_in.size": BAD_OFFSET},
            cleared=lambda r: r is None,
        ),
    ),
    "statfs": Case(
        calls.statfs,
        post={
            "statfs_out.st.blocks": Change(1000, _stat_is("f_blocks", 1000)),
            "statfs_out.st.bfree": Change(900, _stat_is("f_bfree", 900)),
            "statfs_out.st.bavail": Change(800, _stat_is("f_bavail", 800)),
            "statfs_out.st.files": Change(700, _stat_is("f_files", 700)),
            "statfs_out.st.ffree": Change(600, _stat_is("f_ffree", 600)),
            "statfs_out.st.bsize": Change(512, _stat_is("f_bsize", 512)),
            "statfs_out.st.namelen": Change(55, _stat_is("f_namemax", 55)),
            "statfs_out.st.frsize": Change(1024, _stat_is("f_frsize", 1024)),
        },
        never_fails="totals of a lower file system of the tests can be read",
    ),
    "get_link": Case(
        calls.readlink,
        pre={"name": Change(b"second\0", lambda m, low, r: r == "dir")},
        fails=Failure(calls.readlink, errno.EINVAL, pre={"name": b"file\0"}),
    ),
    "symlink": Case(
        calls.symlink,
        pre={
            "path": Change(
                b"rewritten/target\0",
                lambda m, low, r: os.readlink(low / "made") == "rewritten/target",
            )
        },
        fails=Failure(calls.symlink, errno.ENOSPC, full=True),
    ),
    "readdir": Case(
        calls.opendir,
        pre={
            "read_in.offset": Change(0, lambda m, low, r: r.count("a") > 1),
        },
        post={
            "read_out.offset": Change(0, lambda m, low, r: r == TWICE),
            "listing": Change(b"a\0", lambda m, low, r: r == [".", "..", "b"]),
        },
        none={
            **_ids("read_in.fh", "read_in.lock_owner"),
            "read_in.size": "shown by test_a_pass_of_a_listing_is_as_large_as_a_filter_says",
            "read_in.read_flags": "flags of the protocol",
            "read_in.flags": "those of the open file",
            "read_out.again": "asks for a pass that comes anyway",
        },
        fails=Failure(calls.opendir, errno.EINVAL, pre={"read_in.offset": BAD_OFFSET}),
    ),
    "access": Case(
        calls.access,
        pre={
            "access_in.mask": Change(
                0, lambda m, low, r: calls.access_secret(m)
            )  # asked for nothing, everybody may
        },
        fails=Failure(calls.access_secret, errno.EACCES, cleared=lambda r: r is True),
    ),
}
