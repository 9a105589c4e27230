# SPDX-License-Identifier: MIT
"""`fusebpf attach`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("filters", type=click.Path(path_type=Path))
@click.argument("lower", type=click.Path(path_type=Path))
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("--name", "set_name", metavar="NAME", help="Which set, when FILTERS has several.")
@click.option(
    "--set", "settings", metavar="NAME=VALUE", multiple=True, help="A config value of the set."
)
def attach(
    filters: Path,
    lower: Path,
    mountpoint: Path,
    set_name: str | None,
    settings: tuple[str, ...],
) -> None:
    """Mount LOWER at MOUNTPOINT with FILTERS (a filter file, or an object) in force.

    LOWER and MOUNTPOINT may be the same directory. Nothing has to keep running: the mount holds
    its filters until `fusebpf detach MOUNTPOINT` or umount.
    """
    from fusebpf.runtime import attach as mount
    from fusebpf.runtime.config import parse

    mount(filters, lower, mountpoint, set_name=set_name, config=parse(settings)).close()
