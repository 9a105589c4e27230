# SPDX-License-Identifier: MIT
"""`fusebpf stats`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from fusebpf.cli import arguments
from fusebpf.cli.options import Seconds
from fusebpf.cli.output import columns, json_out


@click.command()
@arguments.mountpoint()
@click.option(
    "--for",
    "seconds",
    metavar="S",
    type=Seconds(above=True),
    default=1.0,
    show_default=True,
    help="How long to count.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md).")
def stats(mountpoint: Path, seconds: float, as_json: bool) -> None:
    """Count how often each filter at MOUNTPOINT runs, and for how many nanoseconds.

    The kernel counts runs only while this command does. It counts no verdicts: a filter can, in a
    map that fusebpf show prints.
    """
    import time

    from fusebpf.runtime import features, mounts
    from fusebpf.runtime.stats import Meter

    _entry, link_id = mounts.filtered(mountpoint, "stats")
    with mounts.asking(mountpoint), Meter(features.require()) as meter:
        meter.read(link_id)
        time.sleep(seconds)
        found = meter.read(link_id)
    if as_json:
        json_out({"seconds": seconds, "hooks": [asdict(entry) for entry in found]})
        return
    columns(
        ("HOOK", "FILTER", "CALLS", "NS/CALL"),
        [(e.hook, e.filter, str(e.calls), str(e.per_call) if e.calls else "-") for e in found],
    )
