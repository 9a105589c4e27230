# SPDX-License-Identifier: MIT
"""Arguments that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])


class _Place(click.Path):
    """A path of which nothing is asked here: click's own type asks the mount, which may hang."""

    def convert(self, value: Any, _param: object, _context: object) -> Path:
        return Path(value)


def mountpoint(required: bool = True) -> Callable[[_F], _F]:
    """The path of a fuse-bpf mount; a shell completes it to those there are."""
    return click.argument("mountpoint", type=_Place(), required=required, shell_complete=_mounts)


def _mounts(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    from fusebpf.runtime import mountinfo

    there = (str(entry.mount_point) for entry in mountinfo.entries() if entry.is_fuse_bpf)
    return [path for path in there if path.startswith(begun)]
