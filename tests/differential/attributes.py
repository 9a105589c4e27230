# SPDX-License-Identifier: MIT
"""Operations on attributes: modes, owners, times, extended attributes, ACLs, statfs."""

from __future__ import annotations

import os
import struct

from tests.differential import libc
from tests.differential.observe import CLOCK_NS
from tests.differential.registry import (
    below,
    mode,
    op,
    owner,
    path,
    pick,
    plain_path,
    slot,
)
from tests.differential.script import Path, Slot
from tests.differential.world import NotApplicable, World

KEYS = pick(
    *("user.one",) * 8,
    "user.two",
    "trusted.one",
    "security.other",
    "user.",
    "none.one",
    "user." + "k" * 250,
    "user." + "k" * 251,
)
follow = pick(True, False)
xattr_target = plain_path


@op(path, mode, weight=5)
def chmod(w: World, p: Path, bits: int) -> None:
    os.chmod(p.path, bits, dir_fd=w.at(p))


@op(slot, mode, weight=3)
def fchmod(w: World, s: Slot, bits: int) -> None:
    os.fchmod(w.fd(s), bits)


@op(path, owner, owner, follow, weight=5)
def chown(w: World, p: Path, uid: int, gid: int, through: bool) -> None:
    os.chown(p.path, uid, gid, dir_fd=w.at(p), follow_symlinks=through)


@op(slot, owner, owner, weight=3)
def fchown(w: World, s: Slot, uid: int, gid: int) -> None:
    os.fchown(w.fd(s), uid, gid)


SECONDS = pick(0, 1, 2**31 - 1, 10**9 - 1, 123456789)


@op(path, SECONDS, SECONDS, below(10**9), follow, weight=4)
def utimens(w: World, p: Path, atime: int, mtime: int, ns: int, through: bool) -> None:
    times = atime % 10**9 * 10**9 + ns, mtime % 10**9 * 10**9 + (ns * 7) % 10**9
    os.utime(p.path, ns=times, dir_fd=w.at(p), follow_symlinks=through)


@op(slot, SECONDS, below(10**9))
def futimens(w: World, s: Slot, seconds: int, ns: int) -> None:
    os.utime(w.fd(s), ns=(seconds % 10**9 * 10**9 + ns, seconds % 10**9 * 10**9))


@op(path)
def utimens_now(w: World, p: Path) -> None:
    os.utime(p.path, dir_fd=w.at(p))


@op(path, follow, weight=3)
def stat(w: World, p: Path, through: bool) -> tuple[object, ...]:
    st = os.stat(p.path, dir_fd=w.at(p), follow_symlinks=through)
    return oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, st.st_size


@op(slot, path)
def same_file(w: World, s: Slot, p: Path) -> bool:
    """Whether a name and a descriptor are one file."""
    return os.path.samestat(os.fstat(w.fd(s)), os.stat(p.path, dir_fd=w.at(p)))


SYNC = libc.AT_STATX_FORCE_SYNC, libc.AT_STATX_DONT_SYNC


@op(path, pick(0, libc.AT_SYMLINK_NOFOLLOW, *SYNC), pick(0x7FF, 0xFFF, 0x2FFF), weight=3)
def statx(w: World, p: Path, flags: int, mask: int) -> tuple[object, ...]:
    """Left out: device, inode, mount id; blocks, of which ext4 decides when it writes back;
    STATX_ATTR_MOUNT_ROOT, which the mount's root has and its twin has not."""
    if w.rules.keeps_attributes:
        flags &= ~libc.AT_STATX_DONT_SYNC
    raw = libc.statx(w.at(p), p.path, flags, mask)
    got, blksize, attributes, nlink, uid, gid, bits = struct.unpack_from("=IIQIIIH", raw)
    size = struct.unpack_from("=Q", raw, 40)[0]
    known = struct.unpack_from("=Q", raw, 56)[0]
    btime = struct.unpack_from("=q", raw, 80)[0]
    mount_root = 0x2000
    who = nlink, uid, gid, oct(bits), size
    masks = hex(got), hex(attributes & ~mount_root), hex(known)
    return (*who, blksize, *masks, btime * 10**9 >= CLOCK_NS)


@op(path, below(8), pick(0, 0, libc.AT_EACCESS, libc.AT_SYMLINK_NOFOLLOW), weight=4)
def faccessat(w: World, p: Path, how: int, flags: int) -> None:
    libc.faccessat(w.at(p), p.path, how, flags)


@op(xattr_target, KEYS, pick(0, 1, 20, 300, 3000), pick(0, 0, 0, 1, 2), follow, weight=8)
def setxattr(w: World, p: Path, key: str, size: int, flags: int, through: bool) -> None:
    os.setxattr(p.path, key, b"v" * size, flags, follow_symlinks=through)


