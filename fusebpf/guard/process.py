# SPDX-License-Identifier: MIT
"""A command in a pid namespace of its own: its first process, signals, exit status.

This process forks the first one of the namespace, which forks the command, forwards signals to it,
reaps what nobody waits for, and ends with it; then the kernel ends all that is left there. It also
ends when this process is killed.
"""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from fusebpf.errors import EXIT_FAILURE, FusebpfError
from fusebpf.guard import system

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as of a shell

_FORWARDED = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
    }
)
_WAITED = _FORWARDED | {signal.SIGCHLD}
#: Python's own, which a command does not expect.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class StartError(FusebpfError):
    """The command was not started."""

    def __init__(self, message: str, help: str | None, exit_code: int) -> None:
        super().__init__(message, help)
        self.exit_code = exit_code


class Running:
    """A command that runs, or ended."""

    def __init__(self, first: int, alive: int, mask: set[int | signal.Signals]) -> None:
        self._first = first
        self._alive = alive
        self._mask = mask
        self._terminal = _terminal()

    def wait(self) -> int:
        """Forward signals until the command ends; its status, or 128 and the signal's number."""
        try:
            status = _supervise(self._first, self._first)
        finally:
            os.close(self._alive)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        if self._terminal is not None:
            _take_back(self._terminal)
        return status


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    confine: Callable[[], None],
) -> Running:
    """Start a command, after the first process has called ``confine``.

    Raises StartError for what that raises (OSError, FusebpfError), and when the command cannot be
    executed.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # Left so by who called: no end of a child would be told (sigaction(2)).
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told, telling = os.pipe()
    living, alive = os.pipe()
    before = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    system.unshare(system.CLONE_NEWPID)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    first = os.fork()
    if first == 0:
        status = EXIT_FAILURE
        try:
            os.close(told)
            os.close(alive)
            confine()
            # Not before, as changing credentials takes it back; who ended before is seen there.
            system.end_with_parent(signal.SIGKILL)
            if not select.select([living], [], [], 0)[0]:
                status = _first(command, environment, telling, mask)
        except OSError as error:
            what = f" {error.filename}" if error.filename else ""
            _tell(telling, f"cannot confine the command:{what}: {error.strerror}")
        except FusebpfError as error:
            _tell(telling, error.message, error.help, error.exit_code)
        except Exception as error:
            _tell(telling, f"cannot confine the command: {error!r}")
        finally:
            os._exit(status)
    system.setns(before, system.CLONE_NEWPID)  # for children of ours, and threads
    for fd in (telling, living, before):
        os.close(fd)
    running = Running(first, alive, mask)
    with os.fdopen(told, "rb") as pipe:
        failure = pipe.read()
    if failure:
        running.wait()
        raise StartError(*json.loads(failure))
    return running


def _tell(telling: int, message: str, help: str | None = None, status: int = EXIT_FAILURE) -> None:
    os.write(telling, json.dumps([message, help, status]).encode())


def _first(
    command: Sequence[str],
    environment: Mapping[str, str],
    telling: int,
    mask: set[int | signal.Signals],
) -> int:
    """As the first process of the namespace: run the command, and give its status."""
    system.not_traceable()  # else root inside could stop it
    child = os.fork()
    if child == 0:
        # It closes on exec(2), which is how the other end learns of that.
        system.close_range(3, telling - 1)
        system.close_range(telling + 1)
        _execute(command, environment, telling, mask)
    system.close_range(3)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)
    return _supervise(child, -1)


def _execute(
    command: Sequence[str],
    environment: Mapping[str, str],
    telling: int,
    mask: set[int | signal.Signals],
) -> NoReturn:
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    status = NOT_EXECUTABLE
    try:
        program: str | None = command[0]
        if "/" not in command[0]:
            # execvp(3) would tell of a directory of PATH that may not be searched, instead.
            program = shutil.which(command[0], path=environment.get("PATH"))
        if program is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such program in PATH")
        os.execve(program, [*command], environment)
    except FileNotFoundError as error:
        status = NOT_FOUND
        help = "name a program in PATH, or by its path, e.g. ./program"
        _tell(telling, f"cannot run {command[0]}: {error.strerror}", help, status)
    except OSError as error:
        _tell(telling, f"cannot run {command[0]}: {error.strerror}", None, status)
    os._exit(status)


def _supervise(child: int, reaped: int) -> int:
    """Forward signals to a child until it ends, and give its status; reap others by waitpid(2)."""
    while True:
        info = signal.sigwaitinfo(_WAITED)
        if info.si_signo == signal.SIGCHLD:
            if (status := _reaped(child, reaped)) is not None:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        # What a terminal sends (SI_KERNEL), it sends to the command as well, but for its end: that
        # it tells the leader of the session alone.
        elif info.si_code <= 0 or (info.si_signo == signal.SIGHUP and os.getsid(0) == os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(child, info.si_signo)


def _reaped(child: int, which: int) -> int | None:
    """Wait for what ended; the status of a child if that did."""
    found = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(which, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                found = status
    return found


def _terminal() -> int | None:
    """The descriptor of a terminal that this process is in the foreground of."""
    for fd in range(3):
        with suppress(OSError):
            if os.tcgetpgrp(fd) == os.getpgrp():
                return fd
    return None


def _take_back(terminal: int) -> None:
    """Be in the foreground again: a shell in the namespace leaves it to a group that is gone.

    Where the group is there, it is another's: this was moved to the background.
    """
    try:
        os.killpg(os.tcgetpgrp(terminal), 0)
    except ProcessLookupError:
        pass
    except OSError:
        return
    else:
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    with suppress(OSError):
        os.tcsetpgrp(terminal, os.getpgrp())
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
