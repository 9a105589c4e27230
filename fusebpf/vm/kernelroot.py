# SPDX-License-Identifier: MIT
"""Kernel roots: small Debian root directories, each with a kernel and what builds a module for it.

The guest's userland stays the guest root's; of a kernel root only image and modules are used there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fusebpf.vm import debootstrap, mirror
from fusebpf.vm.cache import digest, entry
from fusebpf.vm.debootstrap import Progress

BUILD_PACKAGES = ("gcc", "make", "dwarves")
"""What kernel/build.py runs in the root, besides the kernel's headers and source."""

_NEEDED_BYTES = 2 << 30

# The mirror is this machine's business, and what apt fetched is not needed again.
_HOOK = (
    'rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* '
    '"$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*'
)


@dataclass(frozen=True)
class KernelPackages:
    """A kernel of a distribution: ``packages`` of ``suite``; ``title`` is for people."""

    title: str
    suite: str
    packages: tuple[str, ...]
    backports: str | None = None
    """A suite on top of ``suite``; a package of both is named PACKAGE/BACKPORTS."""


def kernel_root_name(name: str, kernel: KernelPackages) -> str:
    """Return the cache entry's name: a hash of everything that goes into the root."""
    suites = f"{kernel.suite} {kernel.backports}" if kernel.backports else kernel.suite
    parts = (suites, "\n".join(kernel.packages), "\n".join(debootstrap.DPKG_OPTIONS), _HOOK)
    return f"root-{name}-{digest(parts)}"


def prepare_kernel_root(name: str, kernel: KernelPackages, progress: Progress) -> Path:
    """Return the root of the kernel ``name``, made first when absent (minutes, 1 GB, needs root).

    Raises:
        PrepareError: not root, no disk space, mmdebstrap is missing or failed.
    """
    cached = kernel_root_name(name, kernel)

    def build(work: Path) -> None:
        recipe = debootstrap.Recipe(
            what=f"kernel root {name}",
            entry=cached,
            suite=kernel.suite,
            packages=kernel.packages,
            needed_bytes=_NEEDED_BYTES,
            sources=mirror.sources(kernel.backports) if kernel.backports else (),
            hook=_HOOK,
            command=f"fusebpf vm prepare --kernel {name}",
        )
        debootstrap.check(recipe, work)
        progress(f"kernel root {name}: packages of {kernel.title}, fetched once")
        debootstrap.make(recipe, work, progress)

    return entry(cached, build)
