# SPDX-License-Identifier: MIT
"""A daemon beside a lower directory dies, or is never there: what waits ends, the rest goes on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fusebpf import USER_PREFILTER
from fusebpf.daemon import Device, mount
from fusebpf.runtime import mountinfo
from fusebpf.runtime.features import fs_type
from fusebpf.runtime.fsmount import MountError, umount
from tests.vm import daemonkit as kit
from tests.vm import kernelkit
from tests.vm.kernelkit import code_of
from tests.vm.limits import eventually

DYING = """
import asyncio, sys
from pathlib import Path
from fusebpf.daemon import Daemon, Device, mount, serve
class Never(Daemon):
    async def mkdir_pre(self, call, *args):
        await asyncio.get_running_loop().create_future()
with Device() as device:
    mount(device, Path(sys.argv[1]), lower=Path(sys.argv[2]), root_bpf_link=int(sys.argv[3]))
    print("mounted", flush=True)
    serve(Never(), device)
"""


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    lower, mnt = tmp_path / "lower", tmp_path / "mnt"
    lower.mkdir()
    mnt.mkdir()
    (lower / "file").write_text("content")
    return lower, mnt


@contextmanager
def dying(places: tuple[Path, Path], verdicts: kit.Verdicts) -> Iterator[subprocess.Popen[str]]:
    """A daemon in a process of its own, that answers no prefilter of MKDIR."""
    lower, mnt = places
    link = verdicts.link.fd
    command = [sys.executable, "-c", DYING, str(mnt), str(lower), str(link)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=(link,)) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "mounted\n"
        try:
            yield daemon
        finally:
            daemon.kill()
            if mountinfo.at(mnt) is not None:
                umount(mnt, lazy=True)


@pytest.fixture
def verdicts() -> Iterator[kit.Verdicts]:
    made = kit.Verdicts()
    try:
        made.reset()
        yield made
    finally:
        made.close()


def waits(pid: int) -> bool:
    """Whether a process waits for an answer."""
    return "request_wait_answer" in Path(f"/proc/{pid}/stack").read_text()


def test_what_waits_ends_and_the_rest_goes_on(
    places: tuple[Path, Path], verdicts: kit.Verdicts
) -> None:
    lower, mnt = places
    verdicts.set("mkdir", USER_PREFILTER.value)
    with dying(places, verdicts) as daemon:
        caller = subprocess.Popen(["mkdir", mnt / "new"], stderr=subprocess.PIPE, text=True)
        assert eventually(lambda: waits(caller.pid))
        daemon.kill()
        _out, text = caller.communicate(timeout=30)
        assert os.strerror(errno.ECONNABORTED) in text
        assert not (lower / "new").exists()
        assert code_of((mnt / "new").mkdir) == errno.ENOTCONN
        # What no filter sends to it needs no daemon
        assert (mnt / "file").read_text() == "content"
        (mnt / "other").write_text("more")
        assert (lower / "other").read_text() == "more"


def test_a_killed_caller_leaves(places: tuple[Path, Path], verdicts: kit.Verdicts) -> None:
    verdicts.set("mkdir", USER_PREFILTER.value)
    with dying(places, verdicts):
        caller = subprocess.Popen(["mkdir", places[1] / "new"])
        assert eventually(lambda: waits(caller.pid))
        caller.kill()
        assert caller.wait(30) == -9


def test_a_connection_that_is_aborted(places: tuple[Path, Path], verdicts: kit.Verdicts) -> None:
    """umount -f, as for every FUSE mount."""
    _lower, mnt = places
    verdicts.set("mkdir", USER_PREFILTER.value)
    with dying(places, verdicts):
        caller = subprocess.Popen(["mkdir", mnt / "new"], stderr=subprocess.PIPE, text=True)
        assert eventually(lambda: waits(caller.pid))
        subprocess.run(["umount", "-f", mnt], stderr=subprocess.DEVNULL, check=False)
        _out, text = caller.communicate(timeout=30)
        assert os.strerror(errno.ECONNABORTED) in text


def test_what_mounting_refuses(places: tuple[Path, Path]) -> None:
    lower, mnt = places
    with Device() as device:
        with pytest.raises(MountError, match="exclude each other"):
            mount(device, mnt, lower=lower, no_daemon=True)
        mount(device, mnt, lower=lower)
        umount(mnt, lazy=True)
        with pytest.raises(MountError, match="serves another mount"):
            mount(device, mnt, lower=lower)
    with Path("/dev/null").open() as null:

        class Null(Device):
            def __init__(self) -> None:
                self.fd = null.fileno()

        # Newer series look at the descriptor when it is given, in words of their own
        newer = kernelkit.series() >= (7, 3)
        refused = "fd is not a fuse device$" if newer else f"is not the device of {fs_type()}$"
        with pytest.raises(MountError, match=refused):
            mount(Null(), mnt, lower=lower)
