# SPDX-License-Identifier: MIT
"""`fusebpf compile`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusebpf.cli.options import warnings_option
from fusebpf.cli.output import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fusebpf.build import CompiledSet
    from fusebpf.build.metadata import Metadata


@click.command("compile")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "output", type=click.Path(path_type=Path), help="Where to write (- is stdout).")
@click.option("--emit", type=click.Choice(["obj", "c"]), default="obj", help="What to write.")
@click.option("--explain", is_flag=True, help="Say what each filter costs; write nothing.")
@click.option("--name", "set_name", metavar="NAME", help="Which set, when FILE has several.")
@click.option("--json", "as_json", is_flag=True, help="Print findings and their edits as JSON.")
@warnings_option
def compile_command(
    file: Path,
    output: Path | None,
    emit: str,
    set_name: str | None,
    explain: bool,
    as_json: bool,
    warnings: str,
) -> None:
    """Compile the filters of FILE to an object.

    The object is written to FILE's name with the suffix .bpf.o in the current directory; with
    --emit c the generated C goes to stdout. --explain tells for each filter how many turns its
    loops can make, its estimated size, and whether the kernel may keep its answers.
    """
    from fusebpf.build import unchanged
    from fusebpf.build.load import read_source

    target = output or Path("-" if emit == "c" else f"{file.stem}.bpf.o")
    if _is_stdout(target):
        target = Path("-")
    if as_json and (explain or emit == "c" or str(target) == "-"):
        raise click.UsageError("--json is for compiling to a file")
    if _same_file(target, file):
        raise click.UsageError(f"{target} is the filter file itself: name another with -o")
    source = read_source(file)
    plain = not (as_json or explain or emit == "c")
    same = unchanged.lookup(file, source, set_name) if plain else None
    if same is not None:
        data, said = same
        _finish(target, data, said)
        return
    if not explain and emit != "c":
        from fusebpf.build.clang import look_for_clang

        look_for_clang()
    from fusebpf.build import build_compiled
    from fusebpf.build.findings import findings, only_set
    from fusebpf.cli.report import conclude

    found = findings(file, source, set_name)
    shapes: list[dict[str, Any]] = []
    if as_json:
        from fusebpf.compiler.wire import files

        shapes = files(found.diagnostics, found.texts)
    compiled = only_set(file, found) if not found.failed else None
    conclude(file, found, warnings, shapes)
    assert compiled is not None
    if explain:
        for line in _explained(compiled):
            click.echo(line)
        return
    if emit == "c":
        _write(target, compiled.c_source.encode())
        return
    built = build_compiled(compiled)
    said = _summary(built.metadata)
    if not found.diagnostics:
        unchanged.store(file, source, set_name, built.path, said)
    if as_json:
        _write(target, built.data)
        click.echo(json.dumps({"ok": True, "files": shapes, "object": str(target)}))
        return
    _finish(target, built.data, said)


def _summary(meta: Metadata) -> str:
    """What the source declares: an object has maps of its own besides, for what was lost."""
    from fusebpf.build.metadata import DROPS, EVENTS, LOST

    events = [entry for entry in meta.maps if entry.kind == EVENTS]
    own = [entry for entry in meta.maps if entry.name in (DROPS, LOST.name)]
    said = [f"set {meta.set}", count(len(meta.hooks), "filter")]
    said.append(count(len(meta.maps) - len(events) - len(own), "map"))
    if events:
        said.append(f"{count(len(events), 'kind')} of event")
    return ", ".join(said)


def _finish(target: Path, data: bytes, said: str) -> None:
    _write(target, data)
    if str(target) != "-":
        click.echo(f"{target}: {said}")


def _same_file(target: Path, file: Path) -> bool:
    try:
        return target.samefile(file)
    except OSError:
        return False


def _is_stdout(target: Path) -> bool:
    """Whether it leads where stdout does: /dev/stdout, or the file of a redirection."""
    try:
        return os.path.samestat(target.stat(), os.fstat(1))
    except OSError:
        return False


def _explained(compiled: CompiledSet) -> Iterator[str]:
    for entry in compiled.result.hooks:
        yield (
            f"{entry.function} ({entry.hook}, line {entry.line}): "
            f"at most {count(entry.steps, 'loop turn')}, about {entry.size} instructions"
        )
        if entry.impure == "":
            yield "  answers by the name alone: the kernel keeps them until the filters change"
        elif entry.impure is not None:
            yield f"  asked at every path walk, for more than the name decides: {entry.impure}"


def _write(target: Path, data: bytes) -> None:
    from fusebpf.build.cache import write_atomically
    from fusebpf.errors import FusebpfError

    if str(target) == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        real = Path(os.path.realpath(target))  # a link is written through, not replaced
        if real.exists() and not real.is_file():
            real.write_bytes(data)  # /dev/null and its like must not be replaced
        else:
            write_atomically(real, data)
    except OSError as error:
        raise FusebpfError(
            f"cannot write {target}: {error.strerror}", "name another file with -o"
        ) from None
