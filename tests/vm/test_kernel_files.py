# SPDX-License-Identifier: MIT
"""Files without a name, whiteouts, long names and paths, descriptors of paths, other roots."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from fusebpf.runtime.fsmount import umount
from tests.differential import libc
from tests.vm import kernel_twins as twins
from tests.vm import kernelkit as kit
from tests.vm.kernel_twins import Steps, result_of
from tests.vm.limits import eventually

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def mnt(lower: Path, mnt: Path) -> Iterator[Path]:
    with kit.mounted(lower, mnt):
        yield mnt


def linkat(fd: int, path: Path, flags: int = libc.AT_EMPTY_PATH) -> int:
    """Give the file behind a descriptor a name. Raises OSError."""
    old = b"" if flags == libc.AT_EMPTY_PATH else os.fsencode(f"/proc/self/fd/{fd}")
    if LIBC.linkat(fd if not old else -100, old, -100, os.fsencode(path), flags) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return 0


def tmpfile_steps(s: Steps) -> None:
    b = s.base
    old = os.umask(0o027)
    fd = os.open(b, os.O_TMPFILE | os.O_RDWR, 0o6777)
    os.umask(old)
    s.do("mode", lambda: oct(os.fstat(fd).st_mode))
    s.do("link count", lambda: os.fstat(fd).st_nlink)
    s.do("name", lambda: os.readlink(f"/proc/self/fd/{fd}").startswith(f"{b}/#"))
    s.do("nothing to see", lambda: os.listdir(b))
    s.do("write", lambda: os.write(fd, b"no name yet"))
    s.do("size", lambda: os.fstat(fd).st_size)
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    s.do("opened again", lambda: os.pread(again, 100, 0))
    s.do("chmod", lambda: os.fchmod(fd, 0o644))
    s.do("xattr", lambda: os.setxattr(fd, "user.x", b"y"))
    s.do("truncate", lambda: os.ftruncate(fd, 7))
    s.do("link", lambda: linkat(fd, b / "named"))
    s.do("link again", lambda: linkat(fd, b / "named"))
    s.do("through proc", lambda: linkat(fd, b / "second", 0x400))
    s.do("link count then", lambda: os.fstat(fd).st_nlink)
    s.do("content", lambda: (b / "named").read_text())
    s.do("same", lambda: os.path.samestat(os.fstat(fd), os.stat(b / "named")))
    s.do("unlink", lambda: os.unlink(b / "named"))
    os.close(again)
    os.close(fd)
    once = os.open(b, os.O_TMPFILE | os.O_WRONLY | os.O_EXCL, 0o600)
    s.do("O_EXCL is never linked", lambda: linkat(once, b / "never"))
    s.do("flags", lambda: os.get_blocking(once))
    os.close(once)
    s.do("read-only", lambda: os.open(b, os.O_TMPFILE | os.O_RDONLY))
    s.do("in a file", lambda: os.open(b / "second", os.O_TMPFILE | os.O_RDWR))
    direct = os.open(b, os.O_TMPFILE | os.O_RDWR | os.O_DIRECT)
    s.do("direct", lambda: os.close(direct))
    (b / "sg").mkdir()
    os.chown(b / "sg", 0, 2000)
    (b / "sg").chmod(0o2777)
    user = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o2755)\n"
        "st = os.fstat(fd)\n"
        "print(oct(st.st_mode), st.st_uid, st.st_gid)\n"
        "os.link(f'/proc/self/fd/{fd}', sys.argv[1] + '/mine', follow_symlinks=True)\n"
    )
    s.do("of a user", lambda: _as_user(user, b / "sg"))
    s.do("where a user may not", lambda: _as_user(user, b))


def _as_user(script: str, *args: Path) -> tuple[int, bytes]:
    command = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=-all"]
    done = subprocess.run(
        [*command, sys.executable, "-c", script, *args],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(("fs", "creds"), twins.KINDS_AND_CREDS, indirect=["fs"])
def test_o_tmpfile_and_linkat(place: Path, creds: str) -> None:
    twins.compare(place, tmpfile_steps, creds=creds)


def test_o_tmpfile_runs_the_filters_of_create(lower: Path, tmp_path: Path) -> None:
    target = tmp_path / "mnt"
    target.mkdir()
    members = ("create_open_prefilter", "create_open_postfilter", "release_prefilter")
    with kit.filtered(lower, target, *members) as f:
        f.set(create_pre=-13)
        assert result_of(lambda: os.open(target, os.O_TMPFILE | os.O_RDWR)) == "EACCES"
        assert f.count("create_pre") == 1
        assert f.seen("opcode") == 51 | kit.OPCODE_PRE  # FUSE_TMPFILE
        f.set(create_pre=kit.POSTFILTER, create_post=-5)
        assert result_of(lambda: os.open(target, os.O_TMPFILE | os.O_RDWR)) == "EIO"
        assert f.count("release_pre") == 0
        f.set(create_pre=kit.POSTFILTER, create_post=0)
        fd = os.open(target, os.O_TMPFILE | os.O_RDWR)
        os.write(fd, b"x")
        linkat(fd, target / "dir/named")
        os.close(fd)
        assert eventually(lambda: f.count("release_pre") == 1)
    assert (lower / "dir/named").read_text() == "x"


def whiteout_steps(s: Steps) -> None:
    b = s.base
    (b / "from").write_text("x")
    (b / "over").write_text("y")
    (b / "dir").mkdir(mode=0o777)
    cwd = libc.AT_FDCWD

    def rename(old: str, new: str, flags: int) -> None:
        libc.renameat2(cwd, str(b / old), cwd, str(b / new), flags)

    s.do("whiteout", partial(rename, "from", "to", RENAME_WHITEOUT))
    s.do("device", lambda: (oct(os.stat(b / "from").st_mode), os.stat(b / "from").st_rdev))
    s.do("content", lambda: (b / "to").read_text())
    s.do("over", partial(rename, "to", "over", RENAME_WHITEOUT))
    s.do("not over", partial(rename, "over", "dir", RENAME_WHITEOUT | RENAME_NOREPLACE))
    s.do("with exchange", partial(rename, "over", "from", RENAME_WHITEOUT | RENAME_EXCHANGE))
    s.do("directory", partial(rename, "dir", "moved", RENAME_WHITEOUT))
    s.do("unknown flag", partial(rename, "over", "other", 8))
    os.chmod(b, 0o777)
    user = (
        "import ctypes, os, sys\n"
        "os.chdir(sys.argv[1])\n"
        "open('mine', 'w').close()\n"
        "print(ctypes.CDLL(None).renameat2(-100, b'mine', -100, b'gone', 4))\n"
        "print(os.stat('mine').st_uid)\n"
    )
    s.do("of a user", lambda: _as_user(user, b))


def test_rename_whiteout(place: Path) -> None:
    twins.compare(place, whiteout_steps)


def long_steps(s: Steps) -> None:
    longest = "ü" * 127 + "x"
    for name in ("n" * 255, longest):
        s.do("create", partial(os.mkdir, s.base / name))
    s.do("found", lambda: sorted(os.listdir(s.base)))
    calls: tuple[Callable[[Path], object], ...] = (os.stat, os.mkdir, os.mkfifo, os.unlink)
    for call in calls:
        s.do("too long", partial(call, s.base / ("n" * 256)))
        s.do("too long in bytes", partial(call, s.base / (longest + "x")))
    s.do("rename", lambda: os.rename(s.base / longest, s.base / ("n" * 256)))
    s.do("create too long", lambda: os.open(s.base / ("n" * 256), os.O_CREAT))
    s.do("symlink", lambda: os.symlink("t" * 4095, s.base / "link"))
    s.do("readlink", lambda: len(os.readlink(s.base / "link")))
    # Down to where the whole path from here has 4095 bytes, then too many
    here = os.open(s.base, os.O_RDONLY)
    depth = 0
    while depth < 15:
        os.mkdir("d" * 255, dir_fd=here)
        deeper = os.open("d" * 255, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
        depth += 1
    os.mkdir("e" * 250, dir_fd=here)
    os.close(here)
    path = "/".join(["d" * 255] * 15 + ["e" * 250])
    os.chdir(s.base)
    s.do("PATH_MAX", lambda: os.path.isdir(path + "/." * ((4095 - len(path)) // 2)))
    s.do("longer", lambda: os.stat(path + "/." * ((4099 - len(path)) // 2)))
    os.chdir("/")
    subprocess.run(["rm", "-rf", s.base / ("d" * 255)], check=True)


def test_names_of_255_bytes_and_paths_of_path_max(place: Path) -> None:
    twins.compare(place, long_steps)


def path_steps(s: Steps) -> None:
    b = s.base
    (b / "file").write_text("content\n")
    (b / "dir").mkdir()
    os.symlink("file", b / "link")
    fd = os.open(b / "file", os.O_PATH)
    link = os.open(b / "link", os.O_PATH | os.O_NOFOLLOW)
    directory = os.open(b / "dir", os.O_PATH)
    s.do("fstat", lambda: (os.fstat(fd).st_size, oct(os.fstat(link).st_mode)))
    s.do("read", lambda: os.read(fd, 10))
    s.do("fchmod", lambda: os.fchmod(fd, 0o600))
    s.do("by proc", lambda: Path(f"/proc/self/fd/{fd}").read_text())
    s.do("chmod by proc", lambda: os.chmod(f"/proc/self/fd/{fd}", 0o600))
    s.do("readlink", lambda: os.readlink("", dir_fd=link))
    s.do("create in", lambda: os.close(os.open("new", os.O_CREAT, dir_fd=directory)))
    s.do("rename", lambda: os.rename(b / "file", b / "dir/moved"))
    s.do("name", lambda: os.readlink(f"/proc/self/fd/{fd}").removeprefix(str(b)))
    s.do("still", lambda: Path(f"/proc/self/fd/{fd}").read_text())
    s.do("unlink", lambda: os.unlink(b / "dir/moved"))
    s.do("gone", lambda: os.readlink(f"/proc/self/fd/{fd}").removeprefix(str(b)))
    s.do("open the unlinked one", lambda: Path(f"/proc/self/fd/{fd}").read_text())
    os.unlink(b / "dir/new")
    s.do("rmdir", lambda: os.rmdir(b / "dir"))
    s.do("create in removed", lambda: os.open("new", os.O_CREAT, dir_fd=directory))
    for each in (fd, link, directory):
        os.close(each)


def test_o_path_and_proc_self_fd(place: Path) -> None:
    twins.compare(place, path_steps)


def test_chroot_and_pivot_root(place: Path) -> None:
    """A program lives in the mount as its root; busybox-like: static, copied into it."""
    lower, target = place / "lower", place / "mnt"
    for directory in (lower, lower / "old", lower / "usr", lower / "proc", target):
        directory.mkdir(parents=True)
    (lower / "file").write_text("content\n")
    for link in ("bin", "lib", "lib64"):
        os.symlink(f"usr/{link}", lower / link)
    with kit.mounted(lower, target):
        script = 'mount --bind /usr "$1/usr" && mount -t proc none "$1/proc" && '
        chroot = script + 'exec chroot "$1" /bin/sh -c "cat /file && pwd && cd .. && pwd"'
        pivot = script + (
            'cd "$1" && pivot_root . old && umount -l /old && cat /file && echo new > /made'
            " && ls -d /old /made"
        )
        for command, wanted in ((chroot, "content\n/\n/\n"), (pivot, "content\n/made\n/old\n")):
            unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", command, "sh"]
            done = subprocess.run([*unshare, target], check=True, stdout=subprocess.PIPE, text=True)
            assert done.stdout == wanted
    assert (lower / "made").read_text() == "new\n"


def test_umount_lazily_with_open_files(lower: Path, mnt: Path) -> None:
    fd = os.open(mnt / "file", os.O_RDWR)
    directory = os.open(mnt / "dir", os.O_RDONLY)
    nameless = os.open(mnt, os.O_TMPFILE | os.O_RDWR)
    umount(mnt, lazy=True)
    assert os.pread(fd, 7, 0) == b"content"
    os.pwrite(fd, b"CONTENT", 0)
    os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.rename("new", "renamed", src_dir_fd=directory, dst_dir_fd=directory)
    assert result_of(lambda: linkat(nameless, mnt / "named")) == "EXDEV"
    for each in (fd, directory, nameless):
        os.close(each)
    assert (lower / "file").read_text() == "CONTENT\n"
    assert os.listdir(lower / "dir") == ["renamed"]


def test_file_handles_are_not_given(mnt: Path) -> None:
    """name_to_handle_at gives EOPNOTSUPP: a handle would pass by the names that filters decide."""
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128))
    mount_id = ctypes.c_int()
    path = os.fsencode(mnt / "file")
    assert LIBC.name_to_handle_at(-100, path, handle, ctypes.byref(mount_id), 0) == -1
    assert ctypes.get_errno() == 95


MANY = 100_000


def test_a_directory_of_100000_entries(tmp_path: Path) -> None:
    """Whole, with telldir and seekdir from any entry on."""
    base = tmp_path / "fs"
    base.mkdir()
    twins.run("mount", "-t", "tmpfs", "-o", "nr_inodes=0", "none", base)
    try:
        lower, target = base / "lower", base / "mnt"
        lower.mkdir()
        target.mkdir()
        # Names of one file cost the least
        (lower / "0").touch()
        directory = os.open(lower, os.O_RDONLY)
        for number in range(1, MANY):
            os.link("0", str(number), src_dir_fd=directory, dst_dir_fd=directory)
        os.close(directory)
        with kit.mounted(lower, target), kit.Dirents(target, 32768) as listing:
            found: list[tuple[str, int]] = []
            while part := listing.read():
                found += part
            names = [name for name, _at in found if name not in (".", "..")]
            assert sorted(names, key=int) == [str(number) for number in range(MANY)]
            for index in (0, 1, 5000, 50_000, 99_000, MANY):
                listing.seek(found[index][1])
                rest = listing.read()
                assert rest == found[index + 1 : index + 1 + len(rest)]
                assert rest
    finally:
        umount(base)
