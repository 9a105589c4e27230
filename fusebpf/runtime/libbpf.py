# SPDX-License-Identifier: MIT
"""libbpf through ctypes: open an object, choose what of it to load, load it, attach struct_ops.

The library is loaded at the first use and each symbol when it is first called, so that libbpf 1.1
serves all but attaching to a module's struct_ops (that needs 1.5). `FUSEBPF_LIBBPF` names another
library file. What needs no loader (maps, ids, runs) is in `sysbpf`.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from fusebpf.errors import FusebpfError
from fusebpf.objfile.btf import Btf, Field
from fusebpf.runtime import sysbpf
from fusebpf.runtime.signals import uninterrupted

LOG_BUFFER_BYTES = 16 << 20
"""Room for a verifier log; a log that does not fit would lose its head, where the cause is."""

_LINE_BYTES = 64 << 10
_PRINT_WARN = 0


class LibbpfError(FusebpfError):
    """libbpf or the kernel refused.

    `errno` is the positive error number, `reasons` the lines libbpf printed (its only account of
    why), `log` the verifier's log or "", `program` the name of the program refused, or None.
    """

    def __init__(
        self,
        what: str,
        code: int,
        reasons: tuple[str, ...] = (),
        log: str = "",
        program: str | None = None,
    ) -> None:
        detail = f" ({reasons[-1]})" if reasons and not log else ""
        super().__init__(f"{what}: {os.strerror(code)}{detail}")
        self.errno = code
        self.reasons = reasons
        self.log = log
        self.program = program


class _OpenOpts(ctypes.Structure):
    """`struct bpf_object_open_opts` up to kernel_log_level (tools/lib/bpf/libbpf.h, 0.7)."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p),
        ("reserved", ctypes.c_uint32),
        ("kconfig", ctypes.c_char_p),
        ("btf_custom_path", ctypes.c_char_p),
        ("kernel_log_buf", ctypes.c_void_p),
        ("kernel_log_size", ctypes.c_size_t),
        ("kernel_log_level", ctypes.c_uint32),
    )


_INT = ctypes.c_int
_PTR = ctypes.c_void_p
_STR = ctypes.c_char_p
_U32 = ctypes.c_uint32

_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "libbpf_set_print": (_PTR, (_PTR,)),
    "libbpf_version_string": (_STR, ()),
    "libbpf_major_version": (_U32, ()),
    "libbpf_minor_version": (_U32, ()),
    "bpf_object__open_mem": (_PTR, (_PTR, ctypes.c_size_t, _PTR)),
    "bpf_object__load": (_INT, (_PTR,)),
    "bpf_object__close": (None, (_PTR,)),
    "bpf_object__next_program": (_PTR, (_PTR, _PTR)),
    "bpf_object__next_map": (_PTR, (_PTR, _PTR)),
    "bpf_object__btf": (_PTR, (_PTR,)),
    "btf__raw_data": (_PTR, (_PTR, ctypes.POINTER(_U32))),
    "bpf_program__name": (_STR, (_PTR,)),
    "bpf_program__section_name": (_STR, (_PTR,)),
    "bpf_program__fd": (_INT, (_PTR,)),
    "bpf_program__autoload": (ctypes.c_bool, (_PTR,)),
    "bpf_program__set_autoload": (_INT, (_PTR, ctypes.c_bool)),
    "bpf_map__name": (_STR, (_PTR,)),
    "bpf_map__type": (_U32, (_PTR,)),
    "bpf_map__fd": (_INT, (_PTR,)),
    "bpf_map__key_size": (_U32, (_PTR,)),
    "bpf_map__value_size": (_U32, (_PTR,)),
    "bpf_map__max_entries": (_U32, (_PTR,)),
    "bpf_map__autocreate": (ctypes.c_bool, (_PTR,)),
    "bpf_map__set_autocreate": (_INT, (_PTR, ctypes.c_bool)),
    "bpf_map__reuse_fd": (_INT, (_PTR, _INT)),
    "bpf_map__initial_value": (_PTR, (_PTR, ctypes.POINTER(ctypes.c_size_t))),
    "bpf_map__attach_struct_ops": (_PTR, (_PTR,)),
    "bpf_link__fd": (_INT, (_PTR,)),
    "bpf_link__destroy": (_INT, (_PTR,)),
}

_capture = threading.local()


