# SPDX-License-Identifier: MIT
"""Attempts to get around `fusebpf guard run`, by an ordinary user and by root.

All of a user's are made in one run, by tests/vm/guard_escapes_all.py.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.documents import ROOT
from tests.vm import kernel_twins
from tests.vm.guard_escapes_all import ATTEMPTS, EXPECTED, Expected

USERS = (1000, 0)
SECRET = "SECRET"
RULES = """hidden .env
hidden secret
hidden /*/*/vault/key
deny denied
read-only kept
empty *.empty
hidden uid=0,1000 mine
"""


@dataclass(frozen=True)
class Escapes:
    """What came of the attempts of each user, and whether what is held to rules stayed the same."""

    results: dict[int, dict[str, list[str]]]
    same: dict[int, dict[str, bool]]


@pytest.fixture(scope="module")
def escapes() -> Iterator[Escapes]:
    # Of the file systems that have reflinks, and handles by which files are opened.
    with kernel_twins.file_system("xfs") as fs, services():
        top = fs / "x/top"
        tree = top / "tree"
        for uid in USERS:
            for name in ATTEMPTS:
                plant(tree / str(uid) / name, uid)
        for directory in (fs / "x", top):
            directory.chmod(0o777)
        prepare(fs, top)
        before = {uid: states(tree / str(uid)) for uid in USERS}
        results = {uid: made(tree, uid) for uid in USERS}
        after = {uid: states(tree / str(uid)) for uid in USERS}
        yield Escapes(
            results,
            {u: {name: after[u][name] == before[u][name] for name in ATTEMPTS} for u in USERS},
        )


def plant(here: Path, uid: int) -> None:
    """The directory of an attempt."""
    for directory in (here, here / "sub", here / "vault"):
        directory.mkdir(parents=True)
        for name in (".env", "denied", "kept", "log.empty", "plain", "secret", "mine"):
            text = name if name in ("kept", "plain") else SECRET
            (directory / name).write_text(f"{text}\n")
            (directory / name).chmod(0o755)
            os.setxattr(directory / name, "user.secret", SECRET.encode())
    (here / "vault/key").write_text(SECRET)
    for path in (here.parent, here, *here.rglob("*")):
        os.chown(path, uid, uid)


def prepare(fs: Path, top: Path) -> None:
    """What stands beside the tree: its disk, a program with the set-user-id bit, file handles."""
    os.mknod(top / "node", 0o60666, os.stat(fs).st_dev)
    (top / "node").chmod(0o666)
    shutil.copy("/usr/bin/id", top / "set-id")
    os.chown(top / "set-id", 1001, 1001)
    (top / "set-id").chmod(0o4755)
    for name in (".env", "denied"):
        (top / f"{name}.handle").write_bytes(handle(top / "tree/1000/by_name" / name))
    (top / "rules").write_text(RULES)
    for part in ("tests/differential", "tests/vm"):
        shutil.copytree(ROOT / part, top / "tools" / part)
    (top / "tools/tests/__init__.py").write_text("")


def handle(path: Path) -> bytes:
    given = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 136)
    mount_id = ctypes.c_int()
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.name_to_handle_at(-100, os.fsencode(path), given, ctypes.byref(mount_id), 0)
    assert done == 0, os.strerror(ctypes.get_errno())
    return given.raw[: 8 + int(struct.unpack_from("=I", given.raw)[0])]


@contextmanager
def services() -> Iterator[None]:
    """A service that tells the secret to who connects, and sockets of the users' own."""
    runtime = [Path(f"/run/user/{uid}/bus") for uid in USERS]
    runtime += [Path(f"/tmp/tmux-{uid}/default") for uid in USERS]
    for path in runtime:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SECRET)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("/run/docker.sock")
        os.chmod("/run/docker.sock", 0o666)
        server.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _address = server.accept()
                    connection.send(SECRET.encode())
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            os.unlink("/run/docker.sock")
            for path in runtime:
                shutil.rmtree(path.parent)


def states(directory: Path) -> dict[str, list[tuple[object, ...]]]:
    """What each attempt must not change: names, contents, modes, owners, xattrs."""
    found: dict[str, list[tuple[object, ...]]] = {}
    for name in ATTEMPTS:
        top = directory / name
        found[name] = [
            (kept, path.is_dir(), *facts(path))
            for kept in (".env", "denied", "kept", "log.empty", "secret", "mine", "vault/key")
            for path in [top / kept]
        ]
    return found


def facts(path: Path) -> tuple[object, ...]:
    info = path.lstat()
    xattrs = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_nlink, xattrs, digest


def made(tree: Path, uid: int) -> dict[str, list[str]]:
    """Have a user make all attempts, while somebody outside is busy with the tree."""
    home = tree / str(uid)
    stop = threading.Event()
    watched = [home / "watching" / name for name in (".env", "sub/.env")]

    def touch() -> None:
        while not stop.wait(0.02):
            for path in watched:
                with suppress(FileNotFoundError):  # an attempt moves what is above
                    os.utime(path)

    command = [sys.executable, "-m", "tests.vm.guard_escapes_all", str(tree)]
    rules = ["--rules", str(tree.parent / "rules"), "--tree", str(tree), "--user", str(uid)]
    run = [sys.executable, "-m", "fusebpf.cli", "guard", "run", *rules, "--"]
    sleeper = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "sleep", "1000"]
    toucher = threading.Thread(target=touch)
    toucher.start()
    with (
        open(home / "by_name/.env") as secret,
        subprocess.Popen(sleeper, cwd=home / "by_name", stdin=secret) as busy,
    ):
        try:
            done = subprocess.run(
                [*run, "env", f"PYTHONPATH={tree.parent / 'tools'}", *command, str(busy.pid)],
                capture_output=True,
                text=True,
                cwd=home,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        finally:
            busy.kill()
            stop.set()
            toucher.join()
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.timeout(600)  # the first one waits for all attempts
@pytest.mark.parametrize("uid", USERS, ids=["user", "root"])
@pytest.mark.parametrize("name", ATTEMPTS)
def test_escape(escapes: Escapes, name: str, uid: int) -> None:
    results = escapes.results[uid][name]
    assert SECRET not in " ".join(results)
    assert results == [of(uid, expected) for expected in EXPECTED[name]]
    assert escapes.same[uid][name]


def of(uid: int, expected: Expected) -> str:
    """What a user gets, of a pair."""
    return expected if isinstance(expected, str) else expected[USERS.index(uid)]
