# SPDX-License-Identifier: MIT
"""Benchmark: what plain FUSE costs with our patches and without, in guest instructions.

Debian's bindfs serves a tmpfs; every operation is counted with kernel and daemon together, on one
emulated processor that takes a nanosecond for each instruction. Of `stock`, the module's FUSE is
compared with the kernel's own. Kernels of ours are built when absent.

    python scripts/plain_fuse.py                  # /dev/fuse and /dev/fusebpf of Debian's kernel
    python scripts/plain_fuse.py plain patched    # two kernels, their own /dev/fuse
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import bench

from fusebpf.runtime.features import DEVICES, KERNEL_FS_TYPE
from fusebpf.vm.launch import Request, execute

SOURCE = Path(__file__).with_name("plain_fuse.c")
Costs = dict[str, bench.Costs]
"""Device → operation → instructions."""


def measure(fs_type: str, work: Path) -> bench.Costs:
    """Count in the guest, on a mount of this type."""
    lead = {"FUSE_DEVICE": DEVICES[fs_type], "FUSE_TYPE": fs_type, "LD_PRELOAD": str(work / "lead")}
    return bench.measure(bench.daemon("bindfs", "-f", **lead), work / "count", work)


def guest() -> None:
    """Print the costs of all devices as JSON."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        bench.compile_counter(work / "count")
        library = ["-shared", "-fPIC", "-o", str(work / "lead")]
        subprocess.run(["gcc", "-O2", "-Wno-attributes", str(SOURCE), *library], check=True)
        with_module = os.environ.get("FUSEBPF_MODULE")
        types = DEVICES if with_module else (KERNEL_FS_TYPE,)
        print(json.dumps({DEVICES[fs_type]: measure(fs_type, work) for fs_type in types}))


def costs_on(kernel: str) -> Costs:
    """Boot a kernel and count there."""
    output = {1: b"", 2: b""}

    def take(stream: int, data: bytes) -> None:
        output[stream] += data

    command = ["python", str(Path(__file__).resolve()), "--guest"]
    request = Request(command, kernel=kernel, cpus=1, counted=True, timeout=1200)
    report = execute(request, take, lambda text: print(text, file=sys.stderr))
    if report.status:
        raise SystemExit(output[2].decode(errors="replace"))
    found: Costs = json.loads(output[1])
    return found


def main() -> None:
    kernels = sys.argv[1:] or ["stock"]
    columns = {
        f"{kernel} {device}": costs
        for kernel in kernels
        for device, costs in sorted(costs_on(kernel).items())
    }
    print("| operation | " + " | ".join(columns) + " |")
    print("|-" * (len(columns) + 1) + "|")
    for operation in next(iter(columns.values())):
        print(f"| {operation} |", *(f"{costs[operation]:,} |" for costs in columns.values()))


if __name__ == "__main__":
    if sys.argv[1:] == ["--guest"]:
        guest()
    else:
        main()
