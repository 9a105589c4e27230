# SPDX-License-Identifier: MIT
"""Where the package's own files and the user's cache are."""

from __future__ import annotations

import os
from pathlib import Path

from fusebpf.build.errors import BuildError

_PACKAGE = Path(__file__).resolve().parent.parent
SOURCE_TREE = _PACKAGE.parent
"""The tree that we run from, unless we are installed."""


def share_dir(name: str) -> Path:
    """Directory `name` ("bpf", "kernel") shipped with us: in the wheel, or in the source tree."""
    shipped = _PACKAGE / "_share" / name
    return shipped if shipped.is_dir() else SOURCE_TREE / name


def cache_dir() -> Path:
    """`$FUSEBPF_CACHE`, else `$XDG_CACHE_HOME/fusebpf`, else `~/.cache/fusebpf`. May not exist.

    Raises BuildError where this user has no home directory.
    """
    named = os.environ.get("FUSEBPF_CACHE")
    if named:
        return Path(named)
    # The XDG specification says to ignore a relative path.
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else _home() / ".cache") / "fusebpf"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and a user that passwd does not have
        raise BuildError(
            "there is no home directory to keep a cache in",
            "set FUSEBPF_CACHE to a directory that you may write",
        ) from None
