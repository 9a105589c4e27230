# SPDX-License-Identifier: MIT
"""Whose rights count, what execution gains, which directories are refused, what is refreshed.

docs/testing.md says which test stands for which rule of the kernel part.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest

from fusebpf.runtime.fsmount import MountError, umount
from tests.vm import kernel_twins as twins
from tests.vm import kernelkit as kit
from tests.vm.kernel_twins import Steps, result_of

AS_USER = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=-all")


def pair(place: Path) -> tuple[Path, Path]:
    """A lower directory and a place to mount it."""
    lower, mnt = place / "lower", place / "mnt"
    lower.mkdir()
    mnt.mkdir()
    return lower, mnt


def as_user(*command: str | Path) -> str:
    done = subprocess.run(
        [*AS_USER, *command],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout


def capability(number: int) -> bytes:
    """A value of security.capability: one capability, effective (struct vfs_cap_data, v2)."""
    return struct.pack("=5I", 0x02000001, 1 << number, 0, 0, 0)


CAP_NET_RAW = 13


def exec_steps(s: Steps) -> None:
    b = s.base
    for name in ("id", "cat"):
        (b / name).write_bytes(Path(f"/usr/bin/{name}").read_bytes())
        (b / name).chmod(0o755)
    os.chown(b / "id", 1001, 1002)
    s.do("plain", partial(as_user, b / "id"))
    (b / "id").chmod(0o6755)
    s.do("set-uid and set-gid", partial(as_user, b / "id"))
    s.do("no new privileges", partial(as_user, "setpriv", "--no-new-privs", b / "id"))
    s.do("capability", lambda: os.setxattr(b / "cat", "security.capability", capability(13)))
    s.do("shown", lambda: os.getxattr(b / "cat", "security.capability"))
    s.do("gained", partial(_effective, b / "cat"))
    os.chown(b / "cat", 1001, 1002)
    s.do("gone with chown", partial(_effective, b / "cat"))
    os.setxattr(b / "cat", "security.capability", capability(13))
    with (b / "cat").open("r+b") as file:
        file.write(b"\x7f")
    s.do("gone with a write", partial(_effective, b / "cat"))
    (b / "cat").chmod(0o644)
    s.do("not executable", lambda: subprocess.run([b / "cat"], check=False))
    fd = os.open(b / "id", os.O_RDONLY)
    s.do("execveat", lambda: subprocess.run([f"/proc/self/fd/{fd}"], pass_fds=[fd]).returncode)
    os.close(fd)


def _effective(cat: Path) -> list[str]:
    status = as_user(cat, "/proc/self/status")
    return [line for line in status.splitlines() if line.startswith("CapEff")]


@pytest.mark.parametrize(("fs", "creds"), twins.KINDS_AND_CREDS, indirect=["fs"])
def test_execution_gains_set_id_and_capabilities(place: Path, creds: str) -> None:
    twins.compare(place, exec_steps, creds=creds)


def test_nosuid_below_gains_nothing(place: Path) -> None:
    lower, mnt = pair(place)
    bound = place / "bound"
    bound.mkdir()
    for name in ("id", "cat"):
        (lower / name).write_bytes(Path(f"/usr/bin/{name}").read_bytes())
    (lower / "id").chmod(0o4755)
    (lower / "cat").chmod(0o755)
    os.setxattr(lower / "cat", "security.capability", capability(CAP_NET_RAW))
    twins.run("mount", "--bind", lower, bound)
    try:
        twins.run("mount", "-o", "remount,bind,nosuid", bound)
        with kit.mounted(bound, mnt):
            assert as_user(mnt / "id", "-u") == "1000\n"
            assert _effective(mnt / "cat") == ["CapEff:\t0000000000000000"]
    finally:
        umount(bound)
    with kit.mounted(lower, mnt):
        assert as_user(mnt / "id", "-u") == "0\n"
        assert _effective(mnt / "cat") == ["CapEff:\t0000000000002000"]
        twins.run("mount", "-o", "remount,bind,nosuid", mnt)
        assert as_user(mnt / "id", "-u") == "1000\n"


def acting_as(uid: int, group: int, call: Callable[[], object]) -> object:
    """Call with the ids and rights of a user, and with the descriptors that root has."""
    os.setgroups([])
    os.setegid(group)
    os.seteuid(uid)
    try:
        return call()
    finally:
        os.seteuid(0)
        os.setegid(0)


def set_id_steps(s: Steps) -> None:
    """What takes set-id bits away, by a stranger, a member of the group and the owner."""
    path = s.base / "file"

    def fresh(mode: int) -> None:
        path.write_bytes(b"x" * 8192)
        os.chown(path, 0, 2000)
        path.chmod(mode)

    def change(how: str, fd: int) -> None:
        if how == "splice":
            out, into = os.pipe()
            os.write(into, b"y")
            os.splice(out, fd, 1)
            os.close(out)
            os.close(into)
        elif how == "fallocate":
            os.posix_fallocate(fd, 0, 16384)
        elif how == "copy":
            os.copy_file_range(fd, fd, 100, 0, 4096)
        elif how == "ftruncate":
            os.ftruncate(fd, 100)
        elif how == "truncate":
            os.truncate(path, 100)
        elif how == "open O_TRUNC":
            os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        else:
            os.pwritev(fd, [b"y"], 0, os.RWF_APPEND if how == "append" else 0)

    hows = "write", "append", "splice", "fallocate", "copy", "ftruncate", "truncate", "open O_TRUNC"
    for how in hows:
        for uid, group in ((1000, 1000), (1000, 2000), (0, 0)):
            for mode in (0o6777, 0o6767, 0o2010):
                fresh(mode)
                fd = os.open(path, os.O_RDWR)
                call = partial(acting_as, uid, group, partial(change, how, fd))
                s.do(f"{how} {uid}:{group} {mode:o}", call)
                os.close(fd)
                s.do("mode", lambda: oct(os.stat(path).st_mode))
    for owner in ((1000, -1), (-1, 2000), (1001, 1001)):
        fresh(0o6755)
        s.do(f"chown {owner}", partial(os.chown, path, *owner))
        s.do("mode", lambda: oct(os.stat(path).st_mode))
    for uid, group in ((1000, 1000), (1001, 1001)):
        fresh(0o6755)
        change_nothing = partial(os.chown, path, -1, -1)
        s.do(f"chown of nothing by {uid}", partial(acting_as, uid, group, change_nothing))
        s.do("mode", lambda: oct(os.stat(path).st_mode))


@pytest.mark.parametrize("flags", ["suid", "nosuid"])
def test_changes_take_set_id_bits(place: Path, flags: str) -> None:
    """Also where the lower mount ignores them: another one may not."""
    twins.run("mount", "--bind", place, place)
    try:
        twins.run("mount", "-o", f"remount,bind,{flags}", place)
        twins.compare(place, set_id_steps)
    finally:
        umount(place)


def quota_steps(s: Steps) -> None:
    """Blocks and files of a user, at whose limits root does not stop; all gone at the end."""

    def write(name: str) -> int:
        with (s.base / name).open("wb", buffering=0) as file:
            return sum(file.write(bytes(65536)) for _ in range(32))

    def fill(name: str, count: int) -> None:
        for number in range(count):
            (s.base / f"{name}{number}").touch()

    s.base.chmod(0o777)
    s.do("blocks", partial(acting_as, 1000, 1000, partial(write, "blocks")))
    s.do("size", lambda: (s.base / "blocks").stat().st_size)
    s.do("more blocks", partial(acting_as, 1000, 1000, partial(write, "more")))
    s.do("of another", partial(acting_as, 1001, 1001, partial(write, "other")))
    s.do("of root", partial(write, "root"))
    (s.base / "root").chmod(0o666)
    s.do("given away", lambda: os.chown(s.base / "root", 1000, -1))
    s.do("remove", lambda: os.unlink(s.base / "blocks"))
    s.do("files", partial(acting_as, 1000, 1000, partial(fill, "file", 40)))
    s.do("how many", lambda: len(os.listdir(s.base)))
    for path in s.base.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("kind", "make", "option"),
    [("ext4", ("-O", "quota"), "usrquota"), ("xfs", (), "uquota")],
    ids=["ext4", "xfs"],
)
def test_quotas_hold_for_the_users_of_a_mount(
    kind: str, make: tuple[str, ...], option: str
) -> None:
    """As root below is the mounter, whom no limit would stop."""
    with twins.file_system(kind, make, f"loop,{option}") as disk:
        twins.run("xfs_quota", "-f", "-x", "-c", "limit -u bhard=1m ihard=30 1000", disk)
        # Nor may root there go beyond the limits of others (docs/kernel.md)
        unlike = {"given away": "EDQUOT", "how many": 32} if kind == "ext4" else {}
        twins.compare(disk, quota_steps, unlike)


def xattr_steps(s: Steps) -> None:
    path = s.base / "file"
    path.write_text("x")
    path.chmod(0o666)
    names = ("user.x", "trusted.x", "security.x", "system.x", "btrfs.x", "user.", "", "user")
    for name in names:
        for value in (b"value", b""):
            s.do(f"set {name}", partial(os.setxattr, path, name, value))
        s.do(f"get {name}", partial(os.getxattr, path, name))
    s.do("list", lambda: sorted(os.listxattr(path)))
    s.do("only create", lambda: os.setxattr(path, "user.x", b"y", os.XATTR_CREATE))
    s.do("only replace", lambda: os.setxattr(path, "user.y", b"y", os.XATTR_REPLACE))
    s.do("too long a name", lambda: os.setxattr(path, "user." + "n" * 251, b"y"))
    s.do("longest name", lambda: os.setxattr(path, "user." + "n" * 250, b"y"))
    s.do("too large", lambda: os.setxattr(path, "user.x", bytes(65537)))
    os.symlink("file", s.base / "link")
    s.do("of a link", lambda: os.setxattr(s.base / "link", "user.x", b"y", follow_symlinks=False))
    s.do(
        "trusted of a link",
        lambda: os.setxattr(s.base / "link", "trusted.x", b"y", follow_symlinks=False),
    )
    script = (
        "import ctypes, os, sys\n"
        "for name in ('user.x', 'trusted.x', 'security.x'):\n"
        "    for call in (os.getxattr, lambda p, n: os.setxattr(p, n, b'z'), os.removexattr):\n"
        "        try:\n"
        "            print(name, call(sys.argv[1], name))\n"
        "        except OSError as error:\n"
        "            print(name, error.errno)\n"
        "print(sorted(os.listxattr(sys.argv[1])))\n"
        "listxattr = ctypes.CDLL(None).listxattr\n"
        "for size in (0, 2, 20, 100):\n"
        "    print(size, listxattr(sys.argv[1].encode(), bytes(100), size))\n"
    )
    s.do("as user", partial(as_user, sys.executable, "-c", script, path))


def test_xattrs_of_every_namespace(place: Path) -> None:
    twins.compare(place, xattr_steps)


def test_attributes_changed_below_are_refreshed(place: Path) -> None:
    """What execution, sticky directories, link counts and sizes depend on, where it was cached."""
    lower, mnt = pair(place)
    (lower / "id").write_bytes(Path("/usr/bin/id").read_bytes())
    (lower / "id").chmod(0o755)
    (lower / "sticky").mkdir()
    (lower / "sticky").chmod(0o1777)
    (lower / "sticky/file").write_text("content")
    (lower / "mapped").write_bytes(b"before" * 1000)
    with kit.mounted(lower, mnt):
        assert as_user(mnt / "id", "-u") == "1000\n"
        (lower / "id").chmod(0o4755)
        assert as_user(mnt / "id", "-u") == "0\n"
        (lower / "id").chmod(0o644)
        assert result_of(lambda: subprocess.run([mnt / "id"], check=False)) == "EACCES"

        unlink = ("rm", "-f", mnt / "sticky/file")
        assert "not permitted" in as_user(*unlink)
        os.chown(lower / "sticky/file", 1000, 1000)
        assert as_user(*unlink) == ""

        os.link(lower / "mapped", lower / "second")
        assert (mnt / "mapped").stat().st_nlink == 2
        os.unlink(lower / "second")
        assert (mnt / "mapped").stat().st_nlink == 1
        with (mnt / "mapped").open("rb") as file, mmap.mmap(file.fileno(), 6, prot=1) as mapped:
            assert mapped[:] == b"before"
            with (lower / "mapped").open("r+b") as below:
                below.write(b"after!")
            assert mapped[:] == b"after!"
            os.truncate(lower / "mapped", 100)
            assert file.seek(0, os.SEEK_END) == 100
        os.truncate(lower / "mapped", 7000)
        with (mnt / "mapped").open("rb") as file, (mnt / "copy").open("wb") as copy:
            assert os.copy_file_range(file.fileno(), copy.fileno(), 10000) == 7000


def test_regular_files_are_not_polled(place: Path) -> None:
    lower, mnt = pair(place)
    (lower / "file").write_text("x")
    with kit.mounted(lower, mnt), (mnt / "file").open() as file, select.epoll() as poll:
        assert result_of(lambda: poll.register(file)) == "EPERM"
        assert select.select([file], [file], [], 0)[0] == [file]


@contextmanager
def counted(function: str) -> Iterator[Callable[[], int]]:
    """How often a function of the kernel is called (Documentation/trace/kprobetrace.rst)."""
    tracing, event = Path("/sys/kernel/tracing"), "fusebpf_counted"
    # Truncating it would remove every other probe, and Python's "a" seeks
    events = os.open(tracing / "kprobe_events", os.O_WRONLY | os.O_APPEND)
    os.write(events, f"p:{event} {function}\n".encode())
    enable = tracing / "events/kprobes" / event / "enable"
    try:
        enable.write_text("1")

        def calls() -> int:
            lines = (tracing / "kprobe_profile").read_text().splitlines()
            (line,) = (line.split() for line in lines if line.split()[0] == event)
            return int(line[1])

        yield calls
    finally:
        enable.write_text("0")
        os.write(events, f"-:{event}\n".encode())
        os.close(events)


def test_writes_do_not_look_for_capabilities(place: Path) -> None:
    """The first one does, and remembers that the file has none."""
    lower, mnt = pair(place)
    (lower / "file").write_text("x")
    with kit.mounted(lower, mnt), counted("cap_inode_need_killpriv") as calls:
        with (mnt / "file").open("r+b", buffering=0) as file:
            file.write(b"first")
            first = calls()
            for _ in range(100):
                file.write(b"more")
            assert calls() == first
        os.setxattr(mnt / "file", "security.capability", capability(CAP_NET_RAW))
        with (mnt / "file").open("r+b", buffering=0) as file:
            file.write(b"again")
        assert calls() > first
        assert result_of(lambda: os.getxattr(mnt / "file", "security.capability")) == "ENODATA"


def test_swapping_on_a_file_is_refused(place: Path) -> None:
    lower, mnt = pair(place)
    (lower / "swap").write_bytes(bytes(1 << 20))
    (lower / "swap").chmod(0o600)
    twins.run("mkswap", lower / "swap")
    with kit.mounted(lower, mnt):
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.swapon(os.fsencode(mnt / "swap"), 0) == -1
        if ctypes.get_errno() == errno.ENOSYS:
            pytest.skip("this kernel has no swap")
        assert ctypes.get_errno() == errno.EINVAL


def test_a_case_insensitive_lower_is_refused(tmp_path: Path) -> None:
    """Already where the file system can have such directories, as in overlayfs."""
    make = ("-O", "casefold", "-E", "encoding=utf8")
    with twins.file_system("ext4", make=make) as directory:
        mnt = tmp_path / "mnt"
        mnt.mkdir()
        (directory / "folded").mkdir()
        twins.run("chattr", "+F", directory / "folded")
        (directory / "folded/Name").touch()
        assert (directory / "folded/nAME").exists()
        for root in (directory, directory / "folded"):
            with pytest.raises(MountError) as caught:
                kit.make_mount(root, mnt)
            assert "case-insensitive" in " ".join(caught.value.log)


@pytest.mark.parametrize(("fs", "creds"), twins.KINDS_AND_CREDS, indirect=["fs"])
def test_on_an_idmapped_lower_mount(place: Path, creds: str) -> None:
    """Owners and ACLs are those that the lower mount shows, and are mapped back."""
    lower, mnt = pair(place)
    mapped = place / "mapped"
    mapped.mkdir()
    (lower / "file").write_text("content")
    os.chown(lower / "file", 1, 2)
    (lower / "dir").mkdir()
    (lower / "dir").chmod(0o777)
    twins.run("setfacl", "-m", "u:5:rw,g:6:r", lower / "file")
    twins.run("mount", "--bind", "-o", "X-mount.idmap=b:0:10000:2000", lower, mapped)
    try:
        with kit.mounted(mapped, mnt, creds=creds):
            assert _acl(mnt / "file") == _acl(mapped / "file")
            assert "user:10005:rw-" in _acl(mnt / "file")
            st = (mnt / "file").stat()
            assert (st.st_uid, st.st_gid) == (10001, 10002)
            twins.run("setfacl", "-m", "u:10007:rwx,g:10008:x", mnt / "file")
            assert _acl(mnt / "file") == _acl(mapped / "file")
            for line in ("user:7:rwx", "group:8:--x", "user:5:rw-"):
                assert line in _acl(lower / "file")
            assert "user:10007:rwx" in _acl(mnt / "file")  # what was cached below is not touched
            foreign = subprocess.run(
                ["setfacl", "-m", "u:77:r", mnt / "file"], check=False, stderr=subprocess.DEVNULL
            )
            assert foreign.returncode != 0  # an id that the lower mount has no place for
            os.setxattr(mnt / "file", "user.x", b"y")
            twins.run(*_as(10003), "touch", mnt / "dir/new")
            twins.run(*_as(10003), "chmod", "600", mnt / "dir/new")
            assert (lower / "dir/new").stat().st_uid == 3
            assert (mnt / "dir/new").stat().st_uid == 10003
            assert _run_status(*_as(10005), "cat", mnt / "file") == 0
            assert _run_status(*_as(10009), "truncate", "-s0", mnt / "file") != 0
            for command in (("touch", mnt / "dir/not"), ("mkdir", mnt / "dir/not")):
                assert _run_status(*_as(77), *command) != 0
    finally:
        umount(mapped)


def _as(uid: int) -> tuple[str, ...]:
    return ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all")


def _run_status(*command: str | Path) -> int:
    return subprocess.run(command, check=False, stdout=-3, stderr=-3).returncode


def _acl(path: Path) -> list[str]:
    command = ["getfacl", "-cn", "--absolute-names", str(path)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()


MAKERS = 4
"""Threads that make files at once, each with ids of its own."""
MADE = 60
"""Of each kind, by each of them."""


def _make_as(directory: Path, begin: Barrier, uid: int) -> list[tuple[str, int, int]]:
    """What a thread, whose ids for files are its own, made that is not its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.setfsgid(uid + 100)
    libc.setfsuid(uid)
    begin.wait(60)
    made = []
    for i in range(MADE):
        name = f"{directory}/{uid}.{i}"
        for kind, make in (
            ("f", lambda path: os.close(os.open(path, os.O_CREAT | os.O_EXCL))),
            ("d", os.mkdir),
            ("l", partial(os.symlink, "to")),
            ("p", os.mkfifo),
        ):
            make(f"{name}.{kind}")
            found = os.lstat(f"{name}.{kind}")
            made.append((f"{uid}.{i}.{kind}", found.st_uid, found.st_gid))
        fd = os.open(directory, os.O_TMPFILE | os.O_RDWR)
        found = os.fstat(fd)
        made.append((f"{uid}.{i} unnamed", found.st_uid, found.st_gid))
        os.close(fd)
    return [each for each in made if each[1:] != (uid, uid + 100)]


