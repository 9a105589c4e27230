# SPDX-License-Identifier: MIT
"""Probes on the functions that every operation passes (kernel/src/bpf_dispatch.c), by bcc.

They measure times, and read the verdicts that filters return.

The kernel takes the probes away when this process ends, however it ends.
"""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fusebpf import programs
from fusebpf.abi import DEFAULT_FILTER, HOOKS, VERDICTS
from fusebpf.abi.protocol import REQUESTS
from fusebpf.build.paths import share_dir
from fusebpf.errors import FusebpfError, UnsupportedKernelError
from fusebpf.objfile.btf import KERNEL_BTF, Btf, module_btf
from fusebpf.runtime import features, mountinfo, mounts
from fusebpf.runtime.features import MODULE, FuseBpf

Part = Literal["whole", "lower", "filter"]
PARTS: tuple[Part, ...] = ("whole", "lower", "filter")
Kind = Literal["prefilter", "postfilter", "default_filter"]
#: In the order of bpf/trace.bcc.c, whose leave_* have these names.
KINDS: tuple[Kind, ...] = ("prefilter", "postfilter", "default_filter")

_VERDICT_NAMES = {value: name for name, value in VERDICTS.items()}

PACKED_HEADERS = Path("/sys/kernel/kheaders.tar.xz")

#: Functions of this name pattern that are no lower operation.
NOT_LOWER = frozenset({"fbpf_parse_backing", "fbpf_names_backing"})

_LOWER = re.compile(r"^fbpf_\w+_backing$")
_ENTRY = {"fbpf_dispatch": "enter_dispatch", "fbpf_filter": "enter_filtered"}


@dataclass
class Latency:
    """Times of one part of an operation. `histogram` is counts by the least ns of each slot.

    `whole` is the operation in the file system, `lower` the one on the lower directory within it,
    `filter` all its filters; `process` is "" where processes were not asked for.
    """

    opcode: str
    process: str
    part: Part
    count: int = 0
    nanoseconds: int = 0
    histogram: dict[int, int] = field(default_factory=dict)

    def percentile(self, share: float) -> int:
        """Nanoseconds within which this share of the operations lies, rounded up to a slot."""
        left = share * self.count
        for least, count in sorted(self.histogram.items()):
            left -= count
            if left <= 0:
                return 2 * least
        return 0


@dataclass(frozen=True)
class Answer:
    """How often the filters of an operation returned a verdict.

    `verdict` is its name, that of an errno for a refusal (ENOENT), or the number where it is
    neither: the caller gets EIO then. `process` is "" where processes were not asked for.
    """

    opcode: str
    process: str
    filter: Kind
    verdict: str
    count: int


class Tracer:
    """Measures the operations of one mount from its making to `read`."""

    def __init__(self, mountpoint: str | os.PathLike[str]) -> None:
        """Set the probes.

        Raises UsageError when there is no mount, PrivilegeError, UnsupportedKernelError,
        FusebpfError when bcc is missing or cannot compile.
        """
        self._mountpoint = mountpoint
        self._probed: set[str] = set()
        status, entry = mounts.status(mountpoint), mountinfo.at(mountpoint)
        if entry is None:
            raise mounts.gone(mountpoint)  # since its state was read
        features.require_root("trace")
        bcc, kernel = import_bcc(), features.require()
        functions = _functions(kernel)
        lower = sorted(name for name in functions if _LOWER.match(name) and name not in NOT_LOWER)
        absent = [name for name in _ENTRY if name not in functions]
        if absent or not lower:
            raise UnsupportedKernelError(
                "this kernel does not show the functions of fuse-bpf",
                "as root: sysctl kernel.kptr_restrict=1, and no lockdown",
            )
        try:
            self._bpf = compiled(
                bcc,
                (share_dir("bpf") / "trace.bcc.c").read_text(encoding="utf-8"),
                *_defines(entry.device, kernel),
            )
        except Exception as error:  # bcc raises no class of its own
            raise FusebpfError(
                f"bcc cannot compile for this kernel: {error}",
                f"it needs its headers: {headers_mend()}",
            ) from None
        try:
            for name, kind in _filters(status.hooks, functions):
                self._probe(name, "enter_filter", f"leave_{kind}")
            for name in lower:
                self._probe(name, "enter_lower", "leave_lower")
            for name, enter in _ENTRY.items():
                self._probe(name, enter, "leave")
        except Exception as error:
            self.close()
            raise FusebpfError(
                f"bcc cannot set a probe: {error}", "probes need CAP_SYS_ADMIN, and no lockdown"
            ) from None

    def _probe(self, name: str, enter: str, leave: str) -> None:
        # The return first: an entry without its return would leave a thread half-way.
        self._bpf.attach_kretprobe(event=name, fn_name=leave)
        self._bpf.attach_kprobe(event=name, fn_name=enter)
        self._probed.add(name)

    @property
    def missed(self) -> int:
        """Operations whose end was not seen, as too many were under way at once."""
        return int(self._bpf["missed"][0].value)

    @property
    def unprobed(self) -> list[str]:
        """Hooks of the filters in force that are not measured: they came by a replacement."""
        try:
            hooks = mounts.status(self._mountpoint).hooks
        except FusebpfError:
            return []  # it is unmounted
        return [hook for hook in hooks if not _filters([hook], self._probed)]

    def read(self, by_process: bool = False) -> list[Latency]:
        """What was measured so far: by opcode, and by process when asked for."""
        rows: dict[tuple[str, str, int], Latency] = {}
        for key, value in self._bpf["found"].items():
            if not value.count:
                continue  # the kernel is about to count its first
            opcode, process = _whose(key, by_process)
            row = rows.setdefault(
                (opcode, process, key.part), Latency(opcode, process, PARTS[key.part])
            )
            row.count += value.count
            row.nanoseconds += value.nanoseconds
            least = 1 << max(key.slot - 1, 0)  # bcc's log2 counts from 1
            row.histogram[least] = row.histogram.get(least, 0) + value.count
        return [rows[name] for name in sorted(rows)]

    def answers(self, by_process: bool = False) -> list[Answer]:
        """The verdicts so far: of each opcode, and process when asked for, the most often first."""
        counts: Counter[tuple[str, str, int, int]] = Counter()
        for key, value in self._bpf["answers"].items():
            counts[*_whose(key, by_process), key.filter, key.verdict] += value.value
        ordered = sorted(counts.items(), key=lambda item: (*item[0][:3], -item[1], item[0][3]))
        return [
            Answer(opcode, process, KINDS[kind], _verdict(verdict), count)
            for (opcode, process, kind, verdict), count in ordered
        ]

    def close(self) -> None:
        """Take the probes away."""
        self._bpf.cleanup()

    def __enter__(self) -> Tracer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _whose(key: Any, by_process: bool) -> tuple[str, str]:
    """The opcode of a key, and the process when asked for."""
    request = REQUESTS.get(key.opcode)
    opcode = request.opcode_name if request else f"OPCODE_{key.opcode}"
    return opcode, key.process.decode("utf-8", "backslashreplace") if by_process else ""


