# SPDX-License-Identifier: MIT
"""Give a live mount other filters.

The new programs are loaded beside the old ones, with the maps that are the same in both; then one
system call puts them behind the mount's link. Up to that call the old filters are in force, from
its return on the new ones alone: the kernel part waits for operations that still ask the old ones.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from fusebpf.build.metadata import DROPS, EVENTS, MapMeta
from fusebpf.errors import FusebpfError
from fusebpf.frozen import dataclass
from fusebpf.runtime import features, mounts, state, sysbpf
from fusebpf.runtime.config import choose
from fusebpf.runtime.features import FuseBpf
from fusebpf.runtime.load import (
    OPS_MAP,
    check_abi,
    load,
    map_descriptor,
    open_ops,
    ops_programs,
)
from fusebpf.runtime.maps import Maps
from fusebpf.runtime.objects import object_of
from fusebpf.runtime.signals import uninterrupted
from fusebpf.runtime.tables import open_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fusebpf.dsl import FilterSet
    from fusebpf.objfile import ObjectBytes
    from fusebpf.runtime.libbpf import Object, Program


@dataclass(frozen=True)
class Replacement:
    """What became of the maps: those `kept` with their contents, and why each other was not.

    `lost` has maps of the old set that are gone, or begin empty, by name.
    """

    filter_set: str
    kept: tuple[str, ...]
    lost: dict[str, str]


def replace(
    mountpoint: str | os.PathLike[str],
    filters: FilterSet | ObjectBytes | str | os.PathLike[str],
    *,
    set_name: str | None = None,
    config: Mapping[str, int] | None = None,
    fresh: Collection[str] = (),
    prepare: Callable[[Maps], None] | None = None,
) -> Replacement:
    """Put `filters` in force at a mount, in place of those there, without a gap between.

    `filters`, `set_name` and `config` are those of `attach`. Maps of the same name, kind, types and
    size are kept, but for those in `fresh`. Whoever has the mount's maps open sees those that are
    kept; for the others the mount must be opened again. `prepare` is called with the maps of the
    new filters before these are in force: what it stores is there for the first operation, what it
    raises undoes all. After an error the old filters are in force as before.

    Raises UsageError (no mount of ours), PrivilegeError, UnsupportedKernelError, BuildError,
    VerifierError, FusebpfError when the mount's filters are gone or were replaced meanwhile.
    """
    entry, link_id = mounts.filtered(mountpoint, "replace")
    kernel = features.require()
    data, metadata, path = object_of(filters, set_name)
    check_abi(metadata, path)
    chosen = choose(metadata, config or {})
    name = entry.super_options.get("root_bpf", "")
    with ExitStack() as stack:
        with mounts.asking(mountpoint):
            link = sysbpf.fd_by_id(sysbpf.LINK_GET_FD_BY_ID, link_id)
            stack.callback(os.close, link)
            old_map = sysbpf.fd_by_id(sysbpf.MAP_GET_FD_BY_ID, sysbpf.link_info(link).map_id)
            stack.callback(os.close, old_map)
            old = state.loaded_set(link_id, kernel)
        wanted = {name: i for name, i in old.map_ids.items() if name not in fresh}
        kept, lost = _compared(state.declared_maps(old), metadata.maps, wanted)
        opened, _name = open_ops(data, kernel, name)
        stack.enter_context(opened)
        for symbol, value in chosen.items():
            opened.set_rodata(symbol, value)
        with mounts.asking(mountpoint):
            for map_name in kept:
                fd = sysbpf.fd_by_id(sysbpf.MAP_GET_FD_BY_ID, old.map_ids[map_name])
                stack.callback(os.close, fd)
                opened.maps[map_name].reuse(fd)
        programs = ops_programs(opened)
        load(opened, metadata)
        if prepare is not None:
            maps, events = open_tables(metadata.maps, partial(map_descriptor, opened))
            stack.callback(events.close)
            stack.callback(maps.close)
            prepare(maps)
        with uninterrupted(), _in_force(mountpoint):
            _fill(opened, programs, name, kernel)
            sysbpf.link_update_map(link, opened.maps[OPS_MAP].fd, old_map)
    return Replacement(metadata.set, tuple(n for n in kept if not n.startswith("fusebpf_")), lost)


@contextmanager
def _in_force(mountpoint: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the kernel's refusals of a replacement into errors for people."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPERM:  # this process may use BPF: the filters are loaded
            raise FusebpfError(
                f"the filters of {mountpoint} were replaced or torn off meanwhile",
                "fusebpf ls shows what is in force; try again",
            ) from None
        if error.errno in (errno.ENOENT, errno.ENOLINK):
            raise mounts.gone(mountpoint) from None
        raise FusebpfError(f"cannot replace the filters of {mountpoint}: {error}") from None


def _fill(opened: Object, programs: Mapping[str, Program], name: str, kernel: FuseBpf) -> None:
    """Write the struct into its map, programs as descriptors: ready to be put behind a link.

    libbpf does this only together with making a link, which would need another name.
    """
    ops = opened.maps[OPS_MAP].fd
    value = bytearray(sysbpf.map_info(ops).value_size)
    for hook, program in programs.items():
        if hook in kernel.members:
            struct.pack_into("=Q", value, kernel.data_offset + kernel.members[hook], program.fd)
    at = kernel.data_offset + kernel.members["name"]
    value[at : at + len(name)] = name.encode()
    sysbpf.map_update(ops, bytes(4), bytes(value))


def _compared(
    old: tuple[MapMeta, ...], new: tuple[MapMeta, ...], there: Mapping[str, int]
) -> tuple[list[str], dict[str, str]]:
    """Names of the maps that can be kept, and why each other one of the old set cannot."""
    declared = {entry.name: entry for entry in new}
    # One counter for each kind of event, by its place.
    same_events = _events(old) == _events(new)
    kept: list[str] = []
    lost: dict[str, str] = {}
    for entry in old:
        other = declared.get(entry.name)
        if entry.name not in there or (entry.name == DROPS and not same_events):
            continue
        if other == entry:
            kept.append(entry.name)
        elif other is None:
            lost[entry.name] = "the new filters have no map of this name"
        else:
            lost[entry.name] = f"it was {_shape(entry)} and is {_shape(other)}"
    return kept, {name: why for name, why in lost.items() if not name.startswith("fusebpf_")}


def _events(maps: tuple[MapMeta, ...]) -> list[str]:
    return [entry.name for entry in maps if entry.kind == EVENTS]


def _shape(entry: MapMeta) -> str:
    if entry.kind == EVENTS:
        return f"events {entry.value} in {entry.max_entries} bytes"
    return f"{entry.kind} {entry.key} -> {entry.value} of {entry.max_entries}"
