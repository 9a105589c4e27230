# SPDX-License-Identifier: MIT
"""The same steps on a bare directory and on a mount of its twin: same results, same trees.

A scenario is a function that takes `Steps` and does things below `steps.base`, naming each. What a
step returns, or the errno that it fails with, must not depend on where it ran. Of a listed table
(`unlike`) the steps may differ, and must: a difference that is gone has to leave the table.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fusebpf.runtime.fsmount import umount
from tests.vm import kernelkit as kit
from tests.vm.limits import need_file_system

KINDS = ("tmpfs", "ext4", "xfs")
# As the mounter everywhere, as the caller where it is cheap
KINDS_AND_CREDS = (*((kind, "mounter") for kind in KINDS), ("ext4", "caller"))

_SIZES = {"ext4": 64 << 20, "xfs": 320 << 20}


@contextmanager
def file_system(kind: str, make: tuple[str, ...] = (), options: str = "loop") -> Iterator[Path]:
    """A fresh file system that users reach, with set-id bits and devices in force.

    `make` are more options of mkfs, `options` those of a disk's mount. overlay lies on a tmpfs of
    its own.
    """
    need_file_system(kind)
    directory = Path(tempfile.mkdtemp(prefix="fusebpf.", dir="/tmp"))
    directory.chmod(0o755)
    image = Path(f"{directory}.image")
    try:
        if kind in _SIZES:
            subprocess.run(["modprobe", "loop"], check=False)
            with image.open("wb") as file:
                file.truncate(_SIZES[kind])
            run(f"mkfs.{kind}", "-q", *make, image)
            run("mount", "-o", options, image, directory)
        else:
            run("mount", "-t", "tmpfs", "-o", "mode=755", "none", directory)
        try:
            with _stacked(kind, directory) as top:
                top.chmod(0o755)
                yield top
        finally:
            umount(directory)
    finally:
        image.unlink(missing_ok=True)
        directory.rmdir()


@contextmanager
def _stacked(kind: str, base: Path) -> Iterator[Path]:
    """An overlay on top of a file system, or that itself."""
    if kind != "overlay":
        yield base
        return
    below, upper, work, top = (base / name for name in ("below", "upper", "work", "top"))
    for directory in (below, upper, work, top):
        directory.mkdir()
    run(
        *("mount", "-t", "overlay", "none", str(top)),
        *("-o", f"lowerdir={below},upperdir={upper},workdir={work}"),
    )
    try:
        yield top
    finally:
        umount(top)


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def result_of(call: Callable[[], object]) -> object:
    """What a call returns, or the name of the errno that it fails with."""
    try:
        return call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


class Steps:
    """Results of operations, comparable between two directories."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.results: list[tuple[str, object]] = []

    def do(self, name: str, call: Callable[[], object]) -> None:
        self.results.append((name, result_of(call)))


Scenario = Callable[[Steps], None]


def tree(base: Path) -> list[object]:
    """Everything that a user can see of a tree, but times that are not set."""
    seen: list[object] = []
    for directory, names, files in os.walk(base):
        names.sort()
        for name in sorted(names + files):
            path = Path(directory, name)
            st = path.lstat()
            content: object = None
            if stat.S_ISREG(st.st_mode):
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            elif stat.S_ISLNK(st.st_mode):
                content = os.readlink(path)
            ids = (st.st_uid, st.st_gid, st.st_nlink, st.st_rdev)
            xattrs = sorted(os.listxattr(path, follow_symlinks=False))
            seen.append((str(path.relative_to(base)), oct(st.st_mode), ids, content, xattrs))
            if not stat.S_ISDIR(st.st_mode):
                seen.append(st.st_size)
    return seen


def compare(
    place: Path,
    scenario: Scenario,
    unlike: Mapping[str, object] | None = None,
    creds: str = "mounter",
    trees: bool = True,
) -> None:
    """Run a scenario on a bare directory and on a mount, both made in `place`.

    `unlike` maps names of steps that give something else on the mount to what they give there.
    """
    bare, lower, mnt = place / "bare", place / "lower", place / "mnt"
    for directory in (bare, lower, mnt):
        directory.mkdir()
    expected, actual = Steps(bare), Steps(mnt)
    scenario(expected)
    with kit.mounted(lower, mnt, creds=creds):
        scenario(actual)
        differ: dict[str, tuple[object, object]] = {}
        for want, got in zip(expected.results, actual.results, strict=True):
            assert got[0] == want[0]
            if got != want:
                differ[got[0]] = (want[1], got[1])
        known = dict(unlike or {})
        assert {name: pair[1] for name, pair in differ.items()} == known, differ
        if trees:
            assert tree(mnt) == tree(bare)
            assert tree(mnt) == tree(lower)
