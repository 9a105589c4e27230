# SPDX-License-Identifier: MIT
"""`--daemon MODULE:CLASS`: what it may name, the process that it starts, and its record."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fusebpf.build.metadata import HookMeta, Metadata
from fusebpf.cli import run
from fusebpf.daemon import Daemon, DaemonError, Device, choosing
from fusebpf.daemon.process import _Process
from fusebpf.errors import FusebpfError, UsageError
from fusebpf.runtime import daemons
from tests.unit.runtime_objects import needs_root

GOOD = """
from fusebpf.daemon import Daemon

class Mine(Daemon):
    def mkdir_pre(self, call, *args):
        return 0

class Demanding(Daemon):
    def __init__(self, size):
        pass

class Failing(Daemon):
    def __init__(self):
        self._size = int("many")

class Plain:
    pass

number = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a module; what a test imports and looks up is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    modules = set(sys.modules)
    (tmp_path / "daemons_here.py").write_text(GOOD)
    yield tmp_path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def chosen(text: str) -> type[Daemon]:
    return choosing.load(choosing.parse(text))


@pytest.mark.parametrize("module", ["daemons_here", "daemons_here.py", "./daemons_here.py"])
def test_a_class_of_a_module_or_of_a_file(here: Path, module: str) -> None:
    found = chosen(f"{module}:Mine")
    assert isinstance(choosing.make(found), Daemon)
    assert choosing.handled(found) == {"mkdir_pre"}


