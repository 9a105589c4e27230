# SPDX-License-Identifier: MIT
"""What Debian's package tells DKMS agrees with what the builder of the module says."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fusebpf import mounthelper
from fusebpf.mountoptions import ATTRIBUTES

ROOT = Path(__file__).resolve().parents[2]
DKMS = ROOT / "debian/fusebpf-dkms.dkms"


@pytest.fixture
def support(monkeypatch: pytest.MonkeyPatch) -> Any:
    """kernel/support.py: a file beside build.py, not part of a package."""
    monkeypatch.syspath_prepend(ROOT / "kernel")
    return importlib.import_module("support")


def settings(release: str) -> dict[str, str]:
    """What DKMS reads for a kernel: it sources the file with bash."""
    names = ("BUILD_EXCLUSIVE_KERNEL", "BUILD_EXCLUSIVE_CONFIG", "MAKE")
    show = "; ".join(f'echo "${{{name}}}"' for name in names)
    done = subprocess.run(
        ["bash", "-c", f"kernelver={release}; . {DKMS}; {show}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(names, done.stdout.splitlines(), strict=True))


@pytest.mark.parametrize(
    "release",
    [
        "6.12.106+deb13-amd64",
        "6.12.107+deb13-amd64",
        "6.12.118+deb12-amd64",
        "6.12.1000-rc",
        "6.12.38-cloud-amd64",
        "6.12-amd64",
        "6.1.0-28-amd64",
        "6.18.118-amd64",
        "16.12.118-amd64",
        "7.3.3+deb13-amd64",
        "7.3.4+deb13-amd64",
        "7.3.12-amd64",
        "7.3-amd64",
        "7.30.4-amd64",
        "17.3.4-amd64",
    ],
)
def test_dkms_builds_for_the_kernels_that_the_builder_takes(support: Any, release: str) -> None:
    try:
        support.check_release(release)
        taken = True
    except support.BuildError:
        taken = False
    pattern = settings(release)["BUILD_EXCLUSIVE_KERNEL"]
    script = '[[ "$1" =~ $2 ]]'
    matched = subprocess.run(["bash", "-c", script, "bash", release, pattern], check=False)
    assert (matched.returncode == 0) == taken


def test_dkms_builds_with_the_builder(support: Any) -> None:
    found = settings("6.12.118+deb13-amd64")
    assert "build.py module --root / --kver 6.12.118+deb13-amd64 " in found["MAKE"]
    assert set(found["BUILD_EXCLUSIVE_CONFIG"].split()) <= set(support.CONFIG)


def test_the_page_of_the_mount_helper_is_whole() -> None:
    page = (ROOT / "debian/mount.fuse_bpf.8").read_text()
    words = set(page.replace(",", " ").replace('"', " ").split())
    assert set(ATTRIBUTES) | {"filter=", "set=", "remount"} <= words
    codes = (
        mounthelper.EXIT_USE,
        mounthelper.EXIT_SYSTEM,
        mounthelper.EXIT_INTERRUPT,
        mounthelper.EXIT_MOUNT,
    )
    assert all(f".TP\n.B {code}\n" in page for code in (0, *codes))
