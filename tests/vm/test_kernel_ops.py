# SPDX-License-Identifier: MIT
"""The same operations on a mount and on a bare directory: same results, same trees."""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm import kernel_twins as twins
from tests.vm import kernelkit as kit
from tests.vm.kernel_twins import Steps


@pytest.fixture(scope="module", params=(*twins.KINDS, "overlay"))
def fs(request: pytest.FixtureRequest) -> Iterator[Path]:
    with twins.file_system(str(request.param)) as directory:
        yield directory


def namespace_steps(s: Steps) -> None:
    b = s.base
    s.do("mkdir", lambda: (b / "d").mkdir(mode=0o2775))
    s.do("mkdir again", lambda: (b / "d").mkdir())
    s.do("mkdir in", lambda: (b / "d/e").mkdir(mode=0o700))
    s.do("create", lambda: (b / "d/f").write_text("one\n"))
    s.do("excl", lambda: os.open(b / "d/f", os.O_CREAT | os.O_EXCL))
    s.do("creat dir", lambda: os.open(b / "d", os.O_CREAT | os.O_WRONLY))
    s.do("open missing", lambda: os.open(b / "d/none", os.O_RDONLY))
    s.do("open dir rw", lambda: os.open(b / "d", os.O_RDWR))
    s.do("o_directory", lambda: os.open(b / "d/f", os.O_DIRECTORY))
    s.do("long name", lambda: os.stat(b / ("n" * 256)))
    s.do("longest", lambda: (b / ("n" * 255)).write_text("n"))
    s.do("symlink", lambda: os.symlink("f", b / "d/l"))
    s.do("readlink", lambda: os.readlink(b / "d/l"))
    s.do("through link", lambda: (b / "d/l").read_text())
    s.do("nofollow", lambda: os.open(b / "d/l", os.O_NOFOLLOW))
    s.do("loop", lambda: os.symlink("loop", b / "loop"))
    s.do("follow loop", lambda: (b / "loop").read_text())
    s.do("link", lambda: os.link(b / "d/f", b / "d/g"))
    s.do("link dir", lambda: os.link(b / "d/e", b / "d/h"))
    s.do("link over", lambda: os.link(b / "d/f", b / "d/g"))
    s.do("nlink", lambda: (b / "d/f").stat().st_nlink)
    s.do("same inode", lambda: (b / "d/f").stat().st_ino == (b / "d/g").stat().st_ino)
    s.do("rename", lambda: os.rename(b / "d/g", b / "d/e/g"))
    s.do("rename over", lambda: os.rename(b / "d/e/g", b / "d/l"))
    s.do("rename dir", lambda: os.rename(b / "d/e", b / "moved"))
    s.do("rename into itself", lambda: os.rename(b / "d", b / "d/sub"))
    s.do("rename dir on file", lambda: os.rename(b / "moved", b / "d/f"))
    s.do("rename on non-empty", lambda: os.rename(b / "moved", b / "d"))
    s.do("rename missing", lambda: os.rename(b / "none", b / "some"))
    s.do("fifo", lambda: os.mkfifo(b / "fifo", 0o640))
    s.do("device", lambda: os.mknod(b / "null", 0o20666, os.makedev(1, 3)))
    s.do("write device", lambda: (b / "null").write_bytes(b"gone"))
    s.do("read device", lambda: (b / "null").read_bytes())
    s.do("mknod file", lambda: os.mknod(b / "plain", 0o100640))
    s.do("socket", lambda: _bind(b / "sock"))
    s.do("rmdir full", lambda: (b / "d").rmdir())
    s.do("rmdir file", lambda: (b / "d/f").rmdir())
    s.do("unlink dir", lambda: os.unlink(b / "moved"))
    s.do("unlink", lambda: os.unlink(b / "d/l"))
    s.do("unlink again", lambda: os.unlink(b / "d/l"))
    s.do("rmdir", lambda: (b / "moved").rmdir())
    s.do("dot", lambda: os.stat(b / "d/./../d/f").st_size)
    s.do("slash after file", lambda: os.stat(f"{b}/d/f/"))
    s.do("list", lambda: sorted(os.listdir(b)))


def _bind(path: Path) -> None:
    directory = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(f"/proc/self/fd/{directory}/{path.name}")
    os.close(directory)


