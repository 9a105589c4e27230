# SPDX-License-Identifier: MIT
"""The stand-in run: a compiled filter on the running kernel, without fuse-bpf.

A raw tracepoint program with the filter's body is run by BPF_PROG_RUN (net/bpf/test_run.c) and
finds its arguments in the map ``fusebpf_cases``; ``bpf/fusebpf.h`` is the other side. Needs root
and Linux 6.4 or later (open-coded iterators).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

from fusebpf.build.clang import find_clang
from fusebpf.build.errors import BuildError
from fusebpf.compiler import ir
from fusebpf.compiler.emit_functions import functions_of
from fusebpf.compiler.types import IntType, RecordType
from fusebpf.runtime import sysbpf
from fusebpf.runtime.config import CONFIG_PREFIX, pack_config
from fusebpf.runtime.libbpf import Object
from fusebpf.runtime.ringbuf import Ring
from fusebpf.testing.case import (
    MAX_BUFFER,
    MAX_ENTRIES,
    Case,
    Cell,
    Entry,
    Outcome,
    changeable,
    hook_of,
    pack,
    struct_args,
    unpack,
)

_CASES = "fusebpf_cases"
_OPS = "fusebpf_ops"


def unavailable() -> str | None:
    """Why filters cannot run on this host's kernel here; None when they can."""
    if os.geteuid() != 0:
        return "it needs root (CAP_BPF)"
    release = os.uname().release
    if tuple(int(part) for part in re.findall(r"\d+", release)[:2]) < (6, 4):
        return f"it needs Linux 6.4, this is {release}"
    try:
        os.close(sysbpf.array_map(4))
    except OSError as error:
        return f"this kernel refuses bpf(2): {error.strerror}"
    try:
        find_clang()
    except BuildError as error:
        return error.message
    return None


