# SPDX-License-Identifier: MIT
"""What processes share: descriptors that are passed on, or inherited; and programs they run."""

from __future__ import annotations

import ast
import errno
import fcntl
import os
import stat
import struct

from tests.differential.registry import below, into, op, path, pick, plain_path, slot
from tests.differential.script import ROOT, USERS, Path, Slot
from tests.differential.world import NotApplicable, World


@op(slot, pick(ROOT, *USERS), weight=4, shared=False)
def send(w: World, s: Slot, to: int) -> None:
    """Pass a descriptor to a process; it stays open on its way, whatever happens to its names."""
    w.mail[to].send(w.fd(s))


@op(into, weight=4, shared=False)
def receive(w: World, s: Slot) -> None:
    w.put(s, w.mail[w.actor].receive())


def _inherit(fd: int, what: str, size: int) -> object:
    if what == "seek":
        return os.lseek(fd, size, os.SEEK_CUR)
    if what == "read":
        return os.read(fd, size)
    if what == "write":
        return os.write(fd, b"child" * (size // 5))
    if what == "flock":
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    # Locks of the parent are not the child's
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, size, 0)
    return struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, asked))[:4]


@op(slot, pick("seek", "read", "write", "flock", "locked"), below(300), weight=1, shared=False)
def in_child(w: World, s: Slot, what: str, size: int) -> object:
    """A child shares the position, and lets go of what it inherited when it ends."""
    fd = w.fd(s)
    if what == "seek" and not w.rules.order and stat.S_ISDIR(os.fstat(fd).st_mode):
        raise NotApplicable("what follows a position that no listing gave")
    out, into_pipe = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = _inherit(fd, what, size)
        except OSError as error:
            answer = errno.errorcode[error.errno or 0]
        os.write(into_pipe, repr(answer).encode())
        os._exit(0)
    os.close(into_pipe)
    try:
        os.waitpid(child, 0)
        return ast.literal_eval(os.read(out, 4096).decode())
    finally:
        os.close(out)


# x86-64: geteuid and getegid, pushed; write 16 bytes from the stack to 1; exit 0
_CODE = bytes.fromhex("6a6b580f05506a6c580f05506a015889c74889e66a105a0f056a3c5831ff0f05")


def _program() -> bytes:
    """An ELF file of one segment that says as whom it runs."""
    base, head = 0x400000, 64 + 56
    size = head + len(_CODE)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("=HHIQQQIHHHHHH", 2, 62, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("=IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return identity + header + segment + _CODE


@op(path, pick(0o755, 0o4755, 0o2755, 0o6755, 0o4711), weight=2)
def plant_program(w: World, p: Path, bits: int) -> None:
    """A program that may be set-id, in a new file."""
    fd = os.open(p.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o700, dir_fd=w.at(p))
    try:
        os.write(fd, _program())
        os.fchmod(fd, bits)
    finally:
        os.close(fd)


@op(plain_path, weight=3)
def execute(w: World, p: Path) -> tuple[int, ...]:
    """As whom a program runs; what is no program is not run."""
    out, into_pipe = os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, into_pipe, 1)]
        target = p.path if p.path.startswith("/") else f"./{p.path}"
        child = os.posix_spawn(target, [target], {}, file_actions=actions)
        os.waitpid(child, 0)
        os.close(into_pipe)
        into_pipe = -1
        return struct.unpack("=qq", os.read(out, 16).ljust(16, b"\xff"))
    finally:
        os.close(out)
        if into_pipe >= 0:
            os.close(into_pipe)
