# SPDX-License-Identifier: MIT
"""Attach a filter set to a mount, and take it off again.

The mount holds the filters. We keep nothing but map descriptors, and those only for the Python
API: when this process dies at any moment, either nothing was mounted or all of it is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from fusebpf.errors import FusebpfError, PrivilegeError, UsageError
from fusebpf.runtime import features, fsmount, mountinfo
from fusebpf.runtime.config import choose
from fusebpf.runtime.events import EventStreams
from fusebpf.runtime.fsmount import FsContext, MountError
from fusebpf.runtime.load import check_abi, load, map_descriptor, open_ops
from fusebpf.runtime.maps import Maps
from fusebpf.runtime.objects import object_of
from fusebpf.runtime.signals import uninterrupted
from fusebpf.runtime.tables import open_tables
from fusebpf.runtime.turns import turn

if TYPE_CHECKING:
    from fusebpf.build.metadata import Metadata
    from fusebpf.dsl import FilterSet
    from fusebpf.objfile import ObjectBytes
    from fusebpf.runtime.mountinfo import MountEntry


class Mount:
    """An attached mount. `maps` and `events` are the set's, usable while this object is open.

    In a `with`, the mount of `attach` is detached at the end, lazily when it is in use; one found
    by `mounts.open` stays.
    """

    def __init__(
        self,
        mountpoint: Path,
        lower: Path,
        name: str,
        link_id: int,
        maps: Maps,
        events: EventStreams,
        detach_at_exit: bool = True,
    ) -> None:
        self._detach_at_exit = detach_at_exit
        self.mountpoint = mountpoint
        self.lower = lower
        self.name = name
        self.link_id = link_id
        self.maps = maps
        self.events = events

    def __repr__(self) -> str:
        return f"<Mount {self.lower} on {self.mountpoint}>"

    def detach(self, lazy: bool = False) -> None:
        """Unmount. Raises MountError (EBUSY) while it is in use, unless `lazy`."""
        detach(self.mountpoint, lazy)
        self.close()

    def close(self) -> None:
        """Close maps and events; the mount stays."""
        self.maps.close()
        self.events.close()

    def __enter__(self) -> Mount:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            if self._detach_at_exit:
                self._take_off()
        finally:
            self.close()

    def _take_off(self) -> None:
        """Unmount it, unless someone has taken it off, and perhaps mounted another."""
        with (
            suppress(FileNotFoundError),  # of the mount point: what was there is gone with it
            turn(self.mountpoint, wait=False),
            mountinfo.held(self.mountpoint) as (fd, entry),
        ):
            if entry is not None and entry.is_fuse_bpf and entry.link_id == self.link_id:
                fsmount.umount_opened(fd)


def attach(
    filters: FilterSet | ObjectBytes | str | os.PathLike[str],
    lower: str | os.PathLike[str],
    mountpoint: str | os.PathLike[str],
    *,
    set_name: str | None = None,
    config: Mapping[str, int] | None = None,
    daemon_fd: int | None = None,
    attributes: int = 0,
    placing: Callable[[Metadata, int], None] | None = None,
    prepare: Callable[[Maps], None] | None = None,
) -> Mount:
    """Mount `lower` at `mountpoint` with filters in force.

    `filters` is a FilterSet, a filter file, or an object made by `fusebpf compile`; `set_name`
    says which set of a file with several. `config` gives config values of the set by name; the
    others keep their defaults. `lower` and `mountpoint` may be the same directory.
    `daemon_fd` is the device of a daemon (fusebpf.daemon.Device), to be served after this returns.
    `attributes` are MOUNT_ATTR_* of mount_setattr(2): read-only, no set-id bits. `placing` is
    called with the set's metadata and the id of its link when the mount was made but is at no path
    yet; what it raises undoes all. So does that of `prepare`, which is called then, too, with the
    maps: what it stores is there for the first operation.

    Raises UsageError (a path that cannot be meant), PrivilegeError, UnsupportedKernelError,
    BuildError, VerifierError, MountError. After an error nothing is mounted, loaded or open.
    """
    lower_path, target = _checked(lower, mountpoint)
    features.require_root("attach")
    kernel = features.load()
    data, metadata, path = object_of(filters, set_name)
    check_abi(metadata, path)
    chosen = choose(metadata, config or {})
    with ExitStack() as stack:
        opened, name = open_ops(data, kernel)
        stack.enter_context(opened)
        for symbol, value in chosen.items():
            opened.set_rodata(symbol, value)
        load(opened, metadata)
        link = stack.enter_context(opened.maps["fusebpf_ops"].attach_struct_ops())
        # An O_PATH descriptor would not do: the kernel wants an open directory.
        root = os.open(lower_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, root)
        mount_fd = _make_mount(kernel.fs_type, lower_path, root, link.fd, daemon_fd, attributes)
        stack.callback(os.close, mount_fd)
        if placing is not None:
            placing(metadata, link.id)
        maps, events = open_tables(metadata.maps, partial(map_descriptor, opened))
        mount = Mount(target, lower_path, name, link.id, maps, events)
        placed = False
        try:
            if prepare is not None:
                prepare(maps)
            with turn(target):
                _check_free(target)  # others may have mounted since
                with uninterrupted():
                    _place(mount_fd, target)
                    placed = True
                    stack.close()  # from here on the mount alone holds the filters
        except BaseException:
            if placed:
                with suppress(OSError):  # taken off already
                    mount._take_off()
            mount.close()
            raise
    return mount


def _checked(
    lower: str | os.PathLike[str], mountpoint: str | os.PathLike[str]
) -> tuple[Path, Path]:
    lower_path = _directory(lower, "lower directory")
    target = _directory(mountpoint, "mount point")
    _check_free(target)
    return lower_path, target


def _check_free(target: Path) -> None:
    there = mountinfo.at(target)
    if there is not None and there.is_fuse_bpf:
        raise UsageError(
            f"{target} is a fuse-bpf mount already",
            f"give it other filters: fusebpf replace {target} FILTERS\n"
            f"or take it off first: fusebpf detach {target}",
        )


def _directory(path: str | os.PathLike[str], what: str) -> Path:
    try:
        real = Path(path).resolve(strict=True)
    except FileNotFoundError:
        raise FusebpfError(f"{what} {path} does not exist", f"mkdir {path}") from None
    except (OSError, RuntimeError) as error:
        raise FusebpfError(f"cannot reach {what} {path}: {error}") from None
    if not real.is_dir():
        raise FusebpfError(f"{what} {path} is not a directory", "name a directory")
    return real


def _make_mount(
    fs_type: str, lower: Path, root_fd: int, link_fd: int, daemon_fd: int | None, attributes: int
) -> int:
    """A mount of `lower` with the link's filters, at no path yet."""
    try:
        with FsContext(fs_type) as context:
            context.set_source(lower)
            if daemon_fd is None:
                context.set_flag("no_daemon")
            else:
                context.set_string("fd", str(daemon_fd))
            context.set_fd("root_dir", root_fd)
            context.set_fd("root_bpf_link", link_fd)
            context.set_string("creds", "mounter")
            return context.mount(attributes)
    except MountError as error:
        raise MountError(
            f"cannot mount {lower}: {error.message}", error.errno, error.log, error.help
        ) from None
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise PrivilegeError(
                "the kernel does not let this process mount", "run it as root, with CAP_SYS_ADMIN"
            ) from None
        raise MountError(f"cannot mount {lower}: {error.strerror}", error.errno or 0) from None


