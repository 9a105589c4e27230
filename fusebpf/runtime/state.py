# SPDX-License-Identifier: MIT
"""Find a mount's filters in the kernel again: by the link id that mountinfo shows.

mount -> link -> struct_ops map -> programs -> maps, of which `.rodata` holds the metadata.
Nothing of ours has to run for that, and any root process can do it.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TypeVar

from fusebpf.build.metadata import MapMeta, maps_from_list
from fusebpf.errors import FusebpfError
from fusebpf.frozen import dataclass
from fusebpf.objfile.btf import Btf
from fusebpf.runtime import sysbpf
from fusebpf.runtime.events import EventStreams
from fusebpf.runtime.features import FuseBpf
from fusebpf.runtime.maps import Maps
from fusebpf.runtime.tables import open_tables

_T = TypeVar("_T")

_METADATA = "bpf_metadata_fusebpf_"


@dataclass(frozen=True)
class LoadedSet:
    """A filter set as it is in the kernel: its metadata, hooks, and the ids of its parts.

    `filters` are the functions of `hooks`.
    """

    name: str
    source_sha256: str
    version: str
    hooks: tuple[str, ...]
    link_id: int
    filters: tuple[str, ...]
    map_ids: dict[str, int]
    maps_json: str


@contextmanager
def opened(command: int, object_id: int) -> Iterator[int]:
    """The descriptor of an id for a while (`sysbpf.*_GET_FD_BY_ID`). Raises OSError."""
    fd = sysbpf.fd_by_id(command, object_id)
    try:
        yield fd
    finally:
        os.close(fd)


def settled(link_id: int, read: Callable[[], _T]) -> _T:
    """What is read of the filters behind a link: again when they were replaced meanwhile.

    Ids are read first, and what they stand for goes with a replacement. Raises what `read` raises.
    """
    while True:
        before = ops_map_id(link_id)
        try:
            return read()
        except FileNotFoundError:
            if ops_map_id(link_id) == before:
                raise


def loaded_set(link_id: int, kernel: FuseBpf) -> LoadedSet:
    """Describe the set behind a link. Raises OSError: FileNotFoundError when it is gone."""
    return settled(link_id, lambda: _loaded_set(link_id, kernel))


def _loaded_set(link_id: int, kernel: FuseBpf) -> LoadedSet:
    programs = {hook: program_info(i) for hook, i in programs_of(link_id, kernel).items()}
    map_ids: dict[str, int] = {}
    metadata: dict[str, str] = {}
    for program in programs.values():
        for map_id in program.map_ids:
            if map_id in map_ids.values():
                continue
            with opened(sysbpf.MAP_GET_FD_BY_ID, map_id) as fd:
                info = sysbpf.map_info(fd)
                map_ids[info.name] = map_id
                if info.name.endswith(".rodata"):
                    metadata |= _metadata(fd, info)
    return LoadedSet(
        name=metadata.get("set", ""),
        source_sha256=metadata.get("source", ""),
        version=metadata.get("version", ""),
        hooks=tuple(programs),
        link_id=link_id,
        filters=tuple(map(filter_name, programs.values())),
        map_ids=map_ids,
        maps_json=metadata.get("maps", "[]"),
    )


def ops_map_id(link_id: int) -> int:
    """The struct_ops map behind a link: another one after the filters were replaced.

    Raises OSError: FileNotFoundError when the link is gone or was torn off.
    """
    with opened(sysbpf.LINK_GET_FD_BY_ID, link_id) as fd:
        map_id = sysbpf.link_info(fd).map_id
    if map_id == 0:
        raise FileNotFoundError(f"link {link_id} was detached")
    return map_id


def _ops_value(link_id: int) -> bytes:
    with opened(sysbpf.MAP_GET_FD_BY_ID, ops_map_id(link_id)) as fd:
        size = sysbpf.map_info(fd).value_size
        return sysbpf.map_lookup(fd, bytes(4), size) or bytes(size)


def ops_name(link_id: int, kernel: FuseBpf) -> str:
    """The name under which a set can be mounted (root_bpf). Raises OSError."""
    at = kernel.data_offset + kernel.members["name"]
    return _ops_value(link_id)[at:].split(b"\0", 1)[0].decode("ascii", "replace")


def program_info(program_id: int) -> sysbpf.ProgInfo:
    """What the kernel says of a program. Raises OSError: FileNotFoundError when it is gone."""
    with opened(sysbpf.PROG_GET_FD_BY_ID, program_id) as fd:
        return sysbpf.prog_info(fd)


def filter_name(program: sysbpf.ProgInfo) -> str:
    """The filter that a program NAME_ops runs."""
    if len(program.name) < 15:
        return program.name.removesuffix("_ops")
    # The kernel keeps 15 bytes of a name; its BTF has the whole.
    with suppress(OSError):  # the program is gone, and that with it
        if program.function and (whole := _function(program.btf_id, program.function)):
            return whole.removesuffix("_ops")
    tail = next((tail for tail in ("_ops", "_op", "_o", "_") if program.name.endswith(tail)), "")
    return program.name.removesuffix(tail)


@lru_cache(maxsize=256)
def _function(btf_id: int, type_id: int) -> str:
    # An id is not given again: what was read of it stays true.
    return Btf(sysbpf.btf_bytes(btf_id)).name_of_id(type_id)


def programs_of(link_id: int, kernel: FuseBpf) -> dict[str, int]:
    """Program ids by hook: reading a struct_ops map gives ids in place of function pointers."""
    value = _ops_value(link_id)
    found: dict[str, int] = {}
    for name, offset in kernel.members.items():
        at = kernel.data_offset + offset
        if name != "name" and at + 8 <= len(value):
            (program_id,) = struct.unpack_from("=Q", value, at)
            if program_id:
                found[name] = program_id
    return found


def _metadata(fd: int, info: sysbpf.MapInfo) -> dict[str, str]:
    value = sysbpf.map_lookup(fd, bytes(4), info.value_size)
    if value is None or not info.btf_id:
        return {}
    variables = Btf(sysbpf.btf_bytes(info.btf_id)).section_of_id(info.btf_value_type_id)
    return {
        name.removeprefix(_METADATA): value[field.offset : field.offset + (field.size or 0)]
        .split(b"\0", 1)[0]
        .decode("utf-8", "replace")
        for name, field in variables.items()
        if name.startswith(_METADATA)
    }


def open_set(found: LoadedSet) -> tuple[Maps, EventStreams]:
    """Maps and events of a set, as far as its programs use them. Raises FusebpfError, OSError."""
    declared = declared_maps(found)

    def descriptor(name: str) -> int | None:
        map_id = found.map_ids.get(name)
        return None if map_id is None else sysbpf.fd_by_id(sysbpf.MAP_GET_FD_BY_ID, map_id)

    return open_tables(declared, descriptor)


def declared_maps(found: LoadedSet) -> tuple[MapMeta, ...]:
    """Maps and events of a set as its author declared them. Raises FusebpfError."""
    try:
        return maps_from_list(json.loads(found.maps_json))
    except (ValueError, TypeError):
        raise FusebpfError(
            f"the metadata of filter set {found.name!r} cannot be read",
            "it was built by another version of fusebpf: attach it again",
        ) from None
