# SPDX-License-Identifier: MIT
"""The guest is what was asked for: one kernel with its modules, the same userland on each."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest


def test_kernel_and_userland() -> None:
    assert os.uname().release == os.environ["FUSEBPF_VM"]
    assert platform.freedesktop_os_release()["VERSION_ID"] == "13"


def test_modules_of_the_kernel_are_there() -> None:
    """Also those that the boot did not need."""
    if not Path("/lib/modules", os.uname().release).is_dir():
        pytest.skip("this kernel has no modules")
    subprocess.run(["modprobe", "dm-mod"], check=True)
    assert Path("/sys/module/dm_mod").is_dir()


def test_the_module_is_for_this_kernel() -> None:
    """The runner built it and put it in; its types are known."""
    if "FUSEBPF_MODULE" not in os.environ:
        pytest.skip("this kernel has fuse-bpf in its own FUSE")
    shown = subprocess.run(
        ["modinfo", "-F", "vermagic", os.environ["FUSEBPF_MODULE"]],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    assert shown.split()[0] == os.uname().release
    assert Path("/sys/kernel/btf/fusebpf").stat().st_size > 1000
