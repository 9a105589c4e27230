# SPDX-License-Identifier: MIT
"""Run a command that mounts and forks freely, so that it can be ended with nothing left behind.

It gets mount and process namespaces of its own (unshare(1)). Its mounts are seen by nobody else,
and killing its first process kills every other one: a tree it was working on can then be removed
without walking into a /dev or /proc mounted there.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def run_isolated(
    command: Sequence[str],
    env: Mapping[str, str],
    on_line: Callable[[str], None],
    *,
    network: bool = True,
) -> int:
    """Run ``command``, hand each line of its output to ``on_line``, return its status.

    What it makes is a machine's, whatever mask the user has for files of their own (umask(2)).
    Without ``network`` it has one of its own, with nothing in it but a loopback that is down.

    If anything is raised meanwhile, a signal's exception included, all its processes are dead
    before that goes on.
    """
    child = subprocess.Popen(
        [
            # Should this process be killed outright, the same happens by the kernel's hand.
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", "--mount", "--propagation", "private"),
            *("--pid", "--mount-proc", "--fork", "--kill-child=KILL"),
            *(() if network else ("--net",)),
            *command,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=env,
        start_new_session=True,
        umask=0o022,
    )
    assert child.stdout is not None
    with child.stdout:
        try:
            for line in child.stdout:
                on_line(line)
            return child.wait()
        except BaseException:
            _end(child)
            raise


def _end(child: subprocess.Popen[str]) -> None:
    """Kill the first process of the namespace; it is gone only when all others there are."""
    for pid in _children(child.pid):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [])
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)
    child.kill()
    child.wait()


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
