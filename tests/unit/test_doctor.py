# SPDX-License-Identifier: MIT
"""`fusebpf doctor`: what is missing is told with the command that mends it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fusebpf import doctor
from fusebpf.cli import run
from fusebpf.cli.doctor import _PURPOSES
from fusebpf.doctor import PURPOSES
from fusebpf.runtime import features, libbpf
from fusebpf.trace import latency
from tests.unit import json_schemas


def findings(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = run(["doctor", "--json", *arguments])
    told = json.loads(capsys.readouterr().out)
    json_schemas.check("doctor", told)
    return status, {entry["name"]: entry for entry in told}


def test_every_failure_has_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = findings(capsys)
    missing = [entry for entry in found.values() if entry["state"] == "missing"]
    assert status == (1 if missing else 0)
    assert all(entry["mend"] for entry in missing)
    assert {purpose for entry in found.values() for purpose in entry["purposes"]} == set(PURPOSES)
    assert tuple(PURPOSES) == _PURPOSES


def test_only_what_a_purpose_needs(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = findings(capsys, "--for", "compile")
    assert (status, list(found)) == (0, ["clang"])
    assert found["clang"]["state"] == "ok"


def test_missing_clang_names_the_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(doctor, "_VERSION", tmp_path / "version")
    (tmp_path / "version").write_text("Linux version 6.18 (me@here) (gcc (GCC) 15.3.0, GNU ld)\n")
    status, found = findings(capsys, "--for", "compile", "--for", "vm", "--for", "module")
    assert status == 1
    assert found["clang"]["mend"] == "apt-get install clang-19 llvm-19"
    assert found["QEMU"]["mend"] == "apt-get install qemu-system-x86"
    assert found["build tools"]["mend"] == "apt-get install make gcc dwarves"


def test_needs_the_compiler_of_the_kernel(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "_VERSION", tmp_path / "version")
    (tmp_path / "version").write_text(
        "Linux version 6.12.1+deb13-amd64 (debian-kernel@lists.debian.org) "
        "(x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0, GNU ld 2.44)\n"
    )
    for name in ("make", "gcc-14", "pahole"):
        (tmp_path / name).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert findings(capsys, "--for", "module")[1]["build tools"]["state"] == "ok"
    (tmp_path / "gcc-14").unlink()
    (tmp_path / "gcc").symlink_to("/bin/true")
    tools = findings(capsys, "--for", "module")[1]["build tools"]
    assert (tools["state"], tools["mend"]) == ("missing", "apt-get install gcc-14")


def test_missing_libbpf(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSEBPF_LIBBPF", "/no/libbpf.so")
    monkeypatch.setattr(libbpf, "_library", None)
    status, found = findings(capsys, "--for", "attach")
    assert status == 1
    assert "/no/libbpf.so" in found["libbpf"]["found"]
    assert found["libbpf"]["mend"] == "correct it, or unset FUSEBPF_LIBBPF"


def test_clang_that_cannot_compile(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "clang"
    broken.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'clang version 19.1.7' && exit\nexit 9\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("FUSEBPF_CLANG", str(broken))
    status, found = findings(capsys, "--for", "compile")
    assert (status, found["clang"]["state"]) == (1, "missing")


def test_what_cannot_be_read_ends_no_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "_VERSION", tmp_path / "version")
    found = findings(capsys, "--for", "module", "--for", "vm")[1]
    tools = found["build tools"]
    assert tools["state"] == "missing"
    assert f"cannot be tried: [Errno 2] No such file or directory: '{tmp_path}" in tools["found"]
    assert "/proc" in tools["mend"]
    assert "QEMU" in found


class _Bcc:
    """The module as far as it is asked."""

    def __init__(self, failure: str) -> None:
        self._failure = failure

    def BPF(self, *, text: bytes, cflags: list[str]) -> _Bcc:
        assert b"#include <linux/" in text
        os.write(1, b"Unable to find kernel headers.\n")  # as its code in C++ does
        if self._failure:
            raise Exception(self._failure)
        return self

    def cleanup(self) -> None:
        pass


@pytest.mark.parametrize(
    ("failure", "state"), [("", "ok"), ("Failed to compile BPF module <text>", "missing")]
)
def test_tracing_needs_headers(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failure: str,
    state: str,
) -> None:
    monkeypatch.setattr(latency, "import_bcc", lambda: _Bcc(failure))
    entry = findings(capfd, "--for", "trace")[1]["headers for bcc"]
    assert entry["state"] == state
    assert failure in entry["found"]
    assert ("apt-get install linux-headers-" in entry["mend"]) == (state == "missing")


def test_packed_headers_need_xz(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(latency, "import_bcc", lambda: _Bcc("tar: Child returned status 2"))
    monkeypatch.setattr(latency, "PACKED_HEADERS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    entry = findings(capsys, "--for", "trace")[1]["headers for bcc"]
    assert entry["mend"] == "apt-get install xz-utils"


def test_what_bcc_says_is_no_part_of_the_answer(capfd: pytest.CaptureFixture[str]) -> None:
    """It says much where it finds no headers."""
    findings(capfd, "--for", "trace")


def test_text_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor"])
    out = capsys.readouterr().out
    for name in ("clang", "libbpf", "kernel BTF", "capabilities", "fuse-bpf", "Secure Boot", "KVM"):
        assert f" {name} " in out


def test_a_kernel_with_fuse_bpf_needs_no_module(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(features, "fs_type", lambda: features.KERNEL_FS_TYPE)
    found = findings(capsys, "--for", "module")[1]
    for name in ("kernel headers", "build tools"):
        assert found[name]["state"] == "ok"
        assert found[name]["found"].startswith("not needed")
