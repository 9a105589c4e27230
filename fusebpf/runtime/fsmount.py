# SPDX-License-Identifier: MIT
"""The mount API of Linux 5.2: fsopen, fsconfig, fsmount, move_mount (fsopen(2) and its kind).

Until `move_mount` a mount hangs on a descriptor alone and goes with it, so that nothing is left
when the process dies half-way. The context's log carries the file system's own error text.
"""

from __future__ import annotations

import ctypes
import os
import struct
from types import TracebackType

from fusebpf.errors import FusebpfError
from fusebpf.runtime.sysbpf import syscall

# Numbers above 424 are the same on every architecture but alpha.
_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_MOUNT_SETATTR = 442

_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_SET_FD = 5
_FSCONFIG_CMD_CREATE = 6
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_OPEN_TREE_CLONE = 1
_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_LOG_LINE_BYTES = 4096
_STRING_BYTES = 255  # fsconfig(2) takes no longer string

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NODEV = 1, 4  # linux/mount.h
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8


class MountError(FusebpfError):
    """The kernel refused a mount. `log` is what its file system said, `errno` the error."""

    def __init__(
        self, message: str, code: int, log: tuple[str, ...] = (), help: str | None = None
    ) -> None:
        super().__init__(message, help)
        self.errno = code
        self.log = log


class FsContext:
    """A file system being configured. Use it in a `with`, which closes it."""

    def __init__(self, fs_type: str) -> None:
        """Begin. Raises OSError: ENODEV when the kernel has no such type, EPERM."""
        self._type = fs_type
        self._fd = syscall(_NR_FSOPEN, fs_type.encode(), _FSOPEN_CLOEXEC)

    def set_flag(self, key: str) -> None:
        """Set an option without a value."""
        self._config(_FSCONFIG_SET_FLAG, key, None, 0)

    def set_string(self, key: str, value: str | os.PathLike[str]) -> None:
        """Set an option to a string, at most 255 bytes."""
        self._config(_FSCONFIG_SET_STRING, key, os.fsencode(value), 0)

    def set_source(self, path: str | os.PathLike[str]) -> None:
        """Say what is mounted; of a path that is too long the end."""
        source = os.fsencode(path)
        if len(source) > _STRING_BYTES:
            source = b"..." + source[-(_STRING_BYTES - 3) :]
        self.set_string("source", os.fsdecode(source))

    def set_fd(self, key: str, fd: int) -> None:
        """Set an option to an open file (not one opened with O_PATH)."""
        self._config(_FSCONFIG_SET_FD, key, None, fd)

    def mount(self, attributes: int = 0) -> int:
        """Create the file system and mount it nowhere; the descriptor holds the mount.

        `attributes` are MOUNT_ATTR_* of mount_setattr(2).
        """
        self._config(_FSCONFIG_CMD_CREATE, None, None, 0)
        try:
            return syscall(_NR_FSMOUNT, self._fd, _FSMOUNT_CLOEXEC, attributes)
        except OSError as error:
            raise self._error("cannot make the mount", error) from None

    def _config(self, command: int, key: str | None, value: bytes | None, aux: int) -> None:
        name = None if key is None else key.encode()
        try:
            syscall(_NR_FSCONFIG, self._fd, command, name, value, aux)
        except OSError as error:
            what = "cannot make the mount" if key is None else f"mount option {key} is refused"
            raise self._error(what, error) from None

    def _error(self, what: str, error: OSError) -> MountError:
        log = self.log()
        reason = log[-1] if log else os.strerror(error.errno or 0)
        return MountError(f"{what}: {reason}", error.errno or 0, log)

    def log(self) -> tuple[str, ...]:
        """Messages of the file system since the last call."""
        lines: list[str] = []
        while True:
            try:
                raw = os.read(self._fd, _LOG_LINE_BYTES)
            except OSError:  # ENODATA: no more of them
                return tuple(lines)
            text = raw.decode("utf-8", "replace").strip()
            # Each begins with its level: "e ", "w " or "i ".
            lines.append(text[2:] if text[1:2] == " " else text)

    def __enter__(self) -> FsContext:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)


def move_mount(mount_fd: int, target: str | os.PathLike[str] | int) -> None:
    """Put a mount that hangs on a descriptor at a path, or an open file. Raises OSError."""
    if isinstance(target, int):
        flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
        syscall(_NR_MOVE_MOUNT, mount_fd, b"", target, b"", flags)
        return
    syscall(_NR_MOVE_MOUNT, mount_fd, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)


def clone_mount(path: str | os.PathLike[str] | int, recursive: bool = False) -> int:
    """What a path or an open file shows, as a mount of its own that hangs on a descriptor.

    `recursive`: with what is mounted below it. Raises OSError.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_SYMLINK_NOFOLLOW
    if recursive:
        flags |= _AT_RECURSIVE
    if isinstance(path, int):
        return syscall(_NR_OPEN_TREE, path, b"", flags | _AT_EMPTY_PATH)
    return syscall(_NR_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)


def set_attributes(
    target: str | os.PathLike[str] | int, attributes: int, clear: int, recursive: bool = False
) -> None:
    """Change MOUNT_ATTR_* of a mount, all at once (mount_setattr(2)). OSError.

    `target` is its path, or a descriptor that it hangs on.

    `recursive`: and of all mounts below it.
    """
    change = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, clear, 0, 0), 32)
    at, path, flags = _AT_FDCWD, b"", _AT_RECURSIVE if recursive else 0
    if isinstance(target, int):
        at, flags = target, flags | _AT_EMPTY_PATH
    else:
        path = os.fsencode(target)
    syscall(_NR_MOUNT_SETATTR, at, path, flags, ctypes.addressof(change), len(change))


def umount(target: str | os.PathLike[str], lazy: bool = False) -> None:
    """umount2(2) of the topmost mount at a path; `lazy` while it is in use. Raises OSError."""
    _umount(target, UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0))


def umount_opened(fd: int) -> None:
    """Take off, while it is in use, the mount whose root is open here: what lies over it first.

    Nothing beneath it goes, whoever took it off before: EINVAL then. Raises OSError.
    """
    _umount(f"/proc/self/fd/{fd}", MNT_DETACH)


def _umount(target: str | os.PathLike[str], flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(target), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fspath(target))
