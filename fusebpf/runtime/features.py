# SPDX-License-Identifier: MIT
"""What the running kernel offers of fuse-bpf."""

from __future__ import annotations

import os
import re
from functools import cache, lru_cache
from pathlib import Path

from fusebpf import programs
from fusebpf.build.paths import SOURCE_TREE, share_dir
from fusebpf.errors import PrivilegeError, UnsupportedKernelError
from fusebpf.frozen import dataclass
from fusebpf.objfile.btf import KERNEL_BTF, Btf, module_btf

MODULE = "fusebpf"
VMLINUX = "vmlinux"
"""Name of the kernel's own BTF, as bpf(2) tells it of a map."""
OPS_STRUCT = "fuse_ops"
KERNEL_FS_TYPE = "fuse"
MODULE_FS_TYPE = "fuse_bpf"
DEVICES = {MODULE_FS_TYPE: "/dev/fusebpf", KERNEL_FS_TYPE: "/dev/fuse"}
"""Type to mount → the device of its daemons."""
VALUE_STRUCT = "bpf_struct_ops_fuse_ops"
"""The kernel wraps a struct_ops type T in a value type of this name (bpf_struct_ops.c)."""


@dataclass(frozen=True)
class FuseBpf:
    """A kernel with fuse-bpf: the type to mount, and its struct fuse_ops.

    `members` are byte offsets in struct fuse_ops of the hooks and of `name`, `data_offset` that of
    the struct in the value of a struct_ops map, `value_size` the size of that value.
    """

    fs_type: str
    members: dict[str, int]
    data_offset: int
    value_size: int

    @property
    def in_kernel(self) -> bool:
        """The kernel's own FUSE has it (type `fuse`); otherwise a module does (`fuse_bpf`)."""
        return self.fs_type == KERNEL_FS_TYPE


def _parameter(fs_type: str) -> Path:
    """The parameter that lists the hooks: what fuse-bpf has and other FUSE has not."""
    owner = MODULE if fs_type == MODULE_FS_TYPE else KERNEL_FS_TYPE
    return Path(f"/sys/module/{owner}/parameters/hooks")


def fs_type() -> str | None:
    """The type to mount, or None where nothing has fuse-bpf. The module goes before the kernel."""
    return next((name for name in DEVICES if _parameter(name).exists()), None)


def device() -> str:
    """The device that daemons open: of the module, unless the kernel's own FUSE has fuse-bpf."""
    return DEVICES[fs_type() or MODULE_FS_TYPE]


@cache
def _kernel_btf() -> Btf | None:
    try:
        raw = (KERNEL_BTF / "vmlinux").read_bytes()
    except FileNotFoundError:
        return None
    # Walking the kernel's 100,000 types is slow; a kernel without ours lacks even the name.
    return Btf(raw) if b"\0" + VALUE_STRUCT.encode() + b"\0" in raw else None


def probe() -> FuseBpf | None:
    """What is there, or None."""
    found = fs_type()
    btf = module_btf(MODULE) if found == MODULE_FS_TYPE else _kernel_btf() if found else None
    return None if found is None or btf is None else _described(found, btf)


@lru_cache(maxsize=1)  # what is there is asked for often, another module comes hardly ever
def _described(found: str, btf: Btf) -> FuseBpf | None:
    members = btf.struct_members(OPS_STRUCT)
    value = btf.struct_members(VALUE_STRUCT)
    if members is None or value is None:
        return None
    data = next((field.offset for field in value if field.name == "data"), None)
    size = btf.struct_size(VALUE_STRUCT)
    if data is None or size is None:
        return None
    # Where the kernel takes no programs for members of some numbers, others stand there
    known = {f.name: f.offset for f in members if f.name == "name" or f.name.endswith("filter")}
    return FuseBpf(found, known, data, size)


def served_hooks() -> tuple[str, ...]:
    """Hooks that the loaded module or the kernel's FUSE runs, or none when it does not say."""
    found = fs_type()
    if found is None:
        return ()
    try:
        return tuple(_parameter(found).read_text(encoding="ascii").strip().split(","))
    except (OSError, UnicodeDecodeError):
        return ()


def how_to_get(release: str) -> str:
    """The command that brings fuse-bpf to a kernel, by what this installation ships."""
    kernel = share_dir("kernel") / "build.py"
    if not kernel.exists():  # Debian's package of us: the kernel part is another package
        return f"apt-get install fusebpf-dkms linux-headers-{release}, then modprobe {MODULE}"
    if share_dir("kernel") == SOURCE_TREE / "kernel":
        return f"insmod $(make -s module KVER={release})"
    return f"insmod $(python3 {kernel} module --root / --kver {release})"


def why_not(release: str) -> str:
    """What to do where the module is not made for a kernel; empty where it may be."""
    from fusebpf.objfile.summary import KERNEL_SERIES

    series = re.match(r"\d+\.\d+(?!\d)", release)
    if series is not None and series[0] in KERNEL_SERIES:
        return ""
    known = " and ".join(KERNEL_SERIES)
    there = how_to_get("$(uname -r)")
    return f"the module is made for Linux {known}: boot such a kernel, then {there}"


def require() -> FuseBpf:
    """What is there. Raises UnsupportedKernelError when that is nothing."""
    return _found("")


def load() -> FuseBpf:
    """What is there; where that is nothing, modprobe(8) is asked to insert the module first.

    Raises UnsupportedKernelError, with what modprobe(8) said of a module that it could not insert.
    """
    return _found("" if fs_type() else _modprobe())


_ABSENT = "not found in directory"
_REFUSALS = {
    "Key was rejected": "Secure Boot is on, sign the module: fusebpf doctor --for attach says how",
    "Operation not permitted": "in a container, do it on its host, as root: modprobe {module}",
    "": "dmesg says more; build the module for this kernel anew: {anew}",
}
"""What modprobe(8) says of a module that is installed, and how to mend it."""


def _modprobe() -> str:
    """Insert the module; what was said when that failed, by a module that is installed."""
    import subprocess

    command = programs.find("modprobe")
    if command is None:
        return ""
    done = subprocess.run(
        [command, MODULE],
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    said = done.stderr.strip()
    return "" if done.returncode == 0 or _ABSENT in said else said or "modprobe failed"


def _found(said: str) -> FuseBpf:
    found = probe()
    if found is not None:
        return found
    release = os.uname().release
    if said:
        mend = next(text for part, text in _REFUSALS.items() if part in said)
        raise UnsupportedKernelError(
            f"the module {MODULE} cannot be loaded into this kernel ({release}): {said}",
            mend.format(module=MODULE, anew=how_to_get(release)),
        )
    raise UnsupportedKernelError(
        f"this kernel ({release}) has no fuse-bpf",
        (why_not(release) or f"build and load the module: {how_to_get(release)}")
        + "\nor do it in the VM, which needs neither: fusebpf vm run -- COMMAND",
    )


def require_root(what: str) -> None:
    """Raise PrivilegeError unless this process is root."""
    if os.geteuid() != 0:
        raise PrivilegeError(f"{what} needs root", "run it as root, e.g. with sudo")
