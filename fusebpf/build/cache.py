# SPDX-License-Identifier: MIT
"""Objects by the hash of all that made them, so that unchanged input is not compiled again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path

from fusebpf.build.errors import BuildError
from fusebpf.build.paths import cache_dir

# Files in one of 256 shards, two for each object: about 16,000 objects, 300 MB at most
_SHARD_LIMIT = 128


def entry_path(key: str) -> Path:
    """Where the object of `key` (hex) is, or would be."""
    return cache_dir() / "objects" / key[:2] / f"{key[2:]}.bpf.o"


def _sum_path(path: Path) -> Path:
    """Where the SHA-256 of an object is: a crash may leave a file short, or zeros in it."""
    return path.with_name(f"{path.name}.sha256")


def _sum(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode() + b"\n"


def lookup(key: str) -> bytes | None:
    """The cached object's bytes, or None where there are none or others than were stored.

    Only files of our own count: root may be pointed at a cache that others can write.
    """
    path = entry_path(key)
    data = read_own(path)
    if data is None or read_own(_sum_path(path)) != _sum(data):
        return None
    with contextlib.suppress(OSError):
        for each in (path, _sum_path(path)):
            os.utime(each)  # the oldest are dropped first
    return data


def read_own(path: Path) -> bytes | None:
    """A file's bytes; None when it is not there, or somebody else may have written it."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & stat.S_IWOTH:
                return None
            return file.read()
    except OSError:
        return None


def store(key: str, data: bytes) -> Path:
    """Keep an object; readers see all of it or nothing. Raises BuildError when it cannot."""
    path = entry_path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
        write_atomically(_sum_path(path), _sum(data))
    except OSError as error:
        raise BuildError(
            f"cannot write the cache {cache_dir()}: {error.strerror}",
            "set FUSEBPF_CACHE to a directory that you may write",
        ) from None
    trim(path.parent)
    return path


def write_atomically(path: Path, data: bytes, *, keep_mode: bool = False) -> None:
    """Replace `path` by a file with `data`, in one step. Raises OSError.

    With `keep_mode` the new file has the owner and permissions of the old one.
    """
    import tempfile

    before = path.stat() if keep_mode else None
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            # mkstemp makes a private file; what others may read is the umask's to say.
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(file.fileno(), 0o666 & ~umask)
            if before is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def trim(shard: Path) -> None:
    """Drop the oldest files of a directory that has too many."""
    entries: list[tuple[float, Path]] = []
    for path in shard.iterdir():
        with contextlib.suppress(OSError):
            entries.append((path.stat().st_mtime, path))
    for _age, path in sorted(entries)[: max(0, len(entries) - _SHARD_LIMIT)]:
        path.unlink(missing_ok=True)
