# SPDX-License-Identifier: MIT
"""The versions that results depend on: of this tree, this machine and the guest's root.

`make test` writes them to build/junit/versions.json. What a guest really ran stands in its own
report, with the module's checksum.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from fusebpf.vm import root
from fusebpf.vm.accel import known

TREE = Path(__file__).resolve().parent.parent


def packages(wanted: set[str], admin: Path = Path("/var/lib/dpkg")) -> dict[str, str]:
    """Return the versions of those packages that are installed, by the books of dpkg in `admin`."""
    listed = subprocess.run(
        ["dpkg-query", f"--admindir={admin}", "--show", "--showformat=${Package} ${Version}\n"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = dict(line.split() for line in listed.stdout.splitlines())
    return {name: found[name] for name in sorted(wanted & set(found))}


def of_the_guest(guest: Path) -> dict[str, str]:
    """Return what the guest's root has of what it was asked for, its kernels and compilers."""
    names = {entry.name for entry in (guest / "var/lib/dpkg/info").iterdir()}
    exact = re.compile(r"(linux-image-\d\S*|gcc-\d+|clang-\d+|llvm-\d+)\.list")
    found = {match[1] for name in names if (match := exact.fullmatch(name))}
    return packages({*root.PACKAGES, *found}, guest / "var/lib/dpkg")


def collect() -> dict[str, Any]:
    """Return all of them; the guest's are missing before there is one."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=TREE, stdout=subprocess.PIPE, text=True, check=False
    )
    text = (TREE / "scripts/packages.txt").read_text()
    needed = {line.split()[0] for line in text.splitlines() if line.split() and line[0] != "#"}
    guest = root.root_path()
    return {
        "tree": commit.stdout.strip() or None,
        "machine": {
            "kernel": os.uname().release,
            "processors": os.cpu_count(),
            "accelerator": os.environ.get("FUSEBPF_ACCEL") or known(),
            "python": platform.python_version(),
            "packages": packages(needed),
        },
        "guest": {"root": guest.name, "packages": of_the_guest(guest)} if guest.is_dir() else None,
    }


def write(path: Path) -> None:
    """Write them to a file."""
    path.write_text(json.dumps(collect(), indent=1) + "\n")
