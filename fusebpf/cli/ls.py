# SPDX-License-Identifier: MIT
"""`fusebpf ls`."""

from __future__ import annotations

from dataclasses import asdict

import click

from fusebpf.cli.output import columns, json_out, shown


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md).")
def ls(as_json: bool) -> None:
    """List fuse-bpf mounts: where, of what, which filters, and whether they are in force.

    Root is told, too, which filters and hooks they are, and which filter sets are loaded without a
    mount here: pinned, held by a process, or mounted elsewhere. What is not as it should be comes
    with the command that mends it.
    """
    from fusebpf.runtime.holders import leftovers
    from fusebpf.runtime.mounts import ls as mounts

    found, left = mounts(), leftovers()
    if as_json:
        json_out({"mounts": [asdict(e) for e in found], "left": [asdict(e) for e in left]})
        return
    columns(
        ("MOUNTPOINT", "LOWER", "STATE", "SET", "HOOKS"),
        [
            (
                shown(entry.mountpoint),
                shown(entry.lower),
                entry.state,
                entry.filter_set or "-",
                ",".join(entry.hooks) or "-",
            )
            for entry in found
        ],
    )
    for entry in found:
        if entry.mend:
            click.echo(f"{shown(entry.mountpoint)} is {entry.state}: {shown(entry.mend)}")
    for leftover in left:
        known = f"filter set {leftover.filter_set or leftover.name} (link {leftover.link_id})"
        held = ", ".join(f"{holder.kind} {shown(holder.where)}" for holder in leftover.holders)
        by = f"held by {held}" if held else "in use"
        click.echo(f"{known} has no mount here, {by}: {shown(leftover.mend)}")
