# SPDX-License-Identifier: MIT
"""What a command under `guard run` is cut off from: other processes, devices, capabilities.

All of it is done by the first process of a pid namespace, in a mount namespace of its own.
docs/guard.md says what is isolated and what is not.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fusebpf.errors import FusebpfError, PrivilegeError
from fusebpf.frozen import dataclass
from fusebpf.guard import system
from fusebpf.runtime import fsmount, mountinfo
from fusebpf.runtime.fsmount import MOUNT_ATTR_NODEV, MOUNT_ATTR_RDONLY
from fusebpf.runtime.mountinfo import MountEntry

#: The devices that stay; any other could be the disk that the tree is on, or drive a terminal.
DEVICES = {
    **{"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)},
    **{"tty": (5, 0), "ptmx": (5, 2)},
}
#: What else stays of /dev.
_DIRECTORIES = ("pts", "shm", "mqueue")
_LINKS = {
    **{"fd": "/proc/self/fd", "log": "/run/systemd/journal/dev-log"},
    **{name: f"/proc/self/fd/{fd}" for fd, name in enumerate(("stdin", "stdout", "stderr"))},
}
#: Parts of /proc that change the whole machine, or have the kernel run programs.
_MACHINE = ("acpi", "bus", "fs", "irq", "scsi", "sys", "sysrq-trigger")
#: File systems that do.
_KERNELS = frozenset(
    {
        *("cgroup", "cgroup2", "configfs", "debugfs", "efivarfs", "fusectl", "pstore"),
        *("securityfs", "selinuxfs", "sysfs", "tracefs"),
    }
)
#: Directories with sockets of services that run commands for who connects, outside. A cover lasts
#: as long as what it is on: a service that starts again makes its socket anew, not the directory.
SERVICES = (
    *("/run/buildkit", "/run/containerd", "/run/crio", "/run/dbus", "/run/libvirt", "/run/podman"),
    *("/run/docker", "/run/k3s/containerd", "/var/lib/incus", "/var/lib/lxd"),
    *("/var/snap/lxd/common/lxd", "/var/snap/lxd/common/lxd-user"),
    *("/run/user/{uid}", "/tmp/tmux-{uid}", "/run/screen/S-{name}"),
    *("{home}/.docker/run", "{home}/.docker/desktop"),
)
#: Such sockets that lie among other things.
SOCKETS = ("/run/docker.sock", "/run/snapd.socket", "/run/systemd/private")


@dataclass(frozen=True)
class User:
    """Who the command runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str


@contextmanager
def namespace() -> Iterator[None]:
    """A mount namespace of this process's own inside the block, and the old one behind it.

    Nothing that is mounted in it is seen outside, and the other way round. Raises PrivilegeError.
    """
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    outside = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            system.unshare(system.CLONE_NEWNS)
        except PermissionError:
            raise PrivilegeError(
                "the kernel does not let this process make a mount namespace",
                "run it as root with CAP_SYS_ADMIN; a container gets that by "
                "--cap-add SYS_ADMIN --security-opt apparmor=unconfined",
            ) from None
        try:
            _make_private()
            yield
        finally:
            system.setns(outside, system.CLONE_NEWNS)
            # That went to the root of the namespace, which is not ours under chroot(1).
            os.fchdir(root)
            os.chroot(".")
            os.fchdir(here)
    finally:
        for fd in (outside, root, here):
            os.close(fd)