def data_steps(s: Steps) -> None:
    b = s.base
    path = b / "data"
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    s.do("write", lambda: os.write(fd, b"0123456789" * 1000))
    s.do("pread", lambda: os.pread(fd, 10, 9995))
    s.do("pread past", lambda: os.pread(fd, 10, 20000))
    s.do("pwrite", lambda: os.pwrite(fd, b"XY", 20000))
    s.do("size", lambda: os.fstat(fd).st_size)
    s.do("seek end", lambda: os.lseek(fd, -2, os.SEEK_END))
    s.do("read", lambda: os.read(fd, 10))
    s.do("seek cur", lambda: os.lseek(fd, 0, os.SEEK_CUR))
    s.do("seek hole", lambda: os.lseek(fd, 0, os.SEEK_HOLE))
    s.do("seek data", lambda: os.lseek(fd, 30000, os.SEEK_DATA))
    s.do("seek negative", lambda: os.lseek(fd, -1, os.SEEK_SET))
    s.do("truncate", lambda: os.ftruncate(fd, 5000))
    s.do("truncate path", lambda: os.truncate(path, 6000))
    s.do("hole reads", lambda: os.pread(fd, 10, 5500))
    s.do("fallocate", lambda: os.posix_fallocate(fd, 6000, 6000))
    s.do("size 2", lambda: os.fstat(fd).st_size)
    s.do("fsync", lambda: os.fsync(fd))
    s.do("fdatasync", lambda: os.fdatasync(fd))
    s.do("append", lambda: _append(path))
    s.do("F_SETFL", lambda: _set_append(fd))
    s.do("size 3", lambda: path.stat().st_size)
    shared = mmap.mmap(fd, 4096)
    shared[0:6] = b"mapped"
    s.do("mapped write", lambda: os.pread(fd, 6, 0))
    os.pwrite(fd, b"direct", 100)
    s.do("mapped read", lambda: bytes(shared[100:106]))
    shared.close()
    s.do("write rdonly", lambda: _with(path, os.O_RDONLY, lambda f: os.write(f, b"x")))
    s.do("read wronly", lambda: _with(path, os.O_WRONLY, lambda f: os.read(f, 1)))
    s.do("sendfile", lambda: _sendfile(path, b / "sent"))
    s.do("copy_file_range", lambda: _copy_range(path, b / "ranged"))
    s.do("splice", lambda: _splice(path))
    s.do("o_trunc", lambda: os.close(os.open(b / "sent", os.O_WRONLY | os.O_TRUNC)))
    s.do("flock", lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
    s.do("flock other", lambda: _flock(path))
    s.do("lockf", lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
    os.unlink(path)
    s.do("unlinked read", lambda: os.pread(fd, 6, 0))
    s.do("unlinked stat", lambda: (os.fstat(fd).st_nlink, os.fstat(fd).st_size))
    s.do("unlinked chmod", lambda: os.fchmod(fd, 0o600))
    os.close(fd)
    s.do("exec", lambda: _script(b / "prog"))
    s.do("exec busy", lambda: _busy(b))


def _with(path: Path, flags: int, call: Callable[[int], object]) -> object:
    fd = os.open(path, flags)
    try:
        return call(fd)
    finally:
        os.close(fd)


def _append(path: Path) -> object:
    return _with(path, os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"appended"))


def _set_append(fd: int) -> int:
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_APPEND)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"at the end")
    fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    return os.fstat(fd).st_size


def _sendfile(source: Path, target: Path) -> int:
    with source.open("rb") as a, target.open("wb") as b:
        return os.sendfile(b.fileno(), a.fileno(), 0, 1 << 20)


def _copy_range(source: Path, target: Path) -> int:
    with source.open("rb") as a, target.open("wb") as b:
        return os.copy_file_range(a.fileno(), b.fileno(), 1 << 20)


def _splice(path: Path) -> bytes:
    out, into = os.pipe()
    with path.open("r+b") as file:
        os.splice(file.fileno(), into, 4096, offset_src=0)
        data = os.read(out, 4096)
        os.write(into, b"spliced")
        os.splice(out, file.fileno(), 7, offset_dst=50)
    os.close(out)
    os.close(into)
    return data + path.read_bytes()[40:60]


def _flock(path: Path) -> object:
    return _with(path, os.O_RDONLY, lambda fd: fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB))


def _script(path: Path) -> int:
    path.write_text("#!/bin/sh\nexit 7\n")
    path.chmod(0o755)
    return subprocess.run([path], check=False).returncode


def _busy(base: Path) -> None:
    copy = base / "sleep"
    copy.write_bytes(Path("/bin/sleep").read_bytes())
    copy.chmod(0o755)
    with subprocess.Popen([copy, "60"]) as process:
        try:
            os.close(os.open(copy, os.O_WRONLY))
        finally:
            process.kill()


