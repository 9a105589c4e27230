# SPDX-License-Identifier: MIT
"""``fusebpf vm``: boot a kernel with fuse-bpf and run a command in it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from fusebpf.cli.options import Seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from fusebpf.vm.errors import VmError

    _IntType = click.ParamType[int]
else:
    _IntType = click.ParamType  # Debian 13's click, 8.1, takes no [int]

_PATH = click.Path(path_type=Path)
_TAINT_WARN = 1 << 9  # Documentation/admin-guide/tainted-kernels.rst


class _Memory(_IntType):
    """Sizes as QEMU writes them: MiB without a suffix."""

    name = "memory"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        match = re.fullmatch(r"(\d+)([MG]?)", str(value), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is no size: give MiB, or a number with M or G (2G)", param, ctx)
        size = int(match[1]) * (1024 if match[2].upper() == "G" else 1)
        if size < 256:
            self.fail(f"{value} is too small: the guest needs 256M", param, ctx)
        return size


@click.group()
def vm() -> None:
    """Boot a kernel with fuse-bpf in QEMU and run a command in it."""


# Options after the command are the command's, with and without "--".
@vm.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--kernel",
    metavar="K",
    default="stock",
    show_default=True,
    help="stock (Debian 13's), debian12, backports, patched, debug, plain, or an image's path.",
)
@click.option(
    "--kernel-modules",
    metavar="DIR",
    type=_PATH,
    help="lib/modules/RELEASE of a kernel given by path.",
)
@click.option(
    "--module", metavar="FILE", type=_PATH, help="Insert this fusebpf.ko instead of building one."
)
@click.option("--no-module", is_flag=True, help="Boot without the fuse-bpf module.")
@click.option("--cpus", metavar="N", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option(
    "--memory",
    metavar="M",
    type=_Memory(),
    default="2G",
    show_default=True,
    help="Memory of the guest: MiB, or with a suffix M or G.",
)
@click.option(
    "--share",
    metavar="DIR",
    type=_PATH,
    multiple=True,
    help="Show DIR to the guest, read-only, at its own path.",
)
@click.option(
    "--rw",
    metavar="DIR",
    type=_PATH,
    multiple=True,
    help="Show DIR to the guest and let it write there.",
)
@click.option(
    "--timeout",
    metavar="S",
    type=Seconds(above=True),
    help="End the machine when the command ran for S seconds (status 124).",
)
@click.option("--append", metavar="ARGS", multiple=True, help="Add to the kernel's command line.")
@click.option(
    "--systemd",
    is_flag=True,
    help="Boot with systemd as process 1; COMMAND begins when that has booted.",
)
@click.option(
    "--state",
    metavar="FILE",
    type=_PATH,
    help="Keep what the guest changes of its root in FILE, for the next one; made when absent.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    kernel: str,
    kernel_modules: Path | None,
    module: Path | None,
    no_module: bool,
    cpus: int,
    memory: int,
    share: tuple[Path, ...],
    rw: tuple[Path, ...],
    timeout: float | None,
    append: tuple[str, ...],
    systemd: bool,
    state: Path | None,
    quiet: bool,
    command: tuple[str, ...],
) -> NoReturn:
    """Run COMMAND as root in a fresh guest, in the same working directory.

    The directory is read-only there unless given with --rw; what else the guest writes is gone when
    it ends, unless --state keeps it. The exit status is the command's own; 124: --timeout; 125: the
    machine failed (no boot, panic, oops); 126, 127: the command cannot be run, as in sh.
    """
    from fusebpf.vm.launch import Request, execute

    with _guarded():
        request = Request(
            command=command,
            kernel=kernel,
            kernel_modules=kernel_modules,
            module=module,
            with_module=not no_module,
            cpus=cpus,
            memory=memory,
            read_only=share,
            writable=rw,
            timeout=timeout,
            append=append,
            systemd=systemd,
            state=state,
            cwd=_working_directory(),
        )
        report = execute(request, _forward, _silent if quiet else _progress)
    if report.taint & _TAINT_WARN:
        _say("the guest kernel printed a warning during the run: look at its dmesg")
    sys.exit(report.status)


@vm.command()
@click.option(
    "--kernel",
    metavar="K",
    default="stock",
    show_default=True,
    help="A kernel as for `run`.",
)
@click.option("--no-module", is_flag=True, help="Leave the fuse-bpf module out.")
@click.option("--print-module", is_flag=True, help="Print the module's path on stdout.")
def prepare(kernel: str, no_module: bool, print_module: bool) -> None:
    """Make the guest root, the boot files and the module, so that `run` starts at once.

    Needs root, network for Debian's packages and 5 GB of disk the first time. All is kept in the
    cache of the user who made it: run what uses it as root, too.
    """
    from fusebpf.vm.launch import prepare as make_ready

    with _guarded():
        ready = make_ready(_progress, kernel, with_module=not no_module)
    _say(f"ready: kernel {ready.kernel.release}, guest root {ready.root}")
    if print_module and ready.module is not None:
        click.echo(ready.module)


@vm.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(as_json: bool) -> None:
    """Print where the prepared things are and what is missing."""
    from fusebpf.vm.cache import cache_dir
    from fusebpf.vm.kernel import BUILT, KERNELS, find_kernel
    from fusebpf.vm.root import SUITE, root_path

    root = root_path()
    with _guarded():
        release = find_kernel("stock", root, _progress).release if root.is_dir() else None
    data = {
        "cache": str(cache_dir()),
        "root": str(root),
        "prepared": root.is_dir(),
        "suite": SUITE,
        "kernels": sorted((*KERNELS, *BUILT)),
        "stock_release": release,
    }
    if as_json:
        click.echo(json.dumps(data))
        return
    for key, value in data.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        click.echo(
            f"{key.replace('_', ' '):14} {'not yet (make vm)' if value in (None, False) else shown}"
        )


@vm.command()
def gc() -> None:
    """Remove prepared things that this version does not use.

    What a guest or a build of another version uses stays, and of Vagrant's boxes the newest of each
    machine and those of this tree. The next `make` or `run` of another version makes its own anew.
    """
    from fusebpf.vm.unused import remove_unused, used

    with _guarded():
        remove_unused(used(), lambda path: click.echo(f"removed {path}"))


def _working_directory() -> Path:
    from fusebpf.vm.errors import PrepareError

    try:
        return Path.cwd()
    except FileNotFoundError:
        raise PrepareError(
            "the working directory was removed, and the guest works in it",
            "cd to one that is there",
        ) from None


class _SignalledError(BaseException):
    """A signal asked this process to end; unwinding kills the machine."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def _guarded() -> Iterator[None]:
    """Turn signals and machine failures into a clean end with the documented status."""
    from fusebpf.vm.errors import VmError

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise _SignalledError(number)

    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, unwind) for number in watched}
    try:
        yield
    except VmError as error:
        _tell(error)
        sys.exit(error.exit_code)
    except _SignalledError as ended:
        sys.exit(128 + ended.number)
    except BrokenPipeError:
        # Nobody reads the output any more, as in `... | head`. Python must not flush it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(error: VmError) -> None:
    if error.console:
        click.echo("--- the guest's console, last lines ---", err=True)
        for line in error.console:
            click.echo(line, err=True)
        click.echo("---", err=True)
    _say(f"error: {error}")


def _forward(stream: int, data: bytes) -> None:
    """Write the guest's bytes as they are, at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(stream, view) :]


def _progress(line: str) -> None:
    _say(line)


def _silent(line: str) -> None:
    del line


def _say(line: str) -> None:
    click.echo(f"fusebpf vm: {line}", err=True)