class _Library:
    """The loaded library; one instance per process, made by `library()`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._dll = ctypes.CDLL(path, use_errno=True)
        self._libc = ctypes.CDLL(None)
        self._bound: dict[str, Callable[..., Any]] = {}
        printer = ctypes.CFUNCTYPE(_INT, _INT, _STR, _PTR)
        # libbpf keeps the pointer for the life of the process: so do we.
        self._print = printer(self._on_print)
        self.call("libbpf_set_print", ctypes.cast(self._print, _PTR))

    def call(self, symbol: str, *args: Any) -> Any:
        """Call a libbpf function; LibbpfError when this library is too old to have it."""
        bound = self._bound.get(symbol)
        if bound is None:
            try:
                function = getattr(self._dll, symbol)
            except AttributeError:
                raise LibbpfError(
                    f"{self.path} has no {symbol}; install a newer libbpf or name one in "
                    "FUSEBPF_LIBBPF",
                    errno.ENOSYS,
                ) from None
            function.restype, function.argtypes = _PROTOTYPES[symbol]
            bound = self._bound[symbol] = function
        return bound(*args)

    def _on_print(self, level: int, fmt: bytes, va_list: int | None) -> int:
        lines: list[str] | None = getattr(_capture, "lines", None)
        if lines is None or level > _PRINT_WARN:  # at INFO it only says what it skips
            return 0
        buffer = ctypes.create_string_buffer(_LINE_BYTES)
        # A va_list is passed by reference on x86-64 and arm64, hence as a pointer here.
        self._libc.vsnprintf(buffer, ctypes.c_size_t(_LINE_BYTES), fmt, ctypes.c_void_p(va_list))
        text = buffer.value.decode("utf-8", "replace").strip()
        lines.extend(line for line in text.splitlines() if line)
        return 0


_library: _Library | None = None
_loading = threading.Lock()  # a second one would take over what libbpf prints, and be freed


def library() -> _Library:
    """The libbpf in use. Raises FusebpfError when there is none."""
    global _library
    if _library is None:
        with _loading:
            _library = _library or _loaded()
    return _library


def _loaded() -> _Library:
    named = os.environ.get("FUSEBPF_LIBBPF")
    try:
        return _Library(named or "libbpf.so.1")
    except OSError as error:
        where = f"FUSEBPF_LIBBPF={named}" if named else "libbpf.so.1"
        raise FusebpfError(
            f"cannot load libbpf ({where}): {error}",
            "correct it, or unset FUSEBPF_LIBBPF" if named else "apt-get install libbpf1",
        ) from None


def version() -> tuple[int, int]:
    """(major, minor) of the libbpf in use."""
    lib = library()
    return int(lib.call("libbpf_major_version")), int(lib.call("libbpf_minor_version"))


@contextmanager
def _captured() -> Iterator[list[str]]:
    """Collect what libbpf prints.

    Signals are held back, as Python would run their handlers in our print callback, where
    ctypes drops the exception: a Ctrl-C would be lost. What the block made must be where a
    KeyboardInterrupt at its end finds it.
    """
    lines: list[str] = []
    outer = getattr(_capture, "lines", None)
    with uninterrupted():
        _capture.lines = lines
        try:
            yield lines
        finally:
            _capture.lines = outer


class Program:
    """A program of an open object; valid while the object is."""

    def __init__(self, owner: Object, pointer: int) -> None:
        self._owner = owner
        self._pointer = pointer
        self.address = pointer
        lib = library()
        self.name: str = lib.call("bpf_program__name", pointer).decode()
        self.section: str = lib.call("bpf_program__section_name", pointer).decode()

    @property
    def autoload(self) -> bool:
        """Whether `Object.load` loads this program."""
        return bool(library().call("bpf_program__autoload", self._owner.alive(self._pointer)))

    @autoload.setter
    def autoload(self, wanted: bool) -> None:
        pointer = self._owner.alive(self._pointer)
        _check(library().call("bpf_program__set_autoload", pointer, wanted), "set_autoload")

    @property
    def loaded(self) -> bool:
        """Whether the program is in the kernel."""
        return int(library().call("bpf_program__fd", self._owner.alive(self._pointer))) >= 0

    @property
    def fd(self) -> int:
        """Descriptor, owned by the object. Raises LibbpfError when not loaded."""
        fd = int(library().call("bpf_program__fd", self._owner.alive(self._pointer)))
        return _check(fd, f"program {self.name} is not loaded")

    def run(self, ctx_in: bytes = b"") -> int:
        """Run once with the context given; the unsigned 32-bit return value."""
        return sysbpf.prog_run(self.fd, ctx_in).retval


class Map:
    """A map of an open object; valid while the object is. Sizes are bytes."""

    def __init__(self, owner: Object, pointer: int) -> None:
        self._owner = owner
        self._pointer = pointer
        lib = library()
        self.name: str = lib.call("bpf_map__name", pointer).decode()
        self.type = int(lib.call("bpf_map__type", pointer))
        self.key_size = int(lib.call("bpf_map__key_size", pointer))
        self.value_size = int(lib.call("bpf_map__value_size", pointer))
        self.max_entries = int(lib.call("bpf_map__max_entries", pointer))

    @property
    def autocreate(self) -> bool:
        """Whether `Object.load` makes this map."""
        return bool(library().call("bpf_map__autocreate", self._owner.alive(self._pointer)))

    @autocreate.setter
    def autocreate(self, wanted: bool) -> None:
        pointer = self._owner.alive(self._pointer)
        _check(library().call("bpf_map__set_autocreate", pointer, wanted), "set_autocreate")

    def reuse(self, fd: int) -> None:
        """Have the load take the map behind `fd`, which stays the caller's, for this one."""
        pointer = self._owner.alive(self._pointer)
        _check(library().call("bpf_map__reuse_fd", pointer, fd), f"cannot keep map {self.name}")

    @property
    def fd(self) -> int:
        """Descriptor, owned by the object. Raises LibbpfError when the map was not made."""
        fd = int(library().call("bpf_map__fd", self._owner.alive(self._pointer)))
        return _check(fd, f"map {self.name} is not there")

    def initial_value(self) -> memoryview:
        """Writable view of what the map starts with; only before the load.

        Maps of data sections have one; a struct_ops map has one from libbpf 1.5 on (the struct
        with its members). Raises LibbpfError where there is none.
        """
        size = ctypes.c_size_t()
        pointer = self._owner.alive(self._pointer)
        address = library().call("bpf_map__initial_value", pointer, ctypes.byref(size))
        if not address:
            raise LibbpfError(f"map {self.name} has no initial value", errno.ENOENT)
        block = (ctypes.c_char * size.value).from_address(address)
        return memoryview(block).cast("B")

    def mmap(self) -> mmap.mmap:
        """The values of a BPF_F_MMAPABLE array, shared with the kernel.

        Element i starts at i * round_up(value_size, 8) (kernel/bpf/arraymap.c).
        """
        size = ((self.value_size + 7) & ~7) * self.max_entries
        return mmap.mmap(self.fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)

    def attach_struct_ops(self) -> Link:
        """Register a struct_ops map with its subsystem. The link undoes that when closed."""
        pointer = self._owner.alive(self._pointer)
        link: Link | None = None
        try:
            with _captured() as reasons:
                made = library().call("bpf_map__attach_struct_ops", pointer)
                code = ctypes.get_errno()
                link = Link(made) if made else None
        except BaseException:
            if link is not None:
                link.close()
            raise
        if link is None:
            raise LibbpfError(f"cannot register {self.name}", code, tuple(reasons))
        return link


