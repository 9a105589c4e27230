# SPDX-License-Identifier: MIT
"""`fusebpf guard update`: what is held while rules change is decided by the new ones."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf import CONTINUE, Context, FilterSet, MkdirIn, Name, cli
from fusebpf.dsl import Verdict
from fusebpf.errors import FusebpfError, UsageError
from fusebpf.guard import mounting
from fusebpf.guard.rules import parse_text
from fusebpf.runtime import attach, detach
from tests.vm.outcomes import outcome

PLAIN = FilterSet("plain")


@PLAIN.mkdir.pre
def allow(ctx: Context, req: MkdirIn, name: Name) -> Verdict:
    return CONTINUE


def link(descriptor: str, target: Path) -> None:
    """Link what a path below /proc/self/fd leads to; a directory to begin at has Python follow."""
    os.link(descriptor, target, src_dir_fd=0, follow_symlinks=True)


def opened(path: str | Path, flags: int = os.O_RDONLY, dir_fd: int | None = None) -> None:
    os.close(os.open(path, flags, 0o600, dir_fd=dir_fd))


class Guarded:
    """A mount by rules, which can be given others."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.lower, self.mnt = top / "lower", top / "mnt"
        self.mnt.mkdir()
        for path in ("a/b/x", "a/b/y.key", "a/x", "c/x", "x", "y.key"):
            (self.lower / path).parent.mkdir(parents=True, exist_ok=True)
            (self.lower / path).write_text("content")
        self.mounted = False

    def rules(self, text: str, status: int = 0) -> None:
        """Mount by these rules, or update to them."""
        (self.top / "rules").write_text(text)
        given = ["--rules", str(self.top / "rules")]
        if not self.mounted:
            assert cli.run(["guard", "mount", *given, str(self.lower), str(self.mnt)]) == 0
            self.mounted = True
        else:
            assert cli.run(["guard", "update", *given, str(self.mnt)]) == status


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    made = Guarded(tmp_path)
    yield made
    os.chdir("/")
    if made.mounted:
        detach(made.mnt, lazy=True)


def test_no_answer_is_kept(guarded: Guarded) -> None:
    mnt = guarded.mnt
    guarded.rules("hidden *.key\nread-only x\n")
    assert outcome(lambda: os.stat(mnt / "a/b/y.key")) == "ENOENT"
    assert outcome(lambda: opened(mnt / "a/x", os.O_RDWR)) == "EROFS"
    guarded.rules("deny *.key\nhidden x\n")
    assert outcome(lambda: opened(mnt / "a/b/y.key")) == "EACCES"
    assert outcome(lambda: os.stat(mnt / "a/x")) == "ENOENT"
    assert os.listdir(mnt / "a/b") == ["y.key"]
    guarded.rules("")
    assert (mnt / "a/b/y.key").read_text() == "content"
    opened(mnt / "a/x", os.O_RDWR)


def test_rules_of_other_sizes_and_for_other_users(guarded: Guarded) -> None:
    mnt = guarded.mnt
    guarded.rules("hidden x\n")
    many = "".join(f"hidden /a/b/{number:04}-{number * 7919 % 10007}\n" for number in range(80))
    guarded.rules(many + "hidden uid=0 /c\ndeny uid=7 x\n")
    assert outcome(lambda: os.stat(mnt / "a/x")) == "yes"
    assert outcome(lambda: os.stat(mnt / "c")) == "ENOENT"
    assert outcome(lambda: opened(mnt / "a/b/0003-3743", os.O_CREAT | os.O_RDWR)) == "ENOENT"
    as_seven = ["setpriv", "--reuid=7", "cat", "x"]
    assert (
        "Permission denied"
        in subprocess.run(as_seven, cwd=mnt, stderr=subprocess.PIPE, text=True).stderr
    )
    guarded.rules("deny uid=8 x\nread-only uid=0 x\n")
    assert subprocess.run(as_seven, cwd=mnt, stdout=subprocess.PIPE).stdout == b"content"
    assert outcome(lambda: opened(mnt / "x", os.O_RDWR)) == "EROFS"


