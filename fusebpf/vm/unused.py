# SPDX-License-Identifier: MIT
"""What of the cache this version of fusebpf has no use for, and its removal."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fusebpf.build import paths
from fusebpf.vm.builder import run_builder
from fusebpf.vm.cache import cache_dir, lock_name, locked, refuse_mounts, remove_tree
from fusebpf.vm.errors import PrepareError
from fusebpf.vm.kernel import BUILT, KERNELS, boot_name, built_kernel, find_kernel
from fusebpf.vm.kernelroot import kernel_root_name
from fusebpf.vm.root import disk_name, root_path

BOXES = paths.SOURCE_TREE / "build/vagrant"
"""Links to the boxes of this tree's machines."""
_HASH = re.compile(r"[0-9a-f]{16}")


def used() -> set[Path]:
    """Return the directories of the cache that this version would take as they are."""
    root = root_path()
    found = {root, cache_dir() / disk_name(root)}
    for name, packages in KERNELS.items():
        holder = cache_dir() / kernel_root_name(name, packages) if packages else root
        if not holder.is_dir():
            continue
        found.add(holder)
        with suppress(PrepareError):
            source = find_kernel(name, holder, _silent)
            found.add(cache_dir() / boot_name(source, root))
            arguments = ["module", "--root", str(holder), "--kver", source.release]
            found.add(_built("build.py", *arguments).parent)
    for name in BUILT if root.is_dir() else ():
        with suppress(PrepareError):
            image = _built("image.py", name, "--root", str(root))
            found |= {image.parent, cache_dir() / boot_name(built_kernel(name, image), root)}
    if BOXES.is_dir():
        found |= {link.resolve() for link in BOXES.iterdir() if link.is_symlink()}
    return found


def _built(script: str, *arguments: str) -> Path:
    return run_builder(script, [*arguments, "--where"], "what is not there", "", _silent)


def _silent(line: str) -> None:
    del line


def remove_unused(keep: set[Path], said: Callable[[Path], None]) -> None:
    """Remove prepared things but those to keep, and tell of each.

    What a build or a guest has locked stays, of other versions, too; so do the newest box of each
    machine, which another tree may use, and modules for kernels of this machine.
    """
    cache = cache_dir()
    for path in sorted(cache.glob("*.tmp-*")):
        # Half made or half removed, unless it is being made.
        with suppress(BlockingIOError), locked(path.name.partition(".tmp-")[0], wait=False):
            if path.is_dir():
                remove_tree(path)
                said(path)

    def drop(found: Iterable[Path]) -> None:
        for path in sorted(found):
            if path.is_dir() and path not in keep and ".tmp-" not in path.name:
                with suppress(BlockingIOError):
                    _discard(path)
                    said(path)

    kept_roots = {path.name for path in keep}
    bytecode = set(cache.glob("bytecode-*"))
    drop(path for path in bytecode if _root_of(path) not in kept_roots)
    # A guest has its bytecode locked; what it booted from is its root's.
    in_use = {_root_of(path) for path in bytecode if path.is_dir()} - kept_roots
    drop(path for path in cache.glob("root-*") if path.name not in in_use)
    drop(set(cache.glob("disk-*")) - {cache / disk_name(cache / name) for name in in_use})
    drop(cache.glob("boot-*"))
    boxes = {path: path.name.rpartition("-")[0] for path in cache.glob("box-*") if path.is_dir()}
    newest = {boxes[path]: path for path in sorted(boxes, key=lambda box: box.stat().st_mtime)}
    drop(boxes.keys() - newest.values())
    drop(path.parent for path in cache.glob("kernel/*/vmlinux"))
    if not any(path.parent == cache / "kernel" for path in keep):
        _drop_work(cache / "kernel/work", drop)
    for release in sorted(cache.glob("module/*")):
        if Path("/lib/modules", release.name).is_dir():
            continue
        drop(path for path in release.iterdir() if _HASH.fullmatch(path.name))
        if not any(path.parent == release for path in keep):
            _drop_work(release / "work", drop)
            drop([release / "clean"])
            with suppress(OSError):
                release.rmdir()
    for log in (*cache.glob("root-*.log"), *cache.glob("box-*.log")):
        if not any(path.is_dir() for path in cache.glob(f"{log.stem}*")):
            log.unlink()
            said(log)


def _root_of(bytecode: Path) -> str:
    return bytecode.name.removeprefix("bytecode-").rpartition("-")[0]


def _drop_work(work: Path, drop: Callable[[Iterable[Path]], None]) -> None:
    with suppress(BlockingIOError, FileNotFoundError), _free(work / "lock"):
        drop([work])


@contextmanager
def _free(lock: Path) -> Iterator[None]:
    """Hold the lock of the kernel part's builders; BlockingIOError while one builds."""
    with lock.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _discard(path: Path) -> None:
    """Remove an entry; what is half removed has the name of what was half made.

    Raises BlockingIOError where it is in use.
    """
    with locked(lock_name(path), wait=False):
        refuse_mounts(path)
        leaving = cache_dir() / f"{lock_name(path)}.tmp-{os.getpid()}"
        try:
            path.rename(leaving)
        except OSError as error:
            raise PrepareError(f"cannot remove {path}: {error}") from error
        remove_tree(leaving)