WRONG = {
    "daemons_here": ("names no class", "give MODULE:CLASS"),
    "daemons_here:": ("names no class", "give MODULE:CLASS"),
    ":Mine": ("names no class", "give MODULE:CLASS"),
    "daemons here:Mine": ("'daemons here' is no name of a module", "give MODULE:CLASS"),
    "none.py:Mine": ("none.py does not exist", "give MODULE:CLASS"),
    "./:Mine": ("is a directory", "name a file in it"),
    "daemon_here:Mine": ("there is no module daemon_here", "DIRECTORY/daemon_here.py:Mine"),
    "daemons_here:Mien": ("has no class 'Mien'", "did you mean Mine?"),
    "daemons_here:Elsewhere": ("has no class 'Elsewhere'", "it has: Demanding, Failing, Mine"),
    "daemons_here:Plain": ("Plain of daemons_here is no daemon", "class Plain(Daemon)"),
    "daemons_here:number": ("number of daemons_here is no class", "name the class"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_names_no_daemon(here: Path, text: str) -> None:
    message, help = WRONG[text]
    with pytest.raises(UsageError) as info:
        chosen(text)
    assert message in info.value.message
    assert help in (info.value.help or "")


BROKEN = {
    "import nothing_of_that_name": "broken.py:1: ModuleNotFoundError: No module named",
    "\n1 / 0": "broken.py:2: ZeroDivisionError: division by zero",
    "def f(:": "broken.py:1: invalid syntax",
    "raise SystemExit(3)": "broken.py:1: SystemExit: 3",
    "from fusebpf.daemon import Daemon\nclass Mine(Daemon):\n    def mkdri(self): ...": (
        "Mine.mkdri is called by no request"
    ),
    "from fusebpf.daemon import Daemon\nclass Counts:\n    async def forget(self, *a): ...\n"
    "class Mine(Counts, Daemon):\n    def mkdir_pre(self, *a): ...": "Mine.forget is async",
}


@pytest.mark.parametrize("source", BROKEN)
@pytest.mark.parametrize("module", ["broken", "broken.py"])
def test_a_module_that_cannot_be_imported(here: Path, source: str, module: str) -> None:
    (here / "broken.py").write_text(source)
    with pytest.raises(DaemonError) as info:
        chosen(f"{module}:Mine")
    assert BROKEN[source] in info.value.message


def test_a_constructor_that_fails(here: Path) -> None:
    with pytest.raises(DaemonError) as info:
        choosing.make(chosen("daemons_here:Demanding"))
    assert "missing 1 required positional argument: 'size'" in info.value.message
    assert "made without arguments" in (info.value.help or "")
    with pytest.raises(DaemonError) as info:
        choosing.make(chosen("daemons_here:Failing"))
    assert "daemons_here.py:14: ValueError: invalid literal" in info.value.message


def test_a_daemon_that_the_filters_cannot_call() -> None:
    """A prefilter sends the operation or asks before and after it, a postfilter asks after it."""
    choosing.check_use("m:Mine", ["mkdir"], ["mkdir_prefilter"])
    choosing.check_use("m:Mine", ["mkdir_pre"], ["open_postfilter", "mkdir_prefilter"])
    choosing.check_use("m:Mine", ["mkdir_post"], ["mkdir_postfilter"])
    choosing.check_use("m:Mine", ["statfs"], ["default_filter"])
    with pytest.raises(DaemonError) as info:
        choosing.check_use(
            "m:Mine", ["mkdir_pre", "forget"], ["mkdir_postfilter", "open_prefilter"]
        )
    assert info.value.help == "give it one of: mkdir_post, open_pre, open, open_post"


def test_options_of_attach(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["attach", "f.py", "lower", "mnt", "--daemon", "nothing"]) == 2
    assert "help: give MODULE:CLASS" in capsys.readouterr().err
    assert run(["attach", "f.py", "lower", "mnt", "--daemon-log", "log"]) == 2
    assert "of no use without --daemon" in capsys.readouterr().err


def metadata(hook: str) -> Metadata:
    return Metadata("odd", 1, "odd.py", "0", (HookMeta(hook, "f", 1, "f"),), (), "", "")


def failure(served: str) -> FusebpfError:
    """The error that its starter gets; no process is left."""
    device, other = os.pipe()
    with tempfile.TemporaryFile("r+b", buffering=0) as log:
        try:
            process = _Process(choosing.parse(served), Device.adopt(device), log, None, "")
            with pytest.raises(FusebpfError) as info, process:
                process.serve(metadata("mkdir_postfilter"), 1)
            with pytest.raises(ChildProcessError):
                os.waitpid(process.pid, 0)
        finally:
            os.close(device)
            os.close(other)
    return info.value


def test_errors_of_the_process_reach_its_starter(here: Path) -> None:
    error = failure("daemons_here:Mien")
    assert isinstance(error, UsageError)
    assert error.help == "did you mean Mine?"
    assert (
        "no method for an operation that the filters can send"
        in failure("./daemons_here.py:Mine").message
    )
    (here / "dying.py").write_text(
        "import os, sys\nprint('last words', file=sys.stderr)\nos._exit(3)\n"
    )
    assert failure("dying:Mine").message == "the daemon ended with status 3:\n  last words"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(daemons, "DIRECTORY", tmp_path / "run")
    return daemons.directory()


@contextmanager
def _locked_for_reading(path: Path) -> Iterator[None]:
    """As any user can lock a file that he may read."""
    code = (
        "import fcntl, sys\nfile = open(sys.argv[1])\nfcntl.lockf(file, fcntl.LOCK_SH)\n"
        "print(flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield
        process.communicate()


def test_a_record_tells_whether_its_process_lives(directory: Path) -> None:
    assert daemons.found(7) is None
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            daemons.hold(7, daemons.Record(os.getpid(), "m:Mine", "/log", "fusebpf attach …"))
            told = daemons.found(7)  # a daemon that lists the mounts; its lock must stay
            os.write(theirs, b"held" if told and told[0].state == "serving" else b"lost")
            signal.pause()
        finally:
            os._exit(1)
    os.close(theirs)
    try:
        assert os.read(ours, 4) == b"held"
        held = daemons.found(7)
        assert held is not None
        assert held[0] == daemons.DaemonStatus("m:Mine", pid, "serving", "/log")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ours)
    held = daemons.found(7)
    assert held is not None
    assert (held[0].state, held[1].attach) == ("ended", "fusebpf attach …")
    with _locked_for_reading(directory / "7.json"):
        held = daemons.found(7)
    assert held is not None
    assert held[0].state == "ended"
    daemons.forget(7)
    assert list(directory.iterdir()) == []


HOLD = """
import os, signal
from pathlib import Path
from fusebpf.runtime import daemons
daemons.DIRECTORY = Path(DIRECTORY)
daemons.hold(7, daemons.Record(os.getpid(), "m:Mine", "/log", "again"))
print("held", flush=True)
signal.pause()
"""
ASK = """
from pathlib import Path
from fusebpf.errors import FusebpfError
from fusebpf.runtime import daemons
daemons.DIRECTORY = Path(DIRECTORY)
daemons._PATIENCE = 0.1
daemons._loaded = lambda _link_id: False
print(daemons.found(7)[0].pid)
try:
    with daemons.ending(7):
        pass
except FusebpfError as error:
    print(error.help)
"""
ELSEWHERE = ("unshare", "--pid", "--fork", "--kill-child")


@contextmanager
def holding(directory: Path, *elsewhere: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds record 7, until the block ends."""
    code = HOLD.replace("DIRECTORY)", f"{str(directory)!r})")
    with subprocess.Popen(
        [*elsewhere, sys.executable, "-c", code], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


@needs_root
def test_the_number_of_a_daemon_is_the_one_it_has_here(directory: Path) -> None:
    """In a pid namespace of its own it is 1 to itself, which is another process to us."""
    with holding(directory, *ELSEWHERE):
        held = daemons.found(7)
        assert held is not None
        assert (held[0].state, held[1].pid) == ("serving", 1)
        status = Path(f"/proc/{held[0].pid}/status").read_text()
        assert re.search(rf"^NSpid:\t{held[0].pid}\t1$", status, re.MULTILINE)


@needs_root
def test_a_daemon_that_is_not_seen_gets_no_signal(directory: Path) -> None:
    with holding(directory) as process:
        ask = ASK.replace("DIRECTORY)", f"{str(directory)!r})")
        told = subprocess.run(
            [*ELSEWHERE, sys.executable, "-c", ask], capture_output=True, text=True, check=True
        )
        number = process.pid
        assert (
            told.stdout == f"0\nend it there, where it is process {number}: kill -KILL {number}\n"
        )
        assert process.poll() is None
        assert daemons.found(7) is not None


def test_a_daemon_that_ends_while_it_is_about_to_be_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "7.json").write_text("{}")
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    pidfd = os.pidfd_open(pid)
    waits = iter([False, True])

    def wait(_pidfd: int) -> bool:
        ended = next(waits)
        if not ended:
            os.waitpid(pid, 0)
        return ended

    monkeypatch.setattr(daemons, "_serving", lambda _link_id: pidfd)
    monkeypatch.setattr(daemons, "_loaded", lambda _link_id: False)
    monkeypatch.setattr(daemons, "_wait", wait)
    with daemons.ending(7):
        pass
    assert list(directory.iterdir()) == []


def test_a_file_gets_its_name_when_it_is_whole(directory: Path) -> None:
    with pytest.raises(ZeroDivisionError), daemons.unnamed(directory / "never"):
        1 / 0  # noqa: B018
    assert list(directory.iterdir()) == []
