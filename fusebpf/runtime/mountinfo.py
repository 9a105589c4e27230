# SPDX-License-Identifier: MIT
"""Mounts of this process's namespace, from /proc/self/mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusebpf.frozen import dataclass
from fusebpf.runtime.features import KERNEL_FS_TYPE, MODULE_FS_TYPE

_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")


@dataclass(frozen=True)
class MountEntry:
    """One mount. `super_options` are the file system's own: root_bpf=NAME, link_id=N, dead.

    It shows the directory or file `root` of the file system `device` (MAJOR:MINOR).
    """

    mount_id: int
    parent_id: int
    device: str
    root: Path
    mount_point: Path
    options: tuple[str, ...]
    fs_type: str
    source: str
    super_options: dict[str, str]

    @property
    def is_fuse_bpf(self) -> bool:
        """Whether it is ours: the module's type, or a `fuse` with filters or without a daemon."""
        if self.fs_type != KERNEL_FS_TYPE:
            return self.fs_type == MODULE_FS_TYPE
        return "no_daemon" in self.super_options or "root_bpf" in self.super_options

    @property
    def link_id(self) -> int | None:
        """Id of the struct_ops link that the mount holds, or None."""
        text = self.super_options.get("link_id", "")
        return int(text) if text.isdigit() else None

    @property
    def dead(self) -> bool:
        """Whether the filters were torn off by force: every filtered operation is EIO."""
        return "dead" in self.super_options


def _unescaped(field: bytes) -> str:
    # The kernel writes space, tab, newline and backslash as three octal digits.
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field))


def parse(raw: bytes) -> Iterator[MountEntry]:
    """Entries of a mountinfo file, in its order."""
    for line in raw.split(b"\n"):
        fields = line.split(b" ")
        if len(fields) < 10:
            continue
        separator = fields.index(b"-", 6)
        fs_type, source, super_options = (*fields[separator + 1 :], b"", b"", b"")[:3]
        parsed: dict[str, str] = {}
        for option in super_options.split(b","):  # a comma inside of one is escaped
            key, _, value = _unescaped(option).partition("=")
            parsed[key] = value
        yield MountEntry(
            mount_id=int(fields[0]),
            parent_id=int(fields[1]),
            device=fields[2].decode("ascii"),
            root=Path(_unescaped(fields[3])),
            mount_point=Path(_unescaped(fields[4])),
            options=tuple(_unescaped(fields[5]).split(",")),
            fs_type=_unescaped(fs_type),
            source=_unescaped(source),
            super_options=parsed,
        )


def entries() -> list[MountEntry]:
    """All mounts that this process sees."""
    return list(parse(Path("/proc/self/mountinfo").read_bytes()))


def at(path: str | os.PathLike[str]) -> MountEntry | None:
    """The topmost mount at `path`, or None when `path` is no mount point.

    Nothing is asked of that mount: its daemon may hang, and one that fails closed may refuse even
    stat. Raises OSError when the path cannot be reached.
    """
    with held(path) as (_fd, entry):
        return entry


@contextmanager
def held(path: str | os.PathLike[str]) -> Iterator[tuple[int, MountEntry | None]]:
    """As `at`, with an O_PATH descriptor of its root, which keeps it in use. Raises OSError."""
    with _opened(_absolute(path)) as fd:
        entry = _entry(id_of(fd))
        is_root = entry is not None and entry.mount_point == _path_of(fd)
        yield fd, entry if is_root else None


def real(path: str | os.PathLike[str]) -> Path:
    """A path without links, of which nothing is asked but the way to it. Raises OSError."""
    with _opened(_absolute(path)) as fd:
        return _path_of(fd)


def on(path: Path) -> MountEntry | None:
    """The mount that `path` is on, or None when that is not to be seen from this root.

    Raises OSError when the path cannot be reached.
    """
    with _opened(path) as fd:
        return _entry(id_of(fd))


def _absolute(path: str | os.PathLike[str]) -> Path:
    # The working directory by its path: another mount may lie over it by now. It has none where it
    # was removed, or is in a mount that was taken off.
    return path if (path := Path(path)).is_absolute() else Path.cwd() / path


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _path_of(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()


def _entry(mount_id: int) -> MountEntry | None:
    prefix = b"%d " % mount_id
    lines = Path("/proc/self/mountinfo").read_bytes().split(b"\n")
    return next(parse(b"\n".join(line for line in lines if line.startswith(prefix))), None)


def reached(path: Path, mount_id: int) -> int | None:
    """An O_PATH descriptor of what is at ``path``, a link itself, if that is the mount's.

    None when nothing is there any more, or another mount lies over it. Raises OSError.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    kept = None
    try:
        if id_of(fd) == mount_id:
            kept = fd
        return kept
    finally:
        if kept is None:
            os.close(fd)


def id_of(fd: int) -> int:
    """Id of the mount that an open file was reached through."""
    info = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
    found = re.search(r"^mnt_id:\s*(\d+)", info, re.MULTILINE)
    return int(found[1]) if found else -1
