# SPDX-License-Identifier: MIT
"""Benchmark: how long the costliest accepted filters hold a CPU; 1 ms is too long.

Each body below is put into the longest loop that the compiler still accepts, and run on this
kernel with arguments that make every turn. Needs root. Exit status 1 when one takes too long.

    python scripts/costliest.py
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from fusebpf.build import BuildError, CompiledSet, build_compiled, compile_file
from fusebpf.compiler import ir
from fusebpf.testing.case import Case
from fusebpf.testing.standin import StandIn

HEAD = """
from dataclasses import dataclass
from fusebpf import *
from fusebpf.types import bytes64, s64, u32, u64

filters = FilterSet("slow")

@dataclass
class Who:
    uid: u32
    name: bytes64

hits = filters.hash("hits", key=u32, value=u64, max_entries=4096)
uses = filters.hash("uses", key=Who, value=u64, max_entries=64)
slots = filters.percpu_array("slots", value=u64, max_entries=64)
told = filters.events("told", Who)

@filters.lookup.pre
def look(ctx: Context, name: Name):
    n = 0
"""

#: What one turn does; `i` counts the turns.
BODIES = {
    "sum": "n += i",
    "byte": "n += name[i % 255]",
    "division": "n = n * 3 // (i + 1) + n % 7",
    "array": "slots[i % 64] += 1",
    "hash": "hits[u32(i)] += 1",
    "put": "hits.put(u32(i % 4096), u64(i))",
    "names": "n += name.endswith('.pem') or name[n % 100 :] == 'secret'",
    "set": "n += name in {'a', 'bcd', 'id_rsa', 'id_ecdsa', 'core', '.env'}",
    "glob": "n += name.glob('*x?y*')",
    "search": "n += name[n % 9 :].glob('*.[a-f]*[0-9]*')",
    "record": "uses[Who(ctx.uid, name)] += 1",
    "event": "told.emit(Who(ctx.uid, name))",
    "same": "n += name[1:] == name[:-1]",
    "clock": "n += s64(ctx.ktime % 3)",
}


def compiled(path: Path, body: str, turns: int) -> CompiledSet | None:
    path.write_text(f"{HEAD}    for i in range({turns}):\n        {body}\n")
    try:
        return compile_file(path)
    except BuildError as error:
        if {d.code for d in error.diagnostics} <= {"E240", "E244", "E247"}:
            return None
        raise


def longest(path: Path, body: str) -> tuple[int, CompiledSet]:
    """The most turns that are accepted, and the filter with them."""
    least, most = 1, 70_000
    while most - least > 1:
        middle = (least + most) // 2
        if compiled(path, body, middle) is None:
            most = middle
        else:
            least = middle
    accepted = compiled(path, body, least)
    if accepted is None:
        raise SystemExit(f"not accepted with one turn: {body}")
    return least, accepted


def seconds(accepted: CompiledSet) -> float:
    """The shortest of some calls."""
    program = accepted.result.ir
    assert isinstance(program, ir.Program)
    # Nearly a match, as late as possible.
    case = Case(buffers={"name": (b"x.ax" * 63 + b"ab")[:255]})
    best = 1.0
    with StandIn(build_compiled(accepted).data, program) as standin:
        for _ in range(20):
            begin = time.perf_counter()
            standin.call(program.filters[0], case)
            best = min(best, time.perf_counter() - begin)
    return best


def main() -> int:
    worst = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for name, body in BODIES.items():
            turns, accepted = longest(Path(scratch, "slow.py"), body)
            took = seconds(accepted)
            worst = max(worst, took)
            print(f"{name:10} {turns:6} turns {took * 1e3:7.2f} ms", flush=True)
    return int(worst >= 0.001)


if __name__ == "__main__":
    sys.exit(main())
