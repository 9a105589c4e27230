# SPDX-License-Identifier: MIT
"""How long the command line takes: `python scripts/startup.py [--runs N]` prints a table.

Each command runs in a process of its own. The least of some runs is told, which other work on the
machine disturbs least, with the processor time of that run beside it; the exit status is 1 when a
goal is missed.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILTER = str(ROOT / "examples/hide_secrets.py")
#: Name, arguments, whether the cache is empty before, the goal in seconds.
ROWS = (
    ("--help", ["--help"], False, 0.15),
    ("compile, cold", ["compile", FILTER, "-o", "x.o"], True, 0.5),
    ("compile, unchanged", ["compile", FILTER, "-o", "x.o"], False, 0.15),
)


def measure(arguments: list[str], cold: bool, directory: Path) -> tuple[float, float]:
    """Seconds of one run: by the clock, and of the processor."""
    cache = directory / "cache"
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    program = Path(sys.executable).parent / "fusebpf"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(
        [str(program), *arguments],
        cwd=directory,
        env={**os.environ, "FUSEBPF_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    passed = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Measure all rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    missed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, arguments, cold, goal in ROWS:
            measure(arguments, cold, Path(scratch))  # bytecode is written, files are read once
            clock, processor = min(measure(arguments, cold, Path(scratch)) for _ in range(runs))
            missed += clock > goal
            verdict = "ok" if clock <= goal else "MISSED"
            print(
                f"{name:20} {clock:.3f} s (processor {processor:.3f} s), goal {goal} s: {verdict}"
            )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
