# SPDX-License-Identifier: MIT
"""Write man pages and shell completion, both from the commands themselves.

python -m fusebpf.cli.pages DIR

DIR/man/fusebpf.1, fusebpf-COMMAND.1, ...; DIR/completion/fusebpf (bash), _fusebpf (zsh), ...
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from fusebpf import __version__
from fusebpf.cli import cli
from fusebpf.errors import EXIT_CODES

#: Shell: the name under which it looks for a program's completion.
COMPLETIONS = {"bash": "fusebpf", "zsh": "_fusebpf", "fish": "fusebpf.fish"}
_PROGRAM = "fusebpf"


def commands() -> Iterator[tuple[str, click.Context]]:
    """Every command with its name as one types it, groups before their commands."""
    yield from _below(_PROGRAM, click.Context(cli, info_name=_PROGRAM))


def _below(name: str, context: click.Context) -> Iterator[tuple[str, click.Context]]:
    yield name, context
    if isinstance(context.command, click.Group):
        for child in context.command.list_commands(context):
            found = context.command.get_command(context, child)
            assert found is not None
            yield from _below(
                f"{name} {child}", click.Context(found, parent=context, info_name=child)
            )


def page(name: str, context: click.Context) -> str:
    """The man page of one command, in man(7)'s language."""
    command = context.command
    title = name.replace(" ", "-")
    summary, *rest = _paragraphs(command.help or "")
    lines = [
        f'.TH {title.upper()} 1 "" "fusebpf {__version__}" "User Commands"',
        ".SH NAME",
        f"{_text(title)} \\- {_text(summary.split('. ')[0].rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_text(name)}",
        _text(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        _text(summary),
    ]
    for paragraph in rest:
        lines += [".PP", _text(paragraph)]
    records = [
        record for p in command.get_params(context) if (record := p.get_help_record(context))
    ]
    if records:
        lines.append(".SH OPTIONS")
        for option, told in records:
            lines += [".TP", f".B {_text(option)}", _text(told)]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            lines += [".TP", f".BR {_text(title)}\\-{_text(child)} (1)"]
            lines.append(_text(_paragraphs(found.help or "")[0]))
    else:
        lines.append(".SH EXIT STATUS")
        for code, meaning in EXIT_CODES.items():
            lines += [".TP", f".B {code}", _text(meaning.replace("`", ""))]
    if " " in name:
        lines += [".SH SEE ALSO", f".BR {_text(_PROGRAM)} (1)"]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> list[str]:
    parts = re.split(r"\n\s*\n", text.replace("\b", "").strip())
    return [" ".join(part.split()) for part in parts]


def _text(text: str) -> str:
    """Text that roff takes as text: a dot or quote at the start of a line would be a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def completion(shell: str) -> str:
    """What a shell reads to complete the commands."""
    found = get_completion_class(shell)
    assert found is not None
    return found(cli, {}, _PROGRAM, f"_{_PROGRAM.upper()}_COMPLETE").source()


def main(out: Path) -> None:
    """Write all of it."""
    for kind in ("man", "completion"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    for name, context in commands():
        target = out / "man" / f"{name.replace(' ', '-')}.1"
        target.write_text(page(name, context), encoding="utf-8")
    for shell, name in COMPLETIONS.items():
        (out / "completion" / name).write_text(completion(shell), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write man pages and shell completion.")
    parser.add_argument("directory", type=Path, metavar="DIR")
    main(parser.parse_args().directory)
