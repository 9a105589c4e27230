# SPDX-License-Identifier: MIT
"""`fusebpf doctor`."""

from __future__ import annotations

import click

from fusebpf.errors import EXIT_FAILURE

_PURPOSES = ("compile", "attach", "trace", "module", "vm")


@click.command()
@click.option(
    "--for",
    "purposes",
    type=click.Choice(_PURPOSES),
    multiple=True,
    help="Only what is needed for this.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md).")
def doctor(purposes: tuple[str, ...], as_json: bool) -> int:
    """Try everything that fusebpf needs of this machine, and say how to mend what is missing.

    Ends with 1 when something is missing. Run it as root: what needs root is not tried otherwise.
    """
    from fusebpf.doctor import examine

    findings = examine(purposes or _PURPOSES)
    if as_json:
        from dataclasses import asdict

        from fusebpf.cli.output import json_out

        json_out([asdict(entry) for entry in findings])
    else:
        width = max(len(entry.name) for entry in findings)
        for entry in findings:
            used = ", ".join(entry.purposes)
            click.echo(f"{entry.state:8} {entry.name:{width}}  {entry.found} (for: {used})")
            if entry.mend:
                click.echo(f"{'':8} {'':{width}}  mend it: {entry.mend}")
    missing = any(entry.state == "missing" for entry in findings)
    return EXIT_FAILURE if missing else 0
