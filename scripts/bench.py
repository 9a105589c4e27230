# SPDX-License-Identifier: MIT
"""Benchmark: what operations cost on fuse-bpf and on what people use today, in guest instructions.

One emulated processor takes a nanosecond for each instruction, so that counts repeat on any
machine: most exactly, those of making and removing files to 1-3 %. A daemon's instructions are
counted with the kernel's. Everything is on a tmpfs of its own.

    python scripts/bench.py                # all columns; docs/performance.{md,json,svg} show them
    python scripts/bench.py bind guard     # these, without writing anything
    python scripts/bench.py --check        # all: is any more than the kept counts and their band?
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import bench_programs

TREE = Path(__file__).resolve().parent.parent
SOURCE = Path(__file__).with_name("operations.c")
PASSTHROUGH = Path(__file__).with_name("passthrough.c")
OBJECTS = TREE / "build/bench"
PAGE, KEPT = TREE / "docs/performance.md", TREE / "docs/performance.json"
PICTURE = TREE / "docs/performance.svg"
BEGIN, END = "<!-- counts -->", "<!-- end of counts -->"
LEVELS, FEW, MANY = 16, 10, 1_000
RULES = 1_000
CLOCK = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
BAND = 0.02
WIDER = dict.fromkeys(
    (
        *("create + close", "unlink", "rename", "mkdir + rmdir", "symlink + readlink"),
        *bench_programs.COMMANDS,
    ),
    0.04,
) | {"git status": 0.25, "mmap fault": 0.25}
"""By how much an operation may grow unnoticed: counts of these repeat to 1-3 % alone; git's, on a
mount by rules, are of two sizes, 23 % apart, from one mount to the next, and a fault takes 546 to
668 on the same file, by what lies where."""
Costs = dict[str, int]
"""Operation → instructions."""
Column = Callable[[Path, Path], AbstractContextManager[None]]
"""Shows a lower directory at a mount point, or nothing there."""


def every_hook(phases: Sequence[str]) -> str:
    """A filter file with a filter for each hook of these phases, which do nothing."""
    from fusebpf.abi import HOOKS
    from fusebpf.compiler.functions import signature

    lines = ["from fusebpf import *", "from fusebpf.types import *", 'filters = FilterSet("every")']
    verdict = "POSTFILTER" if "post" in phases else "CONTINUE"
    for hook in HOOKS.values():
        if hook.form_a and hook.phase in phases:
            lines += [
                f"@filters.{hook.op}.{hook.phase}",
                f"def {hook.op}_{hook.phase}({signature(hook)}):",
                f"    return {verdict}" if hook.phase == "pre" else "    pass",
            ]
    return "\n".join(lines) + "\n"


def compile_filters(source: Path) -> None:
    """Make the object that ``filtered`` attaches by the name of this file."""
    from fusebpf.build import build_file

    built = build_file(source, standins=False)
    (OBJECTS / f"{source.stem}.bpf.o").write_bytes(built.path.read_bytes())


def build() -> None:
    """Compile what the guest attaches: there it would take minutes."""
    OBJECTS.mkdir(parents=True, exist_ok=True)
    for name, phases in (("pre", ("pre",)), ("both", ("pre", "post"))):
        (OBJECTS / f"{name}.py").write_text(every_hook(phases))
    for source in (OBJECTS / "pre.py", OBJECTS / "both.py", TREE / "examples/hide_secrets.py"):
        compile_filters(source)


def make(lower: Path) -> None:
    """The tree that operations.c asks for."""
    (lower / "file").write_bytes(bytes(1 << 20))
    os.setxattr(lower / "file", "user.a", b"value")
    deep = lower / "/".join(["deep"] * LEVELS)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    for name, entries in (("few", FEW), ("many", MANY)):
        (lower / name).mkdir()
        for number in range(entries):
            (lower / name / f"entry-{number:05}").touch()


def compile_counter(program: Path, levels: int = LEVELS) -> None:
    """Make a program of operations.c; ``levels``: of the deep file that it looks up."""
    run("gcc", "-O2", "-Wno-unused-result", f"-DLEVELS={levels}", SOURCE, "-o", program)


def run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


@contextmanager
def unmounted(mnt: Path) -> Iterator[None]:
    try:
        yield
    finally:
        run("umount", mnt)


@contextmanager
def bare(lower: Path, mnt: Path) -> Iterator[None]:
    yield


@contextmanager
def bind(lower: Path, mnt: Path) -> Iterator[None]:
    run("mount", "--bind", lower, mnt)
    with unmounted(mnt):
        yield


@contextmanager
def layers(lower: Path) -> Iterator[str]:
    """Options of a mount with the tree as the upper layer: nothing is copied up."""
    empty, work = lower.with_name("empty"), lower / "../upper/work"
    empty.mkdir()
    yield f"lowerdir={empty},upperdir={lower},workdir={work.resolve()}"
    empty.rmdir()


@contextmanager
def overlay(lower: Path, mnt: Path) -> Iterator[None]:
    with layers(lower) as options:
        run("mount", "-t", "overlay", "overlay", mnt, "-o", options)
        with unmounted(mnt):
            yield


@contextmanager
def served(mnt: Path, *command: str | Path, **env: str) -> Iterator[None]:
    """A mount of a FUSE daemon."""
    from fusebpf.runtime import mountinfo

    with subprocess.Popen(command, env={**os.environ, **env}) as process:
        while mountinfo.at(mnt) is None:
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} did not mount")
            time.sleep(0.01)
        with unmounted(mnt):
            yield


def daemon(*command: str, **env: str) -> Column:
    """A column of a FUSE daemon: `command`, the lower directory, the mount point."""
    return lambda lower, mnt: served(mnt, *command, lower, mnt, **env)


@contextmanager
def fuse_overlay(lower: Path, mnt: Path) -> Iterator[None]:
    """As ``overlay``, by a daemon."""
    with layers(lower) as options, served(mnt, "fuse-overlayfs", "-f", "-o", options, mnt):
        yield


@contextmanager
def passthrough(lower: Path, mnt: Path) -> Iterator[None]:
    """A daemon of passthrough.c."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "passthrough")
        run("gcc", "-O2", PASSTHROUGH, "-I/usr/include/fuse3", "-lfuse3", "-o", program)
        with served(mnt, program, lower, mnt):
            yield


