# SPDX-License-Identifier: MIT
"""`fusebpf guard run`, as far as no mount of ours is needed: tests/vm/test_guard_run.py has it."""

from __future__ import annotations

import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from fusebpf.cli import run
from fusebpf.errors import FusebpfError, UsageError
from fusebpf.guard.confining import DEVICES
from fusebpf.guard.covering import Way, ways
from fusebpf.guard.run import user_named
from fusebpf.runtime.mountinfo import parse
from tests.unit.documents import ROOT
from tests.unit.ordinary import as_nobody

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")

MOUNTS = b"""21 1 8:1 / / rw - ext4 /dev/sda1 rw
22 21 8:2 /@home /home rw - btrfs /dev/sda2 rw
23 21 8:2 / /mnt/disk rw - btrfs /dev/sda2 rw
24 21 8:2 /@home/me /srv/me rw - btrfs /dev/sda2 rw
25 21 8:2 /@home/me/tree /srv/tree rw - btrfs /dev/sda2 rw
26 21 8:2 /@home/me/tree/a/b /srv/b rw - btrfs /dev/sda2 rw
27 21 8:2 /@home/me/tree2 /srv/tree2 rw - btrfs /dev/sda2 rw
28 21 8:1 /home/me/tree /srv/other rw - ext4 /dev/sda1 rw
29 22 8:2 /@home /home/me/tree/all rw - btrfs /dev/sda2 rw
30 22 0:9 / /home/me/tree/tmp rw - tmpfs tmpfs rw
"""


def test_the_other_ways_to_a_tree() -> None:
    entries = list(parse(MOUNTS))
    found = ways(entries, entries[1], Path("/home/me/tree"))
    assert found == [
        Way(23, Path("/mnt/disk/@home/me/tree"), Path()),
        Way(24, Path("/srv/me/tree"), Path()),
        Way(25, Path("/srv/tree"), Path()),
        Way(26, Path("/srv/b"), Path("a/b")),
    ]


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("server:/export/home/me", True),
        ("server:/export", True),
        ("server:/export/home/me/tree/sub", True),
        ("server:/export/home/you", False),
        ("other:/export/home/me", False),
    ],
)
def test_another_mount_of_a_server_is_refused_where_it_may_show_the_tree(
    source: str, refused: bool
) -> None:
    """All of them say that they show the root."""
    line = "{} 21 0:50 / {} rw - nfs4 {} rw\n"
    mounts = line.format(22, "/home/me", "server:/export/home/me") + line.format(23, "/mnt", source)
    entries = list(parse(mounts.encode()))
    with pytest.raises(FusebpfError, match="/mnt shows the tree") if refused else nullcontext():
        assert ways(entries, entries[0], Path("/home/me/tree")) == []


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "rules").write_text("hidden *.key\n")
    return tmp_path / "rules"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ([], 2, "Missing argument 'COMMAND...'"),
        (["--tree", "/", "true"], 2, "the tree is /"),
        (["--tree", "/etc/passwd", "true"], 2, "is not a directory"),
        (["--tree", "/no/such", "true"], 1, "cannot reach the tree /no/such"),
        (["--user", "nobody-of-that-name", "true"], 2, "there is no user 'nobody-of-that-name'"),
        (["--user", "4294967295", "true"], 2, "4294967295 is no user's number"),
        (["--user", "9" * 5000, "true"], 2, "is no user's number"),
        (["--rules", "/no/such", "true"], 1, "/no/such"),
    ],
)
@NEEDS_ROOT
def test_what_cannot_be_run(
    rules: Path,
    arguments: list[str],
    status: int,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["guard", "run", "--rules", str(rules), *arguments]) == status
    assert told in capsys.readouterr().err


