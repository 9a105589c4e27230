#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tell what stands between the patches and a kernel series that they are not for yet.

Each hunk is tried on the fs/fuse of a kernel source by itself, without fuzz, as the builder does;
of the series that there are patches for, the one that fits best counts.

    kernel/port.py SOURCE...     kernel source: a directory, or a tar file as linux-source-* has it

Prints JSON: per source its series, the patches' series, how many hunks apply, and where those that
do not belong (file and line of the source, the function, the patch). Exit status 0; 1 when a source
cannot be read.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build import patches_of, run, say
from support import SERIES, BuildError

HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@ ?(.*)$")
PARTS = ("VERSION", "PATCHLEVEL", "SUBLEVEL")
VERSION = re.compile(rf"^({'|'.join(PARTS)}) = (\d+)", re.MULTILINE)
MEMBERS = ("fs/fuse", "Makefile")


@dataclass(frozen=True)
class Hunk:
    """A hunk of a patch: the file and the line that it is for, and the text to give patch(1)."""

    patch: str
    file: str
    line: int
    function: str
    text: str


@dataclass(frozen=True)
class Obstacle:
    """A hunk that does not apply; ``line`` is that of the source where most of it is found."""

    file: str
    line: int
    function: str
    patch: str
    why: str


def hunks(patch: Path) -> Iterator[Hunk]:
    """Take a patch apart."""
    file = header = ""
    found: list[str] = []
    place = (0, "")
    lines = [*patch.read_text().splitlines(keepends=True), "--- end\n"]
    for number, line in enumerate(lines):
        match = HUNK.match(line)
        if (match or line.startswith("--- ")) and found:
            yield Hunk(patch.name, file, *place, header + "".join(found))
            found = []
        if line.startswith("--- ") and lines[number + 1 : number + 2]:
            header = line + lines[number + 1]
            file = lines[number + 1].split()[1].removeprefix("b/")
        elif match:
            place = (int(match[1]), match[3])
            found = [line]
        elif found and line[:1] in " +-\\":
            found.append(line)


def applies(tree: Path, hunk: Hunk) -> bool:
    """Try a hunk; it stays applied when it fits."""
    command = ["patch", "-p1", "--fuzz=0", "--force", "--no-backup-if-mismatch", "-s", "-r", "-"]
    done = subprocess.run(
        [*command, "-d", str(tree)], input=hunk.text.encode(), capture_output=True, check=False
    )
    return done.returncode == 0


def obstacle(tree: Path, hunk: Hunk) -> Obstacle:
    """Find in a source what the hunk looks for and does not find, and where that would be."""
    target = tree / hunk.file
    if not target.is_file():
        return Obstacle(hunk.file, 0, hunk.function, hunk.patch, "the file is gone")
    have = target.read_text(errors="replace").splitlines()
    wanted = [line[1:] for line in hunk.text.splitlines()[3:] if line[:1] in " -"]
    best, score = 0, -1
    for start in range(len(have)):
        telling = sum(
            a == b and bool(a.strip(" \t{}*/")) for a, b in zip(wanted, have[start:], strict=False)
        )
        if telling > score:
            best, score = start, telling
    for offset, line in enumerate(wanted):
        if have[best + offset : best + offset + 1] != [line]:
            where = best + offset + 1
            there = have[where - 1].strip() if where <= len(have) else "the end of the file"
            why = f"expected {line.strip()!r}, found {there!r}"
            return Obstacle(hunk.file, where, hunk.function, hunk.patch, why)
    return Obstacle(hunk.file, best + 1, hunk.function, hunk.patch, "found more than once")


def unpack(source: Path, into: Path) -> Path:
    """Return a tree with the fs/fuse of a source, which may be changed."""
    if source.is_dir():
        for member in MEMBERS:
            place = source / member
            if place.is_dir():
                shutil.copytree(place, into / member)
            elif place.is_file():
                shutil.copy(place, into / member)
        return into
    if not source.is_file():
        raise BuildError(f"{source}: no such file or directory")
    top = source.name.partition(".tar")[0]
    members = [f"{top}/{name}" for name in MEMBERS]
    run(["tar", "-xf", str(source), "-C", str(into), *members], f"unpacking {source}")
    return into / top


def try_series(tree: Path, patched: Path, series: str) -> dict[str, Any]:
    """Try all patches of the module for a series on a copy of the tree."""
    tried = [hunk for patch in patches_of(series, "module") for hunk in hunks(patch)]
    shutil.copytree(tree / "fs", patched / "fs")
    failed = [obstacle(tree, hunk) for hunk in tried if not applies(patched, hunk)]
    return {
        "patches": series,
        "hunks": len(tried),
        "applied": len(tried) - len(failed),
        "obstacles": [asdict(found) for found in failed],
    }


def examine(source: Path) -> dict[str, Any]:
    """Try the patches of each series on a source; those that fit best count."""
    with tempfile.TemporaryDirectory(prefix="fusebpf-port-") as scratch:
        tree = unpack(source, Path(scratch))
        if not (tree / "fs/fuse").is_dir():
            raise BuildError(f"{source} has no fs/fuse: it is no kernel source")
        makefile = tree / "Makefile"
        numbers = dict(VERSION.findall(makefile.read_text() if makefile.is_file() else ""))
        absent = [name for name in PARTS if name not in numbers]
        if absent:
            raise BuildError(f"{source}/Makefile has no {absent[0]}: it is no kernel source")
        found = [try_series(tree, Path(scratch, series), series) for series in SERIES]
    return {
        "series": f"{numbers['VERSION']}.{numbers['PATCHLEVEL']}",
        "version": ".".join(numbers[name] for name in PARTS),
        **min(found, key=lambda result: len(result["obstacles"])),
    }


def main() -> int:
    """Print what stands in the way of each source."""
    parser = argparse.ArgumentParser(description="Try the patches on other kernels.")
    parser.add_argument("source", nargs="+", type=Path)
    try:
        print(json.dumps([examine(source) for source in parser.parse_args().source], indent=1))
    except BuildError as error:
        say(f"kernel/port.py: error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