@contextmanager
def unfiltered(lower: Path, mnt: Path) -> Iterator[None]:
    from tests.vm import kernelkit

    with kernelkit.mounted(lower, mnt):
        yield


def filtered(name: str) -> Column:
    """A column of a mount with the object `name`."""

    @contextmanager
    def mounted(lower: Path, mnt: Path) -> Iterator[None]:
        from fusebpf.runtime import attach

        with attach(OBJECTS / f"{name}.bpf.o", lower, mnt), unmounted(mnt):
            yield

    return mounted


def rules_text(count: int) -> str:
    """So many rules, of which none is for the tree that is counted."""
    shape = "hidden /srv/app-{0:04}/conf/secret-{1}.key"
    rules = ["hidden *.pem", *(shape.format(n, n % 7) for n in range(count - 1))]
    return "\n".join(rules) + "\n"


def guard(count: int) -> Column:
    """A column of a mount that is held to so many rules."""

    @contextmanager
    def mounted(lower: Path, mnt: Path) -> Iterator[None]:
        from fusebpf.guard.mounting import mount
        from fusebpf.guard.rules import parse_text

        with mount(parse_text(rules_text(count), "rules"), lower, mnt), unmounted(mnt):
            yield

    return mounted


COLUMNS: dict[str, Column] = {
    "lower": bare,
    "bind": bind,
    "overlay": overlay,
    "unfiltered": unfiltered,
    "pre": filtered("pre"),
    "pre and post": filtered("both"),
    "hide_secrets": filtered("hide_secrets"),
    "guard": guard(RULES),
    "bindfs": daemon("bindfs", "-f"),
    "mergerfs": daemon("mergerfs", "-f", "-o", "minfreespace=0"),
    "fuse-overlayfs": fuse_overlay,
    "passthrough": passthrough,
}


def measure(column: Column, count: Path, work: Path, programs: bool) -> Costs:
    """Count in the guest what operations.c does, and whole programs when asked for."""

    def use(directory: Path) -> Costs:
        costs = counts(count, directory)
        return costs | bench_programs.costs(directory / "project") if programs else costs

    return on_mount(column, work, use, programs)


def on_mount(
    column: Column, work: Path, use: Callable[[Path], Costs], programs: bool = False
) -> Costs:
    """Use a mount of a tree of its own: what is cached of one does not serve the next.

    With `programs`, what bench_programs.py works on is there, in `project`.
    """
    base, mnt = work / "base", work / "mnt"
    for directory in (base, mnt):
        directory.mkdir()
    run("mount", "-t", "tmpfs", "none", base)
    lower = base / "lower"
    for directory in (lower, base / "upper/work"):
        directory.mkdir(parents=True)
    make(lower)
    if programs:
        bench_programs.make(lower / "project")
    with column(lower, mnt):
        costs = use(lower if column is bare else mnt)
    run("umount", base)
    for directory in (base, mnt):
        directory.rmdir()
    return costs


