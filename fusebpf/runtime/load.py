# SPDX-License-Identifier: MIT
"""Load an object's programs, as struct_ops or as stand-ins, and say in the user's words why not.

One object carries both kinds, all of them off: see bpf/fusebpf.h.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fusebpf.abi import ABI_VERSION
from fusebpf.abi.opcodes import COVERED
from fusebpf.build.metadata import Metadata
from fusebpf.errors import EXIT_REJECTED, FusebpfError, PrivilegeError, UnsupportedKernelError
from fusebpf.runtime.features import OPS_STRUCT, FuseBpf, served_hooks
from fusebpf.runtime.libbpf import LibbpfError, Map, Object, Program, version

if TYPE_CHECKING:
    from fusebpf.objfile.lines import SourceLine
    from fusebpf.runtime.verdicts import Refusal

OPS_MAP = "fusebpf_ops"
CASES_MAP = "fusebpf_cases"
_OPS_PROGRAM = "_ops"
_STANDIN_PROGRAM = "_standin"
_NAME_BYTES = 14

_UNSUPPORTED = re.compile(r"attach to unsupported member (\w+) of struct fuse_ops")


class VerifierError(FusebpfError):
    """The kernel's verifier refused a program that the compiler had accepted.

    `log` is the verifier's log, `program` the name of the program, or None. The diagnostic is at
    the line of the filter file, if the object's tables have it.
    """

    exit_code = EXIT_REJECTED

    def __init__(
        self, message: str, log: str, program: str | None, at: SourceLine | None = None
    ) -> None:
        from fusebpf.runtime import verdicts

        refusal = verdicts.read(log)
        super().__init__(
            message,
            f"{refusal.help}; --verbose shows the whole log. A filter that compiles should be "
            "accepted: please report it",
        )
        self.log = log
        self.program = program
        if at is not None:
            from fusebpf.compiler import Diagnostic

            text = at.text.rstrip()
            start = len(text) - len(text.lstrip())
            found = f"the kernel's verifier refused what this line became: {refusal.reason}"
            notes = (f"usual cause: {refusal.cause}",) if refusal.cause else ()
            place = (at.file, at.line, start + 1, max(len(text), start + 1) + 1)
            self.diagnostics = (Diagnostic("error", "E950", found, *place, refusal.help, notes),)
            self.sources = {at.file: "\n" * (at.line - 1) + text}

    def name_file(self, path: Path) -> None:
        """Let the diagnostic name the filter file by the path that the user gave."""
        self.diagnostics = tuple(
            replace(d, file=str(path)) if d.file == path.name else d for d in self.diagnostics
        )
        self.sources = {str(path) if k == path.name else k: v for k, v in self.sources.items()}


def check_abi(metadata: Metadata, path: Path) -> None:
    """Refuse an object built for another version of the contract with the kernel part."""
    if metadata.abi != ABI_VERSION:
        raise FusebpfError(
            f"{path} was built for ABI {metadata.abi}, this fusebpf has ABI {ABI_VERSION}",
            "build it again with this version: fusebpf compile FILE.py -o OUT",
        )


def open_standin(data: bytes) -> Object:
    """Open an object with its stand-in programs on; they load on any kernel >= 6.4."""
    return _open(data, "standin", "raw_tp")


def open_ops(data: bytes, kernel: FuseBpf, name: str = "") -> tuple[Object, str]:
    """Open an object with its struct_ops programs on, under `name` or a name of its own.

    Returns the object, to be loaded, and the name. Raises UnsupportedKernelError when libbpf is
    too old or the kernel lacks a hook that the object uses.
    """
    require_libbpf()
    opened = _open(data, "fusebpf", "struct_ops")
    try:
        name = name or "f" + os.urandom(6).hex()
        _fill_ops(opened, opened.maps[OPS_MAP], name, kernel)
    except BaseException:
        opened.close()
        raise
    return opened, name


def map_descriptor(opened: Object, name: str) -> int | None:
    """A new descriptor of a map of a loaded object; None when it has none of this name."""
    return os.dup(opened.maps[name].fd) if name in opened.maps else None


def require_libbpf() -> None:
    """Raise UnsupportedKernelError when libbpf is too old to attach to a module."""
    if version() < (1, 5):
        found = ".".join(map(str, version()))
        raise UnsupportedKernelError(
            f"libbpf {found} cannot attach to a kernel module; 1.5 can",
            "install libbpf1 of Debian 13, or name a newer libbpf.so in FUSEBPF_LIBBPF",
        )


def _open(data: bytes, name: str, kind: str) -> Object:
    opened = Object(data, name)
    try:
        for program in opened.programs.values():
            program.autoload = program.section.startswith(kind)
        for entry in opened.maps.values():
            if entry.name == OPS_MAP:
                entry.autocreate = kind == "struct_ops"
            elif entry.name == CASES_MAP:
                entry.autocreate = kind != "struct_ops"
    except BaseException:
        opened.close()
        raise
    return opened


def _fill_ops(opened: Object, ops: Map, name: str, kernel: FuseBpf) -> None:
    """Write the name into the struct, and check its members against the kernel's."""
    members = opened.btf.struct_members(OPS_STRUCT) or []
    value = ops.initial_value()
    filled = {f.name for f in members if any(value[f.offset : f.offset + 8])}
    for field in members:
        if field.name == "name":
            raw = name.encode()[:_NAME_BYTES]
            value[field.offset : field.offset + len(raw) + 1] = raw + b"\0"
        elif field.name not in kernel.members:
            if field.name in filled and not _covered(field.name, kernel, filled):
                raise unserved(field.name)
            # libbpf refuses an object with a member the kernel lacks, unless it is NULL.
            struct.pack_into("=Q", value, field.offset, 0)