def attribute_steps(s: Steps) -> None:
    b = s.base
    path = b / "attr"
    path.write_text("x")
    s.do("chmod", lambda: path.chmod(0o6755))
    s.do("mode", lambda: oct(path.stat().st_mode))
    s.do("chown", lambda: os.chown(path, 1000, 1001))
    s.do("mode after chown", lambda: oct(path.stat().st_mode))
    s.do("times", lambda: os.utime(path, ns=(10**18 + 1, 2 * 10**18 + 2)))
    s.do("mtime", lambda: (path.stat().st_atime_ns, path.stat().st_mtime_ns))
    s.do("setxattr", lambda: os.setxattr(path, "user.one", b"value"))
    s.do("getxattr", lambda: os.getxattr(path, "user.one"))
    s.do("no xattr", lambda: os.getxattr(path, "user.two"))
    s.do("trusted", lambda: os.setxattr(path, "trusted.one", b"t"))
    s.do("listxattr", lambda: sorted(os.listxattr(path)))
    s.do("removexattr", lambda: os.removexattr(path, "user.one"))
    s.do("remove again", lambda: os.removexattr(path, "user.one"))
    s.do("bad namespace", lambda: os.setxattr(path, "none.one", b""))
    s.do("acl", lambda: _acl(path))
    s.do("mode with acl", lambda: oct(path.stat().st_mode))
    s.do("default acl", lambda: _default_acl(b / "acl"))
    path.chmod(0o4777)
    s.do("suid", lambda: path.write_text("y"))
    s.do("suid after write by root", lambda: oct(path.stat().st_mode))
    s.do("statvfs", lambda: (os.statvfs(b).f_namemax, os.statvfs(b).f_frsize))
    s.do("access", lambda: os.access(path, os.X_OK))