def _verdict(number: int) -> str:
    return _VERDICT_NAMES.get(number) or errno.errorcode.get(-number) or str(number)


def import_bcc() -> Any:
    """The module bcc. Raises FusebpfError."""
    try:
        import bcc
    except ImportError as error:
        raise FusebpfError(
            f"bcc cannot be imported: {error}",
            "apt-get install python3-bpfcc, and run fusebpf with the system's python3",
        ) from None
    return bcc


def compiled(bcc: Any, text: str, *defines: str) -> Any:
    """A program of bcc, loaded. Raises what bcc raises, which has no class of its own."""
    with _stdout_is_stderr():
        # Not to be warned of the kernel's headers
        return bcc.BPF(text=text.encode(), cflags=["-w", *defines])


@contextmanager
def _stdout_is_stderr() -> Iterator[None]:
    """For code in C++ that tells what it lacks on fd 1, where a command's answer goes."""
    try:
        ours = os.dup(1)
    except OSError:  # it is closed
        yield
        return
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(ours, 1)
        os.close(ours)


def headers_mend() -> str:
    """The command that gives bcc the running kernel's headers, if those are what it lacks.

    bcc unpacks what the kernel brings itself (CONFIG_IKHEADERS, kernel/kheaders.c) with tar and xz.
    """
    if PACKED_HEADERS.exists() and programs.find("xz") is None:
        return "apt-get install xz-utils"
    return f"apt-get install linux-headers-{os.uname().release}"


def _functions(kernel: FuseBpf) -> frozenset[str]:
    """Functions of fuse-bpf in the running kernel."""
    found = set()
    for line in Path("/proc/kallsyms").read_text(encoding="ascii").splitlines():
        _address, kind, name, *owner = line.split()
        if name.startswith("fbpf_") and kind in "tT":
            if bool(owner) == kernel.in_kernel:
                continue
            found.add(name)
    return frozenset(found)


def _filters(hooks: Iterable[str], functions: Collection[str]) -> list[tuple[str, Kind]]:
    """The functions that call the filters of these hooks, and return their verdicts."""
    found: list[tuple[str, Kind]] = []
    if DEFAULT_FILTER.name in hooks and "fbpf_default" in functions:
        found.append(("fbpf_default", "default_filter"))
    for hook in filter(None, map(HOOKS.get, hooks)):
        name = f"fbpf_{hook.op}_{hook.phase}"
        if name in functions:
            found.append((name, "prefilter" if hook.phase == "pre" else "postfilter"))
    return found


def _defines(device: str, kernel: FuseBpf) -> list[str]:
    """Where things lie in the kernel's structs, from BTF, and the mount's device (MAJOR:MINOR)."""
    major, minor = map(int, device.split(":"))
    vmlinux = Btf((KERNEL_BTF / "vmlinux").read_bytes())
    ours = vmlinux if kernel.in_kernel else module_btf(MODULE)
    if ours is None:
        raise UnsupportedKernelError("the module's BTF is gone", "load the module again")
    values = {
        "OFFSET_SUPER": _offset(vmlinux, "inode", "i_sb"),
        "OFFSET_DEVICE": _offset(vmlinux, "super_block", "s_dev"),
        "OFFSET_OPCODE": _offset(ours, "fbpf_desc", "opcode"),
        # As the kernel has it inside: 12 bits of major, 20 of minor.
        "DEVICE": major << 20 | minor,
    }
    return [f"-D{name}={value}" for name, value in values.items()]


def _offset(btf: Btf, struct: str, member: str) -> int:
    for entry in btf.struct_members(struct) or ():
        if entry.name == member:
            return entry.offset
    raise UnsupportedKernelError(f"the kernel's BTF has no {struct}.{member}", None)
