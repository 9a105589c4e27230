# SPDX-License-Identifier: MIT
"""`fusebpf show`."""

from __future__ import annotations

from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import click

from fusebpf.cli import arguments
from fusebpf.cli.output import json_out, record


@click.command()
@arguments.mountpoint()
@click.option("--json", "as_json", is_flag=True, help="Print JSON: values by key by map.")
def show(mountpoint: Path, as_json: bool) -> None:
    """Show the maps of the filters in force at MOUNTPOINT; per-CPU values as their sum."""
    from fusebpf.runtime import mounts

    with mounts.open(mountpoint) as mount:
        contents = {
            name: {_plain(key): _plain(value) for key, value in view.items()}
            for name, view in mount.maps.items()
        }
        dropped = {name: stream.dropped for name, stream in mount.events.items()}
        kinds = {name: view.meta.kind for name, view in mount.maps.items()}
        lost = mount.maps.lost
    if as_json:
        json_out(contents)
        return
    for name, values in contents.items():
        click.echo(f"{name} ({kinds[name]}):" + (" empty" if not values else ""))
        for key, value in sorted(values.items(), key=lambda item: str(item[0]).zfill(20)):
            click.echo(f"  {key}: {value}")
    for name, count in dropped.items():
        click.echo(f"{name} (events): {count} dropped")
    if lost:
        click.echo(f"lost, as a map was full: {lost}")


def _plain(cell: Any) -> Any:
    """A key or value for people and JSON: a dataclass as `uid=3 name=x`."""
    if not is_dataclass(cell) or isinstance(cell, type):
        return cell
    return record(cell)
