# SPDX-License-Identifier: MIT
"""Programs that load a file system: fio, dbench, stress-ng, and databases whose writers are killed.

A stressor is compared by its verdict. One that fails, or cannot run, on the bare directory too is
skipped with what it says there.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from tests.vm import programkit as kit
from tests.vm.programkit import LOWERS, SECONDS, Done, Pair, on

pair, place = kit.pair, kit.place

# ---- fio

# With direct access too where there is such; tmpfs takes O_DIRECT since Linux 6.6
ENGINES = {
    "psync": "--ioengine=psync",
    "psync-direct": "--ioengine=psync --direct=1",
    "mmap": "--ioengine=mmap",
    "libaio": "--ioengine=libaio --iodepth=8",
    "libaio-direct": "--ioengine=libaio --iodepth=8 --direct=1",
    "io_uring": "--ioengine=io_uring --iodepth=8",
    "io_uring-direct": "--ioengine=io_uring --iodepth=8 --direct=1",
}


@on(LOWERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_fio_reads_what_it_wrote(pair: Pair, engine: str) -> None:
    size = "64M" if SECONDS else "2M"
    # The state for a later verification lists the last writes in the order in which they ended
    done = pair.run(
        f"""
        go() {{
            fio --name=$1 --filename=data --size={size} {ENGINES[engine]} --verify=crc32c \\
                --verify_fatal=1 --verify_state_save=0 --randseed=7 --output-format=terse $2 >>log
        }}
        go random '--rw=randwrite --bs=4k --verify_backlog=64 --fsync=50'
        go mixed '--rw=randrw --bs=16k'
        go large '--rw=write --bs=128k --fallocate=none'
        rm log
        """
    )
    assert done.errors == ""
    pair.compare(loose="data$")  # the headers of its blocks hold times


# ---- dbench


@on(LOWERS)
def test_dbench_runs_clean(pair: Pair) -> None:
    done = pair.run(
        f"dbench --timelimit={SECONDS or 2} --loadfile=/usr/share/dbench/client.txt 4",
        noise=r"(?s).+",  # figures
    )
    # Its semaphore makes the clients start together, which both sides can do without
    failed = re.findall(r"(?i).*failed(?! to create barrier semaphore).*", done.output)
    assert not failed
    assert "Throughput" in done.output
    # How far its clients get until the time is over differs
    pair.compare_below()


# ---- sqlite


def _acknowledged(database: Path, count: int) -> list[int]:
    """Numbers whose transactions two writers said to be done, before both were killed."""
    writer = [sys.executable, str(kit.DATA / "sqlite_writer.py"), str(database)]
    writers = [
        subprocess.Popen([*writer, str(number)], stdout=subprocess.PIPE) for number in range(2)
    ]
    done: list[int] = []
    for process in writers:
        assert process.stdout is not None
        while len(done) < count and (line := process.stdout.readline()):
            done.append(int(line))
    for process in writers:
        process.send_signal(signal.SIGKILL)
    for process in writers:
        assert process.stdout is not None
        done += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
        assert process.wait() == -signal.SIGKILL
    return done


def _empty(database: Path) -> None:
    """Make it before its writers come: of two that make it, SQLite turns one away at once."""
    connection = sqlite3.connect(database)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE done (number INTEGER PRIMARY KEY, text TEXT)")
    finally:
        connection.close()


def _rows(database: Path) -> list[int]:
    connection = sqlite3.connect(database, timeout=60)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute("SELECT number, text FROM done ORDER BY number").fetchall()
    finally:
        connection.close()
    assert all(text == f"{number} " * 300 for number, text in rows)
    return [number for number, _text in rows]


@on(LOWERS)
def test_sqlite_loses_no_transaction_of_a_killed_writer(pair: Pair) -> None:
    for base in pair.sides:
        database = base / "data.db"
        chance = random.Random(5)
        done: set[int] = set()
        _empty(database)
        for _round in range(20 if SECONDS else 4):
            done |= set(_acknowledged(database, chance.randrange(20, 80)))
            rows = _rows(database)
            assert done <= set(rows)
            assert len(rows) == len(set(rows))
    # What the mount wrote is whole below it
    assert done <= set(_rows(pair.lower / "data.db"))
    output = pair.run('sqlite3 data.db "PRAGMA integrity_check; PRAGMA journal_mode"').output
    assert output.split() == ["ok", "wal"]


# ---- stress-ng

# Bounded, so that no file outgrows the small file system: options of those that write much
BOUNDS = {
    "copy-file": "--copy-file-bytes 16m",
    "fallocate": "--fallocate-bytes 64m",
    "fiemap": "--fiemap-bytes 16m",
    "fpunch": "--fpunch-bytes 16m",
    "hdd": "--hdd-bytes 32m",
    "iomix": "--iomix-bytes 16m",
}
# It allocates 1 GiB whatever --sync-file-bytes says: the disk is full for those beside it
ALONE = {"sync-file"}


def _stressors() -> list[str]:
    """All file system stressors that the installed stress-ng has."""
    try:
        done = subprocess.run(
            ["stress-ng", "--class", "filesystem?"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # collected outside the guest, where these tests are skipped
        return []
    return done.stdout.partition(":")[2].split()


def _stress(base: Path, name: str) -> Done:
    """Run two of a stressor for the time set, or one for a second."""
    seconds = SECONDS or 1
    options = f"--timeout {seconds} --verify --temp-path . {BOUNDS.get(name, '')}"
    script = f"""
        mkdir {name}
        cd {name}
        stress-ng --{name} {2 if SECONDS else 1} {options}
        cd ..
        rmdir {name}
    """
    try:
        return kit.side(base, script, timeout=seconds + 60)
    except subprocess.TimeoutExpired as error:
        said, waits = (os.fsdecode(text or b"") for text in (error.stdout, error.stderr))
        return Done(124, said, f"{name} did not end\n{waits}")


def _passed(done: Done) -> bool:
    """A stressor that could not run ends with status 0 too."""
    return done.status == 0 and bool(re.search(r"passed: [1-9]", done.output + done.errors))


def _verdict(done: Done) -> str:
    """What became of it, in stress-ng's words where it has some."""
    if _passed(done):
        return "passed"
    lines = (done.output + done.errors).splitlines()
    said = [re.sub(r"^stress-ng: |\[\d+\] ", "", line) for line in lines]
    told = [line for line in said if re.search(r"skip|fail|error|did not end", line)]
    return f"status {done.status}: {' / '.join(told[:2])}"


