# SPDX-License-Identifier: MIT
"""The bpf(2) system call: maps, programs and links by descriptor and by id.

Only the commands that need no loader are here, so that listing mounts and reading maps works
without libbpf. Layouts are those of `union bpf_attr` and the `bpf_*_info` structs in
include/uapi/linux/bpf.h; those are append-only, so fixed offsets stay right.

Every failing call raises `OSError` with the errno of the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from fusebpf.frozen import dataclass

MAP_LOOKUP_ELEM = 1
MAP_UPDATE_ELEM = 2
MAP_DELETE_ELEM = 3
MAP_GET_NEXT_KEY = 4
PROG_LOAD = 5
OBJ_PIN = 6
OBJ_GET = 7
PROG_TEST_RUN = 10
PROG_GET_NEXT_ID = 11
MAP_GET_NEXT_ID = 12
PROG_GET_FD_BY_ID = 13
MAP_GET_FD_BY_ID = 14
OBJ_GET_INFO_BY_FD = 15
BTF_GET_FD_BY_ID = 19
LINK_UPDATE = 29
LINK_GET_FD_BY_ID = 30
LINK_GET_NEXT_ID = 31
ENABLE_STATS = 32
LINK_DETACH = 34

MAP_TYPE_HASH = 1
MAP_TYPE_ARRAY = 2
MAP_TYPE_PERCPU_HASH = 5
MAP_TYPE_PERCPU_ARRAY = 6
MAP_TYPE_LRU_HASH = 9
MAP_TYPE_LRU_PERCPU_HASH = 10
MAP_TYPE_STRUCT_OPS = 26
PERCPU_MAP_TYPES = frozenset(
    {MAP_TYPE_PERCPU_HASH, MAP_TYPE_PERCPU_ARRAY, MAP_TYPE_LRU_PERCPU_HASH}
)

LINK_TYPE_STRUCT_OPS = 9

BPF_F_REPLACE = 4

BPF_ANY = 0
BPF_NOEXIST = 1
BPF_EXIST = 2

# The number of bpf(2) differs between architectures (it is older than the shared table of 5.1).
_NR_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def syscall(number: int, *args: int | ctypes.c_char_p | bytes | None) -> int:
    """Call `number` with `args`; raise OSError when it returns -1."""
    converted = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = int(_libc().syscall(ctypes.c_long(number), *converted))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


@cache
def _nr_bpf() -> int:
    machine = os.uname().machine
    try:
        return _NR_BPF[machine]
    except KeyError:
        raise OSError(errno.ENOSYS, f"the number of bpf(2) on {machine} is not known") from None


def bpf(command: int, attr: ctypes.Array[ctypes.c_char] | bytes) -> int:
    """Issue one bpf(2) command. `attr` is the packed `union bpf_attr`, changed in place."""
    if isinstance(attr, bytes):
        attr = ctypes.create_string_buffer(attr, len(attr))
    return syscall(_nr_bpf(), command, ctypes.addressof(attr), ctypes.sizeof(attr))


def array_map(size: int) -> int:
    """A new array map with one value of `size` bytes, as a descriptor. Raises OSError."""
    return bpf(0, struct.pack("=IIII", MAP_TYPE_ARRAY, 4, size, 1))  # BPF_MAP_CREATE


def possible_cpus() -> int:
    """Number of CPUs the kernel may ever use: the length of a per-CPU value."""
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip()
    ranges = (part.partition("-") for part in text.split(","))  # 0-3 or, with gaps, 0,2-3
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)


@dataclass(frozen=True)
class MapInfo:
    """Shape of a map as the kernel reports it. Sizes are bytes; `name` has at most 15."""

    id: int
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str
    btf_id: int
    btf_value_type_id: int
    btf_vmlinux_value_type_id: int
    btf_vmlinux_id: int  # BTF of the module that has a struct_ops map's type; 0: the kernel's


@dataclass(frozen=True)
class ProgInfo:
    """What the kernel says of a loaded program. `name` has at most 15 bytes.

    `function` is the type of its function in the BTF `btf_id`, 0 where it came without.
    `calls` and `nanoseconds` grow only while statistics are on (`enable_stats`).
    """

    id: int
    type: int
    name: str
    map_ids: tuple[int, ...]
    nanoseconds: int
    calls: int
    verified_insns: int  # instructions the verifier processed; 0 before Linux 5.16
    btf_id: int = 0
    function: int = 0


@dataclass(frozen=True)
class LinkInfo:
    """A link; `map_id` is the struct_ops map behind it (0 for another kind, or once detached)."""

    id: int
    type: int
    map_id: int


def _info(fd: int, buffer: ctypes.Array[ctypes.c_char]) -> bytes:
    attr = struct.pack("=IIQ", fd, len(buffer), ctypes.addressof(buffer))
    bpf(OBJ_GET_INFO_BY_FD, attr)
    return buffer.raw


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def map_info(fd: int) -> MapInfo:
    """Describe the map behind `fd`."""
    raw = _info(fd, ctypes.create_string_buffer(88))
    kind, map_id, key_size, value_size, entries, flags = struct.unpack_from("=6I", raw, 0)
    (vmlinux_value_type,) = struct.unpack_from("=I", raw, 44)
    btf_id, _key_type, value_type, vmlinux_id = struct.unpack_from("=4I", raw, 64)
    return MapInfo(
        id=map_id,
        type=kind,
        key_size=key_size,
        value_size=value_size,
        max_entries=entries,
        flags=flags,
        name=_text(raw[24:40]),
        btf_id=btf_id,
        btf_value_type_id=value_type,
        btf_vmlinux_value_type_id=vmlinux_value_type,
        btf_vmlinux_id=vmlinux_id,
    )


def prog_info(fd: int) -> ProgInfo:
    """Describe the program behind `fd`, with the ids of the maps it uses."""
    raw = _info(fd, ctypes.create_string_buffer(224))
    (count,) = struct.unpack_from("=I", raw, 52)
    ids = (ctypes.c_uint32 * max(count, 1))()
    buffer = ctypes.create_string_buffer(224)
    struct.pack_into("=IQ", buffer, 52, count, ctypes.addressof(ids))
    first = ctypes.create_string_buffer(8)  # a struct bpf_func_info: its instruction, its type
    struct.pack_into("=IQI", buffer, 132, len(first), ctypes.addressof(first), 1)
    raw = _info(fd, buffer)
    kind, prog_id = struct.unpack_from("=II", raw, 0)
    (now,) = struct.unpack_from("=I", raw, 52)
    run_time, runs, _misses, insns = struct.unpack_from("=QQQI", raw, 192)
    maps = tuple(ids[: min(count, now)])
    (btf_id,) = struct.unpack_from("=I", raw, 128)
    _at, function = struct.unpack("=II", first.raw)
    return ProgInfo(prog_id, kind, _text(raw[64:80]), maps, run_time, runs, insns, btf_id, function)


def link_info(fd: int) -> LinkInfo:
    """Describe the link behind `fd`."""
    raw = _info(fd, ctypes.create_string_buffer(64))
    kind, link_id = struct.unpack_from("=II", raw, 0)
    map_id = struct.unpack_from("=I", raw, 16)[0] if kind == LINK_TYPE_STRUCT_OPS else 0
    return LinkInfo(link_id, kind, map_id)


def btf_bytes(btf_id: int) -> bytes:
    """The raw BTF that was loaded with the object the id belongs to."""
    fd = fd_by_id(BTF_GET_FD_BY_ID, btf_id)
    try:
        raw = _info(fd, ctypes.create_string_buffer(32))
        (size,) = struct.unpack_from("=I", raw, 8)
        data = ctypes.create_string_buffer(size)
        query = ctypes.create_string_buffer(32)
        struct.pack_into("=QI", query, 0, ctypes.addressof(data), size)
        _info(fd, query)
        return data.raw
    finally:
        os.close(fd)


def btf_name(btf_id: int) -> str:
    """Name of a BTF: "vmlinux", a module's name, "" for a program's."""
    fd = fd_by_id(BTF_GET_FD_BY_ID, btf_id)
    try:
        name = ctypes.create_string_buffer(64)
        query = ctypes.create_string_buffer(32)
        struct.pack_into("=QI", query, 16, ctypes.addressof(name), len(name))
        _info(fd, query)
        return _text(name.raw)
    finally:
        os.close(fd)


def prog_load_nothing() -> int:
    """Load a socket filter that returns 0, to see whether programs can be loaded at all."""
    code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0), 16)
    licence = ctypes.create_string_buffer(b"GPL")
    addresses = (ctypes.addressof(code), ctypes.addressof(licence))
    socket_filter, count = 1, 2
    return bpf(PROG_LOAD, struct.pack("=IIQQ", socket_filter, count, *addresses) + bytes(40))


def obj_get(path: str | os.PathLike[str]) -> int:
    """Open what is pinned at a path (BPF_OBJ_GET)."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return bpf(OBJ_GET, struct.pack("=QII", ctypes.addressof(name), 0, 0))


