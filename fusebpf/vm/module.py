# SPDX-License-Identifier: MIT
"""The fuse-bpf module for a kernel of the guest root: asked of the kernel part's builder."""

from __future__ import annotations

from pathlib import Path

from fusebpf.vm.builder import run_builder
from fusebpf.vm.debootstrap import Progress
from fusebpf.vm.errors import PrepareError

MODULE_NAME = "fusebpf.ko"


def prepare_module(root: Path, release: str, progress: Progress) -> Path:
    """Return the path of ``fusebpf.ko`` for the kernel ``release``, built first when absent.

    Raises:
        PrepareError: the root has no headers for this kernel, or the build failed.
    """
    if not (root / "usr/src" / f"linux-headers-{release}").is_dir():
        raise PrepareError(
            f"the guest root has no headers for the kernel {release}, so the module cannot be "
            "built for it",
            "name a built one with --module FILE, or run with --no-module",
        )
    arguments = ["module", "--root", str(root), "--kver", release]
    return run_builder(
        "build.py", arguments, "the module", "to boot without it: --no-module", progress
    )
