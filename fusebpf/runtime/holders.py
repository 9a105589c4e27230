# SPDX-License-Identifier: MIT
"""Filter sets that no mount here holds, and who does: a pin, a process, another mount namespace.

Everything is asked of the kernel: link ids, descriptors and mounts of the processes, the BPF file
systems. What a process of ours once knew is not needed.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from fusebpf.frozen import dataclass
from fusebpf.runtime import features, mountinfo, state, sysbpf
from fusebpf.runtime.features import MODULE, VMLINUX, FuseBpf

_LINK_ID = re.compile(r"^link_id:\s*(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Holder:
    """Who keeps a filter set loaded: `where` is a path, or a process as "PID (NAME)".

    `mend` is the command that takes a pin away. A set that a process or a mount elsewhere has is
    in use: to take it from there could take a confinement off.
    """

    kind: Literal["pin", "process", "namespace"]
    where: str
    mend: str


@dataclass(frozen=True)
class Leftover:
    """A filter set that no mount of this namespace has.

    `mend` are the commands that end it, where only pins hold it; else it is in use, and `mend` is
    "". Without a holder it is in use by a mount that was taken off lazily.
    """

    link_id: int
    name: str
    filter_set: str
    hooks: tuple[str, ...]
    holders: tuple[Holder, ...]
    mend: str


def leftovers() -> list[Leftover]:
    """Filter sets without a mount here; only root may ask the kernel, others get none.

    So does who is root in a user namespace alone.
    """
    kernel = features.probe() if os.geteuid() == 0 else None
    if kernel is None:
        return []
    here = {entry.link_id for entry in mountinfo.entries() if entry.is_fuse_bpf}
    try:
        sets = [link_id for link_id in _links(kernel) if link_id not in here]
    except PermissionError:
        return []
    held: dict[int, list[Holder]] = {link_id: [] for link_id in sets}
    for link_id, holder in _holders(frozenset(sets)):
        held[link_id].append(holder)
    found = []
    for link_id in sets:
        try:
            loaded = state.loaded_set(link_id, kernel)
            name = state.ops_name(link_id, kernel)
        except OSError:
            continue  # gone since
        holders = tuple(held[link_id])
        mends = [holder.mend for holder in holders]
        mend = "; ".join(mends) if all(mends) else ""
        found.append(Leftover(link_id, name, loaded.name, loaded.hooks, holders, mend))
    return found


def _links(kernel: FuseBpf) -> Iterator[int]:
    """Ids of the links of filter sets, whoever made them."""
    for link_id in sysbpf.ids(sysbpf.LINK_GET_NEXT_ID):
        try:
            with state.opened(sysbpf.MAP_GET_FD_BY_ID, state.ops_map_id(link_id)) as fd:
                info = sysbpf.map_info(fd)
        except OSError:
            continue  # of another kind, or gone
        types = sysbpf.btf_name(info.btf_vmlinux_id) if info.btf_vmlinux_id else ""
        ours = types == (VMLINUX if kernel.in_kernel else MODULE)
        if ours and info.value_size == kernel.value_size:
            yield link_id


def _holders(wanted: frozenset[int]) -> Iterator[tuple[int, Holder]]:
    """Who holds these links, but for this process; a namespace by one of its processes."""
    if not wanted:
        return
    for link_id, path in _pins():
        if link_id in wanted:
            yield link_id, Holder("pin", str(path), f"rm {shlex.quote(str(path))}")
    seen = {_namespace(Path("/proc/self"))}
    for process in _processes():
        who = f"{process.name} ({_comm(process)})"
        for link_id in _open_links(process) & wanted:
            yield link_id, Holder("process", who, "")
        namespace = _namespace(process)
        if namespace in seen:
            continue
        seen.add(namespace)
        for entry in _mounts_of(process):
            if entry.link_id is not None and entry.link_id in wanted:
                yield entry.link_id, Holder("namespace", who, "")


def _pins() -> Iterator[tuple[int, Path]]:
    """Links pinned in a BPF file system."""
    for entry in mountinfo.entries():
        if entry.fs_type != "bpf":
            continue
        for root, _directories, names in os.walk(entry.mount_point):
            for name in names:
                path = Path(root) / name
                link_id = _pinned_link(path)
                if link_id is not None:
                    yield link_id, path


def _pinned_link(path: Path) -> int | None:
    try:
        fd = sysbpf.obj_get(path)
    except OSError:
        return None
    try:
        # Pinned maps and programs have no such line. The name of the descriptor's inode would not
        # do: the kernel has it as bpf-link and as bpf_link, by where the descriptor comes from.
        match = _LINK_ID.search(Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii"))
        return int(match[1]) if match else None
    finally:
        os.close(fd)


def _processes() -> Iterator[Path]:
    own = str(os.getpid())
    yield from (p for p in Path("/proc").iterdir() if p.name.isdigit() and p.name != own)


def _open_links(process: Path) -> frozenset[int]:
    found = set()
    try:
        infos = list((process / "fdinfo").iterdir())
    except OSError:
        return frozenset()  # it has ended
    for info in infos:
        with suppress(OSError):  # closed meanwhile
            if match := _LINK_ID.search(info.read_text(encoding="ascii", errors="replace")):
                found.add(int(match[1]))
    return frozenset(found)


def _mounts_of(process: Path) -> list[mountinfo.MountEntry]:
    try:
        return list(mountinfo.parse((process / "mountinfo").read_bytes()))
    except OSError:
        return []


def _namespace(process: Path) -> str:
    try:
        return str((process / "ns/mnt").readlink())
    except OSError:
        return ""


def _comm(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "?"