def obj_pin(path: str | os.PathLike[str], fd: int) -> None:
    """Pin what `fd` is at a path of a BPF file system (BPF_OBJ_PIN)."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    bpf(OBJ_PIN, struct.pack("=QII", ctypes.addressof(name), fd, 0))


def fd_by_id(command: int, object_id: int) -> int:
    """Open the object of an id (`*_GET_FD_BY_ID`). Raises FileNotFoundError when it is gone."""
    return bpf(command, struct.pack("=III", object_id, 0, 0))


def ids(command: int) -> Iterator[int]:
    """All ids of one kind (`*_GET_NEXT_ID`), in the kernel's order."""
    current = 0
    while True:
        attr = ctypes.create_string_buffer(struct.pack("=III", current, 0, 0), 12)
        try:
            bpf(command, attr)
        except FileNotFoundError:
            return
        (current,) = struct.unpack_from("=I", attr.raw, 4)
        yield current


def enable_stats() -> int:
    """Have the kernel count and time the runs of all programs while the descriptor is open."""
    return bpf(ENABLE_STATS, bytes(4))


def link_detach(fd: int) -> None:
    """Tear the link off by force (BPF_LINK_DETACH), whoever else holds it."""
    bpf(LINK_DETACH, struct.pack("=I", fd))


