# SPDX-License-Identifier: MIT
"""What the tests of the kernel part share: filters with settable behaviour, mounts, cells of maps.

The filters are `kernel_filters.bpf.c`, hand-written against the kernel's own interface; names of
cells are those of its enums.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import itertools
import mmap
import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from fusebpf.abi.model import Hook, Op
from fusebpf.build import cache as objects
from fusebpf.build.clang import find_clang
from fusebpf.runtime import features, mountinfo, sysbpf
from fusebpf.runtime.fsmount import FsContext, move_mount, umount
from fusebpf.runtime.libbpf import LibbpfError, Link, Map, Object
from tests.vm.limits import eventually

SOURCE = Path(__file__).with_name("kernel_filters.bpf.c")
_HEADERS = (Path(__file__).parents[2] / "bpf", Path(__file__).parent)
FLAGS = ["-g", "-O2", "-mcpu=v3", "-target", "bpf", *(f"-I{path}" for path in _HEADERS)]

CONTINUE, USER, USER_PREFILTER, POSTFILTER, USER_POSTFILTER, CALL_DEFAULT = range(6)
OPCODE_PRE = 0x10000
OPCODE_POST = 0x20000


def enum_of(source: Path, number: int) -> dict[str, int]:
    """Names and values of an enum of a C source, in order; only plain counting is used there."""
    body = re.findall(r"^enum \{\n(.*?)^\};", source.read_text(), re.S | re.M)[number]
    names = re.findall(r"^\t([A-Z_0-9]+)[,\s]", body, re.M)
    return {name: value for value, name in enumerate(names)}


#: struct vfs_cap_data of linux/capability.h: CAP_NET_RAW, permitted and effective.
CAPABILITY = struct.pack("<5I", 0x2000001, 1 << 13, 0, 0, 0)

_NUMBERS = itertools.count()
_CELL = struct.Struct("=q")
CONFIG = enum_of(SOURCE, 0)
SEEN = enum_of(SOURCE, 1)


@lru_cache(maxsize=1)
def form() -> features.FuseBpf:
    """What this kernel has; on the host, where no test of these runs, a module of no members."""
    return features.probe() or features.FuseBpf(features.MODULE_FS_TYPE, {}, 0, 0)


def series() -> tuple[int, int]:
    """The running kernel's, as (6, 12)."""
    major, minor = re.split(r"[^0-9]", os.uname().release, maxsplit=2)[:2]
    return int(major), int(minor)


def served(part: Op | Hook) -> bool:
    """Whether this kernel has to ask a pair, or a hook of it; the module has not room for all."""
    if form().in_kernel:
        return True
    op = part.op if isinstance(part, Hook) else part.name
    return part.form_a and not (op == "dir_fsync" and series() >= (7, 3))


def exchange(one: Path, other: Path) -> None:
    """Let two files swap their names: a rename with a flag. Raises OSError."""
    renameat2, at_fdcwd, rename_exchange = 316, -100, 2
    names = (os.fsencode(one), at_fdcwd, os.fsencode(other))
    sysbpf.syscall(renameat2, at_fdcwd, *names, rename_exchange)


@cache
def compiled(source: Path = SOURCE, *flags: str, text: str = "") -> bytes:
    """The object of a C file, or of other text in its place; kept for later guests."""
    clang = find_clang()
    text = text or source.read_text()
    headers = [path.read_text() for place in _HEADERS for path in sorted(place.glob("*.h"))]
    parts = (clang, FLAGS, flags, text, headers)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    found = objects.lookup(key)
    if found is None:
        with tempfile.TemporaryDirectory() as directory:
            written, target = Path(directory, source.name), Path(directory, "object")
            written.write_text(text)
            command = [clang.path, *FLAGS, *flags, "-c", str(written), "-o", str(target)]
            subprocess.run(command, check=True)
            found = target.read_bytes()
        objects.store(key, found)
    return found