def _make_private() -> None:
    """Let no mount pass to other namespaces, nor come from there. Raises FusebpfError."""
    try:
        system.mount("none", "/", "", system.MS_REC | system.MS_PRIVATE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise FusebpfError(
            "the root directory is not the root of a mount", "run it outside of chroot(1)"
        ) from None


def isolate(user: User) -> None:
    """Take away what leads around the mounts of this process. Raises OSError."""
    system.unshare(system.CLONE_NEWNS)
    _devices()
    entries = mountinfo.entries()  # not before: what was mounted in /dev has come along
    _processes(entries)
    for entry in entries:
        # Only root could change it; libselinux takes a read-only one for none.
        if entry.fs_type == "selinuxfs" and user.uid != 0:
            continue
        if entry.fs_type in _KERNELS and _is_reached(entry):
            fsmount.set_attributes(entry.mount_point, MOUNT_ATTR_RDONLY, 0)
        elif entry.fs_type == "bpf" and _is_reached(entry):
            # What is pinned there can be opened and changed also where it is read-only.
            _take_away(entry.mount_point)
    _services(user)


def drop_privileges(user: User) -> None:
    """Become the user, without any capability and any way to get one.

    Raises OSError, and FusebpfError where the kernel cannot keep processes apart.
    """
    system.bound_capabilities()
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    system.drop_capabilities()
    system.no_new_privileges()
    try:
        system.keep_to_own_processes()
    except OSError as error:
        raise FusebpfError(
            "the kernel does not keep the command from processes outside (Landlock of Linux 6.12): "
            f"{error.strerror}",
            "boot with landlock among the security modules (lsm=), or allow its system calls",
        ) from None


def _is_reached(entry: MountEntry) -> bool:
    """Whether its path leads to a mount of the list; it may lie under another one."""
    try:
        fd = mountinfo.reached(entry.mount_point, entry.mount_id)
    except PermissionError:
        return False  # in a directory that the rules refuse
    if fd is None:
        return False
    os.close(fd)
    return True


def _devices() -> None:
    """A /dev of its own; device nodes elsewhere are of no use."""
    top = Path("/dev")
    # With what is mounted there, which may be the tree
    kept = {
        name: fsmount.clone_mount(top / name, recursive=True)
        for name in _DIRECTORIES
        if (top / name).is_dir() and not (top / name).is_symlink()
    }
    fsmount.set_attributes("/", MOUNT_ATTR_NODEV, 0, recursive=True)
    system.mount("tmpfs", top, "tmpfs", system.MS_NOSUID | system.MS_NOEXEC, "mode=0755")
    for name, number in DEVICES.items():
        os.mknod(top / name, stat.S_IFCHR, os.makedev(*number))
        (top / name).chmod(0o666)
    for name, target in _LINKS.items():
        (top / name).symlink_to(target)
    for name, fd in kept.items():
        (top / name).mkdir()
        fsmount.move_mount(fd, top / name)
        os.close(fd)
        if name != "pts":
            fsmount.set_attributes(top / name, MOUNT_ATTR_NODEV, 0, recursive=True)
    fsmount.set_attributes(top, MOUNT_ATTR_RDONLY, 0)


def _processes(entries: Sequence[MountEntry]) -> None:
    """The processes of the namespace alone, also where else /proc was mounted."""
    proc = Path("/proc")
    # The later ones first, as they may lie on others, and /proc last: it tells of mounts.
    there = [entry for entry in reversed(entries) if entry.fs_type == "proc"]
    there.sort(key=lambda entry: entry.mount_point == proc)
    for entry in there:
        if not _is_reached(entry):
            continue  # what lies over it would be taken off
        if entry.mount_point.is_relative_to(proc):
            fsmount.umount(entry.mount_point, lazy=True)
        else:
            _take_away(entry.mount_point)
    flags = system.MS_NOSUID | system.MS_NODEV | system.MS_NOEXEC
    system.mount("proc", proc, "proc", flags)
    for name in _MACHINE:
        path = proc / name
        if path.exists():
            system.bind(path, path)
            fsmount.set_attributes(path, MOUNT_ATTR_RDONLY, 0)


def _services(user: User) -> None:
    for name in SOCKETS:
        path = Path(name)
        if _is_seen(path):
            system.bind("/dev/null", path)
    for name in SERVICES:
        path = Path(name.format(uid=user.uid, name=user.name, home=user.home))
        # Not by a link that a user made, to have another directory covered
        if _is_seen(path) and path.is_dir() and not (path.is_symlink() and path.lstat().st_uid):
            options = f"mode=0700,uid={user.uid},gid={user.gid}"
            flags = system.MS_NOSUID | system.MS_NODEV
            system.mount("tmpfs", path, "tmpfs", flags, options)


def _is_seen(path: Path) -> bool:
    """Whether it is there, and in no directory that the rules refuse."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _take_away(path: Path) -> None:
    """Cover a mount with nothing: another way to the tree may lie under it."""
    if not path.is_dir():
        fsmount.umount(path, lazy=True)
        return
    flags = system.MS_NOSUID | system.MS_NODEV | system.MS_NOEXEC | system.MS_RDONLY
    system.mount("tmpfs", path, "tmpfs", flags, "mode=0755")