def _acl(path: Path) -> str:
    subprocess.run(["setfacl", "-m", "u:1005:rw", path], check=True)
    command = ["getfacl", "-cn", "--absolute-names", str(path)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _default_acl(directory: Path) -> list[str]:
    directory.mkdir()
    subprocess.run(["setfacl", "-d", "-m", "u:1005:rwx,g::rx,o::-", directory], check=True)
    os.umask(0o077)
    (directory / "file").write_text("x")
    (directory / "sub").mkdir()
    os.umask(0o022)
    return [oct((directory / name).stat().st_mode) for name in ("file", "sub")]


def user_steps(s: Steps) -> None:
    """As a user who owns some of it."""
    b = s.base
    for name, mode in (("open", 0o777), ("sticky", 0o1777), ("shared", 0o2777), ("shut", 0o700)):
        (b / name).mkdir()
        (b / name).chmod(mode)
    os.chown(b / "shared", 0, 2000)
    (b / "sticky/roots").write_text("x")
    (b / "open/roots").write_text("x")
    (b / "open/readable").write_text("x")
    (b / "open/execonly").write_bytes(Path("/bin/true").read_bytes())
    (b / "open/execonly").chmod(0o711)
    (b / "open/roots").chmod(0o600)
    (b / "open/suid").write_text("x")
    (b / "open/suid").chmod(0o6777)
    os.chown(b / "open/suid", 0, 2000)
    s.do("as user", lambda: _as_user(b))


def _as_user(base: Path) -> str:
    script = Path(__file__).with_name("kernel_user_steps.py")
    command = ["setpriv", "--reuid=1000", "--regid=1000", "--groups=3000", "--inh-caps=-all"]
    done = subprocess.run(
        # Through stdin: the user need not be able to reach the tree.
        [*command, "python3", "-", str(base)],
        input=script.read_text(encoding="utf-8"),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert "ok" in done.stdout, done.stdout
    assert str(base) not in done.stdout
    return done.stdout


SCENARIOS = {
    "namespace": namespace_steps,
    "data": data_steps,
    "attributes": attribute_steps,
    "user": user_steps,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_as_on_the_bare_directory(place: Path, scenario: str) -> None:
    twins.compare(place, SCENARIOS[scenario])


@pytest.mark.parametrize("fs", ["ext4"], indirect=True)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_with_the_callers_credentials(place: Path, scenario: str) -> None:
    twins.compare(place, SCENARIOS[scenario], creds="caller")


def test_changes_below_are_seen(place: Path) -> None:
    """Without any filter; names, kinds, attributes and sizes, also where they were cached."""
    lower, mnt = place / "lower", place / "mnt"
    (lower / "d").mkdir(parents=True)
    mnt.mkdir()
    (lower / "f").write_text("one")
    with kit.mounted(lower, mnt):
        assert (mnt / "f").read_text() == "one"
        assert not (mnt / "new").exists()
        (lower / "new").write_text("now")
        assert (mnt / "new").read_text() == "now"
        (lower / "new").unlink()
        assert not (mnt / "new").exists()
        (lower / "f").write_text("longer")
        assert (mnt / "f").stat().st_size == 6
        assert (mnt / "f").read_text() == "longer"
        (lower / "f").chmod(0o600)
        os.chown(lower / "f", 5, 6)
        st = (mnt / "f").stat()
        assert (st.st_mode & 0o777, st.st_uid, st.st_gid) == (0o600, 5, 6)
        os.rename(lower / "f", lower / "d/f")
        assert not (mnt / "f").exists()
        assert (mnt / "d/f").read_text() == "longer"
        (lower / "f").mkdir()
        assert (mnt / "f").is_dir()
        os.rename(lower / "d", lower / "f/d")
        assert (mnt / "f/d/f").read_text() == "longer"
        assert not (mnt / "d").exists()
        # What was replaced below is found anew by the change
        (lower / "g").write_text("old")
        assert (mnt / "g").exists()
        os.rename(lower / "f/d/f", lower / "g")
        (mnt / "g").unlink()
        assert os.listdir(lower / "f/d") == []
        fd = os.open(mnt / "f", os.O_RDONLY | os.O_DIRECTORY)
        os.rename(lower / "f", lower / "renamed")
        os.mkdir("inside", dir_fd=fd)
        assert (lower / "renamed/inside").is_dir()
        (lower / "renamed/inside").rmdir()
        (lower / "renamed/d").rmdir()
        (lower / "renamed").rmdir()
        with pytest.raises(FileNotFoundError):
            os.mkdir("inside", dir_fd=fd)
        os.close(fd)


def test_a_directory_moved_below_is_renamed_at_once(place: Path) -> None:
    """A rename into another directory, which has the locks that its old dentry would need."""
    lower, mnt = place / "lower", place / "mnt"
    mnt.mkdir()
    (lower / "a/b").mkdir(parents=True)
    (lower / "a/d/inner/deep").mkdir(parents=True)
    with kit.mounted(lower, mnt):
        assert (mnt / "a/d/inner/deep").is_dir()
        os.rename(lower / "a/d", lower / "a/b/d")
        os.rename(mnt / "a/b/d", mnt / "c")
        assert (mnt / "c/inner/deep").is_dir()
        assert (lower / "c/inner/deep").is_dir()
        # In use it can only be moved by a lookup
        fd = os.open(mnt / "c", os.O_RDONLY | os.O_DIRECTORY)
        os.rename(lower / "c", lower / "a/b/d")
        with pytest.raises(OSError, match="Stale file handle"):
            os.rename(mnt / "a/b/d", mnt / "c")
        assert (mnt / "a/b/d").is_dir()
        os.rename(mnt / "a/b/d", mnt / "c")
        assert os.listdir(fd) == ["inner"]
        os.close(fd)


def test_open_sees_growth_below(place: Path) -> None:
    lower, mnt = place / "lower", place / "mnt"
    lower.mkdir()
    mnt.mkdir()
    (lower / "f").write_text("one")
    with kit.mounted(lower, mnt):
        fd = os.open(mnt / "f", os.O_RDONLY)
        with (lower / "f").open("a") as file:
            file.write("two")
        assert os.read(fd, 10) == b"onetwo"
        assert os.fstat(fd).st_size == 6
        assert os.lseek(fd, 0, os.SEEK_END) == 6
        os.close(fd)


@pytest.mark.parametrize("fs", ["tmpfs", "xfs"], indirect=True)
def test_tools_work(place: Path) -> None:
    """tar, cp, git and find read a tree through the mount as they do below."""
    lower, mnt = place / "lower", place / "mnt"
    lower.mkdir()
    mnt.mkdir()
    subprocess.run(["cp", "-a", "/usr/share/common-licenses", lower / "tree"], check=True)
    script = (
        "git -c init.defaultBranch=m init -q . && git add -A && "
        "git -c user.name=n -c user.email=e commit -qm one && git status --porcelain && "
        "cp -a tree copy && diff -r --no-dereference tree copy && rm -r copy && "
        "find . | sort | sha256sum && tar -cf - --sort=name --exclude .git . | sha256sum"
    )
    with kit.mounted(lower, mnt):
        through = subprocess.run(
            ["sh", "-ec", script], cwd=mnt, check=True, stdout=subprocess.PIPE
        ).stdout
        below = subprocess.run(
            ["sh", "-ec", "tar -cf - --sort=name --exclude .git . | sha256sum"],
            cwd=lower,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        assert through.splitlines()[-1] == below.splitlines()[-1]
        subprocess.run(["git", "-C", mnt, "fsck", "--strict"], check=True)
