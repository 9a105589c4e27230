# SPDX-License-Identifier: MIT
"""Processes that race on one mount for a time; each says what it may fail with."""

from __future__ import annotations

import errno
import json
import mmap
import os
import random
import time
import traceback
from collections.abc import Callable, Collection

SECONDS = float(os.environ.get("FUSEBPF_RACE_SECONDS", "1.5"))

PATIENCE = 60.0
"""How much longer a race may take until everyone got through once, on a machine with other work."""

Body = Callable[[random.Random], None]


class Racers:
    """Processes, each repeating a body of its own until the time is over.

    A body that raises an OSError of its set goes on; anything else fails the test at once. Every
    body must also get through without any error at times, else the race was none.
    """

    def __init__(self) -> None:
        self._bodies: list[tuple[str, Body, frozenset[int]]] = []

    def add(self, name: str, body: Body, allowed: Collection[int] = ()) -> None:
        self._bodies.append((name, body, frozenset(allowed)))

    def run(self, seconds: float = SECONDS) -> None:
        """Start all at once and wait for them."""
        end = time.monotonic() + seconds
        through = mmap.mmap(-1, len(self._bodies))
        started = [
            (name, *_fork(body, allowed, seed, end, through))
            for seed, (name, body, allowed) in enumerate(self._bodies)
        ]
        problems = []
        for name, pid, pipe in started:
            with os.fdopen(pipe) as report:
                text = report.read()
            os.waitpid(pid, 0)
            told = json.loads(text) if text else {"problem": "it died", "whole": 0, "errors": {}}
            print(f"{name}: {told['whole']} times, {told['errors']}")
            if told["problem"]:
                problems.append(f"{name}: {told['problem']}")
            elif not told["whole"]:
                problems.append(f"{name}: never got through: {told['errors']}")
        assert not problems, "\n".join(problems)


def _fork(
    body: Body, allowed: frozenset[int], seed: int, end: float, through: mmap.mmap
) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    try:
        os.write(writer, json.dumps(_repeat(body, allowed, seed, end, through)).encode())
    finally:
        os._exit(0)


def _repeat(
    body: Body, allowed: frozenset[int], seed: int, end: float, through: mmap.mmap
) -> dict[str, object]:
    """Run a body; `through` has a byte for each process, set once it got through (or gave up)."""
    source = random.Random(seed)
    whole, problem = 0, ""
    errors: dict[str, int] = {}
    while not problem:
        left = end - time.monotonic()
        if left < -PATIENCE or (left < 0 and 0 not in through[:]):
            break
        try:
            body(source)
            whole += 1
            through[seed] = 1
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "?")
            errors[name] = errors.get(name, 0) + 1
            if error.errno not in allowed:
                problem = traceback.format_exc(limit=-2)
        except BaseException:
            problem = traceback.format_exc(limit=-2)
    through[seed] = 1
    return {"whole": whole, "errors": errors, "problem": problem}
