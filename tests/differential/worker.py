# SPDX-License-Identifier: MIT
"""The processes of one side: each with credentials of its own for good, told what to do by index.

A worker is forked when its side begins, with the whole script. Over its pipe come two numbers, the
first step and the end of a run of steps; back goes the list of their results as a Python literal.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import os
import select
import signal
import stat
import struct
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as FsPath

# Registers the operations
from tests.differential import (  # noqa: F401
    asynchronous,
    attributes,
    content,
    files,
    locks,
    maps,
    names,
    sharing,
)
from tests.differential.observe import Rules, Token, stat_token
from tests.differential.registry import SPECS
from tests.differential.script import ACTORS, BELOW, Path, Script, Slot, Step
from tests.differential.world import EmptySlot, Mail, NotApplicable, World

GROUP_OF_USERS = 3000
# For one run of steps, in seconds: more than what a loaded guest takes
PATIENCE = 200
_ORDER = struct.Struct("=II")
_LENGTH = struct.Struct("=I")
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


class WorkerError(Exception):
    """A worker failed by itself; the text is its traceback."""


def perform(world: World, step: Step) -> object:
    """Do one operation; an errno's name is a result like any other."""
    try:
        return SPECS[step.kind].run(world, *step.args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except EmptySlot:
        return "empty slot"
    except NotApplicable as error:
        return f"not applicable: {error}"


def watch(world: World, step: Step) -> list[Token]:
    """Attributes, as the process sees them, of all that an operation names."""
    seen: list[Token] = []
    for arg in step.args:
        with suppress(EmptySlot):
            if isinstance(arg, Path):
                try:
                    st = os.stat(arg.path, dir_fd=world.at(arg), follow_symlinks=False)
                    seen.append(stat_token(st, world.rules))
                except OSError as error:
                    seen.append((errno.errorcode[error.errno or 0],))
            elif isinstance(arg, Slot):
                seen.append(_descriptor(world.fd(arg), world.rules))
    return seen


def _descriptor(fd: int, rules: Rules) -> Token:
    try:
        st = os.fstat(fd)
    except OSError as error:  # bindfs, of a file that has no name left
        return (errno.errorcode[error.errno or 0],)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        position: object = os.lseek(fd, 0, os.SEEK_CUR)
    except OSError as error:
        position = errno.errorcode[error.errno or 0]
    if stat.S_ISDIR(st.st_mode):
        position = None  # the file system's own, as in list_directory
    return (oct(flags), position, *stat_token(st, rules))


def _become(uid: int) -> None:
    """The user for good; /proc/self/fd stays the process's own."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if uid > 0:
        os.setgroups([GROUP_OF_USERS])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        prctl(_PR_SET_DUMPABLE, 1)
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # A lease that is broken says so by a signal
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def _read(pipe: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(pipe, size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _serve(world: World, script: Script, orders: int, results: int) -> None:
    while True:
        try:
            first, end = _ORDER.unpack(_read(orders, _ORDER.size))
        except EOFError:
            return
        done = [(perform(world, step), watch(world, step)) for step in script[first:end]]
        data = repr(done).encode()
        data = _LENGTH.pack(len(data)) + data
        while data:
            data = data[os.write(results, data) :]


@dataclass
class _Worker:
    pid: int
    orders: int
    results: int


class Side:
    """The processes that work on one directory, and the lower directory below it."""

    def __init__(self, base: FsPath, lower: FsPath, rules: Rules, script: Script) -> None:
        self._base, self._lower, self._rules, self._script = base, lower, rules, script
        self._mail = {actor: Mail() for actor in ACTORS if actor != BELOW}
        self._workers: dict[int, _Worker] = {}

    def order(self, actor: int, first: int, end: int) -> None:
        """Have a process do steps; it is started when it is needed first."""
        worker = self._workers.get(actor) or self._start(actor)
        os.write(worker.orders, _ORDER.pack(first, end))

    def results(self, actor: int) -> bytes:
        """What the steps gave: a list of results and attributes, as a Python literal.

        Raises:
            WorkerError: an operation raised what it may not, or the process is gone or hangs.
        """
        worker = self._workers[actor]
        if not select.select([worker.results], [], [], PATIENCE)[0]:
            where = FsPath(f"/proc/{worker.pid}/stack").read_text()
            raise WorkerError(f"process {actor} gave no answer for {PATIENCE} s; it is in\n{where}")
        try:
            (size,) = _LENGTH.unpack(_read(worker.results, _LENGTH.size))
            data = _read(worker.results, size)
        except EOFError:
            raise WorkerError(f"process {actor} is gone") from None
        if data.startswith(b"Traceback"):
            raise WorkerError(data.decode())
        return data

    def kill(self, actor: int) -> None:
        """End a process with all that it holds; the next order starts another one."""
        worker = self._workers.pop(actor, None)
        if worker is not None:
            os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)
            os.close(worker.orders)
            os.close(worker.results)

    def close(self) -> None:
        """End all processes, and let go of descriptors on their way."""
        for worker in self._workers.values():  # all first: some take their time
            os.kill(worker.pid, signal.SIGKILL)
        for actor in list(self._workers):
            self.kill(actor)
        for mail in self._mail.values():
            mail.close()

    def _start(self, actor: int) -> _Worker:
        orders, to_worker = os.pipe()
        from_worker, results = os.pipe()
        pid = os.fork()
        if not pid:
            self._run(actor, orders, results)
        os.close(orders)
        os.close(results)
        worker = self._workers[actor] = _Worker(pid, to_worker, from_worker)
        return worker

    def _run(self, actor: int, orders: int, results: int) -> None:
        """The forked process; never returns."""
        try:
            gc.disable()  # it writes to all objects, whose pages are still shared
            kept = {orders, results}
            if actor != BELOW:
                for mail in self._mail.values():
                    kept |= {mail.inside.fileno(), mail.outside.fileno()}
            for name in os.listdir("/proc/self/fd"):
                if int(name) > 2 and int(name) not in kept:
                    with suppress(OSError):
                        os.close(int(name))
            _become(actor)
            base = self._lower if actor == BELOW else self._base
            _serve(World(base, self._rules, actor, self._mail), self._script, orders, results)
        except BaseException:
            data = traceback.format_exc().encode()
            os.write(results, _LENGTH.pack(len(data)) + data)
        finally:
            os._exit(0)