def ops_programs(opened: Object) -> dict[str, Program]:
    """The programs in the struct, by hook; before the load libbpf has their addresses there."""
    value = opened.maps[OPS_MAP].initial_value()
    programs = {program.address: program for program in opened.programs.values()}
    found: dict[str, Program] = {}
    for field in opened.btf.struct_members(OPS_STRUCT) or []:
        if field.name != "name":
            (address,) = struct.unpack_from("=Q", value, field.offset)
            if address:
                found[field.name] = programs[address]
    return found


def _covered(hook: str, kernel: FuseBpf, filled: set[str]) -> bool:
    """Whether the kernel calls another hook that the object has too: rename2 for rename."""
    op, _, phase = hook.rpartition("_")
    other = f"{COVERED.get(op)}_{phase}"
    return other in kernel.members and other in filled


def unserved(hook: str) -> UnsupportedKernelError:
    """The error for a hook that the running kernel part does not run."""
    served = served_hooks()
    listed = f"; it serves: {', '.join(served)}" if served else ""
    return UnsupportedKernelError(
        f"hook {hook} is not served by this kernel's fuse-bpf{listed}",
        "leave that filter out, or run a kernel part that serves it",
    )


def load(opened: Object, metadata: Metadata) -> None:
    """Load, with the kernel's refusal turned into an error that names the filter.

    Raises UnsupportedKernelError (a hook not served), VerifierError, PrivilegeError, LibbpfError.
    """
    try:
        opened.load()
    except LibbpfError as error:
        raise explained(error, metadata, opened.data) from error


def explained(error: LibbpfError, metadata: Metadata, data: bytes = b"") -> FusebpfError:
    """The error to show for a failed load of the object `data`."""
    if match := _UNSUPPORTED.search(error.log):
        return unserved(match[1])
    if error.program is None or not error.log:
        if error.errno in (errno.EPERM, errno.EACCES):
            return PrivilegeError(
                "the kernel does not let this process load BPF programs",
                "run it as root, outside containers that withhold CAP_BPF and CAP_SYS_ADMIN",
            )
        return error
    program = error.program.removesuffix(_OPS_PROGRAM).removesuffix(_STANDIN_PROGRAM)
    where = next(
        (
            f"{metadata.source_file}:{entry.line}: filter {entry.function}"
            for entry in metadata.hooks
            if entry.program == program
        ),
        f"{metadata.source_file}: program {error.program}",
    )
    from fusebpf.runtime import verdicts

    refusal = verdicts.read(error.log)
    at = _line(data, error.program, refusal) if data else None
    reason = f"the kernel's verifier refused it: {refusal.reason}"
    return VerifierError(f"{where}: {reason}", error.log, error.program, at)


def _line(data: bytes, program: str, refusal: Refusal) -> SourceLine | None:
    """The author's line of the instruction that was refused, by the object's own tables."""
    from fusebpf.objfile.layout import Layout

    if refusal.instruction is None:
        return None
    return Layout(data).line(program, refusal.instruction)