class StandIn:
    """The stand-in programs of one object, loaded. Close it to unload them.

    ``config`` replaces defaults of config values, as ``fusebpf attach --set`` does. Loading raises
    ``LibbpfError`` with the verifier's log when a program is refused.
    """

    def __init__(
        self, data: bytes, program: ir.Program, config: Mapping[str, int] | None = None
    ) -> None:
        self.program = program
        self._config = config or {}
        self._object = Object(data, program.name)
        try:
            self._prepare()
        except BaseException:
            self._object.close()
            raise

    def _prepare(self) -> None:
        maps = self._object.maps
        for name, candidate in self._object.programs.items():
            candidate.autoload = name.endswith("_standin")
        if _OPS in maps:
            maps[_OPS].autocreate = False
        for decl in self.program.configs:
            if decl.name in self._config:
                value = pack_config(str(decl.type), self._config[decl.name])
                self._object.set_rodata(CONFIG_PREFIX + decl.name, value)
        self._object.load()
        self._memory = maps[_CASES].mmap()
        self._rings = {
            event.name: Ring(maps[event.name].fd, event.size) for event in self.program.events
        }
        btf = self._object.btf
        self._layout = {
            f"{struct}.{member.name}": member.offset
            for struct in ("fusebpf_case", "fusebpf_case_buf", "fusebpf_case_dirent")
            for member in btf.struct_members(struct) or ()
        }
        self._sizes = {
            struct: btf.struct_size(struct) or 0
            for struct in ("fusebpf_case", "fusebpf_case_buf", "fusebpf_case_dirent")
        }
        filters = self.program.filters
        names, _ = functions_of(self.program)
        programs = {f.name: self._object.programs[f"{names[f.name]}_standin"] for f in filters}
        self._runners = {name: sysbpf.Runner(made.fd, bytes(8)) for name, made in programs.items()}

    def close(self) -> None:
        """Unload programs and maps."""
        for ring in self._rings.values():
            ring.close()
        self._memory.close()
        self._object.close()

    def __enter__(self) -> StandIn:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, function: ir.Function, case: Case) -> Outcome:
        """Call one filter.

        Raises ``ValueError`` when the case does not fit the stand-in's memory, ``OSError`` when
        the kernel refuses the run.
        """
        assert function.hook is not None
        with _one_cpu() as cpu:
            self._write_maps(case, cpu)
            self._write_case(function.hook, case)
            self._runners[function.name]()
            return self._outcome(function.hook, case)

    def call(self, function: ir.Function, case: Case) -> None:
        """Call one filter without looking at maps and outcome: for measuring."""
        assert function.hook is not None
        self._write_case(function.hook, case)
        self._runners[function.name]()

    # --------------------------------------------------------------- memory

    def _at(self, member: str, struct: str = "fusebpf_case") -> int:
        return self._layout[f"{struct}.{member}"]

    def _put(self, offset: int, value: int, size: int) -> None:
        mask = (1 << (8 * size)) - 1
        self._memory[offset : offset + size] = (value & mask).to_bytes(size, "little")

    def _get(self, offset: int, size: int, signed: bool = False) -> int:
        return int.from_bytes(self._memory[offset : offset + size], "little", signed=signed)

    def _write_case(self, hook_name: str, case: Case) -> None:
        hook = hook_of(hook_name)
        self._memory[: self._sizes["fusebpf_case"]] = bytes(self._sizes["fusebpf_case"])
        for member, value in (
            ("nodeid", case.nodeid),
            ("tag", case.tag),
            ("tag2", case.tag2),
            ("ktime", case.ktime),
        ):
            self._put(self._at(member), value, 8)
        caller = case.caller
        for member, value in (
            ("opcode", case.opcode or hook.opcode),
            ("error_in", case.error_in),
            ("fsuid", caller.uid),
            ("fsgid", caller.gid),
            ("euid", caller.euid),
            ("egid", caller.egid),
            ("pid", caller.pid),
            ("tid", caller.tid),
        ):
            self._put(self._at(member), value, 4)
        for offset, name in self._struct_slots(hook_name):
            struct = next(s for arg, s in struct_args(hook) if arg.name == name)
            raw = pack(struct, case.structs.get(name, {}))
            self._memory[offset : offset + len(raw)] = raw
        self._write_buffers(hook_name, case)
        self._write_listing(case.listing)

    def _struct_slots(self, hook_name: str) -> Iterator[tuple[int, str]]:
        used = {"in": 0, "out": 0}
        for arg, _struct in struct_args(hook_of(hook_name)):
            yield self._at(arg.direction) + 128 * used[arg.direction], arg.name
            used[arg.direction] += 1

    def _write_buffers(self, hook_name: str, case: Case) -> None:
        buffers = [arg for arg in hook_of(hook_name).args if arg.struct is None]
        for slot, arg in enumerate(buffers):
            data = case.buffers.get(arg.name, b"")
            if len(data) > min(MAX_BUFFER, arg.max_size - (arg.kind == "name")):
                raise ValueError(f"{arg.name} of {len(data)} bytes is too long")
            base = self._at("buf") + slot * self._sizes["fusebpf_case_buf"]
            self._put(base + self._at("len", "fusebpf_case_buf"), len(data), 4)
            start = base + self._at("data", "fusebpf_case_buf")
            self._memory[start : start + len(data)] = data

    def _read_buffer(self, slot: int) -> bytes:
        base = self._at("buf") + slot * self._sizes["fusebpf_case_buf"]
        start = base + self._at("data", "fusebpf_case_buf")
        size = self._get(base + self._at("len", "fusebpf_case_buf"), 4)
        return bytes(self._memory[start : start + size])

    def _dirent(self, index: int) -> int:
        return self._at("dirent") + index * self._sizes["fusebpf_case_dirent"]

    def _write_listing(self, listing: tuple[Entry, ...]) -> None:
        if len(listing) > MAX_ENTRIES:
            raise ValueError(f"{len(listing)} entries; a stand-in holds {MAX_ENTRIES}")
        self._put(self._at("dirents"), len(listing), 4)
        kind = "fusebpf_case_dirent"
        for index, entry in enumerate(listing):
            base = self._dirent(index)
            self._put(base + self._at("ino", kind), entry.ino, 8)
            self._put(base + self._at("off", kind), index, 8)
            self._put(base + self._at("type", kind), entry.type, 4)
            self._put(base + self._at("name_len", kind), len(entry.name), 4)
            self._put(base + self._at("room", kind), entry.room, 4)
            start = base + self._at("name", kind)
            self._memory[start : start + len(entry.name)] = entry.name

    def _read_entry(self, index: int, entry: Entry) -> Entry:
        kind, base = "fusebpf_case_dirent", self._dirent(index)
        start = base + self._at("name", kind)
        size = self._get(base + self._at("name_len", kind), 4)
        name = bytes(self._memory[start : start + size])
        return replace(entry, name=name, type=self._get(base + self._at("type", kind), 4))

    def _outcome(self, hook_name: str, case: Case) -> Outcome:
        if not self._get(self._at("done"), 4):
            raise OSError(errno.EIO, "the stand-in did not run to its end")
        hook = hook_of(hook_name)
        structs = {arg.name: struct for arg, struct in struct_args(hook)}
        kept = tuple(
            self._read_entry(index, entry)
            for index, entry in enumerate(case.listing)
            if not self._get(self._dirent(index) + self._at("dropped", "fusebpf_case_dirent"), 4)
        )
        tagged = self._get(self._at("tag_set"), 4)
        return Outcome(
            verdict=self._get(self._at("verdict"), 4, signed=True),
            structs={
                name: unpack(structs[name], self._memory[offset : offset + structs[name].size])
                for offset, name in self._struct_slots(hook_name)
            },
            listing=kept,
            tag=self._get(self._at("tag"), 8) if tagged else None,
            cleared=bool(self._get(self._at("cleared"), 4)),
            kept_ns=self._get(self._at("valid_ns"), 8),
            buffers={
                name: self._read_buffer(slot) for slot, name in changeable(hook_of(hook_name))
            },
            maps={decl.name: self._read_map(decl) for decl in self.program.maps},
            events={
                name: tuple(found) for name, ring in self._rings.items() if (found := ring.read())
            },
        )

    # ----------------------------------------------------------------- maps

    def _write_maps(self, case: Case, cpu: int) -> None:
        for decl in self.program.maps:
            fd = self._object.maps[decl.name].fd
            wanted = case.maps.get(decl.name, {})
            if decl.is_array:
                for index in range(decl.max_entries):
                    self._store(fd, decl, index, wanted.get(index, 0), cpu)
                continue
            for raw in list(sysbpf.map_keys(fd, _size(decl.key))):
                sysbpf.map_delete(fd, raw)
            for key, value in wanted.items():
                self._store(fd, decl, key, value, cpu)

    def _store(self, fd: int, decl: ir.MapDecl, key: Cell, value: Cell, cpu: int) -> None:
        raw = _raw(decl.value, value)
        if "percpu" in decl.kind:
            stride = (len(raw) + 7) & ~7
            slots = [bytes(stride)] * sysbpf.possible_cpus()
            slots[cpu] = raw.ljust(stride, b"\0")
            raw = b"".join(slots)
        sysbpf.map_update(fd, _raw(decl.key, key), raw)

    def _read_map(self, decl: ir.MapDecl) -> dict[Cell, Cell]:
        fd = self._object.maps[decl.name].fd
        size = _size(decl.value)
        percpu = "percpu" in decl.kind
        count = sysbpf.possible_cpus() if percpu else 1
        stride = (size + 7) & ~7 if percpu else size
        keys = (
            [_raw(decl.key, index) for index in range(decl.max_entries)]
            if decl.is_array
            else list(sysbpf.map_keys(fd, _size(decl.key)))
        )
        found: dict[Cell, Cell] = {}
        for raw_key in keys:
            raw = sysbpf.map_lookup(fd, raw_key, stride * count)
            assert raw is not None
            parts = [raw[at : at + size] for at in range(0, stride * count, stride)]
            value: Cell
            if isinstance(decl.value, IntType):
                numbers = [int(_cell(decl.value, part)) for part in parts]
                value = decl.value.wrap(sum(numbers))
            else:
                value = max(parts, key=any)  # only the CPU of the run has touched it
            if not decl.is_array or (any(value) if isinstance(value, bytes) else value):
                found[_cell(decl.key, raw_key)] = value
        return found


def _size(kind: IntType | RecordType) -> int:
    return kind.bits // 8 if isinstance(kind, IntType) else kind.record.size


def _raw(kind: IntType | RecordType, value: Cell) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(kind, RecordType):
        return bytes(kind.record.size)  # 0 stands for a record of zeros
    return value.to_bytes(kind.bits // 8, "little", signed=kind.signed)


def _cell(kind: IntType | RecordType, raw: bytes) -> Cell:
    if isinstance(kind, RecordType):
        return raw
    return int.from_bytes(raw, "little", signed=kind.signed)


@contextmanager
def _one_cpu() -> Iterator[int]:
    """Stay on one CPU, whose slot of a per-CPU map the filter then sees; gives its number."""
    before = os.sched_getaffinity(0)
    cpu = min(before)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, before)
