# SPDX-License-Identifier: MIT
"""Benchmark: does what a mount by rules costs grow with their number, or with depth?

Counted are the guest's instructions, by the number of rules and by the depth of a file that is
looked up; then the longest that an operation waits while the rules of a live mount change, and what
`guard run` takes before its command, by a clock that takes a nanosecond for each instruction; and
the seconds in which this machine makes the automaton of rules. docs/performance.md has the tables.

    python scripts/guard_cost.py
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bench

RULES = (1, 10, 100, 1_000, 10_000)
DEPTHS = (1, 2, 4, 8, 16, 32)
CHANGED, UPDATES = (1, 1_000, 10_000), 2
STARTS = 4
SHOWN = (
    *("open + close", "stat", "lookup of a free name", "each component", "each entry listed"),
    *("create + close", "rename", "mkdir + rmdir"),
)
COLUMNS = {f"{count:,}": bench.guard(count) for count in RULES}


def by_depth(work: Path) -> dict[str, int]:
    """Depth → instructions for each component of a path that has so many."""

    def use(mnt: Path) -> bench.Costs:
        found = {}
        for depth in range(1, max(DEPTHS) + 1):
            directory = mnt / "/".join(["deep"] * depth)
            directory.mkdir(exist_ok=True)
            (directory / "file").touch()
        for depth in DEPTHS:
            bench.compile_counter(work / f"count-{depth}", depth)
            costs = bench.counts(work / f"count-{depth}", mnt, depth)
            found[str(depth)] = costs["each component"]
        return found

    return bench.on_mount(bench.guard(bench.RULES), work, use)


def pauses(work: Path) -> dict[str, int]:
    """Number of rules → the longest in ns that an operation took while they were changed."""
    from fusebpf.guard.mounting import update
    from fusebpf.guard.rules import parse_text

    found = {}
    for count in CHANGED:

        def use(mnt: Path, count: int = count) -> bench.Costs:
            with watched(mnt) as quiet:
                time.sleep(0.2)
            with watched(mnt) as longest:
                for number in range(UPDATES):
                    text = f"hidden /other-{number}\n{bench.rules_text(count)}"
                    update(parse_text(text, "rules"), mnt)
            return {"quiet": quiet[0], "longest": longest[0]}

        costs = bench.on_mount(bench.guard(count), work, use)
        found[f"{count:,}"] = costs["longest"]
        found[f"{count:,}, without a change"] = costs["quiet"]
    return found


def starts(work: Path) -> dict[str, int]:
    """What passes until a command knows the time, in ns; the best of some, all files in memory."""
    import click

    packages, tree = work / "packages", work / "tree"
    tree.mkdir()
    for source in (Path(click.__file__).parent, bench.TREE / "fusebpf", bench.TREE / "bpf"):
        shutil.copytree(source, packages / source.name)
    rules = work / "rules"
    rules.write_text("hidden .env\nread-only /docs\n")
    python, tell = sys.executable, ["date", "+%s%N"]
    commands = {
        "date": tell,
        "python, date": [python, "-c", f"import os; os.execvp('date', {tell})"],
        "python with click, date": [python, "-c", f"import os, click; os.execvp('date', {tell})"],
        "guard run date": [
            python,
            "-m",
            "fusebpf.cli",
            "guard",
            "run",
            "--rules",
            str(rules),
            *tell,
        ],
    }
    written = {"PYTHONPATH": str(packages), "PYTHONPYCACHEPREFIX": str(work / "bytecode")}

    def once(command: list[str]) -> int:
        begin = time.time_ns()
        told = subprocess.check_output(command, cwd=tree, env=os.environ | written)
        return int(told) - begin

    return {name: min(once(command) for _ in range(STARTS)) for name, command in commands.items()}


@contextmanager
def watched(mnt: Path) -> Iterator[list[int]]:
    """Gives the longest, in ns, that an operation below took meanwhile, when it ends."""
    longest: list[int] = []
    command = [sys.executable, __file__, "--watch", str(mnt)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        yield longest
        child.stdin.close()
        longest.append(int(child.stdout.readline()))


def watch(mnt: Path) -> None:
    """Open, look up and list until stdin ends, before whatever else the processor has to do."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    operations = (
        lambda: os.close(os.open(mnt / "file", os.O_RDONLY)),
        lambda: os.listdir(mnt / "few"),
        lambda: os.stat(mnt / "deep/deep/deep/deep"),
    )
    longest = 0
    print("ready", flush=True)
    while not select.select([0], [], [], 0.001)[0]:
        for operation in operations:
            begin = time.monotonic_ns()
            operation()
            longest = max(longest, time.monotonic_ns() - begin)
    print(longest, flush=True)


def guest() -> None:
    """Print all counts as JSON, a line each."""
    bench.guest(COLUMNS)
    with tempfile.TemporaryDirectory() as directory:
        for name, count in (("by depth", by_depth), ("pauses", pauses), ("starts", starts)):
            print(json.dumps([name, count(Path(directory))]), flush=True)


def seconds() -> dict[str, float]:
    """Number of rules → processor time for their automaton on this machine, in seconds."""
    from fusebpf.guard.automaton import build
    from fusebpf.guard.rules import parse_text
    from fusebpf.guard.tags import number

    found = {}
    for count in RULES:
        text = bench.rules_text(count)
        begin = time.process_time()
        number(build(parse_text(text, "rules")))
        found[f"{count:,}"] = round(time.process_time() - begin, 2)
    return found


def main() -> None:
    columns = bench.counted(__file__)
    by_depth, pauses, starts = (columns.pop(name) for name in ("by depth", "pauses", "starts"))
    print(*bench.table(columns, f"{RULES[0]}", SHOWN), sep="\n")
    print(f"\neach component, by depth: {by_depth}")
    print(f"the longest wait, in ms: { {k: round(v / 1e6, 2) for k, v in pauses.items()} }")
    print(f"from start to the time told, in ms: { {k: round(v / 1e6) for k, v in starts.items()} }")
    print(f"rules compiled, in s of the processor: {seconds()}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--guest"]:
        guest()
    elif sys.argv[1:2] == ["--watch"]:
        watch(Path(sys.argv[2]))
    else:
        main()
