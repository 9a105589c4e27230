# SPDX-License-Identifier: MIT
"""Where prepared things are kept: named by the hash of their inputs, published by rename."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO

from fusebpf.build import paths
from fusebpf.vm.errors import PrepareError


def cache_dir() -> Path:
    """Return the user's cache directory, made if absent.

    Raises:
        PrepareError: it cannot be made.
    """
    path = paths.cache_dir().resolve()  # as the builders have it
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
    with _open_lock(name) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def _open_lock(name: str) -> IO[bytes]:
    """Open a lock's file; what own_directory() notes there stays."""
    locks = cache_dir() / "locks"
    try:
        locks.mkdir(exist_ok=True)
        return (locks / name).open("a+b")
    except PermissionError:
        raise PrepareError(
            f"the cache {locks.parent} is another user's: you may not write there",
            "run this as that user, or set FUSEBPF_CACHE to a directory of your own",
        ) from None


def lock_name(path: Path) -> str:
    """Return the name of the lock of a directory of the cache."""
    return str(path.relative_to(cache_dir())).replace("/", "-")


@contextmanager
def using(*found: Path) -> Iterator[None]:
    """Keep directories of the cache from being removed; those elsewhere are nobody's to remove.

    Raises:
        PrepareError: one was removed since it was found.
    """
    with ExitStack() as stack:
        for path in found:
            if path.is_relative_to(cache_dir()):
                lock = cache_dir() / "locks" / lock_name(path)
                with suppress(PrepareError):  # another user's cache
                    _open_lock(lock.name).close()
                with suppress(OSError):
                    fcntl.flock(stack.enter_context(lock.open("rb")), fcntl.LOCK_SH)
                if not path.is_dir():
                    raise PrepareError(f"{path} was removed meanwhile", "run the command again")
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
    for path in (cache_dir() / f"{name}-{number}" for number in count()):
        with _open_lock(path.name) as handle:
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
    refuse_mounts(path)
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise PrepareError(f"cannot remove {path}: {error}") from error


def refuse_mounts(path: Path) -> None:
    """Raise PrepareError where something is mounted in a directory."""
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
