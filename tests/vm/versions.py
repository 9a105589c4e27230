# SPDX-License-Identifier: MIT
"""What tests in the guest run on, for their report."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = ("clang", "libbpf1", "python3-bpfcc")


def guest_versions() -> dict[str, str]:
    """Return kernel, module, processors and the versions of what loads filters."""
    found = {
        "kernel": os.uname().release,
        "kernel_build": os.uname().version,
        "processors": str(os.cpu_count()),
        "accelerator": "tcg" if _emulated() else "kvm",
        "python": platform.python_version(),
    }
    if module := os.environ.get("FUSEBPF_MODULE"):
        found["module_sha256"] = hashlib.sha256(Path(module).read_bytes()).hexdigest()
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${Version}\\n", *PACKAGES],
        capture_output=True,
        text=True,
        check=True,
    )
    return found | dict(line.split() for line in listed.stdout.splitlines())


def _emulated() -> bool:
    """QEMU's emulation says so in the processor's name."""
    return "TCG" in Path("/proc/cpuinfo").read_text(encoding="ascii")
