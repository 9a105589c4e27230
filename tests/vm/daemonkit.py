# SPDX-License-Identifier: MIT
"""Daemons for the tests, serving in a thread, and filters that call them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import itertools
import os
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusebpf import (
    Attr,
    AttrOut,
    CreateIn,
    Dirent,
    EntryOut,
    FsyncIn,
    GetattrIn,
    GetxattrIn,
    Kstatfs,
    LinkIn,
    MkdirIn,
    MknodIn,
    Name,
    OpenIn,
    OpenOut,
    ReadIn,
    ReleaseIn,
    Rename2In,
    RenameIn,
    SetattrIn,
    SetxattrIn,
    StatfsOut,
    WriteIn,
)
from fusebpf.abi import OPS
from fusebpf.daemon import Call, Daemon, Device, Server, mount
from fusebpf.daemon.handlers import HANDLERS
from fusebpf.runtime import mountinfo, sysbpf
from fusebpf.runtime.fsmount import umount
from fusebpf.runtime.libbpf import Object
from tests.vm import kernelkit as kit

FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME, FATTR_MTIME = (1 << i for i in range(6))
FATTR_ATIME_NOW, FATTR_MTIME_NOW = 1 << 7, 1 << 8
ROOT = 1


def attr_of(st: os.stat_result) -> Attr:
    """Attributes in the protocol's form."""
    return Attr(
        ino=st.st_ino,
        size=st.st_size,
        blocks=st.st_blocks,
        atime=st.st_atime_ns // 10**9,
        mtime=st.st_mtime_ns // 10**9,
        ctime=st.st_ctime_ns // 10**9,
        atimensec=st.st_atime_ns % 10**9,
        mtimensec=st.st_mtime_ns % 10**9,
        ctimensec=st.st_ctime_ns % 10**9,
        mode=st.st_mode,
        nlink=st.st_nlink,
        uid=st.st_uid,
        gid=st.st_gid,
        rdev=(os.major(st.st_rdev) << 8) | (os.minor(st.st_rdev) & 0xFF),
        blksize=st.st_blksize,
    )


