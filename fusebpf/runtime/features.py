# SPDX-License-Identifier: MIT
"""What the running kernel offers of fuse-bpf."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fusebpf.errors import PrivilegeError, UnsupportedKernelError
from fusebpf.runtime.btf import KERNEL_BTF, Btf, module_btf

MODULE = "fusebpf"
OPS_STRUCT = "fuse_ops"
KERNEL_FS_TYPE = "fuse"
MODULE_FS_TYPE = "fuse_bpf"
VALUE_STRUCT = "bpf_struct_ops_fuse_ops"
"""The kernel wraps a struct_ops type T in a value type of this name (bpf_struct_ops.c)."""


@dataclass(frozen=True)
class FuseBpf:
    """A kernel with fuse-bpf: the type to mount, and its struct fuse_ops.

    `members` are byte offsets in struct fuse_ops by member name, `data_offset` that of the
    struct in the value of a struct_ops map.
    """

    fs_type: str
    members: dict[str, int]
    data_offset: int

    @property
    def in_kernel(self) -> bool:
        """The kernel's own FUSE has it (type `fuse`); otherwise a module does (`fuse_bpf`)."""
        return self.fs_type == KERNEL_FS_TYPE


def _fs_types() -> set[str]:
    lines = Path("/proc/filesystems").read_text(encoding="ascii").splitlines()
    return {line.split("\t")[-1] for line in lines}


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
    fs_type = MODULE_FS_TYPE
    btf = module_btf(MODULE)
    if btf is None:
        fs_type = KERNEL_FS_TYPE
        btf = _kernel_btf()
    if btf is None or fs_type not in _fs_types():
        return None
    members = btf.struct_members(OPS_STRUCT)
    value = btf.struct_members(VALUE_STRUCT)
    if members is None or value is None:
        return None
    data = next((field.offset for field in value if field.name == "data"), None)
    if data is None:
        return None
    return FuseBpf(fs_type, {field.name: field.offset for field in members}, data)


def served_hooks() -> tuple[str, ...]:
    """Hooks that the loaded module or the kernel's FUSE runs, or none when it does not say."""
    for owner in (MODULE, KERNEL_FS_TYPE):
        try:
            text = Path(f"/sys/module/{owner}/parameters/hooks").read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            continue
        return tuple(text.strip().split(","))
    return ()


def require() -> FuseBpf:
    """What is there. Raises UnsupportedKernelError when that is nothing."""
    found = probe()
    if found is None:
        raise UnsupportedKernelError(
            f"this kernel ({os.uname().release}) has no fuse-bpf",
            "build and load the module (make module, then insmod the fusebpf.ko it names, or "
            "modprobe fusebpf where it is installed),\n"
            "or do it in the VM, which needs neither: fusebpf vm run -- COMMAND",
        )
    return found


def require_root(what: str) -> None:
    """Raise PrivilegeError unless this process is root."""
    if os.geteuid() != 0:
        raise PrivilegeError(f"{what} needs root", "run it as root, e.g. with sudo")
