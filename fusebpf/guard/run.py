# SPDX-License-Identifier: MIT
"""`guard run`: a command that sees a tree held to rules, at the tree's own path."""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fusebpf.errors import FusebpfError, UsageError
from fusebpf.frozen import dataclass
from fusebpf.guard import confining, covering, process
from fusebpf.guard.confining import User
from fusebpf.guard.mounting import mount
from fusebpf.guard.rules import MAX_ID, Rules
from fusebpf.guard.tree import absolute, root
from fusebpf.runtime import features, fsmount, mountinfo

if TYPE_CHECKING:
    from fusebpf.guard.audit import Refusal
    from fusebpf.runtime import Mount

_STDIO = ("standard input", "standard output", "standard error")
_TYPING = Path("/proc/sys/dev/tty/legacy_tiocsti")


@dataclass(frozen=True)
class Audience:
    """Who is told what is refused, from a thread; and at the end, how many could not be told."""

    refused: Callable[[Refusal], None]
    lost: Callable[[int], None]


def run(
    rules: Rules,
    tree: Path,
    command: Sequence[str],
    user: User,
    audience: Audience | None = None,
) -> int:
    """Run a command as `user` with `tree` held to rules; its status, or 128 and its signal.

    Raises UsageError, PrivilegeError, StartError, and what `guard mount` raises.
    """
    features.require_root("guard run")
    real = _checked(tree)
    _check_stdio()
    _check_terminal()
    directory = absolute(Path())

    def confine() -> None:
        confining.isolate(user)
        confining.drop_privileges(user)
        _enter(directory, user)

    with ExitStack() as stack:
        stack.enter_context(_read_only_stdin(real))
        with confining.namespace():
            guarded = _guard(rules, real, audience is not None)
            stack.callback(guarded.close)
            running = process.start(command, _environment(user), confine)
        if audience is not None:
            stack.enter_context(_told(audience, rules, real, guarded))
        return running.wait()


@contextmanager
def _told(audience: Audience, rules: Rules, tree: Path, guarded: Mount) -> Iterator[None]:
    """Tell what is refused, until the end. Out here the tree is seen as it is."""
    from fusebpf.guard.audit import EVENTS, Recorder, Refusals

    stream = guarded.events[EVENTS]
    recorder = Recorder(stream, Refusals(rules, tree), audience.refused)
    try:
        yield
    finally:
        recorder.close()
        audience.lost(stream.dropped)


def user_named(text: str | None) -> User:
    """A user by name or number; None is who called, also by sudo(8). Raises UsageError."""
    if text is None:
        uid = os.getuid()
        if uid != 0 or "SUDO_UID" not in os.environ:
            return _with_groups(uid, os.getgid(), tuple(os.getgroups()))
        text = os.environ["SUDO_UID"]
    try:
        entry = pwd.getpwuid(_uid(text)) if text.isdecimal() else pwd.getpwnam(text)
    except KeyError:
        if text.isdecimal():
            return _with_groups(int(text), int(text), ())
        raise UsageError(f"there is no user {text!r}", "getent passwd lists them") from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return User(entry.pw_uid, entry.pw_gid, groups, entry.pw_name, entry.pw_dir)


def _uid(text: str) -> int:
    # setresuid(2) takes 0xFFFFFFFF, which is no user, for "as it is".
    if len(text) > 10 or int(text) > MAX_ID:
        raise UsageError(f"{text} is no user's number", f"the largest is {MAX_ID}")
    return int(text)


def _with_groups(uid: int, gid: int, groups: tuple[int, ...]) -> User:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(uid, gid, groups, str(uid), "/")
    return User(uid, gid, groups, entry.pw_name, entry.pw_dir)


def _environment(user: User) -> Mapping[str, str]:
    if user.uid == os.geteuid():
        return os.environ
    return {**os.environ, "HOME": user.home, "USER": user.name, "LOGNAME": user.name}


def _checked(tree: Path) -> Path:
    real = root(tree)
    if real == Path("/"):
        raise UsageError(
            "the tree is /, which nothing can be mounted over", "name a directory below: --tree DIR"
        )
    return real


def _check_stdio() -> None:
    """See that the command gets no directory, from which all paths below lead on."""
    for fd, name in enumerate(_STDIO):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise UsageError(
                f"{name} is a directory, from which the command could go around the rules",
                f"redirect it: {fd}{'<' if fd == 0 else '>'}/dev/null",
            )


@contextmanager
def _read_only_stdin(tree: Path) -> Iterator[None]:
    """See that a file of the tree that is there to be read is not opened anew for writing.

    Its path below /proc/self/fd leads to the mount that it was opened through, which has no rules:
    that is a read-only one inside the block, where the position is one of its own.
    """
    status = os.fstat(0)
    writable = fcntl.fcntl(0, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    named = stat.S_ISREG(status.st_mode) and status.st_nlink
    if writable or not named or not _is_beside(0, tree):
        yield
        return
    before = os.dup(0)
    try:
        _move(0, _opened_read_only(0))
        began = os.lseek(0, 0, os.SEEK_CUR)
        yield
        # Others may have read from it meanwhile.
        os.lseek(before, os.lseek(0, 0, os.SEEK_CUR) - began, os.SEEK_CUR)
    finally:
        _move(0, before)


def _is_beside(fd: int, tree: Path) -> bool:
    """Whether a file is on the tree's file system, where st_dev may be that of a subvolume."""
    number, own = mountinfo.id_of(fd), mountinfo.on(tree)
    shown = next((entry for entry in mountinfo.entries() if entry.mount_id == number), None)
    if shown is None or own is None:
        return os.fstat(fd).st_dev == tree.stat().st_dev
    return shown.device == own.device


def _opened_read_only(fd: int) -> int:
    try:
        shown = fsmount.clone_mount(fd)
        try:
            fsmount.set_attributes(shown, fsmount.MOUNT_ATTR_RDONLY, 0)
            opened = os.open(f"/proc/self/fd/{shown}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(shown)
        os.lseek(opened, os.lseek(fd, 0, os.SEEK_CUR), os.SEEK_SET)
    except OSError as error:
        raise FusebpfError(
            "standard input is a file on the file system of the tree, and cannot be made "
            f"read-only: {error.strerror}",
            "pipe it: cat FILE | fusebpf guard run …",
        ) from None
    return opened


def _move(to: int, fd: int) -> None:
    os.dup2(fd, to)
    os.close(fd)


def _check_terminal() -> None:
    """See that the command cannot type into the terminal, for the shell to run it later."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
        allowed = _TYPING.read_text(encoding="ascii").strip() == "1"
    except OSError:
        return  # no terminal, or no such setting
    if allowed:
        raise FusebpfError(
            "programs may type into the terminal here, which your shell would run afterwards",
            "sysctl dev.tty.legacy_tiocsti=0",
        )


def _guard(rules: Rules, tree: Path, audit: bool) -> Mount:
    """Mount the tree over itself, and over every other way to it."""
    own = mountinfo.on(tree)
    if own is None:
        raise FusebpfError(
            f"the mount that {tree} is on is not in /proc/self/mountinfo",
            "mount /proc, and run it outside of chroot(1)",
        )
    found = covering.ways(mountinfo.entries(), own, tree)
    guarded = mount(rules, tree, tree, audit)
    try:
        covering.cover(tree, found)
    except BaseException:
        guarded.close()
        raise
    return guarded


def _enter(directory: Path, user: User) -> None:
    """Go there by its path, as the one before leads below the mount."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise FusebpfError(
            f"{user.name} cannot go to the current directory {directory} under the rules: "
            f"{error.strerror}",
            "start it from another directory",
        ) from None