def test_a_refused_call_begins_no_record(
    tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["guard", "run", "--audit", str(tmp_path / "record"), "--rules"]
    assert run([*given, str(rules)]) == 2
    assert run([*given, str(tmp_path / "none"), "true"]) == 1
    assert not (tmp_path / "record").exists()
    nowhere = str(tmp_path / "none/record")
    assert run(["guard", "run", "--audit", nowhere, "--rules", str(rules), "true"]) == 2
    assert nowhere in capsys.readouterr().err


@NEEDS_ROOT
def test_others_than_root_are_told_so(tmp_path: Path, rules: Path) -> None:
    done = as_nobody(tmp_path, "guard", "run", "--rules", rules, "true", cwd=tmp_path)
    assert done.returncode == 5
    assert "guard run needs root" in done.stderr
    assert "sudo" in done.stderr


@NEEDS_ROOT
def test_a_current_directory_that_is_gone_is_told(
    tmp_path: Path, rules: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(["guard", "run", "--rules", str(rules), "--tree", str(tmp_path), "true"]) == 1
    told = capfd.readouterr().err
    assert "the current directory is not there any more" in told
    assert "help: cd to one that is there" in told


@NEEDS_ROOT
@pytest.mark.parametrize("fd", [0, 1])
def test_a_directory_is_no_input_or_output(rules: Path, fd: int) -> None:
    script = (
        "import os, sys; from fusebpf.cli import run; top, fd, rules = sys.argv[1:];"
        "os.dup2(os.open(top, os.O_RDONLY), int(fd));"
        "sys.exit(run(['guard', 'run', '--rules', rules, '--tree', top, 'true']))"
    )
    arguments = [sys.executable, "-c", script, str(rules.parent), str(fd), str(rules)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"standard {'output' if fd else 'input'} is a directory" in done.stderr


def test_the_user_is_the_one_who_called_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    own = user_named(None)
    assert (own.uid, own.gid, own.groups) == (os.getuid(), os.getgid(), tuple(os.getgroups()))
    if os.getuid() == 0:
        monkeypatch.setenv("SUDO_UID", "65534")
        assert user_named(None) == user_named("nobody")
    assert user_named("54321").groups == ()
    with pytest.raises(UsageError, match="no user"):
        user_named("nobody-of-that-name")


# A directory stands for the mount that guard makes over the tree; all else is the real thing.
CONFINED = """
import signal
import sys
from pathlib import Path
from fusebpf.errors import FusebpfError
from fusebpf.guard import confining, process, run, system

# Who starts the tests in the background ignores some, which a shell cannot trap then.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)

user = run.user_named(sys.argv[1])

def confine():
    confining.isolate(user)
    confining.drop_privileges(user)
    run._enter(Path(sys.argv[2]) / "tree", user)

try:
    with confining.namespace():
        system.bind(sys.argv[2] + "/view", sys.argv[2] + "/tree")
        running = process.start(sys.argv[3:], run._environment(user), confine)
    sys.exit(running.wait())
except FusebpfError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def confining(top: Path, *command: str, user: str = "nobody") -> tuple[list[str], dict[str, str]]:
    """What runs a command that sees `top`/view at `top`/tree, and its environment."""
    for path in (top, *top.parents[:2]):
        path.chmod(0o755)
    for name in ("view", "tree"):
        (top / name).mkdir(exist_ok=True)
        (top / name / "file").write_text(f"{name}\n")
    arguments = [sys.executable, "-c", CONFINED, user, str(top), *command]
    return arguments, {**os.environ, "PYTHONPATH": str(ROOT)}


def confined(
    top: Path, *command: str, user: str = "nobody", pass_fds: tuple[int, ...] = ()
) -> subprocess.Popen[str]:
    arguments, environment = confining(top, *command, user=user)
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        pass_fds=pass_fds,
    )


@contextmanager
def started(top: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """The same, killed at the end if it did not end by itself."""
    running = confined(top, *command)
    try:
        yield running
        running.wait(timeout=60)
    finally:
        running.kill()
        print(running.communicate()[1])  # what it says when it did not start, for a failed test


def told(running: subprocess.Popen[str], status: int = 0) -> str:
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (status, "")
    return str(out)


@NEEDS_ROOT
@pytest.mark.parametrize("user", ["nobody", "root"])
def test_a_confined_command(tmp_path: Path, user: str) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    script = (
        "cat file; grep -E 'Cap|NoNew|Groups' /proc/self/status; ls /proc/self/fd; echo $PPID;"
        "ls -d /proc/[0-9]*; test -w /proc/sys/kernel/hostname || echo no; echo $HOME"
    )
    lines = told(confined(tmp_path, "sh", "-c", script, user=user, pass_fds=(fd,))).splitlines()
    os.close(fd)
    assert lines[0] == "view"
    sets = [line.split() for line in lines if line.startswith("Cap")]
    assert len(sets) == 5
    assert {value for _name, value in sets} == {"0" * 16}
    assert "NoNewPrivs:\t1" in lines
    descriptors = lines[lines.index("0") : lines.index("0") + 4]
    assert descriptors == ["0", "1", "2", "3"]  # the last one is that of ls
    assert lines[lines.index("NoNewPrivs:\t1") + 5] == "1"  # its parent
    assert [line for line in lines if line.startswith("/proc/")][:2] == ["/proc/1", "/proc/2"]
    assert lines[-2] == "no"


@NEEDS_ROOT
def test_devices_and_what_is_the_machines(tmp_path: Path) -> None:
    """A device node that root may use is of no use; the kernel's files are not written."""
    os.mknod(tmp_path / "node", 0o20666, os.makedev(1, 3))  # as /dev/null, elsewhere
    script = (
        f"echo x >{tmp_path}/node; echo x >/proc/sys/kernel/core_pattern; echo x >/sys/x;"
        f"for name in {' '.join(DEVICES)}; do test -e /dev/$name && : </dev/$name; done; true"
    )
    running = confined(tmp_path, "bash", "-c", script, user="root")
    _out, err = running.communicate(timeout=60)
    reasons = [line.rsplit(": ", 1)[1] for line in err.splitlines()]
    without_terminal = ["No such device or address"]
    assert reasons[:3] == ["Permission denied", "Read-only file system", "Read-only file system"]
    assert reasons[3:] in ([], without_terminal)


@NEEDS_ROOT
@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (["no-such-program"], 127, "cannot run no-such-program: there is no such program"),
        (["./no/such"], 127, "cannot run ./no/such: No such file or directory"),
        (["/etc/passwd"], 126, "cannot run /etc/passwd: Permission denied"),
        (["sh", "-c", "exit 9"], 9, ""),
        (["sh", "-c", "kill -HUP $$"], 128 + signal.SIGHUP, ""),
    ],
)
def test_status(tmp_path: Path, command: list[str], status: int, message: str) -> None:
    running = confined(tmp_path, *command)
    _out, err = running.communicate(timeout=60)
    assert running.returncode == status
    assert err.startswith(message)


@NEEDS_ROOT
def test_a_name_is_not_looked_for_in_the_current_directory(tmp_path: Path) -> None:
    command, environment = confining(tmp_path, "program")
    program = tmp_path / "view/program"
    program.write_text("#!/bin/sh\necho started\n")
    program.chmod(0o755)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (127, "")
    assert "cannot run program: there is no such program in PATH" in done.stderr
    assert "./program" in done.stderr
    assert told(confined(tmp_path, "./program")) == "started\n"


@NEEDS_ROOT
def test_the_end_is_seen_under_a_caller_that_ignores_its_children(tmp_path: Path) -> None:
    arguments, environment = confining(tmp_path, "sh", "-c", "sleep 0 & wait; exit 9")
    ignoring = ["env", "--ignore-signal=CHLD", *arguments]
    done = subprocess.run(ignoring, env=environment, timeout=60, check=False)
    assert done.returncode == 9


@NEEDS_ROOT
@pytest.mark.parametrize("covers", [0, 1, 2])
def test_no_other_proc_is_seen_whatever_lay_over_it(tmp_path: Path, covers: int) -> None:
    """What hid a mount of /proc hides it still, and none of a stack of them is left."""
    proc = tmp_path / "proc"
    proc.mkdir()
    arguments, environment = confining(
        tmp_path, "sh", "-c", f"ls -d {proc}/[0-9]* 2>/dev/null | wc -l; ls {proc}"
    )
    prepare = f"mount -t proc proc {proc}; mount -t proc proc {proc};"
    prepare += f"mount -t tmpfs cover {proc}; touch {proc}/cover;" * covers
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", f'{prepare} exec "$@"', "sh", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0\n" + "cover\n" * (covers > 0)


@NEEDS_ROOT
def test_a_chroot_is_told(tmp_path: Path) -> None:
    """Its root is no mount's, so that propagation could not be ended there."""
    (tmp_path / "proc").mkdir()
    script = (
        "import os, sys; from fusebpf.errors import FusebpfError;"
        "from fusebpf.guard import confining\n"
        "os.chroot(sys.argv[1])\n"
        "try:\n    with confining.namespace(): pass\n"
        "except FusebpfError as error: print(error)"
    )
    enter = 'mount -t proc proc "$1/proc"; exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", enter, "sh", str(tmp_path), sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "run it outside of chroot(1)" in done.stdout


@NEEDS_ROOT
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_forwarded(tmp_path: Path, number: signal.Signals) -> None:
    script = f"trap 'echo got; exit 3' {number.value}; echo ready; while :; do sleep 0.05; done"
    with started(tmp_path, "sh", "-c", script) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(number)
        assert running.stdout.read() == "got\n"
    assert running.returncode == 3


@NEEDS_ROOT
def test_all_of_it_ends_when_it_is_killed(tmp_path: Path) -> None:
    script = "sleep 1000 & setsid sleep 1000 & echo ready; wait"
    with started(tmp_path, "sh", "-c", script) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.kill()
        assert running.stdout.read() == ""  # comes when nobody has it open


@NEEDS_ROOT
def test_a_directory_that_the_user_may_not_enter(tmp_path: Path) -> None:
    (tmp_path / "view").mkdir()
    (tmp_path / "view").chmod(0o700)
    running = confined(tmp_path, "true")
    _out, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert f"nobody cannot go to the current directory {tmp_path}/tree" in err


@NEEDS_ROOT
def test_a_terminal(tmp_path: Path) -> None:
    """It is the command's too, Ctrl-C reaches it, and a shell inside has job control."""
    command, environment = confining(tmp_path, "bash", "--norc", "--noediting", "-i")
    environment["PS1"] = "ready> "
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, environment)
    seen = until(terminal, b"ready> ")
    seen += typed(terminal, "tty; ps -o tty= $$; echo $((3 * 7))\n", b"21\r\n")
    seen += typed(terminal, "sleep 1000\n", b"sleep 1000\r\n")
    until_foreground(terminal, b"sleep\n")
    seen += typed(terminal, "\x1a", b"Stopped")
    seen += typed(terminal, "fg\n", b"sleep 1000\r\n")
    until_foreground(terminal, b"sleep\n")
    seen += typed(terminal, "\x03", b"ready> ")
    seen += typed(terminal, "echo st=$?\n", b"st=130")
    seen += typed(terminal, "exit 5\n", b"exit\r\n")
    assert b"/dev/pts/" in seen
    assert b"no job control" not in seen
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    os.close(terminal)


