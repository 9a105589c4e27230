# SPDX-License-Identifier: MIT
"""`fusebpf attach --daemon`: the daemon's start, and each of the ways in which it ends."""

from __future__ import annotations

import errno
import json
import os
import select
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fusebpf.build import build_file
from fusebpf.runtime import daemons, detach, mountinfo, mounts
from fusebpf.runtime.daemons import DaemonStatus
from fusebpf.runtime.fsmount import umount
from tests.unit import json_schemas
from tests.unit.documents import ROOT, blocks
from tests.vm.attach_objects import fusebpf, nothing_left
from tests.vm.kernelkit import code_of
from tests.vm.limits import eventually

SENT = """
from fusebpf import USER_PREFILTER, Context, FilterSet, MkdirIn, Name, Verdict

filters = FilterSet("sent")

@filters.mkdir.pre
def ask(ctx: Context, req: MkdirIn, name: Name) -> Verdict:
    return USER_PREFILTER
"""

ASKED = """
from fusebpf import USER_PREFILTER, Context, FilterSet, GetattrIn, Verdict

filters = FilterSet("asked")

@filters.getattr.pre
def ask(ctx: Context, req: GetattrIn) -> Verdict:
    return USER_PREFILTER
"""

MINE = """
import errno
from fusebpf.daemon import Daemon

class Mine(Daemon):
    def mkdir_pre(self, call, req, name):
        print("asked for", name.raw.decode())
        return -errno.EACCES if name.raw == b"no" else None

class Asked(Daemon):
    def getattr_pre(self, call, req):
        return None

class Failing(Daemon):
    def __init__(self):
        self._of = {}["nothing"]

class Useless(Daemon):
    def rmdir_pre(self, call, name):
        pass
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an object and the daemons that it goes with."""
    directory = tmp_path_factory.mktemp("sources")
    (directory / "sent.py").write_text(SENT)
    (directory / "mine.py").write_text(MINE)
    (directory / "sent.bpf.o").write_bytes(build_file(directory / "sent.py").data)
    return directory


@pytest.fixture
def place(sources: Path, lower: Path, mnt: Path) -> tuple[Path, Path, Path]:
    """What attach takes."""
    return sources / "sent.bpf.o", lower, mnt


def daemon_of(mnt: Path) -> DaemonStatus:
    daemon = mounts.status(mnt).daemon
    assert daemon is not None
    return daemon


@contextmanager
def ends(pid: int) -> Iterator[None]:
    """Check that a process ends in the block."""
    pidfd = os.pidfd_open(pid)
    try:
        yield
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        assert poll.poll(0)
    finally:
        os.close(pidfd)


def records() -> list[Path]:
    """Records and logs; the guest has other files there, too."""
    return [path for path in daemons.DIRECTORY.iterdir() if path.suffix in (".json", ".log")]