def test_a_working_directory_is_held_to_the_new_rules(guarded: Guarded) -> None:
    guarded.rules("hidden *.key\n")
    os.chdir(guarded.mnt / "a/b")
    assert sorted(os.listdir()) == ["x"]
    guarded.rules("hidden x\n")
    assert sorted(os.listdir()) == ["y.key"]
    assert outcome(lambda: os.stat("x")) == "ENOENT"
    assert outcome(lambda: os.stat("../x")) == "ENOENT"
    assert outcome(lambda: opened("new", os.O_CREAT | os.O_RDWR)) == "yes"
    assert outcome(lambda: os.rename("new", "x")) == "ENOENT"
    guarded.rules("hidden /a/\n")  # also what it is in
    for action in (lambda: os.stat("y.key"), os.listdir, lambda: os.mkdir("z")):
        assert outcome(action) == "ENOENT"
    guarded.rules("read-only x\n")
    assert outcome(lambda: os.unlink("x")) == "EROFS"
    assert outcome(lambda: os.stat("y.key")) == "yes"


def test_a_directory_that_the_new_rules_tell_from_others_is_entered_anew(guarded: Guarded) -> None:
    guarded.rules("hidden *.key\n")
    os.chdir(guarded.mnt / "a/b")
    fd = os.open(guarded.mnt / "c", os.O_RDONLY)
    guarded.rules("read-only /a/b/\nhidden *.key\n")
    for action in (lambda: os.stat("x"), os.listdir, lambda: os.mkdir("z")):
        assert outcome(action) == "ESTALE"
    os.chdir(guarded.mnt / "a/b")
    assert outcome(lambda: os.mkdir("z")) == "EROFS"
    assert os.listdir(fd) == ["x"]  # the others are as before
    assert outcome(lambda: os.mkdir("z", dir_fd=fd)) == "yes"
    os.close(fd)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_PATH])
def test_a_descriptor_of_a_directory_is_held_to_the_new_rules(guarded: Guarded, flags: int) -> None:
    guarded.rules("hidden *.key\n")
    fd = os.open(guarded.mnt / "a/b", os.O_DIRECTORY | flags)
    guarded.rules("hidden x\nread-only *.key\n")
    assert outcome(lambda: os.stat("x", dir_fd=fd)) == "ENOENT"
    assert outcome(lambda: opened("x", os.O_CREAT | os.O_RDWR, dir_fd=fd)) == "ENOENT"
    assert outcome(lambda: os.unlink("y.key", dir_fd=fd)) == "EROFS"
    guarded.rules("hidden /a/\n")
    assert outcome(lambda: os.stat("y.key", dir_fd=fd)) == "ENOENT"
    assert outcome(lambda: os.chdir(fd)) == "ENOENT"
    guarded.rules("deny /a/\n")  # what it is in is another entry now
    assert outcome(lambda: os.stat("y.key", dir_fd=fd)) == "ESTALE"
    guarded.rules("allow *\n")
    assert outcome(lambda: os.stat("x", dir_fd=fd)) == "yes"
    os.close(fd)


def test_a_listing_goes_on_by_the_new_rules(guarded: Guarded) -> None:
    directory = guarded.lower / "many"
    directory.mkdir()
    for number in range(2000):
        (directory / f"{number:04}-{'keep' if number % 2 else 'gone'}-{'n' * 200}").touch()
    guarded.rules("")
    with os.scandir(guarded.mnt / "many") as listing:
        next(listing)
        guarded.rules("hidden *gone*\n")
        rest = [entry.name for entry in listing]
    # What was read ahead before the update is a buffer of the C library's.
    assert len([name for name in rest if "gone" in name]) < 200
    assert len([name for name in rest if "keep" in name]) >= 999
    fd = os.open(guarded.mnt / "many", os.O_RDONLY)
    guarded.rules("hidden /many/\n")
    assert os.listdir(fd) == []  # the C library takes ENOENT for the end
    guarded.rules("empty /many/\n")
    assert outcome(lambda: os.listdir(fd)) == "ESTALE"
    os.close(fd)