@NEEDS_ROOT
def test_the_terminal_stays_with_the_shell_that_has_it(tmp_path: Path) -> None:
    """A command that was moved to the background ends there."""
    os.mkfifo(tmp_path / "end")
    command, environment = confining(tmp_path, "sh", "-c", f"echo started; cat {tmp_path}/end")
    (tmp_path / "start").write_text(f"{shlex.join(command)}\n")
    environment["PS1"] = "ready> "
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("bash", ["bash", "--norc", "--noediting", "-i"], environment)
    until(terminal, b"ready> ")
    typed(terminal, f". {tmp_path}/start\n", b"started\r\n")
    job = os.pidfd_open(os.tcgetpgrp(terminal))
    typed(terminal, "\x1a", b"ready> ")
    typed(terminal, "bg; echo all $((6 * 7))\n", b"all 42\r\nready> ")
    (tmp_path / "end").write_text("")
    until_ended(job)
    typed(terminal, "echo all $((7 * 7))\n", b"all 49\r\n")
    typed(terminal, "exit 5\n", b"exit\r\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    os.close(terminal)


@NEEDS_ROOT
def test_it_ends_with_a_terminal_that_hangs_up(tmp_path: Path) -> None:
    """The kernel tells the leader of the session alone, which is what ssh has run here."""
    command, environment = confining(tmp_path, "sh", "-c", "echo started; exec sleep 1000")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, environment)
    process = os.pidfd_open(pid)
    try:
        until(terminal, b"started\r\n")
        os.close(terminal)
        until_ended(process)
    finally:
        os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGHUP


def typed(terminal: int, text: str, wanted: bytes) -> bytes:
    os.write(terminal, text.encode())
    return until(terminal, wanted)


def until(terminal: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, f"no {wanted!r} after {seen!r}"
        seen += os.read(terminal, 1000)
    return seen


def until_ended(process: int) -> None:
    """Wait for a process, and close its descriptor."""
    ready, _, _ = select.select([process], [], [], 60)
    os.close(process)
    assert ready


def until_foreground(terminal: int, name: bytes) -> None:
    end = time.monotonic() + 60
    while comm(os.tcgetpgrp(terminal)) != name:
        assert time.monotonic() < end
        time.sleep(0.01)


def comm(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/comm").read_bytes()
    except OSError:
        return b""
