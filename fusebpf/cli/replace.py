# SPDX-License-Identifier: MIT
"""`fusebpf replace`."""

from __future__ import annotations

from pathlib import Path

import click

from fusebpf.cli import arguments


@click.command()
@arguments.mountpoint()
@click.argument("filters", type=click.Path(path_type=Path))
@click.option("--name", "set_name", metavar="NAME", help="Which set, when FILTERS has several.")
@click.option(
    "--set", "settings", metavar="NAME=VALUE", multiple=True, help="A config value of the set."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md).")
def replace(
    mountpoint: Path,
    filters: Path,
    set_name: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Put FILTERS (a filter file, or an object) in force at MOUNTPOINT, in place of those there.

    Every operation is asked of the old filters or of the new ones; none goes unasked. Maps of the
    same name and type keep their contents; of the others it says why not. When FILTERS cannot be
    loaded, the old filters stay.
    """
    from fusebpf.runtime import replace as put
    from fusebpf.runtime.config import parse

    done = put(mountpoint, filters, set_name=set_name, config=parse(settings))
    if as_json:
        from dataclasses import asdict

        from fusebpf.cli.output import json_out

        json_out(asdict(done))
        return
    for name, why in done.lost.items():
        click.echo(f"note: map {name} is not kept: {why}", err=True)
