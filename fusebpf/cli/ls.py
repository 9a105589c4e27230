# SPDX-License-Identifier: MIT
"""`fusebpf ls`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fusebpf.cli.output import columns, json_out, shown

if TYPE_CHECKING:
    from fusebpf.runtime.daemons import DaemonStatus
    from fusebpf.runtime.holders import Leftover


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md).")
def ls(as_json: bool) -> None:
    """List fuse-bpf mounts: where, of what, which filters, and whether they are in force.

    DAEMON is the process of a mount made with --daemon, or that it has ended ("serving" is one of
    another pid namespace).

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
        ("MOUNTPOINT", "LOWER", "STATE", "DAEMON", "SET", "HOOKS"),
        [
            (
                shown(entry.mountpoint),
                shown(entry.lower),
                entry.state,
                _daemon(entry.daemon),
                entry.filter_set or "-",
                ",".join(entry.hooks) or "-",
            )
            for entry in found
        ],
    )
    for entry in found:
        if entry.mend:
            what = f"is {entry.state}" if entry.state != "active" else "has lost its daemon"
            what += ", and its filters were replaced since" * entry.replaced
            click.echo(f"{shown(entry.mountpoint)} {what}: {shown(entry.mend)}")
    for leftover in left:
        click.echo(_left(leftover))


def _left(leftover: Leftover) -> str:
    known = f"filter set {leftover.filter_set or leftover.name} (link {leftover.link_id})"
    if not leftover.holders:
        return (
            f"{known} has no mount here, in use: it ends with the last program that has files "
            "open in a mount taken off lazily"
        )
    by: dict[bool, list[str]] = {True: [], False: []}
    for holder in leftover.holders:
        elsewhere = holder.kind == "namespace"
        by[elsewhere].append((f"{holder.kind} " * (not elsewhere)) + shown(holder.where))
    where = "has no mount here"
    if by[True]:
        where = f"is mounted in the namespace of {', '.join(by[True])}"
    held = f", held by {', '.join(by[False])}" if by[False] else ""
    return f"{known} {where}{held}" + (f": {shown(leftover.mend)}" if leftover.mend else "")


def _daemon(daemon: DaemonStatus | None) -> str:
    if daemon is None:
        return "-"
    return str(daemon.pid) if daemon.state == "serving" and daemon.pid else daemon.state
