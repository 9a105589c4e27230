# SPDX-License-Identifier: MIT
"""`fusebpf compile`."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("compile")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "output", type=click.Path(path_type=Path), help="Where to write (- is stdout).")
@click.option("--emit", type=click.Choice(["obj", "c"]), default="obj", help="What to write.")
@click.option("--name", "set_name", metavar="NAME", help="Which set, when FILE has several.")
def compile_command(file: Path, output: Path | None, emit: str, set_name: str | None) -> None:
    """Compile the filters of FILE to an object.

    The object is written to FILE's name with the suffix .bpf.o in the current directory; with
    --emit c the generated C goes to stdout.
    """
    from fusebpf.build import build_compiled, compile_file
    from fusebpf.cli.report import diagnostics

    compiled = compile_file(file, set_name)
    diagnostics(compiled.warnings, {str(file): compiled.source})
    if emit == "c":
        _write(output or Path("-"), compiled.c_source.encode())
        return
    built = build_compiled(compiled)
    target = output or Path(f"{file.stem}.bpf.o")
    _write(target, built.data)
    if str(target) != "-":
        meta = built.metadata
        click.echo(
            f"{target}: set {meta.set}, {_count(len(meta.hooks), 'filter')}, "
            f"{_count(len(meta.maps), 'map')}"
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _write(target: Path, data: bytes) -> None:
    from fusebpf.build.cache import write_atomically
    from fusebpf.errors import FusebpfError

    if str(target) == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)  # /dev/null and its like must not be replaced
        else:
            write_atomically(target, data)
    except OSError as error:
        raise FusebpfError(
            f"cannot write {target}: {error.strerror}", "name another file with -o"
        ) from None
