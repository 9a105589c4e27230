# SPDX-License-Identifier: MIT
"""Benchmark: what watching a mount costs its operations, in guest instructions.

A mount with a filter before and after each operation is counted alone, with the kernel's
statistics on (`fusebpf stats`, `fusebpf top`) and with `fusebpf trace` at work; docs/commands.md
has the table.

    python scripts/watching.py
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bench

SHOWN = ("open + close", "stat", "access", "pread 4 KiB", "create + close", "rename")


@contextmanager
def counting(lower: Path, mnt: Path) -> Iterator[None]:
    from fusebpf.runtime import sysbpf

    with bench.filtered("both")(lower, mnt):
        statistics = sysbpf.enable_stats()
        yield
        os.close(statistics)


@contextmanager
def traced(lower: Path, mnt: Path) -> Iterator[None]:
    from fusebpf.trace import Tracer

    with bench.filtered("both")(lower, mnt), Tracer(str(mnt)):
        yield


COLUMNS: dict[str, bench.Column] = {
    "alone": bench.filtered("both"),
    "stats, top": counting,
    "trace": traced,
}


def main() -> None:
    bench.build()
    print(*bench.table(bench.counted(__file__), "alone", SHOWN), sep="\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--guest"]:
        bench.guest(COLUMNS)
    else:
        main()
