# SPDX-License-Identifier: MIT
"""The program of docs/daemon.md that keeps a mount's device: its daemon dies and comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fusebpf.build import build_file
from fusebpf.runtime import mountinfo
from tests.unit.documents import ROOT, python_blocks
from tests.vm.attach_objects import nothing_left
from tests.vm.limits import eventually
from tests.vm.test_daemon_death import waits

SENT = """
from fusebpf import USER_PREFILTER, Context, FilterSet, MkdirIn, Name, Verdict

filters = FilterSet("sent")

@filters.mkdir.pre
def ask(ctx: Context, req: MkdirIn, name: Name) -> Verdict:
    return USER_PREFILTER
"""

# What the page's program needs: a daemon that dies while a request waits for its answer.
MINE = """
import errno, os, signal, sys
from fusebpf.daemon import Daemon

filters, lower, mountpoint, killed = sys.argv[1:]

class Mine(Daemon):
    def mkdir_pre(self, call, req, name):
        print(os.getpid(), name.raw.decode(), flush=True)
        if name.raw == b"deadly" and not os.path.exists(killed):
            open(killed, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return -errno.EACCES if name.raw == b"no" else None
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str | Path]:
    """The page's program with its arguments, but for the places."""
    (tmp_path / "sent.py").write_text(SENT)
    _first, kept = python_blocks(ROOT / "docs/daemon.md")
    (tmp_path / "kept.py").write_text(MINE + kept)
    return [sys.executable, tmp_path / "kept.py", build_file(tmp_path / "sent.py").path]


@contextmanager
def kept(command: list[str | Path], mnt: Path) -> Iterator[subprocess.Popen[str]]:
    """The program while it runs; an unmount ends it well."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as keeper:
        try:
            assert eventually(
                lambda: mountinfo.at(mnt) is not None or keeper.poll() is not None, 90
            )
            yield keeper
            subprocess.run(["umount", mnt], check=True)
            assert keeper.wait(30) == 0
        finally:
            keeper.kill()


def test_callers_notice_nothing_of_a_restart(
    program: list[str | Path], lower: Path, mnt: Path, tmp_path: Path
) -> None:
    command = [*program, lower, mnt, tmp_path / "killed"]
    with nothing_left(), kept(command, mnt) as keeper:
        assert keeper.stdout is not None
        # It dies with the request read: the next one gets it again.
        (mnt / "deadly").mkdir()
        assert (lower / "deadly").is_dir()
        first, second = (keeper.stdout.readline().split() for _ in range(2))
        assert (first[1], second[1]) == ("deadly", "deadly")
        assert first[0] != second[0]
        # It dies while nothing is asked, and what is asked before another is there waits.
        os.kill(keeper.pid, signal.SIGSTOP)
        os.kill(int(second[0]), signal.SIGKILL)
        caller = subprocess.Popen(["mkdir", mnt / "late"])
        assert eventually(lambda: waits(caller.pid))
        os.kill(keeper.pid, signal.SIGCONT)
        assert caller.wait(30) == 0
        third = keeper.stdout.readline().split()
        assert third[1] == "late"
        assert third[0] not in (first[0], second[0])
        with pytest.raises(PermissionError):
            (mnt / "no").mkdir()
