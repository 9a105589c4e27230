# SPDX-License-Identifier: MIT
"""`fusebpf top`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fusebpf.cli import arguments
from fusebpf.cli.interrupts import interrupts, pause
from fusebpf.cli.options import Seconds
from fusebpf.cli.output import columns, json_out, shown

if TYPE_CHECKING:
    from rich.table import Table

    from fusebpf.runtime.stats import HookStats, Meter

_HEAD = ("MOUNTPOINT", "HOOK", "FILTER", "CALLS/S", "NS/CALL", "CPU %")
_Sample = list[tuple[Path, "HookStats"]]
_Filters = tuple[Path, int]  # where, and the id of their link


@click.command()
@arguments.mountpoint(required=False)
@click.option(
    "--interval",
    metavar="S",
    type=Seconds(0.1),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--count", metavar="N", type=click.IntRange(1), help="Stop after N looks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line a look (docs/json.md).")
def top(mountpoint: Path | None, interval: float, count: int | None, as_json: bool) -> None:
    """Watch what the filters of MOUNTPOINT, or of every fuse-bpf mount, cost. Ctrl-C ends it.

    On a terminal a table is kept up to date, the costliest filter first; elsewhere each look is
    printed below the last.
    """
    from fusebpf.runtime import features, mounts
    from fusebpf.runtime.stats import Meter

    features.require_root("top")
    chosen = None
    if mountpoint is not None:
        entry, link_id = mounts.filtered(mountpoint, "top")
        chosen = (entry.mount_point, link_id)
    with interrupts() as interrupted, Meter(features.require()) as meter:
        samples = _samples(meter, chosen, interval, count, interrupted)
        if as_json:
            _print_json(samples)
        elif _can_redraw():
            _live(samples)
        else:
            _print_plain(samples)


def _samples(
    meter: Meter,
    chosen: _Filters | None,
    interval: float,
    count: int | None,
    interrupted: Sequence[int],
) -> Iterator[tuple[float, _Sample]]:
    """Seconds and filters of each look, the filter that took the most time first."""
    _look(meter, chosen)
    looks = 0
    last = time.monotonic()
    while count is None or looks < count:
        pause(interrupted, interval)
        if interrupted:
            return
        found = _look(meter, chosen)
        now = time.monotonic()
        yield now - last, sorted(found, key=lambda row: -row[1].nanoseconds)
        last = now
        looks += 1


def _look(meter: Meter, chosen: _Filters | None) -> _Sample:
    from fusebpf.runtime import mounts

    found: _Sample = []
    for where, link_id in _in_force() if chosen is None else [chosen]:
        with suppress(OSError) if chosen is None else mounts.asking(where):
            found.extend((where, row) for row in meter.read(link_id))
    return found


def _in_force() -> list[_Filters]:
    """Filters of all mounts; those that several mounts share (a bind mount) once."""
    from fusebpf.runtime import mountinfo

    found: dict[int, Path] = {}
    for entry in mountinfo.entries():
        if entry.is_fuse_bpf and entry.link_id is not None and not entry.dead:
            found.setdefault(entry.link_id, entry.mount_point)
    return [(where, link_id) for link_id, where in found.items()]


def _cells(seconds: float, where: Path, row: HookStats) -> tuple[str, ...]:
    return (
        shown(where),
        row.hook,
        row.filter,
        f"{row.calls / seconds:.0f}",
        str(row.per_call) if row.calls else "-",
        f"{row.nanoseconds / seconds / 1e7:.2f}",
    )


def _print_plain(samples: Iterator[tuple[float, _Sample]]) -> None:
    for seconds, sample in samples:
        columns(_HEAD, [_cells(seconds, *entry) for entry in sample])
        if not sample:
            click.echo("no filters are in force")
        sys.stdout.flush()


def _print_json(samples: Iterator[tuple[float, _Sample]]) -> None:
    for seconds, sample in samples:
        hooks = [{"mountpoint": where, **asdict(row)} for where, row in sample]
        json_out({"seconds": seconds, "hooks": hooks}, indent=None)
        sys.stdout.flush()


def _can_redraw() -> bool:
    if not sys.stdout.isatty():
        return False
    from rich.console import Console

    return not Console().is_dumb_terminal


def _live(samples: Iterator[tuple[float, _Sample]]) -> None:
    from rich.live import Live

    with Live(_table(1.0, []), screen=False) as live:
        for seconds, sample in samples:
            live.update(_table(seconds, sample), refresh=True)


def _table(seconds: float, sample: _Sample) -> Table:
    from rich.table import Table
    from rich.text import Text

    rows = [_cells(seconds, *entry) for entry in sample]
    table = Table(box=None, padding=(0, 1, 0, 0))
    for number, name in enumerate(_HEAD):
        # Where there is little room, names are cut, no numbers: rich takes it from the columns that
        # may be wrapped, though the texts in these may not.
        figures = number > 2
        table.add_column(
            Text(name, no_wrap=True, overflow="ellipsis"),
            justify="right" if figures else "left",
            no_wrap=figures,
        )
    for row in rows:
        # As texts: a path may hold what would be markup.
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
    return table
