# SPDX-License-Identifier: MIT
"""`fusebpf inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("object", type=click.Path(path_type=Path))
@click.option("--lines", is_flag=True, help="Show the source line of each program's instructions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/json.md).")
def inspect(object: Path, lines: bool, as_json: bool) -> None:
    """Show what OBJECT, made by `fusebpf compile`, holds and what it needs of a kernel.

    Its filters, maps, config values, programs with their sizes, and the kernel functions it calls.
    The file alone is read: no root, clang or kernel headers are needed.
    """
    from fusebpf.objfile import read
    from fusebpf.objfile.summary import summary

    told = summary(read(object), lines)
    if as_json:
        from fusebpf.cli.output import json_out

        json_out(told)
        return
    click.echo("\n".join(_text(told)))


def _text(told: dict[str, Any]) -> list[str]:
    kernel = told["kernel"]
    shown = [
        f"{told['path']}: filter set {told['set']}",
        f"  source: {told['source_file']}, SHA-256 {told['source_sha256']}",
        f"  built by: fusebpf {told['fusebpf']}, clang {told['clang']}",
        f"  kernel: Linux {' or '.join(kernel['series'])} with fuse-bpf, ABI {kernel['abi']}"
        + ("" if kernel["abi_fits"] else " (not that of this fusebpf: build it again)")
        + ("" if kernel["module"] else "; not as a module: a hook has no place there"),
        f"  kernel functions: {', '.join(told['kfuncs']) or 'none'}",
        f"  BTF: {told['btf']['types']} types, {told['btf']['bytes']} bytes",
        *_table("filters", [_hook(entry, told["source_file"]) for entry in told["hooks"]]),
        *_table("maps", [_map(entry) for entry in told["maps"]]),
        *_table("config", [_config(entry) for entry in told["config"]]),
        *_table("programs", [_program(entry) for entry in told["programs"]]),
    ]
    for program in told["programs"]:
        if "lines" in program:
            shown.append(f"{program['name']}:")
            shown.extend(_line(entry) for entry in program["lines"])
    return shown


def _table(name: str, rows: list[str]) -> list[str]:
    return [f"  {name}:", *(f"    {row}" for row in rows)] if rows else []


def _hook(entry: dict[str, Any], source: str) -> str:
    return f"{entry['hook']}: {entry['function']} ({source}:{entry['line']})"


def _map(entry: dict[str, Any]) -> str:
    if entry["kind"] == "events":
        return f"{entry['name']}: events {entry['value']}, ring of {entry['max_entries']} bytes"
    shape = f"{entry['key']} -> {entry['value']}, {entry['max_entries']} entries"
    return f"{entry['name']}: {entry['kind']} {shape}"


def _config(entry: dict[str, Any]) -> str:
    limits = f"{entry['least']} to {entry['most']}"
    return f"{entry['name']}: {entry['type']} = {entry['default']} ({limits})"


def _program(entry: dict[str, Any]) -> str:
    return (
        f"{entry['name']} ({entry['form']}, {entry['hook'] or 'no hook'}): "
        f"{entry['instructions']} instructions, {entry['bytes']} bytes"
    )


def _line(entry: dict[str, Any]) -> str:
    place = f"{entry['file']}:{entry['line']}"
    return f"  {entry['instruction']:5} {place:32} {entry['text'].strip()}".rstrip()
