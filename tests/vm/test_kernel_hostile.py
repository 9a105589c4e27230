# SPDX-License-Identifier: MIT
"""Filters that return and write anything: afterwards the log is clean and the mount works.

Every hook has a program whose verdict, stores and calls are drawn at random; each draw is a random
program of one hook. FUSEBPF_HOSTILE sets how many to draw; without it the test runs for 5 seconds.
FUSEBPF_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.vm import hookkit, random_ops
from tests.vm import kernelkit as kit
from tests.vm.limits import SLOWNESS

PROGRAMS = int(os.environ.get("FUSEBPF_HOSTILE", "0"))
SEED = int(os.environ.get("FUSEBPF_SEED", str(random.randrange(1 << 32))))
SLICE_S = 5
WORKERS = 2
#: Programs drawn at once, and the time until the next ones: operations have to meet them.
DRAWS, PAUSE_S = 4, 0.01
#: Of fewer programs not each hook's need have run.
FEW = 10_000

EDGES = [0, 1, 2, 3, 7, 255, 256, 511, 512, 4095, 4096, 65535, 65536, 1 << 30]
EDGES += [(1 << bits) + step for bits in (31, 32, 63, 64) for step in (-1, 0) if bits + step < 64]
NAMES = [b"", b".", b"..", b"/", b"a/b", b"a", b"b", b"dir", b"link", b"../../etc", b"\xff" * 64]
NAMES += [b"user.x", b"trusted.x", b"security.capability", b"system.posix_acl_default", b"\n"]


def value(rng: random.Random) -> int:
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(EDGES)
    if kind < 0.8:
        return 1 << rng.randrange(64)
    return rng.getrandbits(64)


def verdict(rng: random.Random) -> int:
    kind = rng.random()
    if kind < 0.75:
        return rng.choice([kit.CONTINUE, kit.POSTFILTER])
    if kind < 0.85:
        return rng.choice([kit.USER, kit.USER_PREFILTER, kit.USER_POSTFILTER, kit.CALL_DEFAULT, 6])
    if kind < 0.95:
        return -rng.choice([1, 2, 13, 28, 511, 512, 513, 4095, 4096, 1 << 31])
    return rng.getrandbits(32)


def control(rng: random.Random, hook: str) -> hookkit.Control:
    """What a random program of a hook does."""
    drawn = hookkit.Control(verdict=verdict(rng), clear=rng.randrange(2))
    members = len(hookkit.fields(hookkit.SERVED[hook]))
    for at in range(members):
        if rng.random() < rng.choice([0.0, 0.2, 0.8]):
            drawn.mask |= 1 << at
            drawn.value[at] = value(rng)
    if rng.random() < 0.3:
        drawn.valid_ns = value(rng)
    if rng.random() < 0.5:
        drawn.scribble = rng.getrandbits(16) | 1
    for at in range(hookkit.BUFFERS):
        if rng.random() < 0.6:
            continue
        text = rng.choice(NAMES) + b"\0" if rng.random() < 0.5 else rng.randbytes(hookkit.BYTES)
        if rng.random() < 0.2:  # an entry, or the head of a directory entry
            text = b"".join(value(rng).to_bytes(8, "little") for _ in range(8))
        text = text[: hookkit.BYTES]
        drawn.bytes[at][: len(text)] = text
        drawn.set_len[at] = len(text) if rng.random() < 0.7 else value(rng) & 0xFFFFFFFF
    return drawn


@contextmanager
def working(mnt: Path, stop: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    command = [sys.executable, random_ops.__file__, str(mnt), str(stop)]
    workers = [subprocess.Popen([*command, str(SEED + number)]) for number in range(WORKERS)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def count(hooks: hookkit.Hooks) -> dict[str, int]:
    return {hook: int(hooks.look(hook).count) for hook in hookkit.SERVED}


@pytest.mark.timeout(0 if PROGRAMS else 120)
def test_programs_that_do_anything(lower: Path, mnt: Path, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    stop = tmp_path / "stop"
    print(f"seed {SEED}")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", lower], check=True)
    (lower / "dir").mkdir()
    drawn = 0
    try:
        with hookkit.hooked(lower, mnt) as hooks, working(mnt, stop) as workers:
            end = time.monotonic() + SLICE_S * SLOWNESS
            while drawn < PROGRAMS if PROGRAMS else time.monotonic() < end:
                for hook in rng.sample(list(hookkit.SERVED), DRAWS):
                    hooks.write_control(hook, control(rng, hook))
                drawn += DRAWS
                # What refuses most of the time would keep the others from running
                for hook in rng.sample(list(hookkit.SERVED), 2 * DRAWS):
                    hooks.steer(hook, verdict=rng.choice([kit.CONTINUE, kit.POSTFILTER]))
                time.sleep(PAUSE_S * SLOWNESS)
                assert all(worker.poll() is None for worker in workers)
            ran = count(hooks)
            for hook in hookkit.SERVED:
                hooks.steer(hook)
            stop.touch()
            for worker in workers:
                assert worker.wait(30 * SLOWNESS) == 0
            # Nothing of it stays
            (mnt / "after").write_text("still here")
            os.rename(mnt / "after", mnt / "renamed")
            assert (lower / "renamed").read_text() == "still here"
            assert sorted(os.listdir(mnt)) == sorted(os.listdir(lower))
            for entry in os.scandir(mnt):
                assert entry.inode() == os.lstat(lower / entry.name).st_ino
    finally:
        subprocess.run(["umount", "-l", lower], check=True)
    print(f"{drawn} random programs, {sum(ran.values())} calls; never ran: ", end="")
    never = [hook for hook, calls in ran.items() if not calls]
    print(", ".join(never) or "none")
    assert sum(ran.values()) > drawn
    assert PROGRAMS < FEW or not never
