# SPDX-License-Identifier: MIT
"""Which host directories the guest sees, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fusebpf.vm.errors import PrepareError

_SYSTEM = ("/dev", "/etc", "/lib", "/lib64", "/bin", "/sbin", "/proc", "/sys", "/usr", "/var")
_OWN = ("/", "/opt", "/run", "/tmp", "/root", "/home", *_SYSTEM)
"""Directories the guest has its own of, and would break without."""


@dataclass(frozen=True)
class Share:
    """The host's ``source`` at ``target`` in the guest.

    What is ``private`` nobody else changes meanwhile: the guest caches it whole.
    """

    source: Path
    target: Path
    writable: bool
    private: bool = False


def plan(cwd: Path, read_only: Iterable[Path], writable: Iterable[Path]) -> list[Share]:
    """Return the shares of a run, parents first: the working directory and what was asked for.

    Each directory appears at its own path. One that the guest has of its own (``/``, ``/etc``, …)
    is not shared as the working directory: the command then starts in the guest's.

    Raises:
        PrepareError: a directory asked for does not exist, is no directory, or would cover the
            guest's own system.
    """
    wanted: dict[Path, bool] = {}
    for path, mode in [*((p, False) for p in read_only), *((p, True) for p in writable)]:
        real = path.absolute().resolve()
        if not real.is_dir():
            raise PrepareError(f"cannot share {path}: no such directory on the host")
        if is_guests_own(real):
            raise PrepareError(
                f"cannot share {path}: the guest has its own {real}", "share a directory below it"
            )
        wanted[real] = wanted.get(real, False) or mode
    if not is_guests_own(cwd):
        wanted.setdefault(cwd, False)
    shares: list[Share] = []
    for path in sorted(wanted, key=lambda path: len(path.parts)):
        # Seen already through its parent, in the mode that was asked for.
        covering = [share for share in shares if path.is_relative_to(share.target)]
        if not covering or covering[-1].writable != wanted[path]:
            shares.append(Share(path, path, wanted[path]))
    return shares


def is_guests_own(path: Path) -> bool:
    """Tell whether mounting over ``path`` would take a system directory from the guest."""
    return str(path) in _OWN


def source_tree(package: Path) -> Path | None:
    """The source tree that this package is in; None when it is installed."""
    return package.parent if (package.parent / "pyproject.toml").is_file() else None


def package_shares(package: Path) -> tuple[list[Share], str]:
    """Return how the guest sees this package, and the entry for its Python's path.

    A source tree is shared where it is, so that ``bpf/`` and ``kernel/`` are beside the package. Of
    an installed package only its own directory is: its neighbours are for the host's Python.
    """
    if tree := source_tree(package):
        return [Share(tree, tree, writable=False)], str(tree)
    target = Path("/run/fusebpf/python")
    return [Share(package, target / package.name, writable=False)], str(target)
