# SPDX-License-Identifier: MIT
"""Python's bytecode for a guest, made on this machine.

A guest reads sources over read-only 9p and keeps bytecode in a directory of its own
(PYTHONPYCACHEPREFIX). Compiling there takes an emulated processor half a minute for what one test
run imports; the root's own Python does it here in two seconds.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from fusebpf.vm.isolate import run_isolated
from fusebpf.vm.root import PYTHON, VENV

_TAG = f"cpython-{PYTHON.replace('.', '')}.pyc"
_INSTALLED = (f"usr/lib/python{PYTHON}", f"{VENV}/lib/python{PYTHON}"[1:])

_MOUNT = """
mount --bind "$1" "$3/mnt" && mount --bind "$2" "$3/media"
package=$1 root=$3
shift 3
exec chroot "$root" /usr/bin/python3 -c "$COMPILE" "$package" "$@"
"""
_COMPILE = """
import py_compile, sys
package, tag, *names = sys.argv[1:]
for name in names:
    cached = f"/media{package}/{name.removesuffix('.py')}.{tag}"
    py_compile.compile(f"/mnt/{name}", cached, f"{package}/{name}", quiet=2)
"""


def fill(directory: Path, root: Path, packages: Iterable[Path]) -> None:
    """Put bytecode into a guest's directory: what the root has, and current one of ``packages``.

    ``packages`` are directories that the guest sees under their own names. What cannot be made
    here (a mistake in a file, no right to mount) is left to the guest's Python.
    """
    for place in _INSTALLED:
        if not (directory / place).is_dir():
            _copy_installed(root, place, directory)
    for package in packages:
        stale = [
            source
            for source in sorted(package.rglob("*.py"))
            if not _is_current(source, _cached(directory, source))
        ]
        if stale and os.geteuid() == 0:
            _compile(stale, package, directory, root)


def _copy_installed(root: Path, place: str, directory: Path) -> None:
    for cached in root.joinpath(place).rglob(f"__pycache__/*.{_TAG}"):
        target = directory / cached.relative_to(root).parent.parent / cached.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cached, target)


def _cached(directory: Path, source: Path) -> Path:
    return directory / source.parent.relative_to("/") / f"{source.stem}.{_TAG}"


def _is_current(source: Path, cached: Path) -> bool:
    """Whether bytecode is of this source: its header has flags, time and size (PEP 552)."""
    try:
        with cached.open("rb") as file:
            header = file.read(16)
    except FileNotFoundError:
        return False
    status = source.stat()
    wanted = (0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    return header[4:] == b"".join(number.to_bytes(4, "little") for number in wanted)


def _compile(sources: Iterable[Path], package: Path, directory: Path, root: Path) -> None:
    names = [str(source.relative_to(package)) for source in sources]
    command = ["sh", "-c", _MOUNT, "sh", str(package), str(directory), str(root), _TAG, *names]
    run_isolated(command, {**os.environ, "COMPILE": _COMPILE}, lambda line: None)
