# SPDX-License-Identifier: MIT
"""`fusebpf trace`."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fusebpf.cli import arguments
from fusebpf.cli.interrupts import interrupts, pause
from fusebpf.cli.options import Seconds
from fusebpf.cli.output import count, json_out, shown

if TYPE_CHECKING:
    from fusebpf.trace import Answer, Latency


@click.command()
@arguments.mountpoint()
@click.option("--for", "seconds", metavar="S", type=Seconds(), help="Stop after S s.")
@click.option("--by-process", is_flag=True, help="Tell processes apart by their names.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md).")
def trace(mountpoint: Path, seconds: float | None, by_process: bool, as_json: bool) -> None:
    """Measure how long the operations of MOUNTPOINT take, until Ctrl-C, and print histograms.

    For each opcode: the whole operation in the file system, the lower operation within it, and its
    filters, with the verdicts that those returned. The mount needs no preparation; bcc
    (python3-bpfcc) and kernel headers do the tracing.
    """
    from fusebpf.trace import Tracer

    tracer = Tracer(mountpoint)
    with interrupts() as interrupted:
        with tracer:
            click.echo(f"tracing {mountpoint}" + ("; Ctrl-C ends it" * (seconds is None)), err=True)
            pause(interrupted, seconds)
            found, answers = tracer.read(by_process), tracer.answers(by_process)
            missed, unprobed = tracer.missed, tracer.unprobed
        if as_json:
            rows, verdicts = ([asdict(row) for row in told] for told in (found, answers))
            told = {"missed": missed, "unprobed": unprobed}
            json_out({**told, "latencies": rows, "verdicts": verdicts})
            return
        texts = [_text(rows, answers) for rows in _grouped(found)]
        click.echo("\n\n".join(texts) or "no operation was seen")
        if missed:
            click.echo(f"{count(missed, 'operation')} not measured", err=True)
        if unprobed:
            names = ", ".join(unprobed)
            click.echo(f"filters not measured, as they came by a replacement: {names}", err=True)


def _grouped(found: list[Latency]) -> list[dict[str, Latency]]:
    groups: dict[tuple[str, str], dict[str, Latency]] = {}
    for row in found:
        groups.setdefault((row.opcode, row.process), {})[row.part] = row
    # What has no whole yet was under way when the probes were read.
    return [rows for rows in groups.values() if "whole" in rows]


_BAR = 40


def _text(rows: dict[str, Latency], answers: list[Answer]) -> str:
    whole = rows["whole"]
    lines = [whole.opcode + (f" by {shown(whole.process)}" if whole.process else "")]
    for part, row in rows.items():
        lines.append(
            f"  {part:6} {row.count} times, {row.nanoseconds // row.count} ns on average, "
            f"half within {row.percentile(0.5)}, 99 % within {row.percentile(0.99)}"
        )
    ours = [a for a in answers if (a.opcode, a.process) == (whole.opcode, whole.process)]
    for kind, given in groupby(ours, key=lambda answer: answer.filter):
        lines.append(f"  {kind}: " + ", ".join(f"{a.verdict} {a.count}" for a in given))
    lines.append(f"  {'ns from':>10} " + " ".join(f"{part:>8}" for part in rows))
    most = max(whole.histogram.values())
    for least in sorted({slot for row in rows.values() for slot in row.histogram}):
        counts = " ".join(f"{row.histogram.get(least, 0):8}" for row in rows.values())
        bar = "#" * (_BAR * whole.histogram.get(least, 0) // most)
        lines.append(f"  {least:>10} {counts} {bar}".rstrip())
    return "\n".join(lines)
