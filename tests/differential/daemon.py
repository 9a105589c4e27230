# SPDX-License-Identifier: MIT
"""A passthrough daemon in a process of its own, that works as whoever asked."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusebpf import (
    AccessIn,
    AttrOut,
    CreateIn,
    EntryOut,
    FlushIn,
    GetattrIn,
    LseekIn,
    LseekOut,
    Name,
    OpenOut,
    SetattrIn,
)
from fusebpf.daemon import Call, Device, mount, serve
from fusebpf.daemon.structs import IoctlIn, IoctlOut
from fusebpf.runtime import mountinfo
from fusebpf.runtime.fsmount import umount
from tests.differential import libc
from tests.vm import daemonkit as kit

# include/uapi/linux/fuse.h: nothing of the file is cached, as of files that USER leaves to a daemon
FOPEN_DIRECT_IO = 1


def _time(valid: int, flags: tuple[int, int], seconds: int, nsec: int) -> tuple[int, int]:
    """A time for utimensat(2): set, now, or left."""
    if not valid & flags[0]:
        return 0, libc.UTIME_OMIT
    return (0, libc.UTIME_NOW) if valid & flags[1] else (seconds, nsec)


@functools.cache
def _groups(pid: int) -> list[int]:
    """The supplementary groups of a process, which keeps them; of one that is gone, none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return []
    return [int(gid) for gid in status.split("\nGroups:")[1].split("\n")[0].split()]


def _become(uid: int, gid: int, groups: list[int]) -> None:
    """Of this thread alone; the functions of the C library change all threads."""
    array = (ctypes.c_uint * len(groups))(*groups)
    libc.syscall(libc.NR_SETGROUPS, ctypes.c_size_t(len(groups)), array)
    libc.syscall(libc.NR_SETFSGID, ctypes.c_uint(gid))
    libc.syscall(libc.NR_SETFSUID, ctypes.c_uint(uid))


def _as_caller(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def run(self: AsCaller, call: Call, *args: Any) -> Any:
        _become(call.uid, call.gid, _groups(call.pid))
        try:
            return method(self, call, *args)
        finally:
            _become(0, 0, [])

    return run


class AsCaller(kit.Passthrough):
    """The passthrough with the caller's rights and ownership, and some operations more."""

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name.startswith("_") or name in ("forget", "lookup_post") or not callable(value):
            return value
        return _as_caller(value.__func__).__get__(self)

    # The kernel checks modes and ACLs, as it does on a mount with a lower directory
    init_flags = ("POSIX_ACL",)

    def lookup_post(self, call: Call, name: Name, out: EntryOut, _entries: Any) -> None:
        if not call.error_in:
            out.nodeid = self._entry(call, name).nodeid

    def setattr(self, call: Call, req: SetattrIn) -> AttrOut:
        """The times apart: who may set them depends on whether they are to be now."""
        times = [
            _time(req.valid, (kit.FATTR_ATIME, kit.FATTR_ATIME_NOW), req.atime, req.atimensec),
            _time(req.valid, (kit.FATTR_MTIME, kit.FATTR_MTIME_NOW), req.mtime, req.mtimensec),
        ]
        req.valid &= ~(kit.FATTR_ATIME | kit.FATTR_MTIME)
        out = super().setattr(call, req)
        if all(nsec == libc.UTIME_OMIT for _, nsec in times):
            return out
        libc.utimensat(self._path(call.nodeid), *times)
        return self.getattr(call, GetattrIn())

    def access(self, call: Call, req: AccessIn) -> None:
        at = self._nodes[call.nodeid]
        if not os.access(f"/proc/self/fd/{at}", req.mask, effective_ids=True):
            raise OSError(errno.EACCES, "no access")

    def flush(self, _call: Call, req: FlushIn) -> None:
        self._file(req.fh)

    def tmpfile(self, call: Call, req: CreateIn, _name: Name) -> tuple[EntryOut, OpenOut]:
        flags = req.flags | os.O_TMPFILE
        fd = os.open(".", flags, req.mode, dir_fd=self._nodes[call.nodeid])
        return self._found(os.open(f"/proc/self/fd/{fd}", os.O_PATH)), self._opened(fd)

    def lseek(self, _call: Call, req: LseekIn) -> LseekOut:
        return LseekOut(offset=os.lseek(self._file(req.fh), req.offset, req.whence))

    def ioctl(self, _call: Call, req: IoctlIn, data: bytes) -> tuple[IoctlOut, bytes]:
        """What the kernel asks for by itself: flags of a file."""
        if req.cmd not in (libc.FS_IOC_GETFLAGS, libc.FS_IOC_SETFLAGS):
            raise OSError(errno.ENOTTY, "unknown")
        flags = bytearray(data.ljust(8, b"\0"))
        fcntl.ioctl(self._file(req.fh), req.cmd, flags)
        return IoctlOut(), bytes(flags[: req.out_size])

    def _opened(self, fd: int) -> OpenOut:
        out = super()._opened(fd)
        out.open_flags = FOPEN_DIRECT_IO
        return out


@contextmanager
def served(top: Path, target: Path, *, lower: Path | None, link: int | None) -> Iterator[None]:
    """Mount a daemon that serves `top` at `target`; it must end well when it is unmounted."""
    options = {} if lower else {"allow_other": True}
    with Device() as device:
        mount(device, target, lower=lower, root_bpf_link=link, **options)
        pid = os.fork()
        if not pid:
            _serve(top, device)
    try:
        yield
    finally:
        if mountinfo.at(target) is not None:
            umount(target, lazy=True)
        _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"the daemon of {target} ended with wait status {status:#x}")


def _serve(top: Path, device: Device) -> None:
    """The forked process; never returns."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.umask(0)
        serve(AsCaller(top), device)
        status = 0
    finally:
        os._exit(status)
