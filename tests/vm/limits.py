# SPDX-License-Identifier: MIT
"""What the guest's kernel sets tests as limits: time on a slow one, file systems."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SLOWNESS = float(os.environ.get("FUSEBPF_VM_SLOWNESS", "1"))
"""How much longer than on the stock kernel everything may take; the runner says it."""


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    """Wait until something holds that the kernel does in its own time."""
    end = time.monotonic() + seconds * SLOWNESS
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def need_file_system(kind: str) -> None:
    """Skip the test when this kernel has no file system of this kind: ours leave some out."""
    subprocess.run(["modprobe", "-q", kind], check=False)
    if f"\t{kind}\n" not in Path("/proc/filesystems").read_text():
        pytest.skip(f"this kernel has no {kind}")
