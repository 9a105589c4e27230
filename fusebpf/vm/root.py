# SPDX-License-Identifier: MIT
"""The guest's userland: Debian 13, as a directory and a disk, kept by the hash of its recipe."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from fusebpf import programs
from fusebpf.vm import debootstrap
from fusebpf.vm.cache import cache_dir, digest, entry
from fusebpf.vm.debootstrap import Progress
from fusebpf.vm.errors import PrepareError

SUITE = "trixie"
"""Debian 13: the first stable release whose libbpf (1.5) loads a module's struct_ops."""
PYTHON = "3.13"
"""The suite's Python, for which the wheels are fetched."""
VENV = "/usr/lib/fusebpf-guest"
"""Where the root has them."""

PACKAGES = (
    # the kernel under test, and what builds a module for exactly it
    "linux-image-amd64",
    "linux-headers-amd64",
    "linux-source-6.12",
    "gcc",
    "libc6-dev",
    "make",
    "patch",
    "xz-utils",
    "dwarves",  # pahole writes the module's BTF
    "sparse",
    "perl",  # checkpatch
    # what builds a kernel of our own from that source
    "bc",
    "bison",
    "ccache",
    "flex",
    "libelf-dev",
    # filters
    "clang",
    "llvm",
    "libbpf1",
    "libbpf-dev",
    "bpftool",
    "python3",
    "python3-venv",
    "python3-bpfcc",
    # what tests and the demo run on a mount
    "acl",
    "apparmor",
    "attr",
    "bindfs",
    "bubblewrap",
    "dbench",
    "e2fsprogs",
    "fio",
    "fuse3",
    "fuse-overlayfs",
    "git",
    "iproute2",
    "kmod",
    "libcap2-bin",
    "libfuse3-dev",
    "mergerfs",
    "nodejs",
    "npm",
    "procps",
    "rsync",
    "sqlite3",
    "strace",
    "stress-ng",
    "systemd-container",
    "util-linux",
    "xfsprogs",
)

REQUIREMENTS = (
    "click>=8.1",
    "rich>=13",
    "pyelftools>=0.29",
    "pytest>=8",
    "pytest-timeout>=2.2",
    "hypothesis>=6.90",
)
"""What the package and its tests import; the same ranges as pyproject.toml (a test compares)."""

_CUSTOMIZE = Path(__file__).parent / "guest" / "customize.sh"
_NEEDED_BYTES = 5 << 30
_STATE_SIZE = "4G"  # sparse


def root_name() -> str:
    """Return the cache entry's name: a hash of everything that goes into the root."""
    return "root-" + digest(
        [
            SUITE,
            PYTHON,
            "\n".join(PACKAGES),
            "\n".join(REQUIREMENTS),
            "\n".join(debootstrap.DPKG_OPTIONS),
            _CUSTOMIZE.read_bytes(),
        ]
    )


def root_path() -> Path:
    """Return where the root is, or will be once prepared."""
    return cache_dir() / root_name()


def prepare_root(progress: Progress) -> Path:
    """Return the guest root directory, made first when absent (minutes, 3 GB, needs root).

    Raises:
        PrepareError: not root, no disk space, a tool is missing, or mmdebstrap or pip failed.
    """
    return entry(root_name(), lambda work: _build(work, progress))


def prepare_disk(root: Path, progress: Progress) -> Path:
    """Return the root as an ext4 image, which guests boot from (seconds, as large as the root).

    The directory itself could be shared over 9p, but there every open and stat is a message to the
    host: walking /usr/share takes seven times as long, starting Python or clang half as long again.

    Raises:
        PrepareError: mke2fs is missing or failed.
    """

    def build(work: Path) -> None:
        progress("guest root: writing the disk image")
        used = sum(
            path.lstat().st_blocks * 512 for path in root.rglob("*") if not path.is_symlink()
        )
        image, size = work / "root.img", f"{(used * 5 // 4 >> 20) + 64}M"
        _make_ext4(image, size, "-O", "^has_journal", "-L", "fusebpf", "-d", str(root))

    return entry(disk_name(root), build) / "root.img"


def disk_name(root: Path) -> str:
    """Return the cache entry's name of a root's disk."""
    return f"disk-{root.name.removeprefix('root-')}"


def prepare_state(path: Path, changed: Path | None = None) -> None:
    """Make the file that keeps what guests change of their root, unless it is there.

    ``changed`` has what is already changed, in ``data``, the upper layer of an overlay.

    Raises:
        PrepareError: mke2fs is missing or failed.
    """
    if not path.exists():
        # In one step: what a run that was killed left is not taken for whole.
        begun = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            _make_ext4(begun, _STATE_SIZE, *(() if changed is None else ("-d", str(changed))))
            begun.rename(path)
        finally:
            begun.unlink(missing_ok=True)


def _make_ext4(image: Path, size: str, *options: str) -> None:
    mke2fs = programs.find("mke2fs")
    if mke2fs is None:
        raise PrepareError("mke2fs is not installed", "apt-get install e2fsprogs")
    done = subprocess.run(
        [mke2fs, "-q", "-t", "ext4", "-m", "0", *options, str(image), size],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PrepareError(f"mke2fs could not write {image}: {done.stderr.strip()}")


def _build(work: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(prefix="fusebpf-wheels-") as wheels:
        recipe = debootstrap.Recipe(
            what="guest root",
            entry=root_name(),
            suite=SUITE,
            packages=PACKAGES,
            needed_bytes=_NEEDED_BYTES,
            hook=_hook(Path(wheels)),
            doing_hook="making the guest's Python",
        )
        debootstrap.check(recipe, work)
        progress("guest root: Debian 13, made once, takes some minutes")
        _fetch_wheels(Path(wheels), progress)
        debootstrap.make(recipe, work, progress)


def _hook(wheels: Path) -> str:
    """Shell command that finishes the root ``$1``; the tree may lie anywhere."""
    return f'{shlex.quote(str(_CUSTOMIZE))} "$1" {shlex.quote(str(wheels))}'


def _fetch_wheels(into: Path, progress: Progress) -> None:
    """Fetch with this machine's pip, which knows the index; the guest's pip needs no network."""
    progress("guest root: fetching Python wheels")
    (into / "requirements.txt").write_text("\n".join(REQUIREMENTS) + "\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(into)),
            *("--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON),
            *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64"),
            *("-r", str(into / "requirements.txt")),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PrepareError(f"pip could not fetch the guest's wheels:\n{done.stderr.strip()}")
