# SPDX-License-Identifier: MIT
"""`fusebpf ls`."""

from __future__ import annotations

import click

from fusebpf.cli.output import columns, json_out


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(as_json: bool) -> None:
    """List fuse-bpf mounts: where, of what, which filters, and whether they are in force.

    Only root is told the names of filter sets and hooks.
    """
    from fusebpf.runtime.mounts import ls as mounts

    found = mounts()
    if as_json:
        from dataclasses import asdict

        json_out([asdict(entry) for entry in found])
        return
    columns(
        ("MOUNTPOINT", "LOWER", "STATE", "SET", "HOOKS"),
        [
            (
                str(entry.mountpoint),
                entry.lower,
                entry.state,
                entry.filter_set or "-",
                ",".join(entry.hooks) or "-",
            )
            for entry in found
        ],
    )
