# SPDX-License-Identifier: MIT
"""The ready parts on a mount: what a user of it notices."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import fusebpf
from fusebpf.runtime import Mount
from tests.vm import kernelkit as kit
from tests.vm.outcomes import failing

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EMPTY_PATH, FOLLOW, CWD = 0x1000, 0x400, -100  # AT_* of linkat(2)
NOREPLACE, EXCHANGE = 1, 2  # RENAME_* of renameat2(2)

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *args: object) -> None:
    """A function of libc. Raises OSError."""
    if getattr(libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(args))


def moved(old: Path, new: Path, flags: int) -> None:
    call("renameat2", CWD, bytes(old), CWD, bytes(new), flags)


def linked_from_nowhere(directory: Path, name: str) -> None:
    """Make a file without a name, and give it one."""
    fd = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        os.write(fd, b"new")
        call("linkat", CWD, f"/proc/self/fd/{fd}".encode(), CWD, bytes(directory / name), FOLLOW)
    finally:
        os.close(fd)


def state(top: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a directory: its inode and content."""
    return {
        str(path.relative_to(top)): (
            path.lstat().st_ino,
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in sorted(top.rglob("*"))
    }


SECRETS = [".env", "id_rsa", "server.pem", "deploy/tls.key", "deploy/.env"]
PLAIN = ["README", "pem", "id_rsa.pub", "deploy/notes.txt", ".environment"]


def test_hide_secrets_leaves_no_back_door(tmp_path: Path) -> None:
    lower, mnt = tmp_path / "lower", tmp_path / "mnt"
    (lower / "deploy").mkdir(parents=True)
    (lower / "vault.pem").mkdir()
    mnt.mkdir()
    for name in (*SECRETS, *PLAIN, "vault.pem/inside"):
        (lower / name).write_text(f"content of {name}\n")
    (lower / "shortcut").symlink_to("server.pem")
    before = state(lower)
    with fusebpf.attach(EXAMPLES / "hide_secrets.py", lower, mnt):
        shown = subprocess.run(
            ["find", ".", "-type", "f"], cwd=mnt, check=True, capture_output=True, text=True
        ).stdout.split()
        assert {name.removeprefix("./") for name in shown} == set(PLAIN)
        here, pem, free, plain = mnt, mnt / "server.pem", mnt / "free.pem", mnt / "README"
        top = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
        ways: dict[str, Callable[[], object]] = {
            "stat": lambda: pem.stat(),
            "lstat": lambda: pem.lstat(),
            "access": lambda: call("access", bytes(pem), os.F_OK),
            "open": lambda: os.open(pem, os.O_RDONLY),
            "openat": lambda: os.open("server.pem", os.O_RDONLY, dir_fd=top),
            "open by a path through it": lambda: os.open(mnt / "vault.pem/inside", os.O_RDONLY),
            "open by a symbolic link": lambda: os.open(mnt / "shortcut", os.O_RDONLY),
            "open with ..": lambda: os.open(mnt / "deploy/../server.pem", os.O_RDONLY),
            "truncate": lambda: os.truncate(pem, 0),
            "chmod": lambda: os.chmod(pem, 0o777),
            "utime": lambda: os.utime(pem),
            "getxattr": lambda: os.getxattr(pem, "user.x"),
            "chdir": lambda: os.chdir(mnt / "vault.pem"),
            "listdir": lambda: os.listdir(mnt / "vault.pem"),
            "unlink": lambda: pem.unlink(),
            "rmdir": lambda: (mnt / "vault.pem").rmdir(),
            "rename from": lambda: pem.rename(mnt / "stolen"),
            "rename a directory from": lambda: (mnt / "vault.pem").rename(mnt / "stolen"),
            "link from": lambda: os.link(pem, mnt / "stolen"),
            "symlink": lambda: free.symlink_to("x"),
            "create": lambda: os.open(free, os.O_CREAT | os.O_WRONLY),
            "create over": lambda: os.open(pem, os.O_CREAT | os.O_TRUNC | os.O_WRONLY),
            "create anew": lambda: os.open(free, os.O_CREAT | os.O_EXCL | os.O_WRONLY),
            "mknod": lambda: os.mknod(free),
            "mkfifo": lambda: os.mkfifo(free),
            "mkdir": lambda: free.mkdir(),
            "link to": lambda: os.link(plain, free),
            "link over": lambda: os.link(plain, pem),
            "rename to": lambda: plain.rename(free),
            "rename over": lambda: plain.rename(pem),
            "rename without replacing": lambda: moved(plain, free, NOREPLACE),
            "exchange": lambda: moved(plain, pem, EXCHANGE),
            "exchange from": lambda: moved(pem, plain, EXCHANGE),
            "link a nameless file": lambda: linked_from_nowhere(mnt, "free.pem"),
            "link a nameless file over": lambda: linked_from_nowhere(mnt / "deploy", ".env"),
        }
        outcomes = {way: failing(action) for way, action in ways.items()}
        os.close(top)
        assert outcomes == dict.fromkeys(ways, "ENOENT")
        # What is not hidden can be done, and a directory is not empty because of what is.
        linked_from_nowhere(mnt, "named")
        assert (mnt / "named").read_text() == "new"
        (mnt / "named").unlink()
        (mnt / "deploy/notes.txt").unlink()
        assert os.listdir(mnt / "deploy") == []
        assert failing(lambda: (mnt / "deploy").rmdir()) == "ENOTEMPTY"
    del before["deploy/notes.txt"]
    assert state(lower) == before


ALL = """
from fusebpf import FilterSet
from fusebpf.filters import *

filters = FilterSet(
    "all",
    hide("*.pem"),
    deny("*.key"),
    rate_limit(20, window_ms=3_600_000),
    fault_injection(1_000_000),
    read_only(writers=[0, 5000]),
    audit(),
    uid_map(offset=100_000),
)
"""


@dataclass
class Place:
    """A mount with all parts and what is below it."""

    lower: Path
    mnt: Path
    mount: Mount


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    top = tmp_path_factory.mktemp("parts")
    for directory in (top, *top.parents):
        if directory != Path("/"):
            directory.chmod(0o755)
    lower, mnt = top / "lower", top / "mnt"
    lower.mkdir(mode=0o777)
    lower.chmod(0o777)
    mnt.mkdir()
    for name in ("plain", "a.pem", "a.key"):
        (lower / name).write_text(name)
        (lower / name).chmod(0o666)
    path = top / "all.py"
    path.write_text(ALL)
    with fusebpf.attach(path, lower, mnt) as mount:
        yield Place(lower, mnt, mount)


def as_user(uid: int, code: str, directory: Path) -> str:
    """What a Python program of a user prints."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)],
        cwd=directory, user=uid, check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


def test_what_is_denied_is_listed_and_closed(place: Place) -> None:
    assert sorted(os.listdir(place.mnt)) == ["a.key", "plain"]
    key = place.mnt / "a.key"
    for action in (
        lambda: key.read_text(),
        lambda: key.stat(),
        lambda: key.unlink(),
        lambda: key.rename(place.mnt / "b"),
        lambda: (place.mnt / "plain").rename(key),
        lambda: os.link(place.mnt / "plain", place.mnt / "new.key"),
    ):
        assert failing(action) == "EACCES"
    assert failing(lambda: (place.mnt / "a.pem").read_text()) == "ENOENT"


CHANGES = """
    import errno, os
    changes = {
        "write": lambda: open("plain", "r+"),
        "truncate": lambda: os.truncate("plain", 0),
        "create": lambda: open("new", "w"),
        "mkdir": lambda: os.mkdir("new"),
        "symlink": lambda: os.symlink("x", "new"),
        "link": lambda: os.link("plain", "new"),
        "unlink": lambda: os.unlink("plain"),
        "rename": lambda: os.rename("plain", "new"),
        "chmod": lambda: os.chmod("plain", 0o600),
        "utime": lambda: os.utime("plain", (1, 1)),
        "setxattr": lambda: os.setxattr("plain", "user.x", b"1"),
    }
    for what, change in changes.items():
        try:
            change()
            print(what, "done")
        except OSError as error:
            if error.errno != errno.EROFS:
                print(what, error)
    print(open("plain").read())
"""


def test_read_only_is_read_only_for_all_but_its_writers(place: Place) -> None:
    before = state(place.lower)
    assert as_user(1000, CHANGES, place.mnt) == "plain"
    assert state(place.lower) == before
    assert as_user(5000, "print(open('plain', 'r+').write('plain'))", place.mnt) == "5"


def test_owners_are_shown_shifted_and_stored_as_below(place: Place) -> None:
    path, below = place.mnt / "plain", place.lower / "plain"
    os.chown(below, 33, 34)
    assert (path.stat().st_uid, path.stat().st_gid) == (100_033, 100_034)
    os.chown(path, 100_007, -1)
    assert (below.stat().st_uid, below.stat().st_gid) == (7, 34)
    assert failing(lambda: os.chown(path, 7, -1)) == "EOVERFLOW"


def test_a_user_who_opens_too_much_waits(place: Place) -> None:
    code = """
        import errno
        said = "all"
        try:
            for number in range(TIMES):
                open("plain").close()
        except OSError as error:
            said = f"{number} {errno.errorcode[error.errno]}"
        print(said)
    """
    assert as_user(2000, code.replace("TIMES", "30"), place.mnt) == "20 EAGAIN"
    assert as_user(2001, code.replace("TIMES", "20"), place.mnt) == "all"


def test_every_nth_read_fails(place: Place) -> None:
    calls = place.mount.maps["fault_calls"]
    fd = os.open(place.mnt / "plain", os.O_RDWR)
    try:
        calls[0] = 999_999
        assert failing(lambda: os.read(fd, 5)) == "EIO"
        assert os.read(fd, 5) == b"plain"
        calls[0] = 1_999_998
        assert os.pwrite(fd, b"plain", 0) == 5
        assert failing(lambda: os.fsync(fd)) == "EIO"
        os.fsync(fd)
    finally:
        os.close(fd)


def test_the_audit_tells_who_did_what(place: Place) -> None:
    events = place.mount.events["audit"]
    events.read(timeout=0)
    os.mkdir(place.mnt / "made")
    assert failing(lambda: os.mkdir(place.mnt / "made")) == "EEXIST"
    os.rename(place.mnt / "made", place.mnt / "moved")
    assert failing(lambda: os.rmdir(place.mnt / "made")) == "ENOENT"
    os.rmdir(place.mnt / "moved")
    as_user(3000, "open('plain').close()", place.mnt)
    told = [
        (event.opcode, event.uid, event.error, event.new, event.name)
        for event in events.read(timeout=1)
    ]
    # The module, which has no hooks of RENAME, tells every rename to those of RENAME2
    rename = 12 if "rename_prefilter" in kit.form().members else 45
    # A name that is not there, or taken, is known before the operation begins.
    assert told == [
        (9, 0, 0, 0, b"made"),
        (rename, 0, 0, 0, b"made"),
        (rename, 0, 0, 1, b"moved"),
        (11, 0, 0, 0, b"moved"),
        (14, 3000, 0, 0, b""),
    ]
    assert events.dropped == 0