def _place(mount_fd: int, target: Path) -> None:
    try:
        fsmount.move_mount(mount_fd, target)
    except OSError as error:
        raise MountError(f"cannot mount at {target}: {error.strerror}", error.errno or 0) from None


def detach(mountpoint: str | os.PathLike[str], lazy: bool = False) -> None:
    """Unmount a fuse-bpf mount; `lazy` takes it out of sight now and ends it with its last user.

    Its background daemon, where it has one, has ended when this returns; of a mount that goes on
    (`lazy` and in use, or bound elsewhere) it serves on, and ends with it.

    Raises UsageError when nothing of ours is mounted there, PrivilegeError, MountError (EBUSY).
    """
    try:
        place = mountinfo.real(mountpoint)
    except OSError as error:
        raise FusebpfError(f"cannot reach {mountpoint}: {error.strerror}") from None
    try:
        # The daemon is waited for when others may go on here.
        with ExitStack() as after, turn(place, wait=not lazy):
            with mountinfo.held(place) as (fd, entry):
                link_id = _link_of_ours(mountpoint, entry)
                features.require_root("detach")
                if lazy:
                    fsmount.umount_opened(fd)
            if not lazy:
                if link_id is not None:
                    from fusebpf.runtime import daemons

                    after.enter_context(daemons.ending(link_id))
                fsmount.umount(place)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise MountError(
                f"{mountpoint} is in use: a process has a file open, mapped or as its directory "
                "there",
                errno.EBUSY,
                help=f"fuser -vm {mountpoint} shows who; fusebpf detach --lazy {mountpoint} takes "
                "it out of sight now and ends it when the last user is done",
            ) from None
        if error.errno in (errno.EPERM, errno.EACCES):
            raise PrivilegeError(
                "the kernel does not let this process unmount", "run it as root"
            ) from None
        raise MountError(
            f"cannot unmount {mountpoint}: {error.strerror}", error.errno or 0
        ) from None


def _link_of_ours(mountpoint: str | os.PathLike[str], entry: MountEntry | None) -> int | None:
    if entry is None or not entry.is_fuse_bpf:
        what = "not a mount point" if entry is None else f"a mount of type {entry.fs_type}"
        raise UsageError(
            f"{mountpoint} is {what}, not a fuse-bpf mount", "fusebpf ls shows those there are"
        )
    return entry.link_id
