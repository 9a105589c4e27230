# SPDX-License-Identifier: MIT
"""The fuse-bpf mounts there are, and the filters in force on them: for any process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fusebpf.errors import FusebpfError, PrivilegeError, UsageError
from fusebpf.frozen import dataclass
from fusebpf.runtime import daemons, features, mountinfo, state
from fusebpf.runtime.daemons import DaemonStatus
from fusebpf.runtime.mountinfo import MountEntry
from fusebpf.runtime.mounting import Mount


@dataclass(frozen=True)
class MountStatus:
    """A mount as `ls` shows it. What only root may ask of the kernel is empty for others.

    `lower` is the path given at the mount; `state` is "active", "dead" (filters torn off by
    force: the mount fails closed) or "unfiltered" (mounted without a filter set). `filters` are
    the functions of `hooks`, `mend` is the command for a state that is not meant, or "". `daemon`
    is that of `fusebpf attach --daemon`; one that a program serves itself is not known here.
    `replaced` is whether its filters were replaced since it began, which `mend` cannot do again.
    """

    mountpoint: Path
    lower: str
    state: str
    name: str
    link_id: int | None
    filter_set: str
    hooks: tuple[str, ...]
    filters: tuple[str, ...]
    maps: tuple[str, ...]
    source_sha256: str
    mend: str
    daemon: DaemonStatus | None
    replaced: bool


def ls() -> list[MountStatus]:
    """All fuse-bpf mounts of this mount namespace, in the order they were made."""
    found = [entry for entry in mountinfo.entries() if entry.is_fuse_bpf]
    kernel = features.probe() if found and os.geteuid() == 0 else None
    return [_status(entry, kernel) for entry in found]


def status(mountpoint: str | os.PathLike[str]) -> MountStatus:
    """The fuse-bpf mount at a path. Raises UsageError when there is none, FusebpfError."""
    return _status(_ours(mountpoint), features.probe() if os.geteuid() == 0 else None)


def _status(entry: MountEntry, kernel: features.FuseBpf | None) -> MountStatus:
    link_id = entry.link_id
    loaded: state.LoadedSet | None = None
    if kernel is not None and link_id is not None and not entry.dead:
        with suppress(OSError):  # it went away since mountinfo was read
            loaded = state.loaded_set(link_id, kernel)
    # A set that was registered without a link is in force, too, but cannot be looked into.
    named = link_id is not None or "root_bpf" in entry.super_options
    shown = "dead" if entry.dead else "active" if named else "unfiltered"
    served = None if link_id is None else daemons.found(link_id)
    same = None if served is None or loaded is None else _is_same(loaded, served[1])
    mend = ""
    if shown != "active" or (served and served[0].state == "ended"):
        import shlex

        mend = f"fusebpf detach {shlex.quote(str(entry.mount_point))}"
        # What mounted it would bring filters back that may have been replaced since.
        mend += f" && {served[1].attach}" if served and same else ""
    return MountStatus(
        mountpoint=entry.mount_point,
        lower=entry.source,
        state=shown,
        name=entry.super_options.get("root_bpf", ""),
        link_id=link_id,
        filter_set=loaded.name if loaded else "",
        hooks=loaded.hooks if loaded else (),
        filters=loaded.filters if loaded else (),
        maps=_declared(loaded) if loaded else (),
        source_sha256=loaded.source_sha256 if loaded else "",
        mend=mend,
        daemon=served[0] if served else None,
        replaced=same is False,
    )


def _is_same(loaded: state.LoadedSet, record: daemons.Record) -> bool | None:
    """Whether the filters are those that the daemon was mounted with; None if that is not known."""
    with suppress(OSError):
        return record.ops == state.ops_map_id(loaded.link_id) if record.ops else None
    return None


def _declared(loaded: state.LoadedSet) -> tuple[str, ...]:
    """Names of the set's own maps: not its data sections, not the runtime's."""
    return tuple(
        sorted(
            name for name in loaded.map_ids if "." not in name and not name.startswith("fusebpf_")
        )
    )


def open(mountpoint: str | os.PathLike[str]) -> Mount:
    """Open a mount that any process attached, to read its events, to read and write its maps.

    Close it with `close()`, or use it in a `with`; the mount stays.
    Raises UsageError when there is none, PrivilegeError, FusebpfError when its filters are gone.
    """
    entry, link_id = filtered(mountpoint, "reading the maps of a mount")
    kernel = features.require()
    with asking(mountpoint):
        maps, events = state.settled(
            link_id, lambda: state.open_set(state.loaded_set(link_id, kernel))
        )
    name = entry.super_options.get("root_bpf", "")
    return Mount(entry.mount_point, Path(entry.source), name, link_id, maps, events, False)


def ops_map_id(mountpoint: str | os.PathLike[str]) -> int:
    """The struct_ops map in force at a path: another one after its filters were replaced.

    Raises UsageError when there is no mount, PrivilegeError, FusebpfError.
    """
    _entry, link_id = filtered(mountpoint, "reading the filters of a mount")
    with asking(mountpoint):
        return state.ops_map_id(link_id)


@contextmanager
def asking(mountpoint: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the kernel says to questions about filters into errors for people."""
    try:
        yield
    except PermissionError:
        raise PrivilegeError(
            "the kernel does not let this process use BPF", "run it as root, with CAP_SYS_ADMIN"
        ) from None
    except FileNotFoundError:
        raise gone(mountpoint) from None
    except OSError as error:
        raise FusebpfError(f"cannot read the filters of {mountpoint}: {error}") from None


def gone(mountpoint: str | os.PathLike[str]) -> FusebpfError:
    """The error for filters that went away while somebody looked at them."""
    return FusebpfError(f"the filters of {mountpoint} are gone", "fusebpf ls shows what is mounted")


def filtered(mountpoint: str | os.PathLike[str], what: str) -> tuple[MountEntry, int]:
    """The mount at a path and the id of its link, for `what`, which needs root.

    Raises UsageError when there is none, PrivilegeError, FusebpfError when its filters are gone.
    """
    entry = _ours(mountpoint)
    features.require_root(what)
    link_id = entry.link_id
    if link_id is None or entry.dead:
        raise FusebpfError(
            f"{mountpoint} has no filters in force" + (" (torn off by force)" * entry.dead),
            f"take it off and attach again: fusebpf detach {mountpoint}",
        )
    return entry, link_id


def _ours(mountpoint: str | os.PathLike[str]) -> MountEntry:
    try:
        entry = mountinfo.at(mountpoint)
    except OSError as error:
        raise FusebpfError(f"cannot reach {mountpoint}: {error.strerror}") from None
    if entry is None or not entry.is_fuse_bpf:
        raise UsageError(
            f"{mountpoint} is not a fuse-bpf mount", "fusebpf ls shows those there are"
        )
    return entry
