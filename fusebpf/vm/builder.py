# SPDX-License-Identifier: MIT
"""Runs the kernel part's builders, build.py and image.py, and passes on what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import fusebpf
from fusebpf.vm.debootstrap import Progress
from fusebpf.vm.errors import PrepareError


def builder_path(script: str) -> Path:
    """Return ``kernel/SCRIPT`` of the source tree, or of the installed package.

    Raises:
        PrepareError: neither is there.
    """
    package = Path(fusebpf.__file__).parent
    for candidate in (package.parent / "kernel" / script, package / "_share/kernel" / script):
        if candidate.is_file():
            return candidate
    raise PrepareError(
        f"this installation lacks kernel/{script}, so nothing can be built with it",
        "install fusebpf again, or run the stock kernel with --no-module",
    )


def run_builder(
    script: str, arguments: Sequence[str], what: str, help: str, progress: Progress
) -> Path:
    """Run a builder and return the path that it prints, of what is there now.

    Raises:
        PrepareError: ``what`` could not be built; with the end of the builder's words.
    """
    command = [sys.executable, str(builder_path(script)), *arguments]
    # Should this process be killed outright, the builder gets the same end by the kernel's hand.
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        told = []
        try:
            for line in child.stderr:
                told.append(line.rstrip())
                progress(told[-1])
            printed = child.stdout.read().split("\n")
        except BaseException:
            # make and its compilers, too. Nobody has waited for it: the group is still there.
            os.killpg(child.pid, signal.SIGKILL)
            raise
    path = next((Path(line) for line in reversed(printed) if line), None)
    if child.returncode != 0 or path is None or not path.is_file():
        tail = "\n".join(told[-25:])
        raise PrepareError(f"{what} could not be built:\n{tail}", help)
    return path
