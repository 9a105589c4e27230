# SPDX-License-Identifier: MIT
"""`fusebpf guard mount`: what rules do to those who use the tree."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fusebpf import cli
from fusebpf.guard.outcomes import OPERATIONS, Operation
from fusebpf.guard.rules import State
from fusebpf.runtime import detach, features, mounts
from fusebpf.runtime.stats import Meter
from tests.unit import json_schemas
from tests.vm.outcomes import outcome

KINDS = ("file", "other", "dir", "free", "link")
XATTR = "trusted.a"


def mounted(top: Path, rules: str, *options: str) -> Path:
    """The tree below `top`/lower, held to rules at `top`/mnt."""
    (top / "mnt").mkdir()
    (top / "rules").write_text(rules)
    arguments = ["--rules", str(top / "rules"), str(top / "lower"), str(top / "mnt")]
    assert cli.run(["guard", "mount", *options, *arguments]) == 0
    return top / "mnt"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mount with entries for each operation and state: STATE names end in the state."""
    top = tmp_path_factory.mktemp("table")
    for operation in OPERATIONS:
        for state in State:
            make(top / "lower", operation.name, state)
    mnt = mounted(top, "".join(f"{state} *.{state}\n" for state in State))
    yield mnt
    detach(mnt, lazy=True)


def make(lower: Path, operation: str, state: str) -> None:
    lower.mkdir(exist_ok=True)
    for kind in ("file", "other", "plain", "target"):
        file = lower / f"{operation}-{kind}.{state}"
        if kind in ("plain", "target"):
            file = file.with_name(f"{operation}-{kind}-{state}")
        file.write_bytes(b"#!/bin/sh\nexit 0\n")
        file.chmod(0o755)
        os.setxattr(file, XATTR, b"value")
    (lower / f"{operation}-dir.{state}").mkdir()
    (lower / f"{operation}-dir.{state}/inner").write_bytes(b"inner")
    (lower / f"{operation}-bare.{state}").mkdir()
    (lower / f"{operation}-link.{state}").symlink_to(f"{operation}-plain-{state}")


def opened(path: str, flags: int) -> None:
    os.close(os.open(path, flags, 0o600))


def read(path: str) -> str | None:
    with open(path, "rb") as file:
        return None if file.read() else "empty"


