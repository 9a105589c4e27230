# SPDX-License-Identifier: MIT
"""The tree that rules are for."""

from __future__ import annotations

import os
from pathlib import Path

from fusebpf.errors import FusebpfError, UsageError


def root(tree: Path) -> Path:
    """The root of a tree, by a path without links.

    Raises UsageError when it is no directory, FusebpfError when it cannot be reached.
    """
    try:
        real = Path(os.path.realpath(tree, strict=True))
    except OSError as error:
        raise FusebpfError(
            f"cannot reach the tree {tree}: {error.strerror}", "--tree names it"
        ) from None
    if not real.is_dir():
        raise UsageError(f"the tree {tree} is not a directory", "name its root: --tree DIR")
    return real


def absolute(path: Path) -> Path:
    """A path from the current directory on. Raises FusebpfError when that is gone."""
    try:
        return path.absolute()
    except FileNotFoundError:
        raise FusebpfError(
            "the current directory is not there any more", "cd to one that is there"
        ) from None
