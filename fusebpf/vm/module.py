# SPDX-License-Identifier: MIT
"""The fuse-bpf module for a kernel of the guest root: asked of the kernel part's builder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fusebpf
from fusebpf.vm.errors import PrepareError
from fusebpf.vm.root import Progress

MODULE_NAME = "fusebpf.ko"


def builder_path() -> Path:
    """Return ``kernel/build.py`` of the source tree, or of the installed package.

    Raises:
        PrepareError: neither is there.
    """
    package = Path(fusebpf.__file__).parent
    for candidate in (package.parent / "kernel/build.py", package / "_share/kernel/build.py"):
        if candidate.is_file():
            return candidate
    raise PrepareError(
        "this installation lacks kernel/build.py, so the module cannot be built",
        "install fusebpf again, or run with --no-module",
    )


def prepare_module(root: Path, release: str, progress: Progress) -> Path:
    """Return the path of ``fusebpf.ko`` for the kernel ``release``, built first when absent.

    Raises:
        PrepareError: the root has no headers for this kernel, or the build failed.
    """
    if not (root / "lib/modules" / release / "build").exists():
        raise PrepareError(
            f"the guest root has no headers for the kernel {release}, so the module cannot be "
            "built for it",
            "name a built one with --module FILE, or run with --no-module",
        )
    command = [
        sys.executable,
        str(builder_path()),
        "module",
        "--root",
        str(root),
        "--kver",
        release,
    ]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        told = []
        for line in child.stderr:
            told.append(line.rstrip())
            progress(told[-1])
        printed = child.stdout.read().split("\n")
    path = next((Path(line) for line in reversed(printed) if line), None)
    if child.returncode != 0 or path is None or not path.is_file():
        tail = "\n".join(told[-25:])
        raise PrepareError(
            f"the module could not be built:\n{tail}", "to boot without it: --no-module"
        )
    return path
