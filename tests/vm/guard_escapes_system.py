# SPDX-License-Identifier: MIT
"""Attempts to get around `fusebpf guard run`: by processes, mounts, devices, services."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.differential import libc
from tests.vm.guard_escapes import (
    Expected,
    Place,
    attempt,
    mapped,
    opened,
    outcome,
    read,
    tried,
)

NEWNS, NEWUSER, NEWPID = 0x20000, 0x10000000, 0x20000000
BIND, REC, MOVE, REMOUNT, DETACH = 0x1000, 0x4000, 0x2000, 0x20, 2
#: The descriptors that an attempt has of `main`.
OWN: set[int] = set()


def mount(source: str | Path, target: str | Path, fs_type: str, flags: int, data: str = "") -> int:
    paths = [os.fsencode(source), os.fsencode(target)]
    return libc.call("mount", *paths, fs_type.encode(), ctypes.c_ulong(flags), data.encode())


def umount(target: str | Path, flags: int = 0) -> int:
    return libc.call("umount2", os.fsencode(target), flags)


def processes() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit()]


def secret(place: Place) -> Path:
    return place.here / ".env"


@attempt(*["ENOENT"] * 4)
def own_proc(place: Place) -> list[str]:
    paths = (
        "/proc/self/cwd/.env",
        f"/proc/self/root{secret(place)}",
        f"/proc/thread-self/root{secret(place)}",
        f"/proc/{os.getpid()}/task/{os.getpid()}/cwd/.env",
    )
    return tried(*(lambda p=p: read(p) for p in paths))


@attempt("no", "", "ESRCH", "ESRCH", "ESRCH", "ESRCH")
def processes_outside(place: Place) -> list[str]:
    """None is there; one is tried by its number outside, which is no number here."""
    there = str(place.outside) in processes()
    found = []
    for pid in processes():
        names = [f"{pid}/cwd/.env", f"{pid}/root{secret(place)}", f"{pid}/cwd/secret"]
        with suppress(OSError):
            names += [f"{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2]
        for name in names:
            with suppress(OSError):
                fd = os.open(f"/proc/{name}", os.O_RDONLY | os.O_NONBLOCK)
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    found.append(os.read(fd, 100).decode("ascii", "replace"))
                os.close(fd)
    buffer = ctypes.create_string_buffer(8)
    vector = struct.pack("=QQ", ctypes.addressof(buffer), 8)
    return [
        "yes" if there else "no",
        " ".join(found),
        *tried(
            lambda: libc.call("ptrace", 16, place.outside, 0, 0),
            lambda: libc.call("process_vm_readv", place.outside, vector, 1, vector, 1, 0),
            lambda: os.pidfd_open(place.outside),
            lambda: os.kill(place.outside, signal.SIGCONT),
        ),
    ]


@attempt("EACCES", "EACCES", "EPERM", "EPERM", "done", "done")
def first_process(place: Place) -> list[str]:
    """Of the same user, but not to be traced; it forwards signals, these do nothing to it."""
    return tried(
        lambda: read("/proc/1/cwd/.env"),
        lambda: read(f"/proc/1/root{secret(place)}"),
        lambda: libc.call("ptrace", 16, 1, 0, 0),
        lambda: libc.syscall(438, os.pidfd_open(1), 0, 0),  # pidfd_getfd
        lambda: os.kill(1, signal.SIGSTOP),
        lambda: os.kill(1, signal.SIGKILL),
    )


@attempt("EPERM", "EPERM")
def files_of_mappings(place: Place) -> list[str]:
    """What is mapped is the file below; who may open it by that is root outside."""
    found = []
    for name, flags in (("plain", os.O_RDONLY), ("kept", os.O_RDWR)):
        fd = os.open(name, os.O_RDONLY)
        address = mapped(fd)
        path = f"/proc/self/map_files/{address:x}-{address + 4096:x}"
        found.append(outcome(partial(read, path, flags)))
    return found


@attempt("EPERM", "EPERM", "EPERM", "EPERM", "EPERM")
def unmounted(place: Place) -> list[str]:
    top = place.tree.parent
    return tried(
        lambda: umount(place.tree),
        lambda: umount(place.tree, DETACH),
        lambda: umount("/", DETACH),
        lambda: mount(place.tree, top, "", MOVE),
        lambda: mount("none", place.tree, "", REMOUNT | BIND),
    )


@attempt("EPERM", "EPERM", "EPERM", "EPERM", "EPERM", "EPERM")
def mounted(place: Place) -> list[str]:
    return tried(
        lambda: mount(place.tree.parent, "sub", "", BIND),
        lambda: mount("none", "sub", "tmpfs", 0),
        lambda: mount("proc", "sub", "proc", 0),
        lambda: libc.syscall(428, libc.AT_FDCWD, os.fsencode(place.tree.parent), 1),  # open_tree
        lambda: libc.syscall(430, b"tmpfs", 0),  # fsopen
        lambda: libc.syscall(442, libc.AT_FDCWD, b"/", 0, struct.pack("=QQQQ", 0, 4, 0, 0), 32),
    )


@attempt("EPERM", "EPERM", "EPERM", "EPERM", "EACCES")
def other_roots_and_namespaces(place: Place) -> list[str]:
    def joined() -> int:
        return libc.call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), NEWNS)

    return tried(
        lambda: os.chroot("sub"),
        lambda: libc.call("syscall", 155, b"sub", b"sub"),  # pivot_root
        lambda: libc.call("unshare", NEWNS),
        lambda: libc.call("unshare", NEWPID),
        joined,
    )


def in_user_namespace(*expected: Expected) -> Callable[[Callable[[Place], list[str]]], object]:
    """An attempt by the root of a user namespace with mounts of its own."""

    def add(function: Callable[[Place], list[str]]) -> object:
        def inside(place: Place) -> list[str]:
            uid, gid = os.getuid(), os.getgid()
            libc.call("unshare", NEWUSER | NEWNS)
            Path("/proc/self/setgroups").write_text("deny")
            # Root outside needs CAP_SETFCAP for it; without, it has the capabilities all the same.
            with suppress(PermissionError):
                Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
                Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
            return function(place)

        inside.__name__ = f"user_namespace_{function.__name__}"
        return attempt(*expected)(inside)

    return add


@in_user_namespace("EINVAL", "EINVAL", "EINVAL", "ENOENT")
def unmounts(place: Place) -> list[str]:
    return tried(
        lambda: umount(place.tree),
        lambda: umount(place.tree, DETACH),
        lambda: mount(place.tree, "/proc", "", MOVE),
        lambda: read(secret(place)),
    )


@in_user_namespace("EINVAL", "done", "ENOENT", "EINVAL", "EINVAL")
def binds(place: Place) -> list[str]:
    """A directory above without what is mounted below, or with it."""
    top = place.tree.parent
    os.mkdir("there")
    there = Path.cwd() / "there"
    return tried(
        lambda: mount(top, there, "", BIND),
        lambda: mount(top, there, "", BIND | REC),
        lambda: read(there / secret(place).relative_to(top)),
        lambda: umount(there / place.tree.name),
        lambda: umount(there / place.tree.name, DETACH),
    )


@in_user_namespace("EINVAL", "done", "EINVAL")
def clones(place: Place) -> list[str]:
    """open_tree(2), with and without what is mounted below."""
    top = os.fsencode(place.tree.parent)
    whole = libc.syscall(428, libc.AT_FDCWD, top, 1 | 0x8000)
    name = os.fsencode(place.tree.name)

    def taken_out() -> int:
        fd = libc.syscall(428, whole, name, 0)
        return int(libc.syscall(429, fd, b"", libc.AT_FDCWD, b"/mnt", 4))

    return tried(
        lambda: libc.syscall(428, libc.AT_FDCWD, top, 1),
        lambda: os.close(os.dup(whole)),
        taken_out,
    )


@in_user_namespace("EINVAL", "done", "ENOENT")
def overlays(place: Place) -> list[str]:
    """overlayfs takes a copy of the mount that is its lower layer, without what is below."""

    def shown(lower: Path) -> int:
        return mount("overlay", "sub", "overlay", 0, f"lowerdir={lower}:/etc")

    return tried(
        lambda: shown(place.tree.parent),
        lambda: shown(place.here),
        lambda: read("sub/.env"),
    )


@in_user_namespace("done", "done", "ENOENT", "ENOENT")
def other_roots(place: Place) -> list[str]:
    """chroot and pivot_root are allowed, and lead nowhere."""
    os.mkdir("sub/old")
    mount("sub", "/mnt", "", BIND)
    os.chdir("/mnt")
    return tried(
        lambda: libc.call("syscall", 155, b".", b"old"),
        lambda: os.chroot("/old"),
        lambda: read(secret(place)),
        lambda: read(f"..{secret(place)}"),
    )


@in_user_namespace(("EPERM", "EOVERFLOW"), "EPERM", "EPERM", "EPERM", "EACCES")
def devices(place: Place) -> list[str]:
    """Neither a new node nor the one that is there is of use."""
    node = place.tree.parent / "node"
    mount("none", "/mnt", "tmpfs", 0)
    clear = struct.pack("=QQQQ", 0, 4, 0, 0)
    return tried(
        lambda: os.mknod("/mnt/x", 0o60666, os.makedev(7, 0)),
        lambda: os.mknod("x", 0o60666, os.makedev(7, 0)),
        lambda: libc.syscall(442, libc.AT_FDCWD, b"/", 0x8000, clear, 32),
        lambda: mount("none", "/", "", REMOUNT | BIND),
        lambda: read(node),
    )


@in_user_namespace("EPERM", "ENOENT", "ENOENT")
def proc(place: Place) -> list[str]:
    """A /proc of this pid namespace would show no more, and is refused as parts are covered."""
    return tried(
        lambda: mount("proc", "/mnt", "proc", 0),
        lambda: read(f"/proc/self/root{secret(place)}"),
        lambda: read(f"/proc/{place.outside}/cwd/secret"),
    )


@in_user_namespace("EPERM", "EPERM")
def handles(place: Place) -> list[str]:
    """Since Linux 6.11 the root of a namespace may use handles, where no mount is locked."""
    return by_handle(place)


@in_user_namespace("ENOENT", "EACCES", "ENOENT")
def ids(place: Place) -> list[str]:
    """Rules for a user hold: ids are those outside."""
    return tried(lambda: read("mine"), lambda: read("denied"), lambda: read(secret(place)))


def by_handle(place: Place) -> list[str]:
    """Hidden and denied files, by the handles that they have below; somebody outside gave them."""
    above = place.tree.parent
    return tried(
        *(lambda p=p: read(f"/proc/self/fd/{opened_by(above, p)}") for p in above.glob("*.handle"))
    )


def opened_by(above: Path, given: Path) -> int:
    fd = os.open(above, os.O_RDONLY | os.O_DIRECTORY)
    handle = ctypes.create_string_buffer(given.read_bytes())
    return libc.call("open_by_handle_at", fd, handle, os.O_RDONLY)


@attempt("ENOENT", "ENOTSUP", "EPERM", "EPERM")
def file_handles(place: Place) -> list[str]:
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 136)
    mount_id = ctypes.c_int()

    def asked(path: str) -> int:
        return libc.call(
            "name_to_handle_at", -100, path.encode(), handle, ctypes.byref(mount_id), 0
        )

    return [*tried(lambda: asked(".env"), lambda: asked(".")), *by_handle(place)]


@attempt("EACCES", "EPERM", "EPERM", "ENOENT", "ENOENT", "ENOENT")
def device_nodes(place: Place) -> list[str]:
    node = place.tree.parent / "node"
    return tried(
        lambda: read(node),
        lambda: os.mknod("x", stat.S_IFBLK | 0o666, os.stat(node).st_rdev),
        lambda: os.mknod("x", stat.S_IFCHR | 0o666, os.makedev(1, 1)),
        lambda: read(f"/dev/block/{os.major(os.stat(node).st_rdev)}:0"),
        lambda: read("/dev/mem"),
        lambda: read("/dev/fusebpf"),
    )


@attempt("EPERM", "EPERM", "EPERM", ("EPERM", "EPERM"))
def other_users(place: Place) -> list[str]:
    """Rules for a user cannot be left by becoming another."""
    other = os.getuid() + 1
    return tried(
        lambda: os.setuid(other),
        lambda: os.setresuid(-1, other, -1),
        lambda: os.setgroups([]),
        lambda: os.setgid(os.getgid() + 1),
    )


@attempt("no", "ENOENT")
def set_user_id_programs(place: Place) -> list[str]:
    """One of someone else's, with the bit that makes it run as them."""
    end, start = os.pipe()
    if os.fork() == 0:
        os.dup2(start, 1)
        program = str(place.tree.parent / "set-id")
        os.execv(program, [program, "-u"])
    os.close(start)
    os.wait()
    uid = int(os.read(end, 20))
    return ["no" if uid == os.getuid() else "yes", outcome(lambda: read("mine"))]