def test_an_open_file_keeps_what_it_was_opened_with(guarded: Guarded) -> None:
    mnt = guarded.mnt
    guarded.rules("deny *.key\n")
    fd = os.open(mnt / "a/x", os.O_RDWR)
    guarded.rules("read-only /a/\ndeny *.key\n")
    assert os.write(fd, b"CONTENT") == 7
    os.ftruncate(fd, 3)
    assert os.fstat(fd).st_size == 3
    os.fchmod(fd, 0o640)
    assert outcome(lambda: opened(f"/proc/self/fd/{fd}", os.O_WRONLY)) == "ESTALE"
    assert outcome(lambda: os.truncate(mnt / "a/x", 1)) == "EROFS"
    guarded.rules("hidden x\n")
    assert os.pread(fd, 9, 0) == b"CON"
    assert outcome(lambda: opened(f"/proc/self/fd/{fd}")) == "ENOENT"
    os.close(fd)


def test_an_open_file_keeps_what_no_new_rule_says(guarded: Guarded) -> None:
    mnt = guarded.mnt
    os.setxattr(guarded.lower / "y.key", "trusted.secret", b"value")
    guarded.rules("empty *.key\n")
    fd = os.open(mnt / "y.key", os.O_RDONLY)

    def seen() -> list[object]:
        attribute = outcome(lambda: os.getxattr(fd, "trusted.secret"))
        return [os.read(fd, 9), os.fstat(fd).st_size, os.listxattr(fd), attribute]

    assert seen() == [b"", 0, [], "ENODATA"]
    for rules in ("hidden other\n", "", "deny other\n"):
        guarded.rules(rules)
        assert seen() == [b"", 0, [], "ENODATA"]
        assert (mnt / "y.key").read_text() == "content"
    os.close(fd)


def test_o_path_gives_no_right_of_the_old_rules(guarded: Guarded) -> None:
    guarded.rules("deny *.key\n")
    fd = os.open(guarded.mnt / "x", os.O_PATH)
    path = f"/proc/self/fd/{fd}"
    for rules, refused in (
        ("read-only /x\ndeny *.key\n", "ESTALE"),
        ("hidden /x\n", "ENOENT"),
        ("deny x\n", "ESTALE"),
    ):
        guarded.rules(rules)
        assert outcome(lambda: opened(path, os.O_WRONLY)) == refused
        assert outcome(lambda: os.truncate(path, 0)) == refused
    guarded.rules("")
    assert outcome(lambda: opened(path, os.O_WRONLY)) == "yes"
    os.close(fd)


def test_o_path_makes_no_link_by_the_old_rules(guarded: Guarded) -> None:
    """Nor any other change by way of its path; the owner of a file needs no more to link it."""
    guarded.rules("")
    fd = os.open(guarded.mnt / "x", os.O_PATH)
    path, copy = f"/proc/self/fd/{fd}", guarded.mnt / "copy"
    guarded.rules("deny x\n")
    os.stat(guarded.mnt / "x")  # drops what the descriptor holds
    for change in (
        lambda: link(path, copy),
        lambda: os.chmod(path, 0o644),
        lambda: os.utime(path),
        lambda: os.setxattr(path, "user.a", b"x"),
    ):
        assert outcome(change) == "ESTALE"
    guarded.rules("")
    link(path, copy)
    assert copy.read_text() == "content"
    os.close(fd)


def test_a_file_without_a_name_outlives_an_update(guarded: Guarded) -> None:
    """One of O_TMPFILE has the rules of its directory, and is linked by them."""
    guarded.rules("")
    fd = os.open(guarded.mnt / "a", os.O_TMPFILE | os.O_RDWR)
    gone = os.open(guarded.mnt / "x", os.O_RDONLY)
    (guarded.mnt / "x").unlink()
    path = f"/proc/self/fd/{fd}"
    guarded.rules("deny elsewhere\n")
    assert os.stat(f"/proc/self/fd/{gone}").st_nlink == 0
    assert outcome(lambda: opened(path, os.O_RDWR)) == "yes"
    guarded.rules("read-only /a\n")
    assert outcome(lambda: opened(path, os.O_RDWR)) == "ESTALE"
    guarded.rules("")
    link(path, guarded.mnt / "a/made")
    assert (guarded.mnt / "a/made").read_bytes() == b""
    os.close(fd)
    os.close(gone)