class Link:
    """A struct_ops registration. The kernel keeps it while any descriptor or mount holds it."""

    def __init__(self, pointer: int) -> None:
        self._pointer: int | None = pointer
        self.fd = int(library().call("bpf_link__fd", pointer))

    @property
    def id(self) -> int:
        """Id of the link, by which any process finds it again."""
        return sysbpf.link_info(self.fd).id

    def close(self) -> None:
        """Give up our reference."""
        if self._pointer is not None:
            pointer, self._pointer = self._pointer, None
            library().call("bpf_link__destroy", pointer)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Object:
    """A BPF object: opened, adjusted, loaded, closed. Closing unloads what nothing else holds."""

    def __init__(self, data: bytes, name: str) -> None:
        """Open an ELF object held in memory. `name` prefixes the names of its data maps."""
        self._pointer: int | None = None
        self._name = name
        self._data = data  # libbpf reads it until the load
        self._log = mmap.mmap(-1, LOG_BUFFER_BYTES)
        log_address = ctypes.addressof(ctypes.c_char.from_buffer(self._log))
        opts = _OpenOpts(
            sz=ctypes.sizeof(_OpenOpts),
            object_name=name.encode(),
            kernel_log_buf=log_address,
            kernel_log_size=LOG_BUFFER_BYTES,
        )
        try:
            with _captured() as reasons:
                pointer = library().call(
                    "bpf_object__open_mem", data, len(data), ctypes.byref(opts)
                )
                code = ctypes.get_errno()
                self._pointer = pointer or None
        except BaseException:
            self.close()
            raise
        if self._pointer is None:
            raise LibbpfError(f"cannot open object {name}", code, tuple(reasons))

    @classmethod
    def open_file(cls, path: str | os.PathLike[str]) -> Object:
        """Open an object file. Raises OSError when it cannot be read."""
        file = Path(path)
        return cls(file.read_bytes(), file.name.split(".", 1)[0])

    @property
    def data(self) -> bytes:
        """The object file."""
        return self._data

    def alive(self, pointer: int) -> int:
        """`pointer`, or LibbpfError when the object was closed and it points nowhere."""
        if self._pointer is None:
            raise LibbpfError(f"object {self._name} is closed", errno.EBADF)
        return pointer

    def _each(self, symbol: str) -> Iterator[int]:
        if self._pointer is None:
            raise LibbpfError(f"object {self._name} is closed", errno.EBADF)
        current = library().call(symbol, self._pointer, None)
        while current:
            yield current
            current = library().call(symbol, self._pointer, current)

    @cached_property
    def programs(self) -> dict[str, Program]:
        """Programs by name, in the object's order."""
        found = (Program(self, pointer) for pointer in self._each("bpf_object__next_program"))
        return {program.name: program for program in found}

    @cached_property
    def maps(self) -> dict[str, Map]:
        """Maps by name, data sections (".rodata", ...) among them."""
        found = (Map(self, pointer) for pointer in self._each("bpf_object__next_map"))
        return {entry.name: entry for entry in found}

    @cached_property
    def btf(self) -> Btf:
        """BTF of the object, with the offsets of variables filled in by libbpf."""
        if self._pointer is None:
            raise LibbpfError(f"object {self._name} is closed", errno.EBADF)
        size = ctypes.c_uint32()
        btf = library().call("bpf_object__btf", self._pointer)
        address = library().call("btf__raw_data", btf, ctypes.byref(size)) if btf else None
        if not address:
            raise LibbpfError(f"object {self._name} has no BTF; compile it with -g", errno.ENOENT)
        return Btf(ctypes.string_at(address, size.value))

    def data_map(self, section: str) -> Map:
        """The map of a data section: `.rodata` is called `<object>.rodata` by libbpf."""
        for entry in self.maps.values():
            if entry.name.endswith(section):
                return entry
        raise LibbpfError(f"object {self._name} has no section {section}", errno.ENOENT)

    def set_rodata(self, variable: str, value: bytes) -> None:
        """Give a constant of `.rodata` its value, before the load. The size must be the constant's.

        Raises KeyError when the object has no such constant.
        """
        field: Field = self.btf.section_variables(".rodata")[variable]
        if field.size != len(value):
            raise ValueError(f"{variable} has {field.size} bytes, got {len(value)}")
        view = self.data_map(".rodata").initial_value()
        view[field.offset : field.offset + len(value)] = value

    def load(self) -> None:
        """Verify and load the chosen programs and maps, all or nothing.

        The verifier's log is asked for only after a refusal (libbpf retries with it), so a
        successful load pays nothing for it.
        """
        if self._pointer is None:
            raise LibbpfError(f"object {self._name} is closed", errno.EBADF)
        wanted = [program for program in self.programs.values() if program.autoload]
        with _captured() as reasons:
            result = library().call("bpf_object__load", self._pointer)
        if result < 0:
            raise LibbpfError(
                f"cannot load object {self._name}",
                -result,
                tuple(reasons),
                self._log[: self._log.find(b"\0")].decode("utf-8", "replace"),
                _refused(wanted, reasons),
            )

    def close(self) -> None:
        """Close the object and every descriptor it owns."""
        if self._pointer is not None:
            pointer, self._pointer = self._pointer, None
            library().call("bpf_object__close", pointer)
        # It would stay until cycles are collected: programs and maps refer to this.
        self._log.close()

    def __enter__(self) -> Object:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()


def _refused(programs: list[Program], reasons: list[str]) -> str | None:
    # After a failed load libbpf has closed every descriptor, so only its own words tell.
    for line in reasons:
        for program in programs:
            if f"prog '{program.name}'" in line and "failed" in line:
                return program.name
    return None


def _check(result: int, what: str) -> int:
    if result < 0:
        raise LibbpfError(what, -result)
    return int(result)
