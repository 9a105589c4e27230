# SPDX-License-Identifier: MIT
"""`fusebpf guard run`: what a command sees, what it ends with, what it leaves."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fusebpf.guard import system
from fusebpf.guard.mounting import mount
from fusebpf.guard.rules import parse_text
from fusebpf.runtime import mountinfo
from tests.unit import json_schemas
from tests.vm.attach_objects import nothing_left

RULES = "hidden .env\nread-only /kept/\ndeny /payroll\n"
UID = 1000
SEES = "ls -A; cat plain; cat .env; cat payroll; echo x >kept/new; echo x >new"


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The object of the rules is in the cache, as it is but for the first time."""
    top = tmp_path_factory.mktemp("first")
    mount(parse_text(RULES, "rules"), top, top).detach()


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A tree that the user 1000 owns, with rules beside it."""
    top = tmp_path / "tree"
    (top / "kept").mkdir(parents=True)
    for name in (".env", "payroll", "plain"):
        (top / name).write_text(f"{name}\n")
    for path in (top, *top.rglob("*")):
        os.chown(path, UID, UID)
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    (tmp_path / "rules").write_text(RULES)
    with nothing_left():
        yield top


def guard_run(tree: Path, *command: str, user: int = UID, audit: Path | None = None) -> list[str]:
    rules = ["--rules", str(tree.parent / "rules"), "--tree", str(tree)]
    rules += [] if audit is None else ["--audit", str(audit)]
    run = [sys.executable, "-m", "fusebpf.cli", "guard", "run", *rules, "--user", str(user)]
    return [*run, "--", *command]


def ran(tree: Path, script: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = guard_run(tree, "sh", "-c", script)
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def test_the_tree_is_seen_under_its_own_name(tree: Path) -> None:
    for where, script in ((tree, SEES), (Path("/"), f"cd {tree}; {SEES}")):
        done = ran(tree, script, where)
        assert done.stdout.split() == ["kept", "payroll", "plain", "plain"]
        reasons = [line.rsplit(": ", 1)[1] for line in done.stderr.splitlines()]
        assert reasons == [
            os.strerror(errno.ENOENT),
            os.strerror(errno.EACCES),
            os.strerror(errno.EROFS),
        ]
        assert (tree / "new").stat().st_uid == UID
        (tree / "new").unlink()
        assert (tree / ".env").read_text() == ".env\n"  # for everyone else it is as before
    assert mountinfo.at(tree) is None


def test_nothing_is_left_when_it_is_killed(tree: Path) -> None:
    script = "(sleep 1000 & setsid sleep 1000 &); echo $$; exec sleep 1000"
    command = guard_run(tree, "sh", "-c", script)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        (first,) = children(running.pid)
        inside = [pid for pid in processes() if namespace(pid) == namespace(first)]
        assert len(inside) == 4
        running.kill()
        running.stdout.read()  # ends when the last one has closed it
    until_gone(inside)


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def until_gone(pids: list[int]) -> None:
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end, pids
        time.sleep(0.01)


def test_other_mounts_of_the_tree_are_covered(tree: Path) -> None:
    """One of a directory above, of the tree, of parts that are seen, changed and hidden."""
    elsewhere = tree.parent / "elsewhere"
    (tree / "sub").mkdir()
    (tree / "sub/.env").write_text("secret\n")
    shown = {"above": tree.parent, "whole": tree, "part": tree / "sub"}
    shown |= {"file": tree / ".env", "plain": tree / "plain"}
    with mounted_elsewhere(elsewhere, shown):
        done = ran(
            tree,
            f"cd {elsewhere}; cat above/tree/.env whole/.env part/.env file;"
            "cat above/tree/plain whole/plain plain; ls -A part; cat file",
            Path("/"),
        )
        assert done.stdout.split() == ["plain"] * 3
        assert done.stderr.count(os.strerror(errno.ENOENT)) == 3


def test_what_lies_under_a_covered_mount_shows_nothing(tree: Path) -> None:
    """A hidden part twice at one place; the tree under a /proc of somewhere else."""
    elsewhere = tree.parent / "elsewhere"
    with mounted_elsewhere(elsewhere, {"file": tree / ".env", "whole": tree}):
        system.bind(tree / ".env", elsewhere / "file")
        system.mount("proc", elsewhere / "whole", "proc", 0)
        done = ran(tree, f"cat {elsewhere}/file; ls -A {elsewhere}/whole", Path("/"))
    assert done.stdout == ""


def test_a_tree_in_shared_memory(tree: Path) -> None:
    with TemporaryDirectory(dir="/dev/shm") as directory:
        shared = Path(directory, "tree")
        shared.mkdir()
        Path(directory).chmod(0o755)
        (shared / ".env").write_text("secret\n")
        (shared / "plain").write_text("plain\n")
        (shared.parent / "rules").write_text(RULES)
        with mounted_elsewhere(Path(directory, "elsewhere"), {}) as elsewhere:
            for kind in ("proc", "bpf"):
                (elsewhere / kind).mkdir()
                system.mount("none", elsewhere / kind, kind, 0)
            done = ran(
                shared,
                f"ls -A {shared} {elsewhere}/*; cat {shared}/.env {shared}/plain;"
                f"touch {elsewhere}/proc/x {elsewhere}/bpf/x",
                Path("/"),
            )
    shown = [f"{elsewhere}/bpf:", f"{elsewhere}/proc:", f"{shared}:", "plain", "plain"]
    assert done.stdout.split() == shown
    assert os.strerror(errno.ENOENT) in done.stderr
    assert done.stderr.count(os.strerror(errno.EROFS)) == 2


def test_a_file_to_read_from_cannot_be_opened_anew_to_write(tree: Path) -> None:
    """What is read afterwards goes on where the command, and who read meanwhile, stopped."""
    kept = tree / "kept/file"
    kept.write_text("one\ntwo\nthree\n")
    kept.chmod(0o666)
    with kept.open("rb", buffering=0) as file:
        script = "read line; echo $line; echo x >/dev/stdin; echo x >/proc/self/fd/0"
        done = subprocess.run(
            guard_run(tree, "sh", "-c", script), stdin=file, capture_output=True, text=True
        )
        assert done.stdout == "one\n"
        assert done.stderr.count(os.strerror(errno.EROFS)) == 2
        waiting = guard_run(tree, "sh", "-c", "echo ready; exec sleep 1000")
        with subprocess.Popen(waiting, stdin=file, stdout=subprocess.PIPE) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == b"ready\n"
            assert os.read(file.fileno(), 4) == b"two\n"
            running.terminate()
        assert file.read() == b"three\n"
    assert kept.read_text() == "one\ntwo\nthree\n"


SERVER = """
import os, socket, sys
os.open(sys.argv[1], os.O_RDONLY)
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[2])
server.listen()
print("ready", flush=True)
peer, _ = server.accept()
peer.recv(1)
"""
CLIENT = """
import ctypes, socket, struct, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
pidfd = struct.unpack("i", peer.getsockopt(socket.SOL_SOCKET, 77, 4))[0]  # SO_PEERPIDFD
libc = ctypes.CDLL(None, use_errno=True)
for call in (lambda: libc.syscall(438, pidfd, 3, 0), lambda: libc.setns(pidfd, 0x00020000)):
    print(call(), ctypes.get_errno())  # pidfd_getfd, setns
