# SPDX-License-Identifier: MIT
"""A mount under confinement: sandboxes that may use only the mount, users who may not mount."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fusebpf.runtime import features
from fusebpf.runtime.fsmount import MountError, umount
from fusebpf.runtime.sysbpf import syscall
from tests.vm import kernelkit as kit

STEPS = Path(__file__).with_name("kernel_confined_steps.py")
USER = 1000

Results = dict[str, str]


def confined(
    *arguments: str | Path | int, before: tuple[str, ...] = (), fds: tuple[int, ...] = ()
) -> Results:
    """Run the steps behind a command that confines them."""
    done = subprocess.run(
        [*before, "/usr/bin/python3", "-", *map(str, arguments), *map(str, fds)],
        input=STEPS.read_text(encoding="utf-8"),
        capture_output=True,
        text=True,
        check=False,
        pass_fds=fds,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    found: Results = json.loads(done.stdout)
    return found


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can reach, on the disk: tests move no data between mounts."""
    directory = Path(f"/srv/confined.{os.getpid()}")
    directory.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", directory], check=True)
    yield directory
    for entry in sorted(mountinfo_below(directory), reverse=True):
        umount(entry, lazy=True)
    directory.rmdir()


def mountinfo_below(directory: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in points if Path(point).is_relative_to(directory)]


def make_tree(base: Path, owner: int) -> None:
    for name in ("file", "cut", "longer", "mapped"):
        (base / name).write_text(f"{name} content\n")
    (base / "dir").mkdir()
    (base / "empty").mkdir()
    (base / "program").write_text("#!/bin/sh\nexit 0\n")
    (base / "program").chmod(0o755)
    for path in (base, *base.iterdir()):
        os.chown(path, owner, owner)
    (base / "roots").write_text("secret\n")
    (base / "roots").chmod(0o600)
    (base / "shut").mkdir(mode=0o700)


def tree_of(base: Path) -> dict[str, tuple[int, int, str]]:
    found = {}
    for path in sorted(base.rglob("*")):
        stat = path.lstat()
        data = path.read_text() if path.is_file() else ""
        found[str(path.relative_to(base))] = (stat.st_mode, stat.st_uid, data)
    return found


class Pair:
    """The same tree twice, shown by a bind mount and by ours, with a directory outside of each."""

    def __init__(self, place: Path, owner: int) -> None:
        self.place = place
        for name in ("bare", "lower"):
            (place / name).mkdir()
            make_tree(place / name, owner)
        for name in ("bind/mnt", "ours/mnt", "outside"):
            (place / name).mkdir(parents=True)
        (place / "outside/file").write_text("outside\n")
        os.chown(place / "outside", owner, owner)
        self.bind, self.ours = place / "bind/mnt", place / "ours/mnt"
        subprocess.run(["mount", "--bind", place / "bare", self.bind], check=True)

    def compare(self, what: str, before: tuple[str, ...], creds: str) -> Results:
        """Take the steps on both; trees and results must be alike. Returns the results."""
        outside = self.place / "outside"
        expected = confined(what, self.bind, outside, before=before)
        with kit.mounted(self.place / "lower", self.ours, creds=creds):
            actual = confined(what, self.ours, outside, before=before)
        assert actual == expected
        assert tree_of(self.place / "lower") == tree_of(self.place / "bare")
        return actual

    def as_caller(self, what: str, before: tuple[str, ...]) -> None:
        """With the caller's credentials: where a file is opened, the confinement holds below too.

        Changes of names are judged by paths, and those only at the mount, as the kernel does it for
        every stacked file system.
        """
        content = {name: entry[2] for name, entry in tree_of(self.place / "lower").items()}
        outside = self.place / "outside"
        with kit.mounted(self.place / "lower", self.ours, creds="caller"):
            got = confined(what, self.ours, outside, before=before)
        assert {name: got[name] for name in OPENS} == dict.fromkeys(OPENS, "EACCES")
        assert {name: got[name] for name in RENAMES} == dict.fromkeys(RENAMES, "ok")
        after = tree_of(self.place / "lower")
        for name in ("file", "mapped", "program", "roots"):
            assert after[name][2] == content[name]
        check_outside(got)


