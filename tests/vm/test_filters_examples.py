# SPDX-License-Identifier: MIT
"""The shipped examples and the filter of the README, enforced on a mount."""

from __future__ import annotations

import errno
import mmap
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import fusebpf
from fusebpf import EntryOut, Name
from fusebpf.daemon import Call
from tests.vm import daemonkit
from tests.vm.outcomes import failing
from tests.vm.programkit import long_only

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


def test_what_is_read_only_is_copied_from(tree: tuple[Path, Path], tmp_path: Path) -> None:
    lower, mnt = tree
    other = tmp_path / "other"
    other.mkdir()
    with (
        fusebpf.attach(EXAMPLES / "read_only.py", lower, mnt),
        fusebpf.attach(EXAMPLES / "audit_opens.py", lower, other),
        (mnt / "README").open("rb") as source,
        (other / "copy").open("wb") as target,
    ):
        assert os.copy_file_range(source.fileno(), target.fileno(), 7) == 7
    assert (lower / "copy").read_text() == "content"


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


@contextmanager
def daemon_of(example: str, lower: Path, mnt: Path) -> Iterator[None]:
    """An example with a daemon: it runs as its own process, as its users run it."""
    command = [sys.executable, str(EXAMPLES / f"{example}.py"), str(lower), str(mnt)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            assert daemon.stdout.readline() == "serving; Ctrl-C ends it\n"
            yield
        finally:
            daemon.send_signal(signal.SIGINT)
    assert daemon.returncode == 0
    assert not os.path.ismount(mnt)


def test_generated_files_stand_beside_real_ones(tree: tuple[Path, Path]) -> None:
    lower, mnt = tree
    with daemon_of("generated_files", lower, mnt):
        assert set(os.listdir(mnt)) == {*os.listdir(lower), "now", "reads"}
        assert (mnt / "README").read_text() == (lower / "README").read_text()
        assert time.strftime("%Y") in (mnt / "now").read_text()
        assert [(mnt / "reads").read_text() for _ in range(2)] == ["1\n", "2\n"]
        (mnt / "new").write_text("real")
        assert (lower / "new").read_text() == "real"
        assert os.access(mnt / "now", os.R_OK)
        assert not os.access(mnt / "now", os.W_OK)
        with pytest.raises(OSError):
            (mnt / "now").write_text("x")
        assert not (lower / "now").exists()


def read_directly(path: Path, size: int) -> bytes:
    """What O_DIRECT reads give, into an aligned buffer."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, size) as buffer:
            done = 0
            while got := os.preadv(fd, [memoryview(buffer)[done : done + 4096]], done):
                done += got
            return buffer[:done]
    finally:
        os.close(fd)


def test_logs_are_redacted_whatever_reads_them(tree: tuple[Path, Path], tmp_path: Path) -> None:
    lower, mnt = tree
    text = "card 4111-1111\n" * 1000
    (lower / "deploy/app.log").write_text(text)
    (lower / "deploy/more.log").symlink_to("app.log")
    masked = re.sub("[0-9]", "#", text).encode()
    with daemon_of("redacted_logs", lower, mnt):
        path = mnt / "deploy/app.log"
        for name in (path, mnt / "deploy/more.log"):
            assert name.read_bytes() == masked
            assert name.stat().st_size == len(text)
        copy = tmp_path / "copy"
        for command in (["cp", str(path), str(copy)], ["dd", f"if={path}", f"of={copy}"]):
            subprocess.run(command, check=True, capture_output=True)
            assert copy.read_bytes() == masked
        with path.open("rb") as file, copy.open("wb") as sink:
            assert os.pread(file.fileno(), 9, 5) == b"####-####"
            assert os.sendfile(sink.fileno(), file.fileno(), 0, len(text)) == len(text)
            assert copy.read_bytes() == masked
            with mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapped:
                assert mapped[:] == masked
        for name in (path, mnt / "deploy/more.log"):
            assert read_directly(name, len(text) + 8192) == masked
        direct = ["dd", "iflag=direct", "bs=4096", f"if={path}", f"of={copy}"]
        subprocess.run(direct, check=True, capture_output=True)
        assert copy.read_bytes() == masked
        for change in (
            lambda: path.open("r+"),
            lambda: os.close(os.open(path, os.O_RDWR | os.O_DIRECT)),
            lambda: path.open("a"),
            lambda: os.truncate(path, 0),
            lambda: path.unlink(),
            lambda: path.rename(mnt / "app.txt"),
            lambda: os.link(path, mnt / "app.txt"),
            lambda: (mnt / "README").rename(path),
            lambda: (mnt / "new.log").touch(),
        ):
            assert failing(change) in ("EACCES", "EPERM")
        # What is done below shows at once, also when a directory is moved.
        with (lower / "deploy/app.log").open("a") as log:
            log.write("42\n")
        (mnt / "deploy").rename(mnt / "old")
        assert (mnt / "old/app.log").read_bytes() == masked + b"##\n"
        assert read_directly(mnt / "old/app.log", 65536) == masked + b"##\n"
        (lower / "old/app.log").write_text("7")
        assert (mnt / "old/app.log").read_text() == "#"
        assert (mnt / "README").read_text() == "content of README\n"
    assert (lower / "old/app.log").read_text() == "7"


def shell(directory: Path, script: str, uid: int = 0) -> str:
    """What a shell says to a script in a directory: its output, errors without their names."""
    done = subprocess.run(
        ["sh", "-c", script], cwd=directory, user=uid, capture_output=True, text=True, check=False
    )
    errors = [line.rsplit(": ", 1)[-1] for line in done.stderr.splitlines()]
    return " ".join([*done.stdout.split(), *errors])


def test_parts_of_a_tree_are_protected(tree: tuple[Path, Path]) -> None:
    lower, mnt = tree
    for directory in (lower, *lower.parents):
        if directory != Path("/"):
            directory.chmod(0o755)
    for name in ("vendor/lib/a", "app.db", "app.txt", "tree/.git"):
        (lower / name).parent.mkdir(parents=True, exist_ok=True)
        (lower / name).write_text("old")
    (lower / "tree/vendor").symlink_to("../vendor")
    (lower / "deploy/vendor").mkdir()
    subprocess.run(["chown", "-hR", "1000", str(lower)], check=True)
    frozen = "Read-only file system"
    with fusebpf.attach(EXAMPLES / "frozen_subtree.py", lower, mnt):
        for change in (
            "echo x > vendor/lib/a",
            "touch vendor/new",
            "rm vendor/lib/a",
            "mv app.txt vendor/",
            "ln app.txt vendor/lib/b",
            "ln vendor/lib/a b",
            "mv vendor elsewhere",
            "rm tree/.git",
            "echo x > tree/.git",
            "rm tree/vendor",
            "ln -sfn ../deploy tree/vendor",
            "rmdir deploy/vendor",
            "chmod 0 vendor/lib",
        ):
            assert shell(mnt, change, 1000) == frozen, change
        assert shell(mnt, "cp vendor/lib/a b && rm b && echo x > app.txt && cat app.txt") == "x"
        assert shell(mnt, "cp vendor/lib/a b && rm b && cat app.txt", 1000) == "x"
        assert shell(mnt, "echo root > vendor/lib/a && cat vendor/lib/a") == "root"
    for config, said in (({}, "Permission denied"), ({"erofs": True}, frozen)):
        with fusebpf.attach(EXAMPLES / "protect_suffix.py", lower, mnt, config=config):
            for change in (
                "echo x > app.db",
                "echo x >> app.db",
                "truncate -s 0 app.db",
                "rm -f app.db",
                "mv app.db app.txt",
                "mv -f app.txt app.db",
                "ln app.db x",
                "ln app.txt new.db",
                "echo x > app.db-journal",
                "ln -s app.txt app.db-wal",
            ):
                assert shell(mnt, change, 1000) == said, change
            assert shell(mnt, "cat app.db; echo y > app.txt; cat app.txt", 1000) == "oldy"
            assert shell(mnt, "echo old > app.db; cat app.db; printf old > app.db") == "old"


@long_only
def test_what_is_hidden_by_patterns_and_types(tree: tuple[Path, Path]) -> None:
    lower, mnt = tree
    for name in ("a.key", "id_ed25519", "id_ed25519.pub", "b.JPG"):
        (lower / name).write_text(name)
    with fusebpf.attach(EXAMPLES / "hide_everywhere.py", lower, mnt):
        assert {"b.JPG", "id_ed25519.pub", "pem"} <= set(os.listdir(mnt))
        assert not {"a.key", "id_ed25519", "id_rsa", ".env"} & set(os.listdir(mnt))
        for name in ("a.key", "id_ed25519", "id_rsa", ".env.new"):
            assert failing((mnt / name).read_text) == "ENOENT"
    with fusebpf.attach(EXAMPLES / "media_only.py", lower, mnt):
        assert listed(mnt) == {"README", "b.JPG", "id_ed25519", "id_rsa", "pem"}
        assert failing((mnt / "deploy/notes.txt").read_text) == "ENOENT"


class Closing(daemonkit.Passthrough):
    """A file system that refuses to look some names up, as one over a network may."""

    def lookup(self, call: Call, name: Name) -> EntryOut:
        if name.raw in (b"id_rsa", b"pem"):
            code = errno.EACCES if name.raw == b"id_rsa" else errno.EIO
            raise OSError(code, os.strerror(code))
        return super().lookup(call, name)


def test_what_may_not_be_looked_up_is_not_there(tree: tuple[Path, Path], tmp_path: Path) -> None:
    lower, mnt = tree
    between = tmp_path / "between"
    between.mkdir()
    with daemonkit.served(Closing(lower), between):
        assert failing((between / "id_rsa").stat) == "EACCES"
        with fusebpf.attach(EXAMPLES / "hide_denied.py", between, mnt):
            assert failing((mnt / "id_rsa").stat) == "ENOENT"
            assert failing((mnt / "pem").stat) == "EIO"
            assert (mnt / "README").read_text() == "content of README\n"


@long_only
def test_examples_of_the_ready_parts(tree: tuple[Path, Path]) -> None:
    """Each shows that it works; tests/vm/test_filters_parts.py has what the parts do in full."""
    lower, mnt = tree
    readme = mnt / "README"
    with fusebpf.attach(EXAMPLES / "audit_events.py", lower, mnt) as mount:
        (mnt / "made").mkdir()
        told = mount.events["audit"].read(timeout=1)
        assert [(event.name, event.uid, event.error) for event in told] == [(b"made", 0, 0)]
    with fusebpf.attach(EXAMPLES / "fault_injection.py", lower, mnt, config={"fault_every": 1}):
        assert failing(readme.read_text) == "EIO"
    with fusebpf.attach(EXAMPLES / "rate_limit.py", lower, mnt, config={"rate_limit": 3}):
        assert "EAGAIN" in [failing(readme.read_text) for _ in range(1000)]
    with fusebpf.attach(EXAMPLES / "uid_shift.py", lower, mnt):
        assert readme.stat().st_uid == 100000
    with fusebpf.attach(EXAMPLES / "workspace.py", lower, mnt):
        assert failing((mnt / ".env").read_text) == "ENOENT"
        assert failing(lambda: readme.write_text("x")) == "EROFS"
    assert (lower / "README").read_text() == "content of README\n"
