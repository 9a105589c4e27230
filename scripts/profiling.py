# SPDX-License-Identifier: MIT
"""Which functions an operation's instructions are in, on mounts side by side.

    python scripts/profiling.py stat bind unfiltered pre    # an operation and columns of bench.py

The guest does the operation for ever; QEMU, which takes single steps for a while, logs each. Shown
are instructions in each function itself, for one operation; those of the program are `user`.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import bench

LOG_BYTES = 250 << 20
"""Of QEMU's log: 2.5 million instructions, of which any batch is a part."""
USER = 1 << 47
LEAST = 8
"""Instructions of a function that is shown by its name."""
STEP = re.compile(rb"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/")
Batch = tuple[int, int, int]
"""Where a batch of operations begins and ends, and how many they are."""
Symbols = list[tuple[int, str]]
Profile = dict[str, float]


def guest(column: str, operation: str) -> None:
    """Print the kernel's functions and where a batch is, then do the operation for ever."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        count = work / "count"
        bench.compile_counter(count)

        def for_ever(directory: Path) -> bench.Costs:
            with subprocess.Popen(
                [count, directory, operation], stdout=subprocess.PIPE, text=True
            ) as program:
                assert program.stdout is not None
                if not (line := program.stdout.readline()):
                    raise SystemExit(f"no operation {operation!r}")
                begin, end, times = line.split("\t")
                batch = int(begin, 16), int(end, 16), int(times)
                print(json.dumps([batch, functions()]), flush=True)
            return {}

        bench.on_mount(bench.COLUMNS[column], work, for_ever)


def functions() -> Symbols:
    """Those of the kernel, its modules and its BPF programs, by address."""
    found = []
    for line in Path("/proc/kallsyms").read_text().splitlines():
        address, kind, name, *_ = line.split()
        if kind in "tTwW":
            found.append((int(address, 16), name))
    return sorted(found)


def profiled(column: str, operation: str) -> Profile:
    """Boot a guest, let it take single steps, and count those of whole batches."""
    from fusebpf.vm.errors import VmError
    from fusebpf.vm.launch import Request, execute

    with tempfile.TemporaryDirectory() as name:
        monitor, log = Path(name) / "monitor", Path(name) / "log"
        told, output = threading.Event(), bytearray()

        def take(stream: int, data: bytes) -> None:
            if stream == 2:
                sys.stderr.write(data.decode(errors="replace"))
                return
            output.extend(data)
            if data.endswith(b"\n"):
                told.set()

        command = bench.in_guest(__file__, column, operation)
        request = Request(command, cpus=1, counted=True, timeout=1200, monitor=monitor)
        steps = threading.Thread(target=log_steps, args=(monitor, log, told), daemon=True)
        steps.start()
        try:
            execute(request, take, lambda text: print(text, file=sys.stderr))
        except VmError:
            if not log.is_file():
                raise
        if not log.is_file():
            raise SystemExit(1)
        batch, symbols = json.loads(output)
        with log.open("rb") as lines:
            return profile(addresses(lines), batch, symbols)


def log_steps(monitor: Path, log: Path, told: threading.Event) -> None:
    """Once the guest has told where things are, have steps logged, then end the machine."""
    told.wait()
    with socket.socket(socket.AF_UNIX) as qemu:
        qemu.connect(str(monitor))
        for line in (f"logfile {log}", "singlestep on", "log exec,nochain"):
            qemu.sendall(f"{line}\n".encode())
        while not log.is_file() or log.stat().st_size < LOG_BYTES:
            time.sleep(0.1)
        qemu.sendall(b"quit\n")
        while qemu.recv(4096):
            pass


def addresses(lines: Iterable[bytes]) -> Iterator[int]:
    """Where each instruction was that QEMU logged."""
    for line in lines:
        if step := STEP.match(line):
            yield int(step[1], 16)


def profile(steps: Iterable[int], batch: Batch, symbols: Symbols) -> Profile:
    """Instructions of each function for one operation, of batches that are there whole."""
    begin, end, times = batch
    starts = [address for address, _name in symbols]
    found: Counter[str] = Counter()
    current: Counter[int] | None = None
    batches = 0
    for address in steps:
        if address == begin:
            current = Counter()
        elif current is None:
            continue
        elif address == end:
            for at, count in current.items():
                place = bisect_right(starts, at) - 1
                found["user" if at < USER else symbols[place][1]] += count
            batches += 1
            current = None
        else:
            current[address] += 1
    if not batches:
        raise SystemExit("no batch of operations was logged whole")
    return {name: count / batches / times for name, count in found.items()}


def table(columns: dict[str, Profile]) -> Iterator[str]:
    """Markdown: the functions with most first, small ones in one row."""
    yield "| instructions in | " + " | ".join(columns) + " |"
    yield "|-" * (len(columns) + 1) + "|"
    most: Counter[str] = Counter()
    for costs in columns.values():
        for name, count in costs.items():
            most[name] = max(most[name], round(count))
    shown = [name for name, count in most.most_common() if count >= LEAST]
    for name in shown:
        yield f"| {name} | " + " | ".join(f"{c.get(name, 0):,.0f}" for c in columns.values()) + " |"
    rest = [sum(n for name, n in c.items() if name not in shown) for c in columns.values()]
    yield "| the rest | " + " | ".join(f"{count:,.0f}" for count in rest) + " |"
    whole = [sum(costs.values()) for costs in columns.values()]
    yield "| all | " + " | ".join(f"{count:,.0f}" for count in whole) + " |"


def main(operation: str, *names: str) -> None:
    bench.check_names(names)
    bench.build()
    columns = {name: profiled(name, operation) for name in names or ("bind", "unfiltered")}
    print(*table(columns), sep="\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--guest"]:
        guest(*sys.argv[2:])
    elif len(sys.argv) < 2:
        raise SystemExit(__doc__)
    else:
        main(*sys.argv[1:])