def link_update_map(fd: int, new_map_fd: int, old_map_fd: int) -> None:
    """Put another struct_ops map behind a link, in one step (BPF_LINK_UPDATE).

    Raises OSError: EPERM when the link's map is no longer the old one, ENOLINK when it has been
    torn off (kernel/bpf/bpf_struct_ops.c).
    """
    bpf(LINK_UPDATE, struct.pack("=IIII", fd, new_map_fd, BPF_F_REPLACE, old_map_fd))


def _elem(fd: int, key: bytes | None, value_address: int, flags: int) -> bytes:
    # The key's buffer must outlive the call: callers keep `key` in a local.
    address = 0 if key is None else ctypes.cast(ctypes.c_char_p(key), ctypes.c_void_p).value or 0
    return struct.pack("=IIQQQ", fd, 0, address, value_address, flags)


def map_lookup(fd: int, key: bytes, size: int) -> bytes | None:
    """Value of `key`, `size` bytes (per-CPU: `round_up(size, 8)` for each possible CPU)."""
    value = ctypes.create_string_buffer(size)
    try:
        bpf(MAP_LOOKUP_ELEM, _elem(fd, key, ctypes.addressof(value), 0))
    except FileNotFoundError:
        return None
    return value.raw


def map_update(fd: int, key: bytes, value: bytes, flags: int = BPF_ANY) -> None:
    """Store `value` under `key`. E2BIG: the map is full."""
    buffer = ctypes.create_string_buffer(value, len(value))
    bpf(MAP_UPDATE_ELEM, _elem(fd, key, ctypes.addressof(buffer), flags))