WORKS = (
    *("write", "append", "truncate by open", "truncate", "map", "create", "mkdir", "mkfifo"),
    *("symlink", "link", "link to dir", "rename", "rename to dir", "rename over", "rename dir"),
    *("chmod", "utime", "unlink", "rmdir"),
)
OPENS = ("read", "write", "append", "truncate by open", "map", "create", "list", "list dir")
RENAMES = ("mkdir", "mkfifo", "symlink", "rename dir", "chmod", "utime", "unlink", "rmdir")


def as_user(uid: int = USER) -> tuple[str, ...]:
    return ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all")


def check_outside(got: Results) -> None:
    outside = [name for name in got if name.startswith("outside ")]
    assert {got[name] for name in outside} == {"EACCES"}
    assert got["rename to outside"] in ("EACCES", "EXDEV")
    assert got["dot dot"] == "EACCES"


def check_inside_and_outside(got: Results) -> None:
    """That the comparison was of something: it works inside, and only there."""
    assert {name: got[name] for name in WORKS} == dict.fromkeys(WORKS, "ok")
    assert got["read"] == "file content\n"
    check_outside(got)


@pytest.mark.parametrize("owner", [0, USER])
def test_landlock_as_on_a_bind_mount(place: Path, owner: int) -> None:
    """A sandbox that may use only the mount can: lower calls are the mounter's."""
    got = Pair(place, owner).compare("landlock", as_user() if owner else (), "mounter")
    check_inside_and_outside(got)
    assert got["unreadable"] == ("EACCES" if owner else "secret\n")


@pytest.mark.parametrize("owner", [0, USER])
def test_landlock_of_a_caller_holds_below(place: Path, owner: int) -> None:
    """creds=caller: rules that name only the mount allow no file of the lower tree."""
    Pair(place, owner).as_caller("landlock", as_user() if owner else ())


PROFILE = """
profile fusebpf-tests flags=(attach_disconnected) {{
  /usr/** mrix,
  /etc/** r,
  /proc/** r,
  /dev/null rw,
  /dev/urandom r,
  {base}/ r,
  {base}/** rwlkmix,
}}
"""


@contextmanager
def apparmor(base: Path) -> Iterator[tuple[str, ...]]:
    """A profile that allows the mount alone; gives the command that enters it."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    assert enabled.read_text().strip() == "Y", "the guest's kernel has AppArmor off"
    security = Path("/sys/kernel/security")
    if not (security / "apparmor").is_dir():
        subprocess.run(["mount", "-t", "securityfs", "none", security], check=True)

    def parse(action: str) -> None:
        command = ["apparmor_parser", "--skip-cache", action]
        profile = PROFILE.format(base=base)
        done = subprocess.run(command, input=profile, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    parse("--replace")
    try:
        yield ("aa-exec", "-p", "fusebpf-tests", "--")
    finally:
        parse("--remove")


@pytest.mark.parametrize("owner", [0, USER])
def test_apparmor_as_on_a_bind_mount(place: Path, owner: int) -> None:
    """A profile that names only the mount, nothing of the lower tree, is enough for its user."""
    pair = Pair(place, owner)
    with apparmor(place / "*/mnt") as enter:
        got = pair.compare("files", (*(as_user() if owner else ()), *enter), "mounter")
    check_inside_and_outside(got)


@pytest.mark.parametrize("owner", [0, USER])
def test_apparmor_of_a_caller_holds_below(place: Path, owner: int) -> None:
    pair = Pair(place, owner)
    with apparmor(place / "*/mnt") as enter:
        pair.as_caller("files", (*(as_user() if owner else ()), *enter))


# Who may not mount

NOBODY = {
    "user": as_user(),
    "root of a user namespace": (*as_user(), "unshare", "--user", "--map-root-user", "--mount"),
    "user namespace without CAP_SYS_ADMIN": (
        *(*as_user(), "unshare", "--user", "--map-root-user", "--mount"),
        *("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"),
    ),
    "uid 0 of a user namespace": ("unshare", "--user", "--map-root-user", "--mount"),
    "root without CAP_SYS_ADMIN": ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"),
}

HARMLESS = {
    # In a mount namespace of its own a process may cover what it sees, with what it sees
    "bind what covers": {"root of a user namespace", "uid 0 of a user namespace"},
    # 0600; who is root outside too may open it, and can do nothing with it
    "device": {"root without CAP_SYS_ADMIN", "uid 0 of a user namespace"},
}


# Which user namespaces may mount: a device from outside of it, or none. Newer series look at that
# before anything else.
OWN_FUSE = ("", "fd,rootmode,user_id,group_id") if kit.form().in_kernel else ()
NEWER = ("fuseblk", "fd,rootmode,user_id,group_id") if kit.series() >= (7, 3) else ()


def _options(name: str) -> str:
    """The options of a step that mounts, without their values; another step's name as it is."""
    what, _, options = name.partition(" ")
    if what not in ("fsopen", "mount"):
        return name
    return ",".join(option.partition("=")[0] for option in options.split(","))