class Stress:
    """Runs of the stressors on one pair, some at once, and those that cannot share a disk last."""

    def __init__(self, pair: Pair, names: list[str]) -> None:
        self._pair = pair
        self._pool = ThreadPoolExecutor(4)
        self._runs: dict[str, list[Future[Done]]] = {
            name: [self._pool.submit(_stress, side, name) for side in self._sides()]
            for name in names
            if name not in ALONE
        }

    def _sides(self) -> list[Path]:
        """The mount, and in a long run the bare directory too."""
        return [self._pair.mount, self._pair.bare] if SECONDS else [self._pair.mount]

    def results(self, name: str) -> tuple[Done, Done | None]:
        """How it ended on the mount, and on the bare directory if it ran there."""
        if name in ALONE:
            wait(run for runs in self._runs.values() for run in runs)
            mount, *others = (_stress(side, name) for side in self._sides())
        else:
            mount, *others = (run.result() for run in self._runs[name])
        if others:
            return mount, others[0]
        return mount, None if _passed(mount) else _stress(self._pair.bare, name)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def stress(request: pytest.FixtureRequest, place: tuple[str, Path]) -> Iterator[Stress]:
    """All stressors that this run selected, started as soon as the first test asks."""
    kind = place[0]
    names = [
        str(item.callspec.params["stressor"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.originalname == "test_stressor"
        and item.callspec.params["place"] == kind
    ]
    with kit.fresh_pair(*place) as pair:
        running = Stress(pair, names)
        try:
            yield running
        finally:
            running.close()


@on(LOWERS)
@pytest.mark.parametrize("stressor", _stressors())
def test_stressor(stress: Stress, stressor: str) -> None:
    mount, bare = stress.results(stressor)
    if bare:
        print(f"{stressor}: bare {_verdict(bare)}; mount {_verdict(mount)}")
    if bare and not _passed(bare):
        pytest.skip(f"not on the bare directory either: {_verdict(bare)}")
    assert _passed(mount), f"{_verdict(mount)}\n{mount.output}{mount.errors}"
