# SPDX-License-Identifier: MIT
"""Other ways to a tree than its own path: mounts that show it, a directory above it or a part.

A mount over the tree hides it at one path. The same file system may be mounted elsewhere, or
directories of it bound there; all that is in mountinfo.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from fusebpf.errors import FusebpfError
from fusebpf.frozen import dataclass
from fusebpf.runtime import fsmount, mountinfo
from fusebpf.runtime.mountinfo import MountEntry

#: File systems whose mounts all say that they show the root.
_ROOTLESS = ("nfs", "nfs4")
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True)
class Way:
    """A mount that shows the tree at ``path``; or of the tree ``part`` alone."""

    mount_id: int
    path: Path
    part: Path


def ways(entries: Iterable[MountEntry], own: MountEntry, tree: Path) -> list[Way]:
    """The mounts besides ``own`` that show something of the tree, which is reached through it.

    Raises FusebpfError when the mounts do not tell what they show.
    """
    inside = own.root / tree.relative_to(own.mount_point)
    found = []
    for entry in entries:
        if entry.mount_id == own.mount_id or entry.device != own.device:
            continue
        if entry.mount_point == tree or tree in entry.mount_point.parents:
            continue  # what is mounted over the tree covers it
        if own.fs_type in _ROOTLESS:
            if not _overlap(Path(entry.source), Path(own.source)):
                continue
            raise FusebpfError(
                f"{entry.mount_point} shows the tree, too, or a part of it, and cannot be covered: "
                f"of {own.fs_type}, the kernel does not tell which directory is bound where",
                f"umount {entry.mount_point}, or start from a mount namespace without it",
            )
        if inside.is_relative_to(entry.root):
            path = entry.mount_point / inside.relative_to(entry.root)
            found.append(Way(entry.mount_id, path, Path()))
        elif entry.root.is_relative_to(inside):
            found.append(Way(entry.mount_id, entry.mount_point, entry.root.relative_to(inside)))
    return found


def _overlap(one: Path, other: Path) -> bool:
    """Whether SERVER:/DIRECTORY is the other one, or above or below it."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def cover(tree: Path, found: Iterable[Way]) -> None:
    """Show what is mounted at ``tree`` at each of these ways.

    A part that its rules refuse is not there any more. Raises FusebpfError.
    """
    # The last ones first: under one that is taken off another may lie.
    for way in reversed(list(found)):
        try:
            _cover(tree, way)
        except OSError as error:
            raise FusebpfError(
                f"{way.path} shows {'the tree' if way.part == Path() else 'a part of the tree'}, "
                f"too, and cannot be covered: {error.strerror}",
                f"umount {way.path}, or start from a mount namespace without it",
            ) from None


def _cover(tree: Path, way: Way) -> None:
    fd = mountinfo.reached(way.path, way.mount_id)
    if fd is None:
        return
    try:
        try:
            shown = fsmount.clone_mount(tree / way.part)
        except OSError as error:
            if way.part == Path() or error.errno not in (*_NOT_THERE, errno.EACCES):
                raise
            fsmount.umount(way.path, lazy=True)
            return
        try:
            fsmount.move_mount(shown, fd)
        finally:
            os.close(shown)
    finally:
        os.close(fd)