@pytest.mark.parametrize("who", NOBODY)
def test_no_way_to_a_mount(place: Path, who: str) -> None:
    """With descriptors of everything that root has: it is the privilege that counts."""
    lower, target, backed = (place / name for name in ("lower", "target", "backed"))
    for directory in (lower, target, backed):
        directory.mkdir()
    (lower / "file").write_text("content\n")
    with kit.filters("lookup_prefilter") as f, kit.mounted(lower, backed):
        subprocess.run(["mount", "-o", "remount,bind,ro,nosuid,nodev", backed], check=True)
        before = Path("/proc/self/mountinfo").read_text()
        root = os.open(lower, os.O_PATH)
        device = os.open(features.device(), os.O_RDWR)
        context = syscall(430, kit.form().fs_type.encode(), 0)
        syscall(431, context, 1, b"root_dir", str(root).encode(), 0)
        syscall(431, context, 0, b"no_daemon", None, 0)
        fds = (root, f.link.fd, device, context)
        try:
            names = (f.name, kit.form().fs_type, features.device())
            got = confined("mounts", lower, target, backed, *names, before=NOBODY[who], fds=fds)
        finally:
            for fd in (root, device, context):
                os.close(fd)
        allowed = {name for name, users in HARMLESS.items() if who in users}
        assert len(got) > 140
        done = {name for name, result in got.items() if result == "ok"}
        assert done <= allowed, done
        refusals = {result for name, result in got.items() if name not in done}
        assert refusals <= {"EPERM", "EACCES", "EINVAL"}
        # EINVAL: it is locked, takes no id mapping, or no options later
        other = {_options(name) for name, result in got.items() if result == "EINVAL"}
        mapping = {"idmapped", "detached and idmapped"}
        known = {"umount", "remount", "pick and add an option", *mapping, *OWN_FUSE, *NEWER}
        assert other <= known, other - known
        assert Path("/proc/self/mountinfo").read_text() == before
        assert (backed / "file").read_text() == "content\n"


