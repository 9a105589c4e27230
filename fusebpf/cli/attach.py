# SPDX-License-Identifier: MIT
"""`fusebpf attach`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("filters", type=click.Path(path_type=Path))
@click.argument("lower", type=click.Path(path_type=Path))
@click.argument("mountpoint", type=click.Path(path_type=Path), required=False)
@click.option("--name", "set_name", metavar="NAME", help="Which set, when FILTERS has several.")
@click.option(
    "--set", "settings", metavar="NAME=VALUE", multiple=True, help="A config value of the set."
)
def attach(
    filters: Path,
    lower: Path,
    mountpoint: Path | None,
    set_name: str | None,
    settings: tuple[str, ...],
) -> None:
    """Mount LOWER at MOUNTPOINT with FILTERS (a filter file, or an object) in force.

    LOWER and MOUNTPOINT may be the same directory. Nothing has to keep running: the mount holds
    its filters until `fusebpf detach MOUNTPOINT` or umount.
    """
    from fusebpf.runtime import attach as mount
    from fusebpf.runtime.config import parse

    if mountpoint is None:
        raise _without_mountpoint(filters, lower)
    mount(filters, lower, mountpoint, set_name=set_name, config=parse(settings)).close()


def _without_mountpoint(filters: Path, lower: Path) -> Exception:
    """The error for two arguments, which are meant where the mount is there already."""
    from fusebpf.errors import UsageError
    from fusebpf.runtime import mountinfo

    try:
        there = mountinfo.at(lower)
    except OSError:
        there = None
    if there is not None and there.is_fuse_bpf:
        return UsageError(
            f"{lower} is a fuse-bpf mount already",
            f"give it other filters: fusebpf replace {lower} {filters}",
        )
    return click.UsageError("Missing argument 'MOUNTPOINT'.", click.get_current_context())