def test_watches_and_locks_stay_on_what_the_rules_leave_alike(guarded: Guarded) -> None:
    guarded.rules("hidden *.key\n")
    watch = subprocess.Popen(
        ["python3", "-c", WATCH, guarded.mnt / "a"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert watch.stdout is not None
    assert watch.stdout.readline() == b"ready\n"
    before = os.stat(guarded.mnt / "a/x")
    guarded.rules("hidden *.key\nhidden *.pem\nread-only /c/\n")
    (guarded.mnt / "a/new").touch()
    ready, _, _ = select.select([watch.stdout], [], [], 20)
    assert ready
    assert watch.communicate()[0] == b"new\n"
    assert os.stat(guarded.mnt / "a/x").st_ino == before.st_ino


WATCH = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
fd = libc.inotify_init()
assert libc.inotify_add_watch(fd, sys.argv[1].encode(), 0x100) >= 0  # IN_CREATE
print("ready", flush=True)
print(os.read(fd, 4096)[16:].rstrip(b"\\0").decode())
"""


def test_each_name_of_a_file_has_its_state(guarded: Guarded) -> None:
    mnt = guarded.mnt
    guarded.rules("read-only /a/one\n")
    os.link(mnt / "c/x", mnt / "c/two")
    os.link(guarded.lower / "c/x", guarded.lower / "a/one")

    def write(path: str) -> str:
        return outcome(lambda: opened(mnt / path, os.O_WRONLY))

    assert [write(path) for path in ("a/one", "c/two", "c/x")] == ["EROFS", "yes", "yes"]
    guarded.rules("deny /c/two\n")
    assert [write(path) for path in ("a/one", "c/two", "c/x")] == ["yes", "EACCES", "yes"]


def test_a_directory_that_was_renamed(guarded: Guarded) -> None:
    mnt = guarded.mnt
    guarded.rules("hidden *.key\n")
    fd = os.open(mnt / "c", os.O_RDONLY)
    os.rename(mnt / "c", mnt / "d")
    guarded.rules("hidden *.key\nread-only /c/\nhidden /d/later\n")
    (guarded.lower / "d/later").touch()
    assert outcome(lambda: os.mkdir(mnt / "d/sub")) == "yes"
    assert outcome(lambda: os.stat("later", dir_fd=fd)) in ("ENOENT", "ESTALE")
    os.mkdir(guarded.lower / "c")
    assert outcome(lambda: os.mkdir(mnt / "c/sub")) == "EROFS"
    assert outcome(lambda: os.rename(mnt / "d", mnt / "e")) == "EXDEV"
    guarded.rules("")
    os.rename(mnt / "d", mnt / "e")
    assert outcome(lambda: os.stat("later", dir_fd=fd)) == "yes"
    os.close(fd)


def test_failures_keep_the_old_rules(
    guarded: Guarded, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.rules("hidden *.key\n")
    guarded.rules("hidden [\n", status=3)
    guarded.rules("".join(f"deny uid={number} x\n" for number in range(9)), status=3)
    assert "tell more than 8 kinds of callers apart" in capsys.readouterr().err
    assert outcome(lambda: os.stat(guarded.mnt / "y.key")) == "ENOENT"
    # Another update between what ours read and its end.
    store = mounting._store

    def late(*given: object) -> None:
        store(*given)  # type: ignore[arg-type]
        monkeypatch.setattr(mounting, "_store", store)
        mounting.update(parse_text("hidden x\n", "rules"), guarded.mnt)

    monkeypatch.setattr(mounting, "_store", late)
    with pytest.raises(FusebpfError, match="replaced or torn off meanwhile"):
        mounting.update(parse_text("", "rules"), guarded.mnt)
    assert outcome(lambda: os.stat(guarded.mnt / "x")) == "ENOENT"
    assert outcome(lambda: os.stat(guarded.mnt / "y.key")) == "yes"


def test_only_mounts_by_rules_are_updated(guarded: Guarded) -> None:
    rules = parse_text("hidden x\n", "rules")
    with pytest.raises(UsageError, match="is not a fuse-bpf mount"):
        mounting.update(rules, guarded.mnt)
    with (
        attach(PLAIN, guarded.lower, guarded.mnt),
        pytest.raises(UsageError, match="held to filters, not to rules by path"),
    ):
        mounting.update(rules, guarded.mnt)
    assert (guarded.lower / "x").exists()