class Passthrough(Daemon):
    """Serves a directory. A node is an O_PATH descriptor; open files are descriptors too."""

    def __init__(self, top: Path) -> None:
        self._nodes = {ROOT: os.open(top, os.O_PATH | os.O_DIRECTORY)}
        self._lookups: dict[int, int] = {}
        self._ids: dict[tuple[int, int], int] = {}
        self._next = ROOT
        self._files: set[int] = set()

    def _path(self, nodeid: int) -> str:
        return f"/proc/self/fd/{self._nodes[nodeid]}"

    def _opened(self, fd: int) -> OpenOut:
        self._files.add(fd)
        return OpenOut(fh=fd)

    def _file(self, fh: int) -> int:
        if fh not in self._files:
            raise OSError(errno.EBADF, "no such handle")
        return fh

    def _close(self, fh: int) -> None:
        os.close(self._file(fh))
        self._files.remove(fh)

    def _entry(self, call: Call, name: Name) -> EntryOut:
        at = self._nodes[call.nodeid]
        return self._found(os.open(name.raw, os.O_PATH | os.O_NOFOLLOW, dir_fd=at))

    def _found(self, fd: int) -> EntryOut:
        st = os.stat(fd)
        key = (st.st_dev, st.st_ino)
        nodeid = self._ids.get(key)
        if nodeid is None:
            self._next += 1
            nodeid = self._ids[key] = self._next
            self._nodes[nodeid] = fd
        else:
            os.close(fd)
        self._lookups[nodeid] = self._lookups.get(nodeid, 0) + 1
        return EntryOut(nodeid=nodeid, attr=attr_of(st))

    def lookup(self, call: Call, name: Name) -> EntryOut:
        return self._entry(call, name)

    def forget(self, nodeid: int, nlookup: int) -> None:
        self._lookups[nodeid] -= nlookup
        if not self._lookups[nodeid]:
            st = os.stat(self._nodes[nodeid])
            del self._lookups[nodeid], self._ids[st.st_dev, st.st_ino]
            os.close(self._nodes.pop(nodeid))

    def getattr(self, call: Call, _req: GetattrIn) -> AttrOut:
        return AttrOut(attr=attr_of(os.stat(self._nodes[call.nodeid])))

    def setattr(self, call: Call, req: SetattrIn) -> AttrOut:
        path = self._path(call.nodeid)
        if req.valid & FATTR_MODE:
            os.chmod(path, stat.S_IMODE(req.mode))
        if req.valid & (FATTR_UID | FATTR_GID):
            uid = req.uid if req.valid & FATTR_UID else -1
            os.chown(path, uid, req.gid if req.valid & FATTR_GID else -1)
        if req.valid & FATTR_SIZE:
            os.truncate(path, req.size)
        if req.valid & (FATTR_ATIME | FATTR_MTIME):
            st = os.stat(path)
            atime = req.atime * 10**9 + req.atimensec if req.valid & FATTR_ATIME else st.st_atime_ns
            mtime = req.mtime * 10**9 + req.mtimensec if req.valid & FATTR_MTIME else st.st_mtime_ns
            os.utime(path, ns=(atime, mtime))
        return self.getattr(call, GetattrIn())

    def get_link(self, call: Call) -> bytes:
        return os.fsencode(os.readlink("", dir_fd=self._nodes[call.nodeid]))

    def symlink(self, call: Call, name: Name, target: Name) -> EntryOut:
        os.symlink(target.raw, name.raw, dir_fd=self._nodes[call.nodeid])
        return self._entry(call, name)

    def mknod(self, call: Call, req: MknodIn, name: Name) -> EntryOut:
        os.mknod(name.raw, req.mode, req.rdev, dir_fd=self._nodes[call.nodeid])
        return self._entry(call, name)

    def mkdir(self, call: Call, req: MkdirIn, name: Name) -> EntryOut:
        os.mkdir(name.raw, req.mode, dir_fd=self._nodes[call.nodeid])
        return self._entry(call, name)

    def unlink(self, call: Call, name: Name) -> None:
        os.unlink(name.raw, dir_fd=self._nodes[call.nodeid])

    def rmdir(self, call: Call, name: Name) -> None:
        os.rmdir(name.raw, dir_fd=self._nodes[call.nodeid])

    def rename(self, call: Call, req: RenameIn, old: Name, new: Name) -> None:
        src, dst = self._nodes[call.nodeid], self._nodes[req.newdir]
        os.rename(old.raw, new.raw, src_dir_fd=src, dst_dir_fd=dst)

    def rename2(self, call: Call, req: Rename2In, old: Name, new: Name) -> None:
        if req.flags:
            raise OSError(errno.EINVAL, "no flags")
        self.rename(call, RenameIn(newdir=req.newdir), old, new)

    def link(self, call: Call, req: LinkIn, name: Name) -> EntryOut:
        os.link(
            self._path(req.oldnodeid),
            name.raw,
            dst_dir_fd=self._nodes[call.nodeid],
            follow_symlinks=True,
        )
        return self._entry(call, name)

    def open(self, call: Call, req: OpenIn) -> OpenOut:
        return self._opened(os.open(self._path(call.nodeid), req.flags & ~os.O_NOFOLLOW))

    def create_open(self, call: Call, req: CreateIn, name: Name) -> tuple[EntryOut, OpenOut]:
        at = self._nodes[call.nodeid]
        fd = os.open(name.raw, req.flags | os.O_CREAT, req.mode, dir_fd=at)
        return self._entry(call, name), self._opened(fd)

    def read_iter(self, _call: Call, req: ReadIn) -> bytes:
        return os.pread(self._file(req.fh), req.size, req.offset)

    def write_iter(self, _call: Call, req: WriteIn, data: bytes) -> int:
        return os.pwrite(self._file(req.fh), data, req.offset)

    def release(self, _call: Call, req: ReleaseIn) -> None:
        self._close(req.fh)

    def fsync(self, _call: Call, req: FsyncIn) -> None:
        os.fsync(self._file(req.fh))

    def opendir(self, call: Call, _req: OpenIn) -> OpenOut:
        return self._opened(os.open(self._path(call.nodeid), os.O_RDONLY | os.O_DIRECTORY))

    def readdir(self, _call: Call, req: ReadIn) -> list[Dirent]:
        names = [".", "..", *sorted(os.listdir(self._file(req.fh)))]
        return [Dirent(os.fsencode(name), ino=1) for name in names[req.offset :]]

    def releasedir(self, _call: Call, req: ReleaseIn) -> None:
        self._close(req.fh)

    def dir_fsync(self, _call: Call, req: FsyncIn) -> None:
        os.fsync(self._file(req.fh))

    def statfs(self, call: Call) -> StatfsOut:
        st = os.statvfs(self._nodes[call.nodeid])
        return StatfsOut(
            st=Kstatfs(
                blocks=st.f_blocks,
                bfree=st.f_bfree,
                bavail=st.f_bavail,
                files=st.f_files,
                ffree=st.f_ffree,
                bsize=st.f_bsize,
                namelen=st.f_namemax,
                frsize=st.f_frsize,
            )
        )

    def getxattr(self, call: Call, _req: GetxattrIn, name: Name) -> bytes:
        return os.getxattr(self._path(call.nodeid), name.raw)

    def listxattr(self, call: Call, _req: GetxattrIn) -> bytes:
        names = os.listxattr(self._path(call.nodeid))
        return b"".join(os.fsencode(name) + b"\0" for name in names)

    def setxattr(self, call: Call, req: SetxattrIn, name: Name, value: bytes) -> None:
        os.setxattr(self._path(call.nodeid), name.raw, value[: req.size], req.flags)

    def removexattr(self, call: Call, name: Name) -> None:
        os.removexattr(self._path(call.nodeid), name.raw)


