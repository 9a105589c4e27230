# SPDX-License-Identifier: MIT
"""All attempts to get around `fusebpf guard run`; as a program it makes them: TREE PID."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.vm import guard_escapes_races, guard_escapes_system
from tests.vm.guard_escapes import ATTEMPTS, EXPECTED, Expected, Place

__all__ = ["ATTEMPTS", "EXPECTED", "Expected", "guard_escapes_races"]


SECONDS = 60
"""An attempt that takes longer is ended, with what it started."""


def main(tree: Path, outside: int) -> None:
    """Make every attempt in a process group of its own, and print what came of it."""
    found = {}
    for name, function in ATTEMPTS.items():
        here = tree / str(os.getuid()) / name
        end, start = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            try:
                guard_escapes_system.OWN.update((end, start))
                os.chdir(here)
                results = function(Place(tree, here, outside))
            except BaseException as error:
                results = [f"not made: {error!r}"]
            os.write(start, json.dumps(results).encode())
            os._exit(0)
        os.close(start)
        with os.fdopen(end, "rb") as pipe:
            in_time, _, _ = select.select([pipe], [], [], SECONDS)
            # What it started and left would keep the pipe open
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, 0 if in_time else signal.SIGKILL)
            told = pipe.read() if in_time else b""
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        found[name] = json.loads(told) if told else [f"signal {-status}"]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
