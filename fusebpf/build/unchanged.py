# SPDX-License-Identifier: MIT
"""What was compiled before from the same text with the same tools, without importing a compiler.

Only files whose text is all that decides are remembered: those that import this package and the
few modules below, and open nothing. Any other file is imported and compiled each time; clang is
not run again then either (cache.py).
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import sys
from functools import cache
from pathlib import Path

from fusebpf.build import cache as objects
from fusebpf.build.errors import BuildError
from fusebpf.build.paths import cache_dir, share_dir

_MODULES = {
    *("fusebpf", "fusebpf.constants", "fusebpf.types", "fusebpf.filters"),
    *("__future__", "dataclasses", "enum", "typing"),
}
#: Built-ins by which a file could depend on something else.
_DOORS = {
    "open",
    "exec",
    "eval",
    "compile",
    "input",
    "__import__",
    "__builtins__",
    "globals",
    "vars",
}
_TOOLS = ("clang", "llvm-strip")


def lookup(path: Path, source: str, set_name: str | None) -> tuple[bytes, str] | None:
    """The object, and what was said of it; None when the file must be compiled."""
    place = _place(path, source, set_name)
    raw = None if place is None else objects.read_own(place)
    if raw is None:
        return None
    try:
        record = json.loads(raw)
        data = objects.lookup(record["object"])
        return None if data is None else (data, str(record["said"]))
    except (ValueError, KeyError, TypeError):
        return None


def store(path: Path, source: str, set_name: str | None, built: Path, said: str) -> None:
    """Remember an object that lies at `built` in the cache. Raises BuildError."""
    place = _place(path, source, set_name)
    if place is None:
        return
    key = built.parent.name + built.name.removesuffix(".bpf.o")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        objects.write_atomically(place, json.dumps({"object": key, "said": said}).encode())
        objects.trim(place.parent)
    except OSError as error:
        raise BuildError(
            f"cannot write the cache {cache_dir()}: {error.strerror}",
            "set FUSEBPF_CACHE to a directory that you may write",
        ) from None


def _place(path: Path, source: str, set_name: str | None) -> Path | None:
    """Where the record of this text and these tools is; None for a text that may read others."""
    if not _alone(source):
        return None
    parts = (str(path), source, set_name, sys.version, *_ours(), *_tools())
    key = hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return cache_dir() / "unchanged" / key[:2] / key[2:]


def _alone(source: str) -> bool:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                if any(alias.name not in _MODULES for alias in names):
                    return False
            case ast.ImportFrom(module=module, level=level):
                if level or module not in _MODULES:
                    return False
            case ast.Name(id=name) if name in _DOORS:
                return False
            case ast.Attribute(attr=attr) if attr.startswith("__"):
                return False
    return True


def _stamp(path: str) -> tuple[str, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return path, 0, 0
    return path, found.st_mtime_ns, found.st_size


@cache
def _ours() -> tuple[tuple[str, int, int], ...]:
    """This package and its headers, as they were when this process began to use them."""
    files: list[str] = []
    for top in (Path(__file__).parents[1], share_dir("bpf")):
        for directory, _names, entries in os.walk(top):
            files += [f"{directory}/{name}" for name in entries if name.endswith((".py", ".h"))]
    return tuple(_stamp(file) for file in sorted(files))


def _tools() -> list[object]:
    """The programs that build.clang chooses from."""
    search = os.environ.get("PATH", os.defpath)
    named = os.environ.get("FUSEBPF_CLANG")
    found: list[object] = [search, named, _stamp(shutil.which(named or "") or "")]
    for directory in search.split(os.pathsep):
        try:
            entries = os.listdir(directory or ".")  # noqa: PTH208
        except OSError:
            continue
        found += [
            _stamp(f"{directory}/{name}")
            for name in sorted(e for e in entries if e.startswith(_TOOLS))
        ]
    return found