@op(xattr_target, KEYS, follow, weight=3)
def getxattr(w: World, p: Path, key: str, through: bool) -> bytes:
    return os.getxattr(p.path, key, follow_symlinks=through)


@op(xattr_target, KEYS, pick(0, 1, 19, 20, 4096))
def getxattr_sized(w: World, p: Path, key: str, size: int) -> int:
    return libc.getxattr(p.path, key, size)


@op(xattr_target, follow, weight=3)
def listxattr(w: World, p: Path, through: bool) -> list[str]:
    names = sorted(os.listxattr(p.path, follow_symlinks=through))
    if w.rules.lists_trusted and os.geteuid():
        return [name for name in names if not name.startswith("trusted.")]
    return names


@op(xattr_target, pick(0, 1, 9, 10, 4096))
def listxattr_sized(w: World, p: Path, size: int) -> int:
    if w.rules.spare_names and size < 4096:
        raise NotApplicable("the room that is said to be needed is too large, on a mount less")
    if w.rules.lists_trusted and os.geteuid():
        raise NotApplicable("trusted attributes count, on a mount not")
    return libc.listxattr(p.path, size)


@op(xattr_target, KEYS, follow, weight=3)
def removexattr(w: World, p: Path, key: str, through: bool) -> None:
    os.removexattr(p.path, key, follow_symlinks=through)


@op(slot, KEYS, pick(0, 5, 100))
def fsetxattr(w: World, s: Slot, key: str, size: int) -> None:
    os.setxattr(w.fd(s), key, b"f" * size)


@op(slot, KEYS)
def fgetxattr(w: World, s: Slot, key: str) -> bytes:
    return os.getxattr(w.fd(s), key)


# acl(5): tag, permissions, id; a mask where a named user is
_OWNER, _USER, _GROUP, _MASK, _OTHER = 1, 2, 4, 0x10, 0x20


def _acl(entries: list[tuple[int, int, int]]) -> bytes:
    return struct.pack("=I", 2) + b"".join(struct.pack("=HHI", *entry) for entry in entries)


def _entries(bits: int, uid: int, named: int) -> list[tuple[int, int, int]]:
    none = 0xFFFFFFFF
    first = [(_OWNER, bits >> 6 & 7, none)]
    if uid:
        first.append((_USER, named, uid))
    second = [(_GROUP, bits >> 3 & 7, none)]
    if uid:
        second.append((_MASK, 7, none))
    return [*first, *second, (_OTHER, bits & 7, none)]


ACLS = pick("system.posix_acl_access", "system.posix_acl_access", "system.posix_acl_default")


@op(xattr_target, ACLS, mode, pick(0, 1000, 1001), below(8), weight=4)
def set_acl(w: World, p: Path, key: str, bits: int, uid: int, named: int) -> None:
    os.setxattr(p.path, key, _acl(_entries(bits & 0o777, uid, named)))


@op(xattr_target, ACLS)
def bad_acl(w: World, p: Path, key: str) -> None:
    os.setxattr(p.path, key, _acl([(_OWNER, 7, 0), (_OWNER, 7, 0)]))


@op(xattr_target, ACLS)
def get_acl(w: World, p: Path, key: str) -> bytes:
    return os.getxattr(p.path, key)


@op(xattr_target, ACLS)
def remove_acl(w: World, p: Path, key: str) -> None:
    os.removexattr(p.path, key)


@op(path, weight=1)
def statfs(w: World, p: Path) -> tuple[int, ...]:
    """Left out: type and id, which are the mount's own; free blocks, which both sides share;
    nosuid, nodev and noexec, which the lower mount has for both and shows for itself."""
    fd = os.open(p.path, os.O_PATH, dir_fd=w.at(p))
    try:
        st = os.fstatvfs(fd)
    finally:
        os.close(fd)
    sizes = st.f_bsize, st.f_frsize, st.f_blocks, st.f_files
    return (*sizes, st.f_namemax, st.f_flag & ~(os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC))


# include/uapi/linux/fs.h: immutable, append only, no dump, no access times, synchronous
FLAGS = pick(0, 0, 0, 0x10, libc.FS_APPEND_FL, 0x40, 0x80, 0x08)


@op(slot, weight=3)
def get_flags(w: World, s: Slot) -> int:
    return libc.get_flags(w.fd(s))


@op(slot, FLAGS, weight=3)
def change_flags(w: World, s: Slot, flags: int) -> None:
    """As chattr(1) does: what the file system sets by itself stays."""
    fd = w.fd(s)
    kept = libc.get_flags(fd) & ~libc.FLAGS_SET_BY_USERS
    libc.set_flags(fd, kept | flags)
