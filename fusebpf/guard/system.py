# SPDX-License-Identifier: MIT
"""System calls for `guard run` that Python 3.11 has no function for. They raise OSError."""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache

from fusebpf.runtime.sysbpf import syscall

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

_NR_CLOSE_RANGE = 436
_MAX_FD = 0xFFFFFFFF

_NR_LANDLOCK_CREATE_RULESET = 444
_NR_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_SCOPE_SIGNAL = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64  # more than any kernel has


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str = "") -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), *([what] if what else []))


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_libc().unshare(flags))


def setns(fd: int, kind: int) -> None:
    """setns(2)."""
    _checked(_libc().setns(fd, kind))


def mount(
    source: str, target: str | os.PathLike[str], fs_type: str, flags: int, data: str = ""
) -> None:
    """mount(2)."""
    result = _libc().mount(
        os.fsencode(source),
        os.fsencode(target),
        fs_type.encode(),
        ctypes.c_ulong(flags),
        data.encode(),
    )
    _checked(result, os.fspath(target))


def bind(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Show a file or directory at another path, too."""
    mount(os.fspath(source), target, "", MS_BIND)


def close_range(first: int, last: int = _MAX_FD) -> None:
    """Close all descriptors of a range, in which there need not be any."""
    if first <= last:
        syscall(_NR_CLOSE_RANGE, first, last, 0)


def _prctl(option: int, first: int = 0) -> int:
    zero = ctypes.c_ulong(0)
    return int(_libc().prctl(option, ctypes.c_ulong(first), zero, zero, zero))


def end_with_parent(number: int) -> None:
    """Get signal `number` when the parent ends. Changing credentials takes it back."""
    _checked(_prctl(_PR_SET_PDEATHSIG, number))


def not_traceable() -> None:
    """Let only who has CAP_SYS_PTRACE trace or look into this process; execve(2) takes it back."""
    _checked(_prctl(_PR_SET_DUMPABLE, 0))


def no_new_privileges() -> None:
    """Programs that are executed from now on gain nothing by set-id bits or capabilities."""
    _checked(_prctl(_PR_SET_NO_NEW_PRIVS, 1))


def keep_to_own_processes() -> None:
    """Let this process and its children trace, join and signal each other alone.

    A pid namespace hides other processes by their numbers; a pidfd can still come from a socket
    (SO_PEERPIDFD of unix(7)). A domain of landlock(7) that has a scope and no rules, Linux 6.12.
    """
    ruleset = struct.pack("=QQQ", 0, 0, _LANDLOCK_SCOPE_SIGNAL)
    domain = syscall(_NR_LANDLOCK_CREATE_RULESET, ruleset, len(ruleset), 0)
    try:
        syscall(_NR_LANDLOCK_RESTRICT_SELF, domain, 0)
    finally:
        os.close(domain)


def bound_capabilities() -> None:
    """Empty the bounding and the ambient set: no program that is executed gets a capability."""
    for number in range(_CAPABILITIES):
        if _prctl(_PR_CAPBSET_DROP, number) != 0:
            if number == 0:
                _checked(-1)
            break  # the kernel has no more
    _checked(_prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL))


def drop_capabilities() -> None:
    """Empty the effective, the permitted and the inheritable set."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _checked(_libc().capset(header, bytes(24)))
