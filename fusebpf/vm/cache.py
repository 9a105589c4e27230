# SPDX-License-Identifier: MIT
"""Where prepared things are kept: named by the hash of their inputs, published by rename."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from fusebpf.build import paths
from fusebpf.vm.errors import PrepareError


def cache_dir() -> Path:
    """Return the user's cache directory, made if absent.

    Raises:
        PrepareError: it cannot be made.
    """
    path = paths.cache_dir().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PrepareError(
            f"cannot make the cache {path}: {error.strerror}",
            "set FUSEBPF_CACHE to a directory that you may write",
        ) from None
    return path


def digest(parts: Iterable[str | bytes]) -> str:
    """Return a 16-digit hash of ``parts``; the borders between parts count."""
    sha = hashlib.sha256()
    for part in parts:
        # A path may be of any bytes
        data = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little"))
        sha.update(data)
    return sha.hexdigest()[:16]


@contextmanager
def locked(name: str, wait: bool = True) -> Iterator[None]:
    """Hold the cache's lock ``name``; a second process waits, so a thing is built once.

    Raises BlockingIOError where another one has it and this is not to wait.
    """
    locks = cache_dir() / "locks"
    locks.mkdir(exist_ok=True)
    with (locks / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def entry(name: str, build: Callable[[Path], None]) -> Path:
    """Return the cache directory ``name``; when absent, ``build`` fills a new one first.

    ``build`` gets an empty directory beside the final one. It appears under its name only when
    ``build`` returned, by rename(2): a killed build leaves only a directory that the next one
    removes.
    """
    final = cache_dir() / name
    if final.is_dir():
        return final
    with locked(name):
        if final.is_dir():
            return final
        for stale in final.parent.glob(f"{name}.tmp-*"):
            remove_tree(stale)
        work = final.parent / f"{name}.tmp-{os.getpid()}"
        try:
            work.mkdir()
            build(work)
            work.rename(final)
        except OSError as error:
            raise PrepareError(f"cannot prepare {final}: {error}") from error
        finally:
            if work.exists():
                remove_tree(work)
    return final


@contextmanager
def own_directory(name: str) -> Iterator[Path]:
    """Give a directory of the cache to this process alone, with what an earlier owner left in it.

    The first free one of ``name``-0, ``name``-1, … is taken. One whose owner was killed, or left
    by an exception, may hold half-written files: it is emptied first.
    """
    locks = cache_dir() / "locks"
    locks.mkdir(exist_ok=True)
    for path in (cache_dir() / f"{name}-{number}" for number in count()):
        with (locks / path.name).open("a+b") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            handle.seek(0)
            if handle.read() and path.exists():
                remove_tree(path)
            path.mkdir(exist_ok=True)
            handle.write(b"owned\n")
            handle.flush()
            yield path
            handle.truncate(0)
            return


def remove_tree(path: Path) -> None:
    """Remove a directory of the cache, but never what is mounted in it.

    Raises:
        PrepareError: something is mounted in it, or a file cannot be removed.
    """
    _refuse_mounts(path)
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise PrepareError(f"cannot remove {path}: {error}") from error


def _refuse_mounts(path: Path) -> None:
    mounted = [place for place in _mounts() if place.is_relative_to(path)]
    if mounted:
        raise PrepareError(f"{mounted[0]} is mounted, so {path} cannot be removed", "unmount it")


def _mounts() -> list[Path]:
    """Return every mount point of this process (proc_pid_mountinfo(5): octal escapes)."""
    places = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        escaped = line.split(b" ")[4]
        raw = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), escaped)
        places.append(Path(os.fsdecode(raw)))
    return places


def remove_unused(root_name: str, *others: str) -> list[Path]:
    """Remove roots other than the guest's and ``others``; what was made before it was.

    Their guests' bytecode goes, too. What a running build holds is locked and stays.
    """
    removed = []
    current = cache_dir() / root_name
    for path in sorted(cache_dir().glob("*.tmp-*")):
        # Half made or half removed, unless it is being made.
        with suppress(BlockingIOError), locked(path.name.partition(".tmp-")[0], wait=False):
            if path.is_dir():
                remove_tree(path)
                removed.append(path)
    for path in sorted(cache_dir().glob("root-*")):
        if path.is_dir() and path.name not in (root_name, *others) and ".tmp-" not in path.name:
            _discard(path)
            removed.append(path)
    for path in sorted(cache_dir().glob("bytecode-*")):
        if not path.name.startswith(f"bytecode-{root_name}-"):
            _discard(path)
            removed.append(path)
    kinds = ("boot-*", "disk-*", "box-*")
    made = [path for kind in kinds for path in cache_dir().glob(kind) if path.is_dir()]
    made = [path for path in made if ".tmp-" not in path.name]
    made += [path.parent for path in cache_dir().glob("kernel/*/vmlinux")]
    for path in sorted(made):
        if not current.is_dir() or path.stat().st_mtime < current.stat().st_mtime:
            _discard(path)
            removed.append(path)
    return removed


def _discard(path: Path) -> None:
    """Remove an entry; what is half removed has the name of what was half made."""
    with locked(path.name):
        _refuse_mounts(path)
        leaving = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        try:
            path.rename(leaving)
        except OSError as error:
            raise PrepareError(f"cannot remove {path}: {error}") from error
        remove_tree(leaving)
