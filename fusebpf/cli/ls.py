# SPDX-License-Identifier: MIT
"""`fusebpf ls`."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(as_json: bool) -> None:
    """List fuse-bpf mounts: where, of what, which filters, and whether they are in force.

    Only root is told the names of filter sets and hooks.
    """
    from fusebpf.runtime.mounts import ls as mounts

    found = mounts()
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(entry) for entry in found], indent=2, default=str))
        return
    rows = [("MOUNTPOINT", "LOWER", "STATE", "SET", "HOOKS")] if found else []
    for entry in found:
        hooks = ",".join(entry.hooks)
        rows.append(
            (str(entry.mountpoint), entry.lower, entry.state, entry.filter_set or "-", hooks or "-")
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)] if rows else []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[4]]))
