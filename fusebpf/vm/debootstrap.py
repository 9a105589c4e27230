# SPDX-License-Identifier: MIT
"""Make a Debian root directory with mmdebstrap: what guest root and kernel roots share."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusebpf.vm import mirror
from fusebpf.vm.cache import cache_dir
from fusebpf.vm.errors import PrepareError
from fusebpf.vm.isolate import run_isolated

DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-include=/usr/share/doc/*/changelog.Debian*",
)

MACHINE = "x86_64"
"""What uname(2) calls Debian's amd64: programs of the root run on this machine, too."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """A root directory to make: ``what`` names it in messages, ``entry`` in the cache."""

    what: str
    entry: str
    suite: str
    packages: Sequence[str]
    needed_bytes: int
    """Free space that making it takes, downloads included."""
    hook: str
    """Shell command that finishes the root, which is its ``$1``."""
    doing_hook: str = "finishing"
    command: str = "make vm"
    """What makes this root, for advice."""
    sources: Sequence[str] = ()
    """More lines for sources.list, beside the mirror's."""
    dpkg_options: Sequence[str] = DPKG_OPTIONS


def as_root(what: str) -> str:
    """Return the advice to run something as root."""
    return f"run {what} as root: a guest is kept in the cache of the user who made it"


def check(recipe: Recipe, work: Path) -> None:
    """Look for what making the root in ``work`` needs, before anything is fetched.

    Raises:
        PrepareError: another machine than the guest's, not root, no mmdebstrap, or too little disk
            space.
    """
    machine = os.uname().machine
    if machine != MACHINE:
        raise PrepareError(
            f"the {recipe.what} is of amd64, and its programs do not run on this machine, which is"
            f" {machine}",
            "use a machine of amd64 (x86_64)",
        )
    if os.geteuid() != 0:
        raise PrepareError(
            f"the {recipe.what} can only be made by root",
            as_root(f"`{recipe.command}`, and what uses it,"),
        )
    if shutil.which("mmdebstrap") is None:
        raise PrepareError(
            "mmdebstrap is not installed", "run `make dev`, or apt-get install mmdebstrap"
        )
    free = shutil.disk_usage(work).free
    if free < recipe.needed_bytes:
        raise PrepareError(
            f"the {recipe.what} needs {recipe.needed_bytes >> 30} GB and {work.parent} has "
            f"{free / (1 << 30):.1f} GB free",
            "free some, or set FUSEBPF_CACHE to another disk",
        )


def make(recipe: Recipe, work: Path, progress: Progress) -> None:
    """Fill ``work`` with the root; its whole output goes to ``ENTRY.log`` in the cache.

    Raises:
        PrepareError: no mirror has the suite, or mmdebstrap failed.
    """
    log = cache_dir() / f"{recipe.entry}.log"
    work.chmod(0o755)  # it becomes the guest's /
    command = [
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"),
        f"--include={','.join(recipe.packages)}",
        *(f"--dpkgopt={option}" for option in recipe.dpkg_options),
        f"--customize-hook={recipe.hook}",
        recipe.suite,
        str(work),
        *mirror.sources(recipe.suite),
        *recipe.sources,
    ]
    # INITRD=No: the runner makes its own small initramfs, Debian's takes half a minute to make; who
    # needs that one makes it in the hook.
    env = {**os.environ, "INITRD": "No", "DEBIAN_FRONTEND": "noninteractive"}
    started = time.monotonic()
    with log.open("w") as record:

        def on_line(line: str) -> None:
            record.write(line)
            if line.startswith("I: "):
                doing = line[3:].strip().rstrip(".")
                if "customize" in doing:
                    doing = recipe.doing_hook
                progress(f"{recipe.what}: {doing} ({time.monotonic() - started:.0f} s)")

        status = run_isolated(command, env, on_line)
    if status != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise PrepareError(f"mmdebstrap failed with status {status}; the end of {log}:\n{tail}")