@attempt(*["EPERM"] * 3, "EPERM")
def bpf(place: Place) -> list[str]:
    """Maps and links of the mount, by their ids."""
    zeros = bytes(128)
    return tried(
        lambda: libc.syscall(321, 12, zeros, 128),  # MAP_GET_NEXT_ID
        lambda: libc.syscall(321, 14, struct.pack("=I", 1) + bytes(124), 128),
        lambda: libc.syscall(321, 30, struct.pack("=I", 1) + bytes(124), 128),
        lambda: libc.syscall(321, 31, zeros, 128),
    )


@attempt(*[("EACCES", "EROFS")] * 2, ("EACCES", "EROFS"), "EPERM", "EPERM")
def kernel_settings(place: Place) -> list[str]:
    """By which root could have a program run outside, or end all."""

    def setting(path: str) -> None:
        # A kernel may do without it, but not without this
        opened(path if os.path.exists(path) else "/proc/sys/kernel/panic", os.O_WRONLY)

    return tried(
        lambda: setting("/proc/sys/kernel/core_pattern"),
        lambda: setting("/proc/sysrq-trigger"),
        lambda: setting("/sys/kernel/profiling"),
        lambda: libc.syscall(175, b"", 0, b""),  # init_module
        lambda: libc.syscall(313, 0, b"", 0),  # finit_module
    )


@attempt("ECONNREFUSED", "no", "read")
def services(place: Place) -> list[str]:
    """One outside, which would read files for who connects; directories with sockets of others."""

    def asked() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect("/run/docker.sock")
            return connection.recv(100)

    uid = os.getuid()
    return [
        outcome(asked),
        "yes" if os.path.exists(f"/run/user/{uid}/bus") else "no",
        f"read {''.join(os.listdir(f'/tmp/tmux-{uid}'))}".strip(),
    ]


@attempt("ENOTDIR", "ENOTDIR", "[]")
def descriptors(place: Place) -> list[str]:
    """Those that the runner had: of the rules, the mount, its maps, directories."""
    there = [int(fd) for fd in os.listdir("/proc/self/fd")]
    inherited = [fd for fd in there if fd > 2 and fd not in OWN and _is_open(fd)]
    return [
        *tried(lambda: read("/dev/fd/0/../.env"), lambda: read("/dev/stdin/.env")),
        str(inherited),
    ]


def _is_open(fd: int) -> bool:
    with suppress(OSError):
        os.fstat(fd)
        return True
    return False