def test_the_command_of_the_page(
    sources: Path, documented: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = (found for found in blocks(ROOT / "docs/daemon.md") if found.language == "sh")
    ((program, *arguments),) = map(shlex.split, block.commands())
    assert program == "fusebpf"
    lower, mnt = documented
    monkeypatch.chdir(sources)
    (sources / "guard.py").write_text(SENT)
    with nothing_left():
        assert fusebpf(*arguments).returncode == 0
        (mnt / "new").mkdir()
        assert (lower / "new").is_dir()
        assert Path(daemon_of(mnt).log).read_text() == "asked for new\n"
        detach(mnt)


def test_a_daemon_that_dies_is_told_and_mended(
    sources: Path, place: tuple[Path, Path, Path], lower: Path, mnt: Path
) -> None:
    """What is passed through goes on, what needs it gives ENOTCONN; what `ls` says mends it."""
    with nothing_left():
        done = fusebpf("attach", *place, "--daemon", f"{sources}/mine.py:Mine")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        daemon = daemon_of(mnt)
        assert (daemon.state, daemon.served) == ("serving", f"{sources}/mine.py:Mine")
        assert os.getsid(daemon.pid) == daemon.pid
        (mnt / "new").mkdir()
        assert (lower / "new").is_dir()
        assert code_of((mnt / "no").mkdir) == errno.EACCES
        assert Path(daemon.log).read_text() == "asked for new\nasked for no\n"
        assert f"{sources}/mine.py:Mine, process {daemon.pid}; log" in fusebpf("show", mnt).stdout

        os.kill(daemon.pid, signal.SIGKILL)
        assert eventually(lambda: daemon_of(mnt).state == "ended")
        assert code_of((mnt / "more").mkdir) == errno.ENOTCONN
        assert (mnt / "file").read_text() == "content\n"
        (mnt / "other").write_text("more")
        (mnt / "other").rename(mnt / "dir/other")
        assert (lower / "dir/other").read_text() == "more"
        shown = json.loads(fusebpf("show", "--json", mnt).stdout)
        json_schemas.check("show", shown)
        assert shown["daemon"]["state"] == "ended"
        table = fusebpf("ls").stdout.splitlines()
        assert table[1].split()[2:4] == ["active", "ended"]
        assert table[2] == f"{mnt} has lost its daemon: {shown['mend']}"

        for command in shown["mend"].split(" && "):
            program, *arguments = shlex.split(command)
            assert (program, fusebpf(*arguments).returncode) == ("fusebpf", 0)
        (mnt / "more").mkdir()
        again = daemon_of(mnt)
        assert again.state == "serving"
        with ends(again.pid):
            detach(mnt)
    assert records() == []


def test_filters_from_before_a_replacement_are_not_brought_back(
    sources: Path, place: tuple[Path, Path, Path], mnt: Path
) -> None:
    with nothing_left():
        options = ("--daemon", f"{sources}/mine.py:Mine")
        assert fusebpf("attach", *place, *options).returncode == 0
        daemon = daemon_of(mnt)
        assert fusebpf("replace", mnt, place[0]).returncode == 0
        os.kill(daemon.pid, signal.SIGKILL)
        assert eventually(lambda: daemon_of(mnt).state == "ended")
        status = mounts.status(mnt)
        assert (status.mend, status.replaced) == (f"fusebpf detach {mnt}", True)
        json_schemas.check("show", json.loads(fusebpf("show", "--json", mnt).stdout))
        said = f"{mnt} has lost its daemon, and its filters were replaced since: {status.mend}\n"
        assert said in fusebpf("ls").stdout
        detach(mnt)
    assert records() == []


def processes() -> list[bytes]:
    """Command lines of daemons, but for those that have ended."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                found.append((process / "cmdline").read_bytes())
    return [line for line in found if b"fusebpf.daemon" in line]


def test_a_daemon_that_is_told_to_end(
    sources: Path, place: tuple[Path, Path, Path], mnt: Path, tmp_path: Path
) -> None:
    """By SIGTERM, the mount stays; by umount it ends with the mount. A log of its own stays."""
    log = tmp_path / "log"
    log.write_text("earlier\n")
    options = ("--daemon", f"{sources}/mine.py:Mine", "--daemon-log", log)
    with nothing_left():
        assert fusebpf("attach", *place, *options).returncode == 0
        daemon = daemon_of(mnt)
        os.kill(daemon.pid, signal.SIGTERM)
        assert eventually(lambda: daemon_of(mnt).state == "ended")
        assert log.read_text().startswith("earlier\n")
        assert "told to end" in log.read_text()
        assert code_of((mnt / "new").mkdir) == errno.ENOTCONN
        umount(mnt)  # not by `fusebpf detach`: the record of the dead is left
        assert len(records()) == 1
    with nothing_left():
        assert fusebpf("attach", *place, *options).returncode == 0
        assert len(records()) == 1  # that of the living
        (mnt / "new").mkdir()
        umount(mnt)
        assert eventually(lambda: records() == [])
    assert log.read_text().endswith("asked for new\n")


def test_a_mount_that_goes_on_keeps_its_daemon(
    sources: Path, place: tuple[Path, Path, Path], mnt: Path
) -> None:
    """Taken off lazily while a directory of it is in use."""
    with nothing_left():
        assert fusebpf("attach", *place, "--daemon", f"{sources}/mine.py:Mine").returncode == 0
        pid = daemon_of(mnt).pid
        inside = os.open(mnt, os.O_RDONLY | os.O_DIRECTORY)
        try:
            detach(mnt, lazy=True)
            os.mkdir("new", dir_fd=inside)
            assert code_of(lambda: os.mkdir("no", dir_fd=inside)) == errno.EACCES
        finally:
            os.close(inside)
        assert eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert records() == []


def test_one_that_hangs_is_killed(sources: Path, lower: Path, mnt: Path) -> None:
    """Nothing is asked of it on the way, not even the state of the mount's root."""
    (sources / "asked.py").write_text(ASKED)
    with nothing_left():
        options = ("--daemon", f"{sources}/mine.py:Asked")
        assert fusebpf("attach", sources / "asked.py", lower, mnt, *options).returncode == 0
        pid = daemon_of(mnt).pid
        os.kill(pid, signal.SIGSTOP)
        with ends(pid):
            done = fusebpf("detach", mnt)
        assert (done.returncode, done.stderr) == (0, "")
    assert records() == []


def test_what_cannot_be_served_leaves_nothing(
    sources: Path, place: tuple[Path, Path, Path], mnt: Path
) -> None:
    with nothing_left():
        done = fusebpf("attach", *place, "--daemon", f"{sources}/mine.py:Failing")
        assert done.returncode == 1
        assert "mine.py:16: KeyError: 'nothing'" in done.stderr
        done = fusebpf("attach", *place, "--daemon", f"{sources}/mine.py:Useless")
        assert done.returncode == 1
        assert "help: give it one of: mkdir_pre, mkdir, mkdir_post" in done.stderr
        assert mountinfo.at(mnt) is None
        assert processes() == []
    assert records() == []
