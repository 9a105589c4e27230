# SPDX-License-Identifier: MIT
"""A module that cannot be loaded: what modprobe(8) says of it comes with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusebpf.errors import UnsupportedKernelError
from fusebpf.runtime import features

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
