# SPDX-License-Identifier: MIT
"""The initramfs: the agent and the few modules that reach the shared root, as a cpio archive."""

from __future__ import annotations

import lzma
import shutil
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

from fusebpf.vm.errors import PrepareError

BOOT_MODULES = (
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "ext4",
    "overlay",
    "9pnet_virtio",
    "9p",
)
"""Modules needed before the guest root is there; those built into the kernel are skipped."""
BEFORE = {"ext4": "crc32c_generic"}
"""ext4 asks for it by an alias that only modprobe resolves; newer kernels have it in a library."""


def module_files(tree: Path) -> list[Path]:
    """Return the files of ``tree`` (lib/modules/RELEASE) to insert, dependencies first.

    Raises:
        PrepareError: a module is neither built in nor present.
    """
    dependencies: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in (tree / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        dependencies[path] = needs.split()
        by_name[_module_name(path)] = path
    builtin = {_module_name(p) for p in (tree / "modules.builtin").read_text().splitlines()}
    ordered: dict[str, None] = {}
    for name in BOOT_MODULES:
        if name in builtin:
            continue
        if name not in by_name:
            raise PrepareError(
                f"the kernel of {tree} has no module {name}: the guest cannot boot on it",
                f"it needs, built in or as modules: {', '.join(BOOT_MODULES)}",
            )
        for needed in (BEFORE.get(name), name):
            if needed in by_name:
                path = by_name[needed]
                # modules.dep lists a module's needs deepest last (depmod(8)).
                ordered.update(dict.fromkeys([*reversed(dependencies[path]), path]))
    return [tree / path for path in ordered]


def write_initramfs(out: Path, agent: bytes, modules: Iterable[Path]) -> None:
    """Write the archive: uncompressed, because unpacking in an emulated guest costs more."""
    names = []
    archive = Archive()
    archive.add("init", agent, stat.S_IFREG | 0o755)
    archive.add("modules", b"", stat.S_IFDIR | 0o755)
    archive.add("dev", b"", stat.S_IFDIR | 0o755)
    # The kernel opens /dev/console for process 1 before anything can be mounted.
    archive.add("dev/console", b"", stat.S_IFCHR | 0o600, device=(5, 1))
    for path in modules:
        name = f"modules/{_module_name(path.name)}.ko"
        archive.add(name, _plain_module(path), stat.S_IFREG | 0o644)
        names.append(f"/{name}\n")
    archive.add("modules.list", "".join(names).encode(), stat.S_IFREG | 0o644)
    out.write_bytes(archive.finish())


class Archive:
    """A cpio archive in the "newc" form (Documentation/driver-api/early-userspace)."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._inode = 0

    def add(self, name: str, data: bytes, mode: int, device: tuple[int, int] = (0, 0)) -> None:
        """Append one file; owner root, time 0."""
        self._inode += 1
        raw = name.encode() + b"\0"
        fields = (
            *(self._inode, mode, 0, 0, 1, 0, len(data)),
            *(0, 0, *device, len(raw), 0),
        )
        self._out += b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        self._pad()
        self._out += data
        self._pad()

    def finish(self) -> bytes:
        """Append the trailer and return the archive."""
        self.add("TRAILER!!!", b"", 0)
        return bytes(self._out)

    def _pad(self) -> None:
        self._out += b"\0" * (-len(self._out) % 4)


def _module_name(path: str) -> str:
    return Path(path).name.split(".")[0].replace("-", "_")


def _plain_module(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return unzstd(path.read_bytes())
    return path.read_bytes()


def unzstd(data: bytes) -> bytes:
    """Decompress with zstd(1): Python has no zstd before 3.14."""
    if shutil.which("zstd") is None:
        raise PrepareError("zstd is not installed", "run `make dev`, or apt-get install zstd")
    done = subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise PrepareError(f"zstd: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
