# SPDX-License-Identifier: MIT
"""KVM where guests really boot on it, TCG elsewhere.

/dev/kvm may open, and even make a virtual machine, on hosts where no guest gets anywhere; so the
probe is a boot. Its answer holds until this host boots again.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from fusebpf.vm.cache import cache_dir
from fusebpf.vm.errors import VmError
from fusebpf.vm.machine import MachineSpec
from fusebpf.vm.run import Job, run

_PROBE_SECONDS = 10.0
_DEVICE = Path("/dev/kvm")


def accelerator(spec: MachineSpec) -> str:
    """Return ``kvm`` or ``tcg`` for this host; ``$FUSEBPF_ACCEL`` decides when set."""
    named = os.environ.get("FUSEBPF_ACCEL")
    if named in ("kvm", "tcg"):
        return named
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return "tcg"
    answer = _answer()
    if answer.is_file():
        return answer.read_text()
    found = "kvm" if _boots(spec) else "tcg"
    for old in cache_dir().glob("accel-*"):
        old.unlink(missing_ok=True)
    draft = answer.with_suffix(f".{os.getpid()}")
    draft.write_text(found)
    draft.rename(answer)
    return found


def known() -> str | None:
    """What was found to work since this host booted, or None when it was not tried yet."""
    answer = _answer()
    return answer.read_text() if answer.is_file() else None


def _answer() -> Path:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return cache_dir() / f"accel-{boot_id}"


def _boots(spec: MachineSpec) -> bool:
    job = Job(["true"], Path("/"), env={"PATH": "/usr/bin"}, timeout=_PROBE_SECONDS)
    try:
        report = run(
            replace(spec, accel="kvm"),
            job,
            lambda _stream, _data: None,
            boot_seconds=_PROBE_SECONDS,
        )
    except VmError:
        return False
    return report.status == 0
