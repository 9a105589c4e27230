# SPDX-License-Identifier: MIT
"""`fusebpf check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fusebpf.build.metadata import Metadata


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", "set_name", metavar="NAME", help="Which set, when FILE has several.")
@click.option("--log", is_flag=True, help="Show the verifier's whole log when it refuses.")
def check(file: Path, set_name: str | None, log: bool) -> None:
    """Compile FILE and, as root, let this kernel's verifier judge it. Nothing is mounted.

    FILE may also be an object made by `fusebpf compile`.
    """
    from fusebpf.runtime.load import VerifierError, check_abi
    from fusebpf.runtime.verify import verify

    data, metadata = _object(file, set_name)
    check_abi(metadata, file)
    try:
        outcome = verify(data, metadata)
    except VerifierError as error:
        if log:
            click.echo(error.log, err=True)
        raise
    filters = len(metadata.hooks)
    said = {
        "fuse-bpf": "verified by this kernel's fuse-bpf",
        "stand-in": f"verified as a stand-in ({outcome.reason})",
        "no": f"compiled, not verified ({outcome.reason})",
    }[outcome.verified]
    noun = "filter" if filters == 1 else "filters"
    click.echo(f"{file}: set {metadata.set}, {filters} {noun}: {said}")


def _object(file: Path, set_name: str | None) -> tuple[bytes, Metadata]:
    from fusebpf.build import build_compiled, compile_file
    from fusebpf.cli.report import diagnostics
    from fusebpf.objfile import is_object, read

    if is_object(file):
        found = read(file)
        return found.data, found.metadata
    compiled = compile_file(file, set_name)
    diagnostics(compiled.warnings, compiled.texts)
    built = build_compiled(compiled)
    return built.data, built.metadata