def open_ops(
    members: tuple[str, ...], name: str = "tests", ops: str = "ops", image: bytes = b""
) -> Object:
    """Open an object with some members of the struct_ops map `ops`; () takes all of them."""
    opened = Object(image or compiled(), "tests")
    for entry in opened.maps.values():
        if entry.name.startswith("ops"):
            entry.autocreate = entry.name == ops
    value = opened.maps[ops].initial_value()
    for field in opened.btf.struct_members("fuse_ops") or []:
        if field.name == "name":
            value[field.offset : field.offset + 15] = name.encode()[:15].ljust(15, b"\0")
        elif members and field.name not in members:
            struct.pack_into("=Q", value, field.offset, 0)
    return opened


class Filters:
    """Attached filters: their link and the cells that steer and observe them."""

    TABLES: tuple[str, ...] = ("config", "counts", "seen")

    def __init__(
        self, members: tuple[str, ...], name: str | None = None, image: bytes = b""
    ) -> None:
        # A link that a mount held goes in the kernel's own time, and its name with it
        self.name = name or f"tests.{next(_NUMBERS)}"
        self.object = open_ops(members, self.name, image=image)
        try:
            self.object.load()
            self.link: Link = self.object.maps["ops"].attach_struct_ops()
        except BaseException:
            self.object.close()
            raise

    def close(self) -> None:
        for values in self.memory.values():
            values.close()
        self.link.close()
        self.object.close()

    @cached_property
    def memory(self) -> dict[str, mmap.mmap]:
        """The values of the arrays, as the programs have them."""
        return {table: self.object.maps[table].mmap() for table in self.TABLES}

    def _cell(self, table: str, index: int) -> int:
        return int(_CELL.unpack_from(self.memory[table], index * _CELL.size)[0])

    def set(self, **cells: int) -> None:
        """Set cells of config: open_pre=-13 is the verdict of open_prefilter, hide=1 CFG_HIDE."""
        for name, value in cells.items():
            key = f"SLOT_{name.upper()}"
            index = CONFIG[key if key in CONFIG else f"CFG_{name.upper()}"]
            _CELL.pack_into(self.memory["config"], index * _CELL.size, value)

    def reset(self) -> None:
        """All verdicts CONTINUE, all counts 0."""
        for values in self.memory.values():
            values[:] = bytes(len(values))

    def count(self, slot: str) -> int:
        """How often a member ran: "open_pre" is open_prefilter."""
        return self._cell("counts", CONFIG[f"SLOT_{slot.upper()}"])

    def seen(self, what: str) -> int:
        """What the member that ran last saw."""
        return self._cell("seen", SEEN[f"SEEN_{what.upper()}"])


@contextmanager
def filters(*members: str, name: str | None = None) -> Iterator[Filters]:
    """Attach members of the test filters (none named: all)."""
    attached = Filters(members, name)
    try:
        yield attached
    finally:
        attached.close()


def make_mount(lower: Path, target: Path, **options: str | int | bool) -> None:
    """Mount a lower directory. An option is a flag (True), a string or a descriptor (int)."""
    root = os.open(lower, os.O_PATH | os.O_DIRECTORY)
    try:
        with FsContext(form().fs_type) as context:
            context.set_string("source", lower)
            context.set_string("root_dir", str(root))
            context.set_flag("no_daemon")
            for key, value in options.items():
                if value is True:
                    context.set_flag(key)
                elif isinstance(value, str):
                    context.set_string(key, value)
                else:
                    context.set_fd(key, int(value))
            fd = context.mount()
    finally:
        os.close(root)
    try:
        move_mount(fd, target)
    finally:
        os.close(fd)


@contextmanager
def mounted(lower: Path, target: Path, **options: str | int | bool) -> Iterator[Path]:
    """A mount of `lower` at `target` that is taken off at the end."""
    make_mount(lower, target, **options)
    try:
        yield target
    except BaseException:
        umount(target, lazy=True)
        raise
    if mountinfo.at(target) is not None:
        umount(target)