def told(*command: str | Path) -> Costs:
    """What a program in C counted, which prints a number, a tab and a name for each."""
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = (line.split("\t") for line in output.splitlines())
    return {name: int(number) for number, name in lines}


def counts(count: Path, directory: Path, levels: int = LEVELS) -> Costs:
    """What operations.c says, with a component and an entry instead of what they are in."""
    costs = told(count, directory)
    walk = costs.pop("stat, 16 components more") - costs["stat"]
    many = costs.pop("list 1,000 names") - costs["list 10 names"]
    return {**costs, "each component": walk // levels, "each entry listed": many // (MANY - FEW)}


def guest(columns: dict[str, Column], programs: bool = False) -> None:
    """Print the costs of columns as JSON, a line each; with those of whole programs or without."""
    # Until the kernel has settled on one, a clock reads twice as much
    while CLOCK.read_text().strip() != "tsc":
        time.sleep(0.1)
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        compile_counter(work / "count")
        for name, column in columns.items():
            print(json.dumps([name, measure(column, work / "count", work, programs)]), flush=True)


def in_guest(script: str, *arguments: str) -> list[str]:
    """The command that runs the guest's part of a script."""
    python = ["env", f"PYTHONPATH={TREE}", "python", str(Path(script).resolve())]
    return [*python, "--guest", *arguments]


def check_names(names: Sequence[str]) -> None:
    """Raises SystemExit when a column is unknown."""
    if unknown := [name for name in names if name not in COLUMNS]:
        raise SystemExit(f"no column {unknown[0]!r}; there are: {', '.join(COLUMNS)}")


def counted(
    script: str, *names: str, kernel: str = "stock", memory: int = 2048
) -> dict[str, Costs]:
    """Boot a guest of so many MiB, and let `script --guest NAMES` count there."""
    from fusebpf.vm.launch import Request, execute

    output = {1: b"", 2: b""}

    def take(stream: int, data: bytes) -> None:
        output[stream] += data
        sys.stderr.write(data.decode(errors="replace"))

    command = in_guest(script, *names)
    request = Request(command, kernel=kernel, cpus=1, memory=memory, counted=True, timeout=2 * 3600)
    if execute(request, take, lambda text: print(text, file=sys.stderr)).status:
        raise SystemExit(1)
    return dict(json.loads(line) for line in output[1].splitlines())


def table(
    columns: dict[str, Costs], base_of: str = "bind", shown: Sequence[str] = ()
) -> Iterator[str]:
    """Markdown: instructions, and how many times those of one column; of all operations or some."""
    yield "| instructions | " + " | ".join(columns) + " |"
    yield "|-" * (len(columns) + 1) + "|"
    for operation in shown or [*next(iter(columns.values()))]:
        cells = [f"{costs[operation]:,}" for costs in columns.values()]
        if base := columns.get(base_of, {}).get(operation):
            cells = [
                f"{costs[operation]:,} ({costs[operation] / base:.2f})"
                for costs in columns.values()
            ]
        yield f"| {operation} | " + " | ".join(cells) + " |"


def grown(before: dict[str, Costs], now: dict[str, Costs]) -> list[str]:
    """What takes more than it did, by more than its band."""
    return [
        f"{column}, {operation}: {before[column][operation]:,} were kept, {count:,} counted"
        for column, costs in now.items()
        for operation, count in costs.items()
        if operation in before.get(column, {})
        and count > before[column][operation] * (1 + WIDER.get(operation, BAND))
    ]


def write(columns: dict[str, Costs]) -> None:
    """Keep the counts, and show them on their page, as a picture, too."""
    from bench_plot import draw

    draw(columns, PICTURE)
    KEPT.write_text(json.dumps(columns, indent=1) + "\n")
    text = PAGE.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text("\n".join([text[:begin], *table(columns), text[end:]]))


def main(arguments: list[str]) -> int:
    check = arguments == ["--check"]
    names = [] if check else arguments
    check_names(names)
    build()
    columns = counted(__file__, *(names or COLUMNS))
    print(*table(columns), sep="\n")
    if check:
        more = grown(json.loads(KEPT.read_text()), columns)
        print(*more, sep="\n", file=sys.stderr)
        return int(bool(more))
    if not names:
        write(columns)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--guest"]:
        guest({name: COLUMNS[name] for name in sys.argv[2:]}, programs=True)
    else:
        sys.exit(main(sys.argv[1:]))