class Scripted(Daemon):
    """Answers as the test says, and notes what it was asked.

    ``answers`` maps a method to what it returns: a value, or a function of its arguments. What is
    not in it goes on in a filter, and fails with EDOM as a plain request.
    """

    def __init__(self) -> None:
        self._answers: dict[str, Any] = {}
        self._asked: list[tuple[str, Call | None, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        if name in HANDLERS and not name.endswith("lk"):
            return functools.partial(self._called, name)
        raise AttributeError(name)

    def _called(self, name: str, *args: Any) -> Any:
        call = args[0] if isinstance(args[0], Call) else None
        rest = args[1:] if call else args
        self._asked.append((name, call, rest))
        answer = self._answers.get(name, _default_answer(name))
        return answer(call, *rest) if callable(answer) else answer

    def _reset(self, **answers: Any) -> None:
        self._answers = answers
        self._asked.clear()

    def _seen(self, name: str) -> list[tuple[Call | None, tuple[Any, ...]]]:
        return [(call, args) for asked, call, args in self._asked if asked == name]


def _default_answer(name: str) -> Any:
    if name.endswith(("_pre", "_post")) or name in ("forget", "release", "releasedir"):
        return None
    if name in ("open", "opendir"):
        return OpenOut(fh=7)
    return -errno.EDOM


FILTERS = Path(__file__).with_name("daemon_filters.bpf.c")
_NUMBERS = itertools.count()


class Verdicts:
    """Attached filters that say what the test sets, by operation and phase."""

    def __init__(self) -> None:
        self.name = f"daemon.{next(_NUMBERS)}"
        self.object = Object(kit.compiled(FILTERS), "daemon")
        try:
            value = self.object.maps["ops"].initial_value()
            for field in self.object.btf.struct_members("fuse_ops") or []:
                if field.name == "name":
                    value[field.offset : field.offset + 15] = self.name.encode().ljust(15, b"\0")
            self.object.load()
            self.link = self.object.maps["ops"].attach_struct_ops()
        except BaseException:
            self.object.close()
            raise

    def set(self, op: str, verdict: int, phase: str = "pre") -> None:
        """What an operation's filter says; ``op`` as in the opcode table."""
        self.put(OPS[op].opcode + (64 if phase == "post" else 0), verdict)

    def put(self, opcode: int, verdict: int) -> None:
        """What is said to an opcode; 64 more for its postfilter."""
        fd = self.object.maps["verdicts"].fd
        sysbpf.map_update(fd, struct.pack("=I", opcode), struct.pack("=q", verdict))

    def entry(self, raw: bytes) -> None:
        """The entry that the lookup postfilter stores; zeros for none."""
        sysbpf.map_update(self.object.maps["entry"].fd, bytes(4), raw)

    def reset(self) -> None:
        for op in OPS:
            self.set(op, 0)
            self.set(op, 0, "post")
        self.entry(bytes(24))

    def close(self) -> None:
        self.link.close()
        self.object.close()


class Serving:
    """A daemon that is served by a thread of its own."""

    def __init__(self, daemon: Daemon, device: Device) -> None:
        self.daemon = daemon
        self.device = device
        self.failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="daemon")
        self._thread.start()
        self._started.wait()

    def _run(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.current_task()
            server = Server(self.daemon, self.device)
            self._started.set()
            await server.serve()

        try:
            asyncio.run(main())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.failure = error
        finally:
            self._started.set()

    def call(self, function: Callable[[], Any]) -> None:
        """Run something in the loop of the daemon, later."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(function)

    def stop(self) -> None:
        """Stop serving. The device stays open, requests stay unanswered."""
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()


@contextmanager
def served(
    daemon: Daemon,
    target: Path,
    *,
    lower: Path | None = None,
    link: int | None = None,
    **options: str | int | bool,
) -> Iterator[Serving]:
    """Serve a daemon at `target`, for everyone; unmounted and checked for failures at the end."""
    with Device(daemon.max_write) as device:
        if lower is None:
            options.setdefault("allow_other", True)
        mount(device, target, lower=lower, root_bpf_link=link, **options)
        serving = Serving(daemon, device)
        try:
            yield serving
        finally:
            if mountinfo.at(target) is not None:
                umount(target, lazy=True)
            # Closing the device then ends the connection, also where something still waits
            serving.stop()
    if serving.failure is not None:
        raise serving.failure


class Mount:
    """A mount with a scripted daemon and filters that call it, and files below."""

    def __init__(self, base: Path) -> None:
        self.lower, self.mnt = base / "lower", base / "mnt"
        self.daemon, self.verdicts = Scripted(), Verdicts()
        self.serving: Serving

    @property
    def device(self) -> Device:
        return self.serving.device

    def look(self, verdict: Any, **answers: Any) -> None:
        """Have LOOKUP give a verdict, and the daemon answer so."""
        self.daemon._reset(**answers)
        self.verdicts.set("lookup", verdict.value)


@contextmanager
def filtered(base: Path) -> Iterator[Mount]:
    """Such a mount, its verdicts CONTINUE."""
    made = Mount(base)
    (made.lower / "dir/sub").mkdir(parents=True)
    (made.lower / "empty").mkdir()
    made.mnt.mkdir()
    (made.lower / "file").write_text("0123456789")
    (made.lower / "dir/inner").write_text("inner")
    try:
        made.verdicts.reset()
        link = made.verdicts.link.fd
        with served(made.daemon, made.mnt, lower=made.lower, link=link) as made.serving:
            yield made
    finally:
        made.verdicts.close()