@contextmanager
def user_namespace() -> Iterator[int]:
    """A user namespace with a copy of the mounts, as an ordinary user makes it; gives its pid."""
    command = [*NOBODY["root of a user namespace"], "--propagation", "slave", "sh", "-c"]
    with subprocess.Popen(
        [*command, "echo ready; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == b"ready\n"
        # setpriv and unshare replaced themselves: it is this process
        yield child.pid
        child.stdin.close()


def test_mount_that_arrives_in_a_user_namespace_stays_as_it_is(place: Path) -> None:
    """By propagation; what was forbidden on it stays forbidden there."""
    lower, own, target, backed = (place / name for name in ("lower", "own", "target", "backed"))
    for directory in (lower, own, target, backed):
        directory.mkdir()
    program = lower / "program"
    program.write_bytes(Path("/usr/bin/id").read_bytes())
    program.chmod(0o4755)
    os.mknod(lower / "null", 0o20666, os.makedev(1, 3))
    subprocess.run(["mount", "--make-shared", place], check=True)
    null = os.open("/dev/null", os.O_RDWR)
    fds = tuple(os.dup(null) for _ in range(4))
    with user_namespace() as pid, kit.mounted(lower, own):
        subprocess.run(["mount", "-o", "remount,bind,ro,nosuid,nodev", own], check=True)
        subprocess.run(["mount", "--bind", own, backed], check=True)
        inside = Path(f"/proc/{pid}/root{backed}/program")
        assert inside.exists(), "it did not arrive"
        into = ("nsenter", f"--target={pid}", "--user", "--mount", "--preserve-credentials")
        enter = (*as_user(), *into)
        for command in (
            ["touch", backed / "new"],
            ["cat", backed / "null"],
            # 0 is the namespace's root, which is the user outside
            ["sh", "-c", f"test $({backed}/program -u) != 0"],
        ):
            ended = subprocess.run([*enter, *command], capture_output=True, check=False)
            assert ended.returncode != 0, command
        names = ("none", kit.form().fs_type, features.device())
        got = confined("mounts", lower, target, backed, *names, before=enter, fds=fds)
        # What it covers may be seen there: both are the same user's to see
        done = {name for name, result in got.items() if result == "ok"}
        assert done == {"bind what covers", "umount"}
        umount(backed)
        assert not inside.exists(), "it stayed behind in the namespace"
    for fd in (null, *fds):
        os.close(fd)


def refusal(lower: str | Path, target: Path) -> MountError:
    with pytest.raises(MountError) as caught:
        kit.make_mount(Path(lower), target)
    return caught.value


def test_lower_directory_with_locked_mounts_is_refused(place: Path) -> None:
    """Cloned without them, it would show what they cover."""
    lower, mnt = place / "lower", place / "mnt"
    (lower / "sub").mkdir(parents=True)
    (lower / "plain").mkdir()
    mnt.mkdir()
    (lower / "sub/covered").write_text("secret\n")
    subprocess.run(["mount", "-t", "tmpfs", "none", lower / "sub"], check=True)
    with user_namespace() as pid:
        error = refusal(f"/proc/{pid}/root{lower}", mnt)
        assert error.errno == errno.EINVAL
        assert "locked mounts" in str(error)
        # The same directory in our own namespace has the same mount, which is not locked
        with kit.mounted(lower, mnt):
            assert (mnt / "sub/covered").read_text() == "secret\n"


def test_detached_lower_directory(place: Path) -> None:
    """Refused, where the kernel does not clone such a mount yet."""
    lower, mnt = place / "lower", place / "mnt"
    lower.mkdir()
    mnt.mkdir()
    (lower / "file").write_text("content\n")
    tree = syscall(428, -100, os.fsencode(lower), 1)  # open_tree, a clone
    try:
        if kit.series() >= (7, 3):
            with kit.mounted(Path(f"/proc/self/fd/{tree}"), mnt):
                assert (mnt / "file").read_text() == "content\n"
        else:
            error = refusal(f"/proc/self/fd/{tree}", mnt)
            assert error.errno == errno.EINVAL
            assert "detached" in str(error)
    finally:
        os.close(tree)


def test_id_mapping_on_top_is_refused(place: Path) -> None:
    """Also for root: owners of our inodes are the lower ones."""
    lower, mnt, other = (place / name for name in ("lower", "mnt", "other"))
    for directory in (lower, mnt, other):
        directory.mkdir()
    bind = ["mount", "--bind", "-o", "X-mount.idmap=b:0:1000:1"]
    subprocess.run([*bind, lower, other], check=True)  # tmpfs takes it
    umount(other)
    with kit.mounted(lower, mnt):
        done = subprocess.run([*bind, mnt, other], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert str(other) not in mountinfo_below(place)
