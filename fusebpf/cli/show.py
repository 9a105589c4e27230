# SPDX-License-Identifier: MIT
"""`fusebpf show`."""

from __future__ import annotations

from dataclasses import asdict, astuple, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusebpf.cli import arguments
from fusebpf.cli.output import json_out, record, shown

if TYPE_CHECKING:
    from fusebpf.build.metadata import MapMeta
    from fusebpf.runtime import MountStatus
    from fusebpf.runtime.maps import Cell


@click.command()
@arguments.mountpoint()
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md).")
def show(mountpoint: Path, as_json: bool) -> None:
    """Show the mount at MOUNTPOINT: its filters, and what their maps hold.

    Per-CPU values are shown as their sum, entries of arrays that are zero as a number (in JSON
    each). Filters that others loaded are shown, too; their maps
    only where the object says their types, as those of fusebpf do.
    """
    from fusebpf.runtime import features, mounts

    status = mounts.status(mountpoint)
    features.require_root("reading the maps of a mount")
    told: dict[str, Any] = {**asdict(status), "maps": {}, "events": {}, "lost": 0}
    tables: list[tuple[MapMeta, dict[Cell, Cell]]] = []
    if status.state == "active" and status.link_id is not None:
        with mounts.open(mountpoint) as mount:
            tables = [(view.meta, dict(view.items())) for view in mount.maps.values()]
            told["events"] = {
                name: {"value": stream.meta.value, "dropped": stream.dropped}
                for name, stream in mount.events.items()
            }
            told["lost"] = mount.maps.lost
    if as_json:
        told["maps"] = {
            meta.name: {
                "kind": meta.kind,
                "key": meta.key,
                "value": meta.value,
                "max_entries": meta.max_entries,
                "entries": {_plain(key): _plain(value) for key, value in entries.items()},
            }
            for meta, entries in tables
        }
        json_out(told)
        return
    lines = [*_head(status), *_losses(told)]
    for meta, entries in tables:
        lines += _table(meta, entries)
    click.echo("\n".join(lines))


def _head(status: MountStatus) -> list[str]:
    lines = [f"{shown(status.mountpoint)}: {shown(status.lower)}, {status.state}"]
    if status.mend:
        lines.append(f"to mend it: {shown(status.mend)}")
        if status.replaced:
            lines[-1] += ", then attach the filters that replaced the first ones"
    if status.link_id is not None:
        link = f"link {status.link_id}, name {status.name}"
        lines.append(f"filter set {status.filter_set or '(not built by fusebpf)'} ({link})")
    if status.daemon is not None:
        daemon = status.daemon
        if daemon.state == "serving":
            what = f"process {daemon.pid}" if daemon.pid else "serves in another pid namespace"
        else:
            what = f"ended (was process {daemon.pid}): what needs it gives ENOTCONN"
        lines.append(f"daemon {shown(daemon.served)}, {what}; log {shown(daemon.log)}")
    for hook, function in zip(status.hooks, status.filters, strict=True):
        lines.append(f"  {hook}: {function}")
    return lines


def _losses(told: dict[str, Any]) -> list[str]:
    lines = [f"{name} (events): {e['dropped']} dropped" for name, e in told["events"].items()]
    if told["lost"]:
        lines.append(f"lost, as a map was full: {told['lost']}")
    return lines


def _table(meta: MapMeta, entries: dict[Cell, Cell]) -> list[str]:
    values = entries
    said = "" if entries else " empty"
    if meta.kind.endswith("array"):  # it has every key from the start
        values = {key: value for key, value in entries.items() if _is_set(value)}
        if unset := len(entries) - len(values):
            said = f" {unset} of {len(entries)} zero"
    lines = [f"{meta.name} ({meta.kind}):{said}"]
    plain = [(_plain(key), _plain(value)) for key, value in values.items()]
    for key, value in sorted(plain, key=lambda item: str(item[0]).zfill(20)):
        lines.append(f"  {key}: {value}")
    return lines


def _is_set(cell: Any) -> bool:
    return any(astuple(cell)) if _is_record(cell) else bool(cell)


def _is_record(cell: Any) -> bool:
    return is_dataclass(cell) and not isinstance(cell, type)


def _plain(cell: Any) -> Any:
    """A key or value for people and JSON."""
    return record(cell) if _is_record(cell) else cell
