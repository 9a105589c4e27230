# SPDX-License-Identifier: MIT
"""A module that cannot be loaded: what modprobe(8) says of it comes with the way out."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from fusebpf import doctor
from fusebpf.errors import UnsupportedKernelError
from fusebpf.objfile.summary import KERNEL_SERIES
from fusebpf.runtime import features

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(features.fs_type() is not None, reason="this kernel has fuse-bpf")

INSERT = "modprobe: ERROR: could not insert 'fusebpf': "


@pytest.mark.parametrize(
    ("said", "what", "mend"),
    [
        (
            "modprobe: FATAL: Module fusebpf not found in directory /lib/modules/6.12.1",
            "has no fuse-bpf",
            "fusebpf vm run -- COMMAND",
        ),
        (INSERT + "Key was rejected by service", "Key was rejected", "sign the module"),
        (INSERT + "Operation not permitted", "Operation not permitted", "on its host, as root"),
        (INSERT + "Exec format error", "Exec format error", "build the module for this kernel"),
        ("", "modprobe failed", "dmesg says more"),
    ],
)
def test_a_load_that_fails_names_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, what: str, mend: str
) -> None:
    program = tmp_path / "modprobe"
    program.write_text(f'#!/bin/sh\n[ "$*" = fusebpf ] || exit 0\nprintf %s "{said}" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UnsupportedKernelError, match=what) as caught:
        features.load()
    assert mend in (caught.value.help or "")


def test_what_is_there_after_a_load_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "modprobe"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UnsupportedKernelError, match="has no fuse-bpf"):
        features.load()


def test_a_kernel_that_the_module_is_not_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for release in ("6.12.118+deb13-amd64", "7.3.4+deb13-amd64"):
        assert features.why_not(release) == ""
    for release in ("6.1.0-10-amd64", "6.120.1", "6.8.0-31-generic", "odd"):
        assert "made for Linux 6.12 and 7.3: boot such a kernel" in features.why_not(release)
    kernel = os.uname()
    strange = os.uname_result((*kernel[:2], "6.8.0-31-generic", *kernel[3:]))
    monkeypatch.setattr(os, "uname", lambda: strange)
    monkeypatch.setattr(features, "fs_type", lambda: None)
    (headers,) = [f for f in doctor.examine(["module"]) if f.name == "kernel headers"]
    assert headers.state == "missing"
    assert "linux-headers-6.8" not in headers.mend


def test_the_series_are_those_of_the_kernel_part() -> None:
    text = (ROOT / "kernel/support.py").read_text()
    table = re.search(r"^SERIES\b.*?\{(.*?)\}", text, re.M | re.S)
    assert table is not None
    assert tuple(re.findall(r'"(\d+\.\d+)":', table[1])) == KERNEL_SERIES
