# SPDX-License-Identifier: MIT
"""Benchmark: what plain FUSE costs with our patches and without, in guest instructions.

Debian's bindfs serves a tmpfs; every operation is counted with kernel and daemon together, on one
emulated processor that takes a nanosecond for each instruction. Of `stock`, the module's FUSE is
compared with the kernel's own. Kernels of ours are built when absent.

    python scripts/plain_fuse.py                  # /dev/fuse and /dev/fusebpf of Debian's kernel
    python scripts/plain_fuse.py plain patched    # two kernels, their own /dev/fuse
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import bench

from fusebpf.runtime.features import DEVICES, KERNEL_FS_TYPE

SOURCE = Path(__file__).with_name("plain_fuse.c")


def column(fs_type: str, library: Path) -> bench.Column:
    """A mount of this type, served by bindfs."""
    lead = {"FUSE_DEVICE": DEVICES[fs_type], "FUSE_TYPE": fs_type, "LD_PRELOAD": str(library)}
    return bench.daemon("bindfs", "-f", **lead)


def guest() -> None:
    """Print the costs of all devices as JSON."""
    types = DEVICES if os.environ.get("FUSEBPF_MODULE") else (KERNEL_FS_TYPE,)
    with tempfile.TemporaryDirectory() as name:
        library = Path(name) / "lead"
        bench.run("gcc", "-O2", "-Wno-attributes", SOURCE, "-shared", "-fPIC", "-o", library)
        bench.guest({DEVICES[fs_type]: column(fs_type, library) for fs_type in types})


def main() -> None:
    kernels = sys.argv[1:] or ["stock"]
    columns = {
        f"{kernel} {device}": costs
        for kernel in kernels
        for device, costs in sorted(bench.counted(__file__, kernel=kernel).items())
    }
    print(*bench.table(columns), sep="\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--guest"]:
        guest()
    else:
        main()