@contextmanager
def filtered(lower: Path, target: Path, *members: str) -> Iterator[Filters]:
    """A mount of `lower` at `target` with members of the test filters."""
    with filters(*members) as attached, mounted(lower, target, root_bpf_link=attached.link.fd):
        attached.reset()
        yield attached


def link_update(f: Filters, other: object) -> int:
    """libbpf fills the new map and updates the link; the negative errno or 0."""
    libbpf = ctypes.CDLL("libbpf.so.1")
    libbpf.bpf_link__update_map.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    opened_map = other.maps["ops"]  # type: ignore[attr-defined]
    return int(libbpf.bpf_link__update_map(f.link._pointer, opened_map._pointer))


def options_of(target: Path) -> list[str]:
    """Super block options of a mount, from mountinfo."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[4] == str(target):
            return fields[-1].split(",")
    return []


def map_alone(fd: int, size: int) -> mmap.mmap:
    """Map a file without the descriptor that Python otherwise keeps with a mapping."""
    alone: dict[str, Any] = {"trackfd": False}  # Python 3.13
    return mmap.mmap(fd, size, **alone)


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A descriptor of a file, closed at the end."""
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def piped() -> Iterator[tuple[int, int]]:
    """The ends of a pipe to read from and to write to, closed at the end."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def code_of(call: Callable[[], object]) -> int:
    """The errno that a call ends with; 0 when it does not fail."""
    try:
        call()
    except OSError as error:
        return error.errno or 0
    return 0


def registered_again(ops: Map) -> Link:
    """Register what a mount may just be giving back: a name is free later than its link's id."""
    link: list[Link] = []

    def free() -> bool:
        try:
            link.append(ops.attach_struct_ops())
        except LibbpfError as error:
            if error.errno != errno.EEXIST:
                raise
        return bool(link)

    assert eventually(free), "the name of these filters is never free again"
    return link[0]


def slab_objects() -> dict[str, int]:
    """Objects of ours that are in use, with what caches alone hold given back first."""
    owner = "fuse" if form().in_kernel else "fusebpf"
    slabs = {f"{owner}_inode": "inode", "fusebpf_op": "op", f"{owner}_request": "request"}
    found = dict.fromkeys(slabs.values(), 0)
    Path("/proc/sys/vm/drop_caches").write_text("2")
    for slab in slabs:
        # Free objects that a CPU keeps for itself count as used until then (mm/slub.c).
        Path(f"/sys/kernel/slab/{slab}/shrink").write_text("1")
    for line in Path("/proc/slabinfo").read_text().splitlines():
        fields = line.split()
        if fields[0] in slabs:
            found[slabs[fields[0]]] = int(fields[1])
    return found


class Dirents:
    """getdents64 with a buffer of any size (getdents(2); no wrapper in Python takes one)."""

    NR = 217

    def __init__(self, path: Path, size: int, flags: int = 0) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | flags)
        self._size = size
        self._libc = ctypes.CDLL(None, use_errno=True)

    def read(self) -> list[tuple[str, int]]:
        """Names and following positions of one call; empty at the end. Raises OSError."""
        buffer = ctypes.create_string_buffer(self._size)
        got = self._libc.syscall(self.NR, self.fd, buffer, self._size)
        if got < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        found: list[tuple[str, int]] = []
        at = 0
        while at < got:
            _ino, off, reclen = struct.unpack_from("=QqH", buffer.raw, at)
            raw = buffer.raw[at + 19 : at + reclen].split(b"\0", 1)[0]
            found.append((os.fsdecode(raw), off))
            at += reclen
        return found

    def all(self) -> list[str]:
        names: list[str] = []
        while part := self.read():
            names += [name for name, _off in part]
        return names

    def seek(self, position: int) -> None:
        os.lseek(self.fd, position, os.SEEK_SET)

    def __enter__(self) -> Dirents:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self.fd)