def actions(operation: str, state: str) -> list[Callable[[], object]]:
    """The ways to do it, in the current directory."""

    def at(kind: str) -> str:
        return f"{operation}-{kind}.{state}"

    def free(kind: str) -> str:
        return f"{operation}-free-{kind}-{state}"

    plain, target = f"{operation}-plain-{state}", f"{operation}-target-{state}"
    every: dict[str, list[Callable[[], object]]] = {
        "listed": [
            lambda: "yes" if at("file") in os.listdir() else "no",
            lambda: "yes" if at("dir") in os.listdir() else "no",
            lambda: "yes" if at("link") in [e.name for e in os.scandir()] else "no",
        ],
        "stat": [lambda: None if os.stat(at("file")).st_size else "size 0"],
        "read": [lambda: read(at("file"))],
        "write": [
            lambda: opened(at("file"), os.O_WRONLY),
            lambda: opened(at("file"), os.O_RDWR | os.O_APPEND),
            lambda: opened(at("file"), os.O_RDWR | os.O_CREAT),
            lambda: opened(at("other"), os.O_RDONLY | os.O_TRUNC),
        ],
        "execute": [lambda: subprocess.run([f"./{at('file')}"], check=True)],
        "list": [lambda: None if os.listdir(at("dir")) else "empty"],
        "enter": [lambda: os.stat(f"{at('dir')}/inner")],
        "readlink": [lambda: os.stat(at("link")), lambda: os.readlink(at("link")) and None],
        "getxattr": [
            lambda: os.getxattr(at("file"), XATTR),
            lambda: None if os.listxattr(at("file")) else "ENODATA",
        ],
        "setattr": [
            lambda: os.chmod(at("file"), 0o700),
            lambda: os.chmod(at("dir"), 0o700),
            lambda: os.chown(at("file"), 5, 5),
            lambda: os.utime(at("file"), (1, 1)),
            lambda: os.truncate(at("file"), 3),
        ],
        "setxattr": [
            lambda: os.setxattr(at("file"), XATTR, b"other"),
            lambda: os.setxattr(at("dir"), XATTR, b"other"),
            lambda: os.removexattr(at("file"), XATTR),
        ],
        "create": [
            lambda: opened(at("new-file"), os.O_CREAT | os.O_EXCL | os.O_RDWR),
            lambda: os.mkdir(at("new-dir")),
            lambda: os.mkfifo(at("new-fifo")),
            lambda: os.symlink("x", at("new-link")),
        ],
        "link": [
            lambda: os.link(at("file"), free("link")),
            lambda: os.link(plain, at("new")),
        ],
        "rename": [
            lambda: os.rename(at("file"), free("file")),
            lambda: os.rename(at("dir"), free("dir")),
            lambda: os.rename(plain, at("new")),
            lambda: os.rename(target, at("other")),
        ],
        "remove": [lambda: os.unlink(at("file")), lambda: os.rmdir(at("bare"))],
    }
    return every[operation]


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_the_table(
    table: Path, operation: Operation, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table)
    results = [outcome(action) for action in actions(operation.name, state)]
    wanted = [operation.on(state)] * len(results)
    assert results == wanted


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a tree with a file at each of some paths."""
    (tmp_path / "lower").mkdir()
    mounts: list[Path] = []

    def made(rules: str, *paths: str) -> Path:
        for path in paths:
            (tmp_path / "lower" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "lower" / path).write_bytes(b"content")
        mounts.append(mounted(tmp_path, rules))
        return mounts[-1]

    yield made
    for mnt in mounts:
        detach(mnt, lazy=True)


Tree = Callable[..., Path]


def test_directories_bar_the_way(tree: Tree) -> None:
    rules = "hidden /h\nallow /h/x\ndeny /d\nallow /d/x\nempty /e\nallow /e/x\nread-only /r\n"
    mnt = tree(rules + "allow /r/out\n", "h/x", "d/x", "e/x", "r/x", "r/sub/x")
    assert outcome(lambda: os.stat(mnt / "h/x")) == "ENOENT"
    assert outcome(lambda: os.stat(mnt / "d/x")) == "EACCES"
    assert outcome(lambda: os.chdir(mnt / "d")) == "EACCES"
    assert outcome(lambda: os.stat(mnt / "e/x")) == "ENOENT"
    assert outcome(lambda: opened(str(mnt / "e/new"), os.O_CREAT)) == "ENOENT"
    assert outcome(lambda: opened(str(mnt / "r/sub/new"), os.O_CREAT)) == "EROFS"
    os.mkdir(mnt / "r/out")  # decided by the state of its own name
    (mnt / "r/out/new").write_text("x")


def test_what_is_made_later_is_held_to_the_rules(tree: Tree) -> None:
    mnt = tree("hidden .env\nread-only **/keep/*\n", "a/x")
    os.makedirs(mnt / "new/keep")
    lower = mnt.parent / "lower"
    (lower / "new/.env").write_text("secret")
    (lower / "new/keep/x").write_text("kept")
    assert os.listdir(mnt / "new") == ["keep"]
    assert outcome(lambda: os.stat(mnt / "new/.env")) == "ENOENT"
    assert outcome(lambda: opened(str(mnt / "new/.env"), os.O_CREAT | os.O_RDWR)) == "ENOENT"
    assert outcome(lambda: os.unlink(mnt / "new/keep/x")) == "EROFS"
    assert outcome(lambda: os.mkdir(mnt / "new/keep/y")) == "EROFS"


def test_rules_for_directories_alone(tree: Tree) -> None:
    mnt = tree("hidden build/\nread-only .git/\n", "a/build/x", "a/.git/x", "b/.git", "c/x")
    assert sorted(os.listdir(mnt / "a")) == [".git"]
    assert outcome(lambda: os.mkdir(mnt / "build")) == "ENOENT"
    (mnt / "build").write_text("a file")
    assert (mnt / "build").read_text() == "a file"
    (mnt / "b/.git").write_text("a file")
    assert outcome(lambda: os.mkdir(mnt / "a/.git/new")) == "EROFS"
    # rename does not know which they are
    assert outcome(lambda: os.rename(mnt / "a/.git", mnt / "a/moved")) == "EXDEV"
    subprocess.run(["mv", mnt / "build", mnt / "c/build"], check=True)
    assert (mnt / "c/build").read_text() == "a file"


def test_a_directory_is_not_moved_to_other_rules(tree: Tree) -> None:
    mnt = tree("hidden /a/secret\n", "a/secret", "a/x", "b/x")
    assert outcome(lambda: os.rename(mnt / "a", mnt / "c")) == "EXDEV"
    os.rename(mnt / "b", mnt / "c")
    os.rename(mnt / "c/x", mnt / "a/y")  # a file has its new name's state
    assert (mnt / "a/y").read_bytes() == b"content"
    assert outcome(lambda: os.rename(mnt / "a/y", mnt / "a/secret")) == "ENOENT"


def test_a_file_without_a_name_has_its_directorys_state(tree: Tree) -> None:
    mnt = tree("read-only /r\n", "r/x", "a/x")
    assert outcome(lambda: opened(str(mnt / "r"), os.O_TMPFILE | os.O_RDWR)) == "EROFS"
    fd = os.open(mnt / "a", os.O_TMPFILE | os.O_RDWR)

    def named(path: str) -> str:
        # With a directory it is linkat(2), which follows.
        return outcome(lambda: os.link(f"/proc/self/fd/{fd}", mnt / path, src_dir_fd=fd))

    assert [named("r/new"), named("a/new")] == ["EROFS", "yes"]
    os.close(fd)


def test_rules_for_users(tree: Tree) -> None:
    mnt = tree("deny uid=7 x\nhidden uid=8 gid=9 x\n", "x")

    def as_user(uid: int) -> str:
        code = (
            "import errno, os, sys\nos.setgid(9)\nos.setuid(int(sys.argv[1]))\n"
            "try:\n    print(open('x').read(), end='')\n"
            "except OSError as error:\n    print(errno.errorcode[error.errno], end='')\n"
        )
        command = [sys.executable, "-c", code, str(uid)]
        done = subprocess.run(command, cwd=mnt, capture_output=True, text=True)
        return done.stdout + done.stderr

    answers = [as_user(uid) for uid in (6, 7, 8, 7, 6)]
    assert answers == ["content", "EACCES", "ENOENT", "EACCES", "content"]


def test_a_right_is_not_kept_for_others(tree: Tree) -> None:
    """Of a directory that they cannot enter, however they came to be in it."""
    mnt = tree("empty uid=7 d\nallow d/open\nallow uid=7 d/own\n", "d/open", "d/own")
    script = (
        "import os, sys\nnames = ('open', 'own', 'free')\n"
        "def found():\n    return [n for n in names if os.path.exists(n)]\n"
        "print(found(), found())\nos.setuid(7)\nprint(found(), found())\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=mnt / "d", capture_output=True, text=True, check=True)
    assert done.stdout == "['open', 'own'] ['open', 'own']\n[] []\n"


def test_what_rules_say_to_all_is_asked_once(tree: Tree) -> None:
    mnt = tree("hidden *.key\nread-only uid=7 a/b/seven\n", "a/b/x", "a/b/y.key", "a/b/seven")
    with mounts.open(mnt) as there, Meter(features.require()) as meter:
        link_id = there.link_id
        assert link_id is not None

        def asked(name: str, times: int = 1) -> int:
            """How often any filter ran."""
            meter.read(link_id)
            for _ in range(times):
                os.path.exists(mnt / "a/b" / name)
            return sum(row.calls for row in meter.read(link_id))

        for name in ("x", "free"):
            assert asked(name) > 0
            assert asked(name, 20) == 0
        # What came into being below the mount or through it, and what is not for all to see
        (mnt.parent / "lower/a/b/free").write_text("now it is there")
        assert asked("free") > 0
        (mnt / "a/b/new").write_text("new")
        assert asked("new") > 0
        for name in ("free", "new"):
            assert asked(name, 20) == 0
        for name in ("y.key", "seven"):
            assert asked(name, 20) >= 20


def test_what_is_refused_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a path and a rule each, for the tree over itself, as an ordinary user is refused."""
    for name in ("src/.env", "src/deep/payroll", "kept/x", "log.empty"):
        (tmp_path / "lower" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lower" / name).write_bytes(b"content")
    rules = "# a\nhidden .env\ndeny payroll\nread-only /kept/\nempty *.empty\nhidden uid=9 seven\n"
    mnt = mounted(tmp_path, rules, "--audit")
    script = (
        "cd src; cat .env no-such; cat deep/payroll; echo x >../kept/new; rm -f ../kept/x;"
        """mkdir deep/.env; python3 -c 'import os; os.rename("deep", ".env")';"""
        "cat ../log.empty; : >../log.empty"
    )
    subprocess.run(["sh", "-c", script], cwd=mnt, capture_output=True)
    capsys.readouterr()
    wanted = ["guard", "audit", "--rules", str(tmp_path / "rules"), str(mnt), "--for", "0"]
    assert cli.run([*wanted, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for refusal in told:
        json_schemas.check("guard audit", refusal)
        assert refusal["uid"] == 0
    found = [(t["operation"], t["path"], t["errno"], t["rule"]["line"]) for t in told]
    assert found == [
        ("lookup", "src/.env", "ENOENT", 2),
        ("access", "src/deep/payroll", "EACCES", 3),
        ("create_open", "kept/new", "EROFS", 4),
        ("unlink", "kept/x", "EROFS", 4),
        ("mkdir", "src/deep/.env", "ENOENT", 2),
        ("lookup", "src/.env", "ENOENT", 2),
        ("open", "log.empty", "EACCES", 5),
    ]
    assert outcome(lambda: os.stat(mnt / "src/.env")) == "ENOENT"  # of this process: left out
    subprocess.run(["cat", mnt / "src/.env"], capture_output=True)
    assert cli.run([*wanted[:-2], "--count", "1"]) == 0  # nor counted
    line = capsys.readouterr().out
    assert re.fullmatch(
        r"\d+ \S+ uid=0 lookup src/\.env: ENOENT, \S+/rules:2: hidden \.env\n", line
    )
    detach(mnt, lazy=True)


def test_an_audit_that_is_interrupted_loses_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What one has taken is printed, the next one goes on."""
    (tmp_path / "lower").mkdir()
    (tmp_path / "lower/.env").touch()
    mnt = mounted(tmp_path, "hidden .env\n", "--audit")
    wanted = ["guard", "audit", "--json", "--rules", str(tmp_path / "rules"), str(mnt)]

    def seek() -> None:
        script = "import os; [os.path.exists('.env') for _ in range(20)]"
        subprocess.run([sys.executable, "-c", script], cwd=mnt, check=True)

    command = [sys.executable, "-m", "fusebpf.cli", *wanted]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        seek()
        first = reader.stdout.readline()
        reader.send_signal(signal.SIGINT)
        lines = [first, *reader.stdout]
    assert reader.returncode == 0
    seek()
    capsys.readouterr()
    assert cli.run([*wanted, "--for", "0"]) == 0
    lines += capsys.readouterr().out.splitlines()
    assert len([json.loads(line) for line in lines]) == 40
    detach(mnt, lazy=True)
