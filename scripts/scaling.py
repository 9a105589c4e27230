# SPDX-License-Identifier: MIT
"""Benchmark: what grows with the number of entries, of files, and of filter sets?

Counted are the guest's instructions: in directories of 1,000 and 100,000 entries; in a tree of many
files that are all in the caches, with the memory that each takes there and the longest that an
operation waits while the filters are replaced; and with sets of filters that are joined.
docs/performance.md has the tables.

    python scripts/scaling.py [FILES]    # of the tree, a million
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import bench
import guard_cost

SOURCE = Path(__file__).with_suffix(".c")
ENTRIES = (1_000, 100_000)
FILES = 1_000_000
SETS = (1, 2, 4, 8)
DIRECTORY_COLUMNS = ("bind", "overlay", "unfiltered", "hide_secrets", "guard")
TREE_COLUMNS = ("bind", "unfiltered", "hide_secrets")
SHOWN = ("open + close", "stat", "lookup of a free name", "create + close", "each entry listed")
MEMORY_MB = 6_000
WAIT = "longest wait for a replacement"

FILTERS = """\
from fusebpf import CONTINUE, Context, FilterSet, Name, OpenIn
from fusebpf.constants import ENOENT, EROFS, O_TRUNC

filters = FilterSet("set_{number}")

@filters.lookup.pre
def hide(ctx: Context, name: Name):
    return -ENOENT if name.endswith(".secret-{number}") else CONTINUE

@filters.open.pre
def keep(ctx: Context, req: OpenIn):
    return -EROFS if req.flags & O_TRUNC else CONTINUE
"""


def build() -> None:
    """Compile what the guest attaches: sets of filters, so many joined."""
    bench.build()
    for number in range(max(SETS)):
        (bench.OBJECTS / f"set_{number}.py").write_text(FILTERS.format(number=number))
    for count in SETS:
        parts = [f"part_{number}" for number in range(count)]
        lines = [f"from set_{n} import filters as {part}" for n, part in enumerate(parts)]
        joined = f'filters = FilterSet("sets", {", ".join(parts)})'
        source = bench.OBJECTS / f"sets_{count}.py"
        source.write_text("\n".join(["from fusebpf import FilterSet", *lines, "", joined, ""]))
        bench.compile_filters(source)


def directories(work: Path, column: bench.Column) -> dict[str, bench.Costs]:
    """Entries of a directory → what it costs to list it, and to look up in it."""

    def use(mnt: Path) -> bench.Costs:
        for entries in ENTRIES:
            there = work / f"base/lower/has-{entries}"
            there.mkdir()
            for number in range(entries):
                (there / f"entry-{number:06}").touch()
            costs = bench.told(work / "scaling", "list", mnt / there.name, str(entries))
            found[f"{entries:,}"] = costs
        return {}

    found: dict[str, bench.Costs] = {}
    bench.on_mount(column, work, use)
    return found


def slab() -> int:
    """Bytes that the kernel's caches take, those of files and names among them."""
    (line,) = (s for s in Path("/proc/meminfo").read_text().splitlines() if s.startswith("Slab:"))
    return int(line.split()[1]) << 10


def tree(work: Path, column: bench.Column, files: int) -> bench.Costs:
    """What the files of a large tree cost, each; and the memory that one takes."""

    def use(mnt: Path) -> bench.Costs:
        below = work / "base/lower/tree"
        bench.run("mount", "-o", f"remount,nr_inodes={2 * files}", work / "base")
        below.mkdir()
        bench.run(work / "scaling", "make", below, str(files))
        before = slab()
        costs = bench.told(work / "scaling", "use", mnt / "tree", str(files))
        costs["bytes of memory"] = (slab() - before) // files
        return costs | waits(mnt)

    return bench.on_mount(column, work, use)


def waits(mnt: Path) -> bench.Costs:
    """The longest that an operation waits while filters are replaced, where there are any."""
    from fusebpf.runtime import mountinfo, mounts, replace

    entry = mountinfo.at(mnt)
    if entry is None or not entry.is_fuse_bpf or mounts.status(mnt).state != "active":
        return {}
    with guard_cost.watched(mnt) as longest:
        replace(mnt, bench.OBJECTS / "hide_secrets.bpf.o")
    return {WAIT: longest[0]}


def guest(files: int) -> None:
    """Print all counts as JSON, a line each."""
    bench.guest({f"{count}": bench.filtered(f"sets_{count}") for count in SETS})
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        bench.run("gcc", "-O2", SOURCE, "-o", work / "scaling")
        for name in DIRECTORY_COLUMNS:
            for entries, costs in directories(work, bench.COLUMNS[name]).items():
                print(json.dumps([f"{name}, {entries} entries", costs]), flush=True)
        for name in TREE_COLUMNS:
            print(json.dumps([name, tree(work, bench.COLUMNS[name], files)]), flush=True)


def main(files: int) -> None:
    build()
    counts = bench.counted(__file__, str(files), memory=MEMORY_MB)
    print("filter sets, joined\n")
    print(*bench.table({str(n): counts.pop(str(n)) for n in SETS}, "1", SHOWN), sep="\n")
    for entries in ENTRIES:
        columns = {name: counts.pop(f"{name}, {entries:,} entries") for name in DIRECTORY_COLUMNS}
        print(f"\na directory of {entries:,} entries\n", *bench.table(columns), sep="\n")
    longest = {name: costs.pop(WAIT) for name, costs in counts.items() if WAIT in costs}
    print(f"\na tree of {files:,} files\n", *bench.table(counts), sep="\n")
    print(f"\n{WAIT}, in ms: { {name: round(ns / 1e6, 2) for name, ns in longest.items()} }")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--guest"]:
        guest(int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else FILES)
