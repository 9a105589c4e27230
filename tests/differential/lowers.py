# SPDX-License-Identifier: MIT
"""File systems to be the lower one, each made fresh."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from fusebpf.runtime import mountinfo
from fusebpf.runtime.fsmount import umount
from tests.vm.limits import eventually

IMAGE_BYTES = 512 << 20


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _mounted(*command: str | Path) -> Iterator[Path]:
    """Where a mount command was called with an empty directory as its last word."""
    target = Path(tempfile.mkdtemp(prefix="fusebpf.", dir="/tmp"))
    _run(*command, target)
    try:
        yield target
    finally:
        umount(target)
        target.rmdir()


@contextmanager
def _tmpfs() -> Iterator[Path]:
    with _mounted("mount", "-t", "tmpfs", "-o", "size=512m", "none") as place:
        yield place


@contextmanager
def _disk(*make: str) -> Iterator[Path]:
    """On a loop device over a file in memory."""
    subprocess.run(["modprobe", "loop"], check=False)
    with _tmpfs() as store:
        image = store / "image"
        with image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        _run(*make, image)
        with _mounted("mount", "-o", "loop", image) as place:
            yield place


@contextmanager
def _overlay() -> Iterator[Path]:
    with _tmpfs() as store:
        parts = [store / name for name in ("lower", "upper", "work")]
        for part in parts:
            part.mkdir()
        names = zip(("lowerdir", "upperdir", "workdir"), parts, strict=True)
        options = ",".join(f"{name}={part}" for name, part in names)
        with _mounted("mount", "-t", "overlay", "-o", options, "overlay") as place:
            yield place


@contextmanager
def _bindfs() -> Iterator[Path]:
    """In the foreground: it uses what it shows until its process has ended.

    Names of one file are inodes of their own there: kept attributes of one would be old for a
    second after a change through another.
    """
    subprocess.run(["modprobe", "fuse"], check=False)
    with _tmpfs() as store:
        place = Path(tempfile.mkdtemp(prefix="fusebpf.", dir="/tmp"))
        options = "hard_remove,attr_timeout=0"
        daemon = subprocess.Popen(["bindfs", "-f", "-o", options, store, place])
        try:
            if not eventually(lambda: mountinfo.at(place) is not None):
                raise RuntimeError("bindfs did not mount")
            yield place
            umount(place)
        finally:
            daemon.wait()
            place.rmdir()


LOWERS: dict[str, Callable[[], AbstractContextManager[Path]]] = {
    "tmpfs": _tmpfs,
    "ext4": partial(_disk, "mkfs.ext4", "-q"),
    "xfs": partial(_disk, "mkfs.xfs", "-q"),
    "overlay": _overlay,
    "bindfs": _bindfs,
}


@contextmanager
def lower(kind: str) -> Iterator[Path]:
    """A directory of a file system of this kind, which all users can reach."""
    with LOWERS[kind]() as place:
        place.chmod(0o755)
        yield place
