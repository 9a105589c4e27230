# SPDX-License-Identifier: MIT
"""The shipped examples and the filter of the README, enforced on a mount."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fusebpf

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

SECRETS = [".env", "id_rsa", "server.pem", "deploy/tls.key", "deploy/.env"]
PLAIN = ["README", "pem", "id_rsa.pub", "deploy/notes.txt", ".environment"]


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, Path]:
    """A lower directory with secrets among plain files, and a mount point."""
    lower, mnt = tmp_path / "lower", tmp_path / "mnt"
    (lower / "deploy").mkdir(parents=True)
    mnt.mkdir()
    for name in (*SECRETS, *PLAIN):
        (lower / name).write_text(f"content of {name}\n")
    return lower, mnt


def listed(top: Path) -> set[str]:
    """Every file below a directory, as find(1) sees it."""
    out = subprocess.run(
        ["find", ".", "-type", "f"], cwd=top, check=True, capture_output=True, text=True
    ).stdout
    return {line.removeprefix("./") for line in out.splitlines()}


def test_hide_secrets_hides_in_lookup_and_listing(tree: tuple[Path, Path]) -> None:
    lower, mnt = tree
    with fusebpf.attach(EXAMPLES / "hide_secrets.py", lower, mnt):
        assert listed(mnt) == set(PLAIN)
        for name in SECRETS:
            assert not (mnt / name).exists()
            with pytest.raises(FileNotFoundError):
                (mnt / name).read_text()
        for name in PLAIN:
            assert (mnt / name).read_text() == (lower / name).read_text()
    assert listed(lower) == {*SECRETS, *PLAIN}


def test_hide_secrets_lets_no_hidden_name_be_made(tree: tuple[Path, Path]) -> None:
    lower, mnt = tree
    with fusebpf.attach(EXAMPLES / "hide_secrets.py", lower, mnt):
        for make in (
            lambda path: path.write_text("x"),
            lambda path: path.mkdir(),
            lambda path: os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY),
        ):
            with pytest.raises(FileNotFoundError):
                make(mnt / "new.pem")
        with pytest.raises(OSError, match="No such file"):
            os.rename(mnt / "README", mnt / "stolen.pem")
    assert listed(lower) == {*SECRETS, *PLAIN}


def test_a_name_created_below_later_is_hidden_too(tree: tuple[Path, Path]) -> None:
    lower, mnt = tree
    with fusebpf.attach(EXAMPLES / "hide_secrets.py", lower, mnt):
        (lower / "late.pem").write_text("late")
        (lower / "late.txt").write_text("late")
        assert not (mnt / "late.pem").exists()
        assert (mnt / "late.txt").read_text() == "late"
        os.rename(lower / "late.txt", lower / "again.pem")
        assert not (mnt / "again.pem").exists()
        assert not (mnt / "late.txt").exists()


def test_read_only_refuses_every_way_to_write(tree: tuple[Path, Path]) -> None:
    lower, mnt = tree
    before = {name: (lower / name).read_text() for name in PLAIN}
    with fusebpf.attach(EXAMPLES / "read_only.py", lower, mnt):
        for flags in (
            os.O_WRONLY,
            os.O_RDWR,
            os.O_WRONLY | os.O_TRUNC,
            os.O_RDONLY | os.O_TRUNC,
            os.O_WRONLY | os.O_APPEND,
            os.O_WRONLY | os.O_CREAT,
        ):
            with pytest.raises(OSError) as caught:
                os.open(mnt / "README", flags)
            assert caught.value.errno == errno.EROFS
        with pytest.raises(OSError) as caught:
            os.open(mnt / "new", os.O_CREAT | os.O_WRONLY, 0o644)
        assert caught.value.errno == errno.EROFS
        assert {name: (mnt / name).read_text() for name in PLAIN} == before
    assert {name: (lower / name).read_text() for name in PLAIN} == before
    assert not (lower / "new").exists()


def test_audit_opens_counts_exactly(tree: tuple[Path, Path]) -> None:
    lower, mnt = tree
    for directory in (*tree[0].parents,):
        if directory != Path("/"):
            os.chmod(directory, 0o755)
    with fusebpf.attach(EXAMPLES / "audit_opens.py", lower, mnt) as mount:
        for _ in range(7):
            (mnt / "README").read_text()
        subprocess.run(["cat", str(mnt / "README")], user=1000, check=True, capture_output=True)
        assert mount.maps["opens"][0] == 7
        assert mount.maps["opens"][1000] == 1
        assert mount.maps["failed"][0] == 0
        # Another process reads the same counters through the mount.
        with fusebpf.mounts.open(mnt) as again:
            assert again.maps["opens"][0] == 7


def readme_filter() -> str:
    """The first filter exactly as the README prints it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.search(r"## A first filter\n\n```python\n(.*?)```", text, re.DOTALL)
    assert match is not None
    return match.group(1)


def test_the_filter_of_the_readme_is_enforced(tree: tuple[Path, Path], tmp_path: Path) -> None:
    lower, mnt = tree
    path = tmp_path / "guard.py"
    path.write_text(readme_filter())
    for directory in (mnt, lower, *mnt.parents):
        if directory != Path("/"):
            os.chmod(directory, 0o777)
    (lower / "README").chmod(0o666)
    write = ["sh", "-c", f"echo more >> {mnt}/README"]
    with fusebpf.attach(path, lower, mnt) as mount:
        assert not (mnt / "server.pem").exists()
        assert not (mnt / ".env").exists()
        assert (mnt / "deploy/tls.key").exists(), "not among this filter's names"
        assert mount.maps["hits"][0] == 2
        refused = subprocess.run(write, user=1000, capture_output=True, text=True, check=False)
        assert "Read-only file system" in refused.stderr
        mount.maps["trusted"][1000] = 1
        subprocess.run(write, user=1000, check=True)
        del mount.maps["trusted"][1000]
        refused = subprocess.run(write, user=1000, capture_output=True, text=True, check=False)
        assert "Read-only file system" in refused.stderr
    assert (lower / "README").read_text() == "content of README\nmore\n"


def test_generated_files_stand_beside_real_ones(tree: tuple[Path, Path]) -> None:
    """The example is a daemon: it runs as its own process, as its users run it."""
    lower, mnt = tree
    command = [sys.executable, str(EXAMPLES / "generated_files.py"), str(lower), str(mnt)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            assert daemon.stdout.readline() == "serving; Ctrl-C ends it\n"
            assert set(os.listdir(mnt)) == {*os.listdir(lower), "now", "reads"}
            assert (mnt / "README").read_text() == (lower / "README").read_text()
            assert time.strftime("%Y") in (mnt / "now").read_text()
            assert [(mnt / "reads").read_text() for _ in range(2)] == ["1\n", "2\n"]
            (mnt / "new").write_text("real")
            assert (lower / "new").read_text() == "real"
            with pytest.raises(OSError):
                (mnt / "now").write_text("x")
            assert not (lower / "now").exists()
        finally:
            daemon.send_signal(signal.SIGINT)
    assert daemon.returncode == 0
    assert not os.path.ismount(mnt)
