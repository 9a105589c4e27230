# SPDX-License-Identifier: MIT
"""`fusebpf events`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fusebpf.cli import arguments
from fusebpf.cli.interrupts import interrupts
from fusebpf.cli.options import Seconds
from fusebpf.cli.output import count, json_out, record


@click.command()
@arguments.mountpoint()
@click.option("--kind", "kinds", metavar="NAME", multiple=True, help="Only events of this name.")
@click.option("--for", "seconds", metavar="S", type=Seconds(), help="Stop after S s.")
@click.option("--count", "most", metavar="N", type=click.IntRange(1), help="Stop after N events.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line each (docs/json.md).")
def events(
    mountpoint: Path,
    kinds: tuple[str, ...],
    seconds: float | None,
    most: int | None,
    as_json: bool,
) -> None:
    """Print the events that the filters at MOUNTPOINT send, a line each, until it is unmounted.

    --for 0 prints those that wait and stops. Each event is given to one reader. Those that found
    their ring full are lost; how many, it says at the end.
    """
    from fusebpf.runtime.following import Follower

    write = _json if as_json else _text
    with interrupts() as interrupted:
        with Follower(mountpoint, kinds) as follower:
            for batch in follower.follow(seconds, most, lambda: bool(interrupted)):
                for kind, event in batch:
                    write(kind, event)
                sys.stdout.flush()
        if as_json:
            json_out({"dropped": follower.dropped}, indent=None)
            return
        for kind, number in follower.dropped.items():
            if number:
                click.echo(f"{kind}: {count(number, 'event')} lost, as the ring was full", err=True)


def _text(kind: str, event: Any) -> None:
    sys.stdout.write(f"{kind} {record(event)}\n")


def _json(kind: str, event: Any) -> None:
    # Names need not be UTF-8; the other bytes come as lone surrogates, as Python has them.
    values = {
        name: value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
        for name, value in asdict(event).items()
    }
    json_out({"event": kind, "fields": values}, indent=None)
