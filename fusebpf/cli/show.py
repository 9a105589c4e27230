# SPDX-License-Identifier: MIT
"""`fusebpf show`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON: values by key by map.")
def show(mountpoint: Path, as_json: bool) -> None:
    """Show the maps of the filters in force at MOUNTPOINT; per-CPU values as their sum."""
    from fusebpf.runtime import mounts

    with mounts.open(mountpoint) as mount:
        contents = {name: dict(view.items()) for name, view in mount.maps.items()}
        kinds = {name: view.meta.kind for name, view in mount.maps.items()}
        lost = mount.maps.lost
    if as_json:
        import json

        click.echo(json.dumps(contents, indent=2))
        return
    for name, values in contents.items():
        click.echo(f"{name} ({kinds[name]}):" + (" empty" if not values else ""))
        for key, value in sorted(values.items()):
            click.echo(f"  {key}: {value}")
    if lost:
        click.echo(f"lost, as a map was full: {lost}")
