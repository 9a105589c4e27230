# SPDX-License-Identifier: MIT
"""Steps of test_kernel_confinement.py that a confined process takes.

Arguments: what to do (files, landlock, mounts), then what that takes. Prints one JSON object, the
names of steps with what each gave: "ok", a value or the name of the errno. Stands alone: it comes
through stdin, where the process may reach no tree.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import struct
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
NR_OPEN_TREE, NR_MOVE_MOUNT, NR_FSOPEN, NR_FSCONFIG, NR_FSMOUNT, NR_FSPICK = range(428, 434)
NR_MOUNT_SETATTR = 442
SET_FLAG, SET_STRING, SET_FD, CMD_CREATE, CMD_RECONFIGURE = 0, 1, 5, 6, 7
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC = 1, 32, 4096, 16384
CLONE, EMPTY_PATH, RECURSIVE = 1, 0x1000, 0x8000
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_IDMAP = 1, 2, 4, 0x100000
AT_FDCWD = -100

results: dict[str, str] = {}


def do(name: str, call: Callable[[], object]) -> None:
    try:
        got = call()
        results[name] = "ok" if got is None else str(got)
    except OSError as error:
        results[name] = errno.errorcode[error.errno or 0]


def syscall(number: int, *arguments: object) -> int:
    got = int(LIBC.syscall(number, *arguments))
    if got < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return got


def write(path: Path, text: str, flags: int) -> None:
    fd = os.open(path, flags, 0o640)
    os.write(fd, text.encode())
    os.close(fd)


def map_and_write(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 4) as mapped:
        mapped[0:4] = b"MAPd"


def files(base: Path, outside: Path) -> None:
    """What a program does with files, on a tree that the test made; then what it may not."""
    do("read", lambda: (base / "file").read_text())
    do("write", lambda: write(base / "file", "new", os.O_WRONLY))
    do("append", lambda: write(base / "file", "end", os.O_WRONLY | os.O_APPEND))
    do("truncate by open", lambda: write(base / "cut", "", os.O_WRONLY | os.O_TRUNC))
    do("truncate", lambda: os.truncate(base / "longer", 3))
    do("map", lambda: map_and_write(base / "mapped"))
    do("create", lambda: write(base / "made", "x", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    do("create again", lambda: write(base / "made", "x", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    do("list", lambda: sorted(os.listdir(base)))
    do("mkdir", lambda: (base / "newdir").mkdir(0o750))
    do("mkfifo", lambda: os.mkfifo(base / "fifo", 0o640))
    do("symlink", lambda: (base / "symlink").symlink_to("made"))
    do("read through symlink", lambda: (base / "symlink").read_text())
    do("readlink", lambda: os.readlink(base / "symlink"))
    do("link", lambda: os.link(base / "made", base / "linked"))
    do("link to dir", lambda: os.link(base / "made", base / "newdir/linked"))
    do("rename", lambda: os.rename(base / "made", base / "renamed"))
    do("rename to dir", lambda: os.rename(base / "renamed", base / "newdir/renamed"))
    do("rename over", lambda: os.rename(base / "linked", base / "newdir/renamed"))
    do("rename dir", lambda: os.rename(base / "newdir", base / "dir/newdir"))
    do("list dir", lambda: sorted(os.listdir(base / "dir")))
    do("rename of none", lambda: os.rename(base / "none", base / "other"))
    do("chmod", lambda: (base / "file").chmod(0o600))
    do("chown to root", lambda: os.chown(base / "file", 0, 0))
    do("utime", lambda: os.utime(base / "file", (1, 2)))
    do("setxattr", lambda: os.setxattr(base / "file", "user.x", b"1"))
    do("getxattr", lambda: os.getxattr(base / "file", "user.x"))
    do("stat", lambda: oct(os.stat(base / "file").st_mode))
    do("unlink", lambda: os.unlink(base / "cut"))
    do("rmdir full", lambda: (base / "dir").rmdir())
    do("rmdir", lambda: (base / "empty").rmdir())
    do("execute", lambda: os.waitstatus_to_exitcode(os.system(str(base / "program"))))
    do("unreadable", lambda: (base / "roots").read_text())
    do("list unreadable", lambda: os.listdir(base / "shut"))

    do("outside read", lambda: (outside / "file").read_text())
    do("outside write", lambda: write(outside / "file", "no", os.O_WRONLY))
    do("outside create", lambda: write(outside / "no", "no", os.O_CREAT | os.O_WRONLY))
    do("outside list", lambda: sorted(os.listdir(outside)))
    do("rename to outside", lambda: os.rename(base / "file", outside / "file"))
    do("link of outside", lambda: os.link(outside / "file", base / "stolen"))
    do("dot dot", lambda: os.listdir(base / ".."))


def landlock(beneath: Path) -> None:
    """Confine this process to what is beneath a directory, with every right of ABI 5 there."""
    access = (1 << 16) - 1
    run = 1 << 2 | 1 << 3 | 1 << 0  # read files and directories, execute
    rules = syscall(444, struct.pack("=Q", access), 8, 0)
    for path, rights in ((beneath, access), (Path("/usr"), run), (Path("/etc"), run)):
        fd = os.open(path, os.O_PATH)
        syscall(445, rules, 1, struct.pack("=Qi", rights, fd), 0)
        os.close(fd)
    assert LIBC.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
    syscall(446, rules, 0)


def mount(source: str, target: Path, kind: str | None, flags: int, data: str) -> None:
    got = LIBC.mount(
        source.encode(), os.fsencode(target), kind and kind.encode(), flags, data.encode()
    )
    if got:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def configured(kind: str, options: tuple[tuple[str, str | int | None], ...]) -> None:
    """fsopen to fsmount. The first step that is refused is not the last: all are tried."""
    context = syscall(NR_FSOPEN, kind.encode(), 0)
    refused: OSError | None = None
    try:
        for key, value in options:
            try:
                if value is None:
                    syscall(NR_FSCONFIG, context, SET_FLAG, key.encode(), None, 0)
                elif isinstance(value, int):
                    syscall(NR_FSCONFIG, context, SET_FD, key.encode(), None, value)
                else:
                    syscall(NR_FSCONFIG, context, SET_STRING, key.encode(), value.encode(), 0)
            except OSError as error:
                refused = refused or error
        try:
            syscall(NR_FSCONFIG, context, CMD_CREATE, None, None, 0)
            os.close(syscall(NR_FSMOUNT, context, 0, 0))
        except OSError as error:
            raise (refused or error) from None
    finally:
        os.close(context)


def attributes(path: Path, flags: int, add: int, remove: int, userns: int = 0) -> None:
    attribute = struct.pack("=QQQQ", add, remove, 0, userns)
    syscall(NR_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), flags, attribute, len(attribute))


def picked(path: Path, create: bool) -> None:
    context = syscall(NR_FSPICK, AT_FDCWD, os.fsencode(path), 0)
    try:
        if create:
            syscall(NR_FSCONFIG, context, SET_FLAG, b"no_daemon", None, 0)
        else:
            syscall(NR_FSCONFIG, context, SET_FLAG, b"ro", None, 0)
        syscall(NR_FSCONFIG, context, CMD_RECONFIGURE, None, None, 0)
    finally:
        os.close(context)


def mounts(
    lower: Path, target: Path, backed: Path, name: str, fs_type: str, path: str, fds: list[int]
) -> None:
    """Every way to a mount. Descriptors of lower directory, link, device, context are root's."""
    root, link, device, context = fds
    parts: tuple[tuple[tuple[str, str | int | None], ...], ...] = (
        (("root_dir", str(root)),),
        (("no_daemon", None),),
        (("root_bpf", name),),
        (("root_bpf_link", link),),
        (("creds", "caller"),),
        (
            ("fd", str(device)),
            ("rootmode", "40000"),
            ("user_id", str(os.getuid())),
            ("group_id", str(os.getgid())),
        ),
    )
    for count in range(len(parts) + 1):
        for chosen in combinations(parts, count):
            options = tuple(option for part in chosen for option in part)
            words = ",".join(key if v is None else f"{key}={v}" for key, v in options)
            do(f"fsopen {words}", lambda o=options: configured(fs_type, o))  # type: ignore[misc]
            do(
                f"mount {words}",
                lambda w=words: mount(str(lower), target, fs_type, 0, w),  # type: ignore[misc]
            )
    block = fs_type.replace("fuse", "fuseblk")
    do("fuseblk", lambda: mount("/dev/loop0", target, block, 0, f"fd={device}"))
    do("device", lambda: os.close(os.open(path, os.O_RDWR)))
    do("create root's context", lambda: syscall(NR_FSCONFIG, context, CMD_CREATE, None, None, 0))
    do(
        "configure root's context",
        lambda: syscall(NR_FSCONFIG, context, SET_STRING, b"creds", b"caller", 0),
    )
    do("pick and reconfigure", lambda: picked(backed, create=False))
    do("pick and add an option", lambda: picked(backed, create=True))
    do("remount", lambda: mount("none", backed, None, MS_REMOUNT | MS_RDONLY, ""))
    do("remount by option", lambda: mount("none", backed, None, MS_REMOUNT, "creds=caller"))
    do("without nosuid", lambda: mount("none", backed, None, MS_REMOUNT | MS_BIND, ""))
    do("setattr without nosuid", lambda: attributes(backed, 0, 0, ATTR_NOSUID))
    do("setattr without nodev", lambda: attributes(backed, 0, 0, ATTR_NODEV))
    do("setattr without ro", lambda: attributes(backed, 0, 0, ATTR_RDONLY))
    user = os.open("/proc/self/ns/user", os.O_RDONLY)
    do("idmapped", lambda: attributes(backed, 0, ATTR_IDMAP, 0, user))

    def clone_and_map() -> None:
        tree = syscall(NR_OPEN_TREE, AT_FDCWD, os.fsencode(backed), CLONE | RECURSIVE)
        attribute = struct.pack("=QQQQ", ATTR_IDMAP, 0, 0, user)
        syscall(NR_MOUNT_SETATTR, tree, b"", EMPTY_PATH, attribute, len(attribute))

    do("detached and idmapped", clone_and_map)

    def clone_without_nosuid() -> None:
        tree = syscall(NR_OPEN_TREE, AT_FDCWD, os.fsencode(backed), CLONE | RECURSIVE)
        attribute = struct.pack("=QQQQ", 0, ATTR_NOSUID, 0, 0)
        syscall(NR_MOUNT_SETATTR, tree, b"", EMPTY_PATH, attribute, len(attribute))

    do("detached without nosuid", clone_without_nosuid)
    do("bind what covers", lambda: mount(str(lower), target, None, MS_BIND, ""))
    do("umount", lambda: _umount(backed))


def _umount(path: Path) -> None:
    if LIBC.umount2(os.fsencode(path), 2):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "mounts":
        lower, target, backed = map(Path, rest[:3])
        mounts(lower, target, backed, rest[3], rest[4], rest[5], list(map(int, rest[6:])))
    else:
        base, outside = map(Path, rest)
        if what == "landlock":
            landlock(base)
        os.umask(0o022)
        files(base, outside)
    print(json.dumps(results))


main()