def map_delete(fd: int, key: bytes) -> bool:
    """Remove `key`; False when it was not there."""
    try:
        bpf(MAP_DELETE_ELEM, _elem(fd, key, 0, 0))
    except FileNotFoundError:
        return False
    return True


def map_keys(fd: int, key_size: int) -> Iterator[bytes]:
    """The keys of a map, each once. Entries added or removed meanwhile may or may not be seen."""
    following = ctypes.create_string_buffer(key_size)

    def after(key: bytes | None) -> bytes | None:
        try:
            bpf(MAP_GET_NEXT_KEY, _elem(fd, key, ctypes.addressof(following), 0))
        except FileNotFoundError:
            return None
        return following.raw

    seen: set[bytes] = set()
    key = after(None)
    while key is not None:
        # Asked first: after a key that is gone, removed by the caller maybe, comes the first again.
        upcoming = after(key)
        if key not in seen:
            seen.add(key)
            yield key
        key = upcoming


@dataclass(frozen=True)
class RunResult:
    """Outcome of one program run. `retval` is the unsigned 32-bit return value."""

    retval: int
    data_out: bytes


def prog_run(
    fd: int, ctx_in: bytes = b"", data_in: bytes = b"", data_out_size: int = 0
) -> RunResult:
    """Run a program once (BPF_PROG_RUN).

    A raw tracepoint program takes `ctx_in` (its u64 arguments) and no data
    (net/bpf/test_run.c, bpf_prog_test_run_raw_tp).
    """
    ctx = ctypes.create_string_buffer(ctx_in, len(ctx_in)) if ctx_in else None
    data = ctypes.create_string_buffer(data_in, len(data_in)) if data_in else None
    out = ctypes.create_string_buffer(data_out_size) if data_out_size else None
    attr = ctypes.create_string_buffer(80)
    struct.pack_into(
        "=IIIIQQIIIIQQ",
        attr,
        0,
        fd,
        0,
        len(data_in),
        data_out_size,
        0 if data is None else ctypes.addressof(data),
        0 if out is None else ctypes.addressof(out),
        0,
        0,
        len(ctx_in),
        0,
        0 if ctx is None else ctypes.addressof(ctx),
        0,
    )
    bpf(PROG_TEST_RUN, attr)
    retval, _in, out_size = struct.unpack_from("=III", attr.raw, 4)
    return RunResult(retval, b"" if out is None else out.raw[:out_size])


class Runner:
    """Repeated runs of one raw tracepoint program with one context: no allocation per call."""

    def __init__(self, fd: int, ctx_in: bytes = b"") -> None:
        self._ctx = ctypes.create_string_buffer(ctx_in, max(len(ctx_in), 1))
        self._attr = ctypes.create_string_buffer(80)
        struct.pack_into("=I", self._attr, 0, fd)
        if ctx_in:
            struct.pack_into("=I", self._attr, 40, len(ctx_in))
            struct.pack_into("=Q", self._attr, 48, ctypes.addressof(self._ctx))
        self._call = _libc().syscall
        self._args = (
            ctypes.c_long(_nr_bpf()),
            ctypes.c_long(PROG_TEST_RUN),
            ctypes.c_long(ctypes.addressof(self._attr)),
            ctypes.c_long(ctypes.sizeof(self._attr)),
        )
        self._retval = ctypes.c_uint32.from_buffer(self._attr, 4)

    def set_ctx(self, ctx: bytes) -> None:
        """Replace the context; its length must be that given at construction."""
        if len(ctx) > len(self._ctx):
            raise ValueError(f"context of {len(ctx)} bytes, {len(self._ctx)} expected")
        ctypes.memmove(self._ctx, ctx, len(ctx))

    def __call__(self) -> int:
        """Run once and return the unsigned 32-bit return value."""
        if self._call(*self._args) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return self._retval.value
