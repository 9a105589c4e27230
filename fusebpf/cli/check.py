# SPDX-License-Identifier: MIT
"""`fusebpf check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusebpf.cli.options import warnings_option
from fusebpf.cli.output import count

if TYPE_CHECKING:
    from fusebpf.build.findings import Findings
    from fusebpf.build.metadata import Metadata


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", "set_name", metavar="NAME", help="Which set, when FILE has several.")
@click.option("-v", "--verbose", is_flag=True, help="Show all that the verifier or clang said.")
@click.option("--json", "as_json", is_flag=True, help="Print findings and their edits as JSON.")
@click.option("--fix", is_flag=True, help="Mend FILE: apply the safe edits of its findings.")
@click.option("--unsafe-fixes", is_flag=True, help="With --fix: apply guesses, too.")
@click.option("--diff", is_flag=True, help="With --fix: show what would change, write nothing.")
@warnings_option
def check(
    file: Path,
    set_name: str | None,
    verbose: bool,
    as_json: bool,
    fix: bool,
    unsafe_fixes: bool,
    diff: bool,
    warnings: str,
) -> None:
    """Compile FILE and, as root, let this kernel's verifier judge it. Nothing is mounted.

    FILE may also be an object made by `fusebpf compile`. With --fix the edits of its findings are
    applied first: those that say the same in another way or that alone can have been meant; with
    --unsafe-fixes those that are a guess, too.
    """
    from fusebpf.objfile import check_set, is_object, read

    if (unsafe_fixes or diff) and not fix:
        raise click.UsageError("--unsafe-fixes and --diff belong to --fix")
    if is_object(file):
        if fix:
            raise click.UsageError("--fix takes a filter file, not an object")
        found = read(file)
        check_set(file, found.metadata, set_name)
        judged = _judge(file, found.data, found.metadata, verbose, as_json)
        _show(as_json, [], judged)
        return
    findings = _mended(file, set_name, unsafe_fixes, diff) if fix else None
    if diff:
        return
    from fusebpf.build import BuildError, build_compiled
    from fusebpf.build.findings import findings as find
    from fusebpf.build.findings import only_set
    from fusebpf.build.load import read_source
    from fusebpf.cli.report import conclude

    if findings is None:
        findings = find(file, read_source(file), set_name)
    shapes = _files(findings) if as_json else []
    conclude(file, findings, warnings, shapes)
    try:
        built = build_compiled(only_set(file, findings))
    except BuildError as error:
        if verbose and error.output:
            click.echo(error.output, err=True)
        raise
    _show(as_json, shapes, _judge(file, built.data, built.metadata, verbose, as_json))


def _mended(file: Path, set_name: str | None, unsafe: bool, diff: bool) -> Findings | None:
    """Apply the edits, say what they changed; None when only the difference was shown."""
    import difflib

    from fusebpf.build.cache import write_atomically
    from fusebpf.build.findings import mend
    from fusebpf.build.load import read_source
    from fusebpf.errors import FusebpfError

    before = read_source(file)
    mended = mend(file, before, set_name, unsafe)
    if diff:
        lines = difflib.unified_diff(
            before.splitlines(True), mended.text.splitlines(True), str(file), f"{file} (mended)"
        )
        for line in lines:
            click.echo(line, nl=not line.endswith("\n"))
            if not line.endswith("\n"):
                click.echo("\\ No newline at end of file")
        return None
    for entry, fix in mended.applied:
        click.echo(f"{file}:{entry.line}: {fix.title} [{entry.code}]", err=True)
    if mended.text != before:
        raw = file.read_bytes()
        mark = b"\xef\xbb\xbf" if raw.startswith(b"\xef\xbb\xbf") else b""
        try:
            write_atomically(file.resolve(), mark + mended.text.encode(), keep_mode=True)
        except OSError as error:
            raise FusebpfError(f"cannot write {file}: {error.strerror}") from None
    return mended.left


def _files(findings: Findings) -> list[dict[str, Any]]:
    from fusebpf.compiler.wire import files

    return files(findings.diagnostics, findings.texts)


def _judge(
    file: Path, data: bytes, metadata: Metadata, verbose: bool, as_json: bool
) -> dict[str, Any]:
    """Load the programs; what came out."""
    from fusebpf.runtime.load import VerifierError, check_abi
    from fusebpf.runtime.verify import verify

    check_abi(metadata, file)
    try:
        outcome = verify(data, metadata)
    except VerifierError as error:
        error.name_file(file)
        if verbose:
            click.echo(error.log, err=True)
        if as_json:
            from fusebpf.compiler.wire import files

            shapes = files(error.diagnostics, error.sources)
            click.echo(json.dumps({"ok": False, "files": shapes, "error": error.message}))
            raise click.exceptions.Exit(error.exit_code) from None
        raise
    said = {
        "fuse-bpf": "verified by this kernel's fuse-bpf",
        "stand-in": f"verified as a stand-in ({outcome.reason})",
        "no": f"compiled, not verified ({outcome.reason})",
    }[outcome.verified]
    filters = len(metadata.hooks)
    return {
        "file": str(file),
        "set": metadata.set,
        "filters": filters,
        "verified": outcome.verified,
        "said": f"{file}: set {metadata.set}, {count(filters, 'filter')}: {said}",
    }


def _show(as_json: bool, files: list[dict[str, Any]], judged: dict[str, Any]) -> None:
    if as_json:
        judged = {key: value for key, value in judged.items() if key != "said"}
        click.echo(json.dumps({"ok": True, "files": files, "checked": judged}))
        return
    click.echo(judged["said"])
