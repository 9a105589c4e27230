# SPDX-License-Identifier: MIT
"""`fusebpf compile`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fusebpf.build import CompiledSet


@click.command("compile")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "output", type=click.Path(path_type=Path), help="Where to write (- is stdout).")
@click.option("--emit", type=click.Choice(["obj", "c"]), default="obj", help="What to write.")
@click.option("--explain", is_flag=True, help="Say what each filter costs; write nothing.")
@click.option("--name", "set_name", metavar="NAME", help="Which set, when FILE has several.")
def compile_command(
    file: Path, output: Path | None, emit: str, set_name: str | None, explain: bool
) -> None:
    """Compile the filters of FILE to an object.

    The object is written to FILE's name with the suffix .bpf.o in the current directory; with
    --emit c the generated C goes to stdout. --explain tells for each filter how many turns its
    loops can make, its estimated size, and whether the kernel may keep its answers.
    """
    from fusebpf.build import build_compiled, compile_file
    from fusebpf.cli.report import diagnostics

    compiled = compile_file(file, set_name)
    diagnostics(compiled.warnings, compiled.texts)
    if explain:
        for line in _explained(compiled):
            click.echo(line)
        return
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


def _explained(compiled: CompiledSet) -> Iterator[str]:
    for entry in compiled.result.hooks:
        yield (
            f"{entry.function} ({entry.hook}, line {entry.line}): "
            f"at most {_count(entry.steps, 'loop turn')}, about {entry.size} instructions"
        )
        if entry.impure == "":
            yield "  answers by the name alone: the kernel keeps them until the filters change"
        elif entry.impure is not None:
            yield f"  asked at every path walk, for more than the name decides: {entry.impure}"


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