"""


def test_who_answers_at_a_socket_lends_neither_files_nor_namespaces(tree: Path) -> None:
    """Of a process outside, a socket gives a descriptor, by which others take what it has."""
    socket = tree.parent / "socket"
    tree.parent.chmod(0o777)
    command = [sys.executable, "-c", SERVER, str(tree / ".env"), str(socket)]
    with subprocess.Popen(
        command, user=UID, group=UID, extra_groups=[], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        done = subprocess.run(
            guard_run(tree, sys.executable, "-c", CLIENT, str(socket)),
            capture_output=True,
            text=True,
        )
        server.kill()
    assert done.stdout.splitlines() == [f"-1 {errno.EPERM}"] * 2, done.stderr


@contextmanager
def mounted_elsewhere(top: Path, shown: dict[str, Path]) -> Iterator[Path]:
    """Bind mounts below a directory."""
    top.mkdir()
    system.mount("none", top, "tmpfs", 0)
    for name, source in shown.items():
        if source.is_dir():
            (top / name).mkdir()
        else:
            (top / name).write_text("")
        system.bind(source, top / name)
    yield top
    subprocess.run(["umount", "-R", top], check=True)


def test_what_is_refused_is_recorded(tree: Path) -> None:
    record = tree.parent / "refused"
    command = guard_run(tree, "sh", "-c", f"cd {tree}; {SEES}", audit=record)
    subprocess.run(command, capture_output=True)
    told = [json.loads(line) for line in record.read_text().splitlines()]
    for refusal in told:
        json_schemas.check("guard audit", refusal)
    assert [(t["path"], t["errno"], t["uid"], t["rule"]["line"]) for t in told] == [
        (".env", "ENOENT", UID, 1),
        ("payroll", "EACCES", UID, 3),
        ("kept/new", "EROFS", UID, 2),
    ]
    assert {t["command"] for t in told} <= {"cat", "sh", ""}
    assert {t["rule"]["file"] for t in told} == {str(tree.parent / "rules")}


def test_a_record_that_ends_early_is_told(tree: Path) -> None:
    command = guard_run(tree, "sh", "-c", "cat .env payroll; exit 7", audit=Path("/dev/full"))
    done = subprocess.run(command, capture_output=True, text=True, cwd=tree)
    assert done.returncode == 7
    last = done.stderr.splitlines()[-1]
    assert last == "the record /dev/full is not complete: No space left on device"


def test_what_the_record_does_not_have_is_told(tree: Path) -> None:
    """Nobody reads the events while the command makes more than there is room for."""
    record = tree.parent / "refused"
    script = "echo ready; read go; seq 3000 | while read n; do true <payroll; done 2>/dev/null;"
    script += "echo made"
    command = guard_run(tree, "sh", "-c", script, audit=record)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tree,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGSTOP)
        running.stdin.write("go\n")
        running.stdin.flush()
        assert running.stdout.readline() == "made\n"
        running.send_signal(signal.SIGCONT)
        _out, err = running.communicate()
    assert running.returncode == 0
    lost = re.fullmatch(r"(\d+) events lost, as the ring was full", err.splitlines()[-1])
    assert lost is not None
    assert len(record.read_text().splitlines()) + int(lost[1]) == 3000
