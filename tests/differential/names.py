# SPDX-License-Identifier: MIT
"""Operations on directories and names."""

from __future__ import annotations

import errno
import os
import socket

from tests.differential import libc
from tests.differential.registry import (
    below,
    directory_slot,
    mode,
    op,
    path,
    pick,
    plain_path,
    relative,
    slot,
)
from tests.differential.script import Path, Slot
from tests.differential.world import NotApplicable, World


@op(path, mode, weight=10)
def mkdir(w: World, p: Path, bits: int) -> None:
    os.mkdir(p.path, bits, dir_fd=w.at(p))


@op(path, weight=2)
def rmdir(w: World, p: Path) -> None:
    os.rmdir(p.path, dir_fd=w.at(p))


@op(path, weight=4)
def unlink(w: World, p: Path) -> None:
    os.unlink(p.path, dir_fd=w.at(p))


@op(path, path, pick(0, 0, 0, 1, 2, 2, 3, 4, 5), weight=9)
def rename(w: World, old: Path, new: Path, flags: int) -> None:
    try:
        libc.renameat2(w.at(old), old.path, w.at(new), new.path, flags)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        w.look_up(old, new)
        libc.renameat2(w.at(old), old.path, w.at(new), new.path, flags)


@op(path, path, pick(False, True), weight=6)
def link(w: World, old: Path, new: Path, follow: bool) -> None:
    at, to = w.at(old), w.at(new)
    os.link(old.path, new.path, src_dir_fd=at, dst_dir_fd=to, follow_symlinks=follow)


@op(slot, path)
def link_descriptor(w: World, s: Slot, new: Path) -> None:
    """A new name for an open file; the file may have none left."""
    os.link(f"/proc/self/fd/{w.fd(s)}", new.path, dst_dir_fd=w.at(new), follow_symlinks=True)


@op(relative, path, weight=5)
def symlink(w: World, text: str, p: Path) -> None:
    os.symlink(text, p.path, dir_fd=w.at(p))


@op(path, weight=3)
def readlink(w: World, p: Path) -> str:
    return os.readlink(p.path, dir_fd=w.at(p))


@op(path, pick(0o010644, 0o010600, 0o100644, 0o104711, 0o020666, 0o140600, 0o040755), weight=4)
def mknod(w: World, p: Path, kind: int) -> None:
    """FIFO, file, /dev/null, socket; a directory cannot be made so."""
    os.mknod(p.path, kind, os.makedev(1, 3) if kind == 0o020666 else 0, dir_fd=w.at(p))


@op(plain_path)
def bind_socket(w: World, p: Path) -> None:
    if len(p.path) > 100:
        raise NotApplicable("too long for a socket's address")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(p.path)


@op(plain_path, weight=2)
def chdir(w: World, p: Path) -> None:
    os.chdir(p.path)


@op(weight=6)
def replant(w: World) -> list[str]:
    """Directories where most paths look for them; what has their names may go."""
    results: list[str] = []
    for name in ("a", "b", "a/b"):
        for call in (os.unlink, lambda path: os.mkdir(path, 0o777)):
            try:
                call(name)
                results.append("")
            except OSError as error:
                results.append(errno.errorcode[error.errno or 0])
    return results


@op(directory_slot)
def fchdir(w: World, s: Slot) -> None:
    os.fchdir(w.fd(s))


@op(weight=7)
def chdir_root(w: World) -> None:
    os.fchdir(w.root)


@op(below(4), weight=2)
def walk_up(w: World, count: int) -> list[tuple[object, ...]]:
    """What lies above, up to the root: its own ".." has no twin."""
    root = os.fstat(w.root)
    found: list[tuple[object, ...]] = []
    up = "."
    for _ in range(count):
        if os.path.samestat(os.stat(up), root):
            break
        up += "/.."
        st = os.stat(up)
        found.append((oct(st.st_mode), st.st_uid, st.st_nlink, os.path.samestat(st, root)))
    return found


@op(slot, path)
def link_open(w: World, s: Slot, new: Path) -> None:
    """As link_descriptor, without /proc; for CAP_DAC_READ_SEARCH."""
    libc.linkat(w.fd(s), "", w.at(new), new.path, libc.AT_EMPTY_PATH)


@op(path, path)
def link_empty_path(w: World, old: Path, new: Path) -> None:
    """A new name for what a path leads to, a symbolic link itself too."""
    fd = os.open(old.path, os.O_PATH | os.O_NOFOLLOW, dir_fd=w.at(old))
    try:
        libc.linkat(fd, "", w.at(new), new.path, libc.AT_EMPTY_PATH)
    finally:
        os.close(fd)


@op()
def getcwd(w: World) -> str:
    """After a walk: a directory that was moved below is found by a lookup (docs/kernel.md)."""
    for _ in os.walk(w.base):
        pass
    return os.path.relpath(os.getcwd(), w.base)


@op(pick(0o022, 0o077, 0, 0o027))
def umask(w: World, bits: int) -> int:
    return os.umask(bits)


@op(path, pick(24, 48, 100, 300, 4096, 32768), weight=5)
def list_directory(w: World, p: Path, size: int) -> list[tuple[object, ...]]:
    """With any buffer: names and types in order, and whether stat knows the same inodes.

    Positions are left out: they are the file system's own and mean something to it only.
    """
    fd = os.open(p.path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=w.at(p))
    try:
        found: list[tuple[object, ...]] = []
        while part := libc.getdents(fd, size):
            found += [(name, kind, _same(fd, name, ino)) for ino, _, kind, name in part]
        return found if w.rules.order else sorted(found, key=str)
    finally:
        os.close(fd)


def _same(fd: int, name: str, ino: int) -> object:
    if name == "..":  # above the root there are no twins
        return None
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino == ino
    except OSError as error:
        return error.errno


@op(path, pick(48, 80, 4096), below(12), weight=3)
def seek_directory(w: World, p: Path, size: int, number: int) -> tuple[int, bool]:
    """Where the position of the n-th entry leads, as telldir(3) and seekdir(3) do: to the next."""
    fd = os.open(p.path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=w.at(p))
    try:
        entries: list[tuple[str, int]] = []
        while part := libc.getdents(fd, size):
            entries += [(name, at) for _, at, _, name in part]
        number %= len(entries)
        os.lseek(fd, entries[number][1], os.SEEK_SET)
        rest: list[str] = []
        while part := libc.getdents(fd, size):
            rest += [name for _, _, _, name in part]
        return len(rest), rest == [name for name, _ in entries[number + 1 :]]
    finally:
        os.close(fd)


@op(directory_slot, weight=3)
def read_directory(w: World, s: Slot) -> list[tuple[str, int]]:
    """From where the descriptor stands, all in one call."""
    found = [(name, kind) for _, _, kind, name in libc.getdents(w.fd(s), 32768)]
    return found if w.rules.order else sorted(found)


@op(directory_slot, weight=3)
def rewind_directory(w: World, s: Slot) -> list[str]:
    os.lseek(w.fd(s), 0, os.SEEK_SET)
    found = [name for _, _, _, name in libc.getdents(w.fd(s), 32768)]
    return found if w.rules.order else sorted(found)


@op(path, below(40), weight=1)
def fill_directory(w: World, p: Path, count: int) -> int:
    """Many entries, so that listings need several passes."""
    fd = os.open(p.path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=w.at(p))
    try:
        for number in range(count):
            name = f"{number}" + "x" * (number * 7 % 200)
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
        return count
    finally:
        os.close(fd)