def test_what_many_make_at_once_is_each_ones_own(place: Path) -> None:
    lower, mnt = pair(place)
    lower.chmod(0o777)
    uids = range(2000, 2000 + MAKERS)
    with kit.mounted(lower, mnt), ThreadPoolExecutor(MAKERS) as pool:
        for wrong in pool.map(partial(_make_as, mnt, Barrier(MAKERS)), uids):
            assert wrong == []
    assert len(list(lower.iterdir())) == MAKERS * MADE * 4
    for path in lower.iterdir():
        assert path.lstat().st_uid == int(path.name.split(".")[0])


def reserve_steps(s: Steps) -> None:
    s.base.chmod(0o777)
    script = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)\n"
        "try:\n"
        "    os.posix_fallocate(fd, 0, 40 << 20)\n"
        "    print('has them')\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
    )
    s.do("as user", partial(as_user, sys.executable, "-c", script, s.base / "file"))
    os.unlink(s.base / "file")


def test_blocks_reserved_for_root() -> None:
    """They are the mounter's, in whose name lower calls run; with creds=caller nobody else's."""
    for creds, unlike in (("mounter", {"as user": "has them\n"}), ("caller", {})):
        with twins.file_system("ext4", make=("-m", "50")) as directory:
            twins.compare(directory, reserve_steps, unlike=unlike, creds=creds)
