# SPDX-License-Identifier: MIT
"""What is compared of a file, and what is not, with the reason."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass

Token = tuple[object, ...]

# Times that operations set lie before this; all others are the clock's, and differ between sides.
CLOCK_NS = 10**18
EDGE = 256 << 10

# Left out for every file: st_dev (a mount is a file system of its own) and st_ino (the sides are
# different files; which names share one is compared at the end).


@dataclass(frozen=True)
class Rules:
    """What the kind of the lower file system takes out of the comparison."""

    # ext4 allocates when it writes back, in its own time: blocks differ between two bare twins too
    blocks: bool
    # tmpfs lists in the order in which dentries were made (libfs.c, d_children). For a name that
    # was looked up before its file was made, that depends on whether the negative dentry was
    # kept: a mount keeps it, tmpfs alone does not.
    order: bool
    # fallocate drops set-id bits before it may refuse
    set_id_first: bool
    # Files can share blocks
    shares: bool
    # What cannot be cloned or copied is refused after set-id bits went
    copies_late: bool = False
    # A direct write that is not aligned is refused before set-id bits go
    aligned_first: bool = False
    # A daemon that knows files by their names: for an open file without one it says ENOENT, before
    # anybody asks whether the caller may; on a mount that is asked first
    nameless: bool = False
    # A daemon that lists as root: users see names of trusted attributes, which a mount leaves out
    lists_trusted: bool = False
    # A daemon whose attributes the kernel keeps: what was asked for without asking the daemon
    # (AT_STATX_DONT_SYNC) depends on who asked last
    keeps_attributes: bool = False
    # An overlay's own attributes count in the room that names are said to need
    spare_names: bool = False


RULES = {
    "tmpfs": Rules(blocks=True, order=False, set_id_first=False, shares=False),
    "ext4": Rules(blocks=False, order=True, set_id_first=True, shares=False),
    "xfs": Rules(blocks=False, order=True, set_id_first=True, shares=True, aligned_first=True),
    "overlay": Rules(
        blocks=True,
        order=False,
        set_id_first=True,
        shares=False,
        copies_late=True,
        spare_names=True,
    ),
    "bindfs": Rules(
        blocks=True,
        order=False,
        set_id_first=False,
        shares=False,
        nameless=True,
        lists_trusted=True,
        keeps_attributes=True,
    ),
}


def time_token(ns: int) -> int | str:
    """A time that was set; "clock" for any that the kernel took."""
    return ns if ns < CLOCK_NS else "clock"


def stat_token(st: os.stat_result, rules: Rules) -> Token:
    """The comparable part of a file's attributes."""
    times: tuple[object, ...]
    times = time_token(st.st_atime_ns), time_token(st.st_mtime_ns), time_token(st.st_ctime_ns)
    if stat.S_ISFIFO(st.st_mode):
        # Opened by the kernel itself: what is written moves times below only (docs/kernel.md)
        times = None, None, times[2]
    blocks = st.st_blocks if rules.blocks else None
    who = oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, st.st_rdev
    return (*who, st.st_size, st.st_blksize, blocks, times)


def _digest(path: str) -> str:
    """Content of a file as read, zeros of holes left out: files can be huge and sparse."""
    seen = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    try:
        at, end = 0, os.fstat(fd).st_size
        while at < end:
            try:
                at = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but holes from here
                break
            stop = os.lseek(fd, at, os.SEEK_HOLE)
            if stop - at > 4 * EDGE:
                # The file system tells no holes (bindfs); all that operations write is near the
                # ends of such a file
                _add(seen, fd, at, at + EDGE)
                at = (stop - EDGE) & ~4095
            at = _add(seen, fd, at, stop)
    finally:
        os.close(fd)
    return seen.hexdigest()


def _add(seen: hashlib._Hash, fd: int, at: int, stop: int) -> int:
    """Add a run of data, in the same cuts on both sides however it lies; its end."""
    while at < stop:
        part = os.pread(fd, min(4096 - at % 4096, stop - at), at)
        if not part:  # less than its size says
            seen.update(f"{at} ends".encode())
            return stop
        if part.strip(b"\0"):
            seen.update(f"{at}:".encode() + part.rstrip(b"\0"))
        at += len(part)
    return at


def _entry(path: str, name: str, rules: Rules, links: dict[int, str]) -> Token:
    st = os.lstat(path)
    content: object = None
    if stat.S_ISREG(st.st_mode):
        content = _digest(path), links.setdefault(st.st_ino, name)
    elif stat.S_ISLNK(st.st_mode):
        content = os.readlink(path)
    names = sorted(os.listxattr(path, follow_symlinks=False))
    xattrs = [(key, os.getxattr(path, key, follow_symlinks=False)) for key in names]
    return (name, stat_token(st, rules), content, xattrs)


def tree(base: str, rules: Rules) -> list[Token]:
    """Every file below `base`, sorted by name, without following links."""
    found: list[Token] = []
    links: dict[int, str] = {}
    pending = ["."]
    while pending:
        name = pending.pop()
        path = os.path.join(base, name)
        found.append(_entry(path, name, rules, links))
        if stat.S_ISDIR(os.lstat(path).st_mode):
            pending += [os.path.join(name, entry) for entry in sorted(os.listdir(path))]
    return found
