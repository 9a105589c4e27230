# SPDX-License-Identifier: MIT
"""The command line: `fusebpf COMMAND`. Each command lives in a file imported when it is run.

Exit codes: 0 done, 1 failure, 2 wrong usage, 3 filter rejected, 4 kernel lacks fuse-bpf,
5 permission, 130 interrupted; `vm run` ends with its command's own.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from fusebpf import __version__
from fusebpf.errors import EXIT_FAILURE, FusebpfError

EXIT_INTERRUPTED = 130

# Command: where it is, and its line in the help (which then needs no import).
_COMMANDS = {
    "new": ("fusebpf.cli.new:new", "Begin a filter: a file, its tests and settings for them."),
    "compile": ("fusebpf.cli.compile:compile_command", "Compile a filter file to an object."),
    "inspect": ("fusebpf.cli.inspect:inspect", "Show what an object holds and needs."),
    "check": ("fusebpf.cli.check:check", "Compile a filter file and let the kernel verify it."),
    "test": ("fusebpf.cli.test:test", "Run the tests of filter files, without a mount."),
    "explain": ("fusebpf.cli.explain:explain", "Tell what the code of a finding means."),
    "lsp": ("fusebpf.cli.lsp:lsp", "Serve an editor: findings, edits, completion, hover."),
    "attach": ("fusebpf.cli.attach:attach", "Mount a directory with filters in force."),
    "replace": ("fusebpf.cli.replace:replace", "Give a mount other filters, without a gap."),
    "detach": ("fusebpf.cli.detach:detach", "Take a fuse-bpf mount off."),
    "ls": ("fusebpf.cli.ls:ls", "List fuse-bpf mounts and their filters."),
    "show": ("fusebpf.cli.show:show", "Show a mount's filters, and what their maps hold."),
    "events": ("fusebpf.cli.events:events", "Print the events of a mount's filters."),
    "stats": ("fusebpf.cli.stats:stats", "Count and time the filters of a mount."),
    "top": ("fusebpf.cli.top:top", "Watch what the filters of all mounts cost."),
    "trace": ("fusebpf.cli.trace:trace", "Measure how long a mount's operations take."),
    "guard": ("fusebpf.cli.guard:guard", "Rules by path: what is read-only, hidden or empty."),
    "doctor": ("fusebpf.cli.doctor:doctor", "Try what fusebpf needs of this machine."),
    "vm": ("fusebpf.cli.vm:vm", "Run commands in a VM with fuse-bpf."),
}


class _Commands(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry[0].partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry[0]} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_at, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fusebpf", message="%(prog)s %(version)s")
def cli() -> None:
    """File-system filters written in Python, enforced by the kernel.

    A filter file is compiled to BPF; attach mounts a directory with its filters around every
    operation. `fusebpf vm run -- COMMAND` runs a command where fuse-bpf is.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    try:
        result = cli.main(
            None if arguments is None else list(arguments),
            prog_name="fusebpf",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except FusebpfError as error:
        from fusebpf.cli.report import report

        report(error)
        return error.exit_code
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # else the reader has enough
            where = f"{error.filename}: " if error.filename is not None else ""
            print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        # What is still buffered may have nowhere to go at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    return result if isinstance(result, int) else 0


def _open_closed() -> None:
    """Give input and outputs that the caller closed a place: a file opened later would get it."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number, which is this one; programs that are started get it, too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for fd, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(fd, "w", encoding="utf-8", closefd=False))


def _take_any_name() -> None:
    """Let names that are not of the locale's encoding be printed: they may be of any bytes."""
    for stream in (sys.stdout, sys.stderr):
        # In the C locale Python prints the bytes as they are.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def main() -> NoReturn:
    """Entry point of the `fusebpf` program."""
    _open_closed()
    _take_any_name()
    sys.exit(run())
