# SPDX-License-Identifier: MIT
"""A mount that is made outside and used inside: namespaces by unshare(1), bubblewrap, nspawn.

docs/containers.md says what these tests ask.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusebpf.build import build_file
from fusebpf.runtime import attach, detach, replace
from fusebpf.runtime.holders import leftovers
from tests.unit.documents import ROOT
from tests.vm.attach_objects import nothing_left

USER = 1000
FIRST = 524288
"""The user outside that is root in a container with users of its own."""

# Hides .env, or the name of the second set too; notes who opened.
FILTERS = """from fusebpf import Context, FilterSet, Name, OpenIn
from fusebpf.constants import ENOENT
from fusebpf.types import u32

filters = FilterSet("boxed")
openers = filters.hash("openers", key=u32, value=u32, max_entries=256)

@filters.lookup.pre
def hide(ctx: Context, name: Name):
    if name == ".env" or name == "HIDDEN":
        return -ENOENT

@filters.open.pre
def note(ctx: Context, req: OpenIn):
    openers.put(ctx.pid, ctx.uid)
"""


@dataclass(frozen=True)
class Kind:
    """A way into a container. `uid` is its root outside, or its only user; `unmounts`: it may."""

    command: tuple[str, ...]
    at: str
    uid: int
    unmounts: bool


AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc")
SYSTEM = ("--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--proc", "/proc")
BWRAP = ("bwrap", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib64", "/lib64", *SYSTEM)
NSPAWN = (
    *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2", "--pipe"),
    "--link-journal=no",
    *("--directory={root}", "--bind-ro=/usr", "--bind={mnt}:/data"),
)
USERS = (f"--private-users={FIRST}:65536", "--private-users-ownership=off")

KINDS = {
    "unshare": Kind((*AS_USER, *UNSHARE), "{mnt}", USER, unmounts=False),
    "bubblewrap": Kind(
        (*AS_USER, *BWRAP, "--bind", "{mnt}", "/data", "--unshare-all", "--die-with-parent"),
        "/data",
        USER,
        unmounts=False,
    ),
    "nspawn": Kind(NSPAWN, "/data", 0, unmounts=True),
    "nspawn with users": Kind((*NSPAWN, *USERS), "/data", FIRST, unmounts=False),
}


class Box:
    """A shell in a container."""

    def __init__(self, shell: subprocess.Popen[str], at: str) -> None:
        self._shell = shell
        self.at = at

    def do(self, command: str) -> tuple[int, str]:
        """Status and output of a command, which the shell itself runs."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{{ {command}\n}} 2>&1; status=$?; echo; echo === $status\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in self._shell.stdout:
            if line.startswith("=== "):
                return int(line[4:]), "".join(lines).strip()
            lines.append(line)
        raise AssertionError(f"the container ended: {lines}")


@contextmanager
def box(kind: Kind, mnt: Path, root: Path) -> Iterator[Box]:
    """A container that sees the mount."""
    places = {"mnt": mnt, "root": root}
    command = [word.format(**places) for word in kind.command]
    with subprocess.Popen(
        [*command, "sh"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
    ) as shell:
        try:
            yield Box(shell, kind.at.format(**places))
            shell.communicate(timeout=30)
        finally:
            shell.kill()


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The objects of two sets, of which the second hides the file `plain`."""
    directory = tmp_path_factory.mktemp("boxed")
    found = []
    for name, hidden in (("open", "nothing"), ("strict", "plain")):
        (directory / f"{name}.py").write_text(FILTERS.replace("HIDDEN", hidden))
        found.append(build_file(directory / f"{name}.py").path)
    return found[0], found[1]


@pytest.fixture
def lower(lower: Path, mnt: Path) -> Path:
    """A directory that every user may write to, with a file of root's alone."""
    for name in ("plain", ".env", "roots"):
        (lower / name).write_text(f"{name}\n")
    (lower / "roots").chmod(0o600)
    lower.chmod(0o777)
    for directory in mnt.parents[:3]:
        directory.chmod(0o755)
    return lower


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root directory of a container of nspawn's; /usr is the guest's."""
    directory = tmp_path / "root"
    for name in ("usr", "etc", "data"):
        (directory / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (directory / name).symlink_to(f"usr/{name}")
    return directory


def pid_inside(pid: int) -> list[int]:
    """Numbers of a process in each of its namespaces, the outermost first."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("NSpid:"))
    return [int(number) for number in line.split()[1:]]


@pytest.mark.parametrize("name", KINDS)
def test_used_inside(
    name: str, sets: tuple[Path, Path], lower: Path, mnt: Path, root: Path
) -> None:
    kind = KINDS[name]
    with nothing_left():
        mount = attach(sets[0], lower, mnt)
        with box(kind, mnt, root) as inside:
            at = inside.at
            assert inside.do(f"cat {at}/plain") == (0, "plain")
            assert inside.do(f"cat {at}/.env")[0] != 0
            assert ".env" in inside.do(f"ls -a {at}")[1], "hidden by lookup alone"

            # Files are those of the ids outside; permission is that of the caller.
            assert inside.do(f"echo new >{at}/new") == (0, "")
            assert (lower / "new").stat().st_uid == kind.uid
            assert inside.do(f"stat -c %u {at}/new")[1] == ("0" if name != "bubblewrap" else "1000")
            seen = "0" if kind.uid == 0 else "65534"
            assert inside.do(f"stat -c %u {at}/roots") == (0, seen)
            assert (inside.do(f"cat {at}/roots")[0] == 0) == (kind.uid == 0)

            # Filters see processes and users as they are outside.
            assert inside.do(f"read line <{at}/plain") == (0, "")
            own = int(inside.do("echo $$")[1])
            found = {
                uid
                for pid, uid in mount.maps["openers"].items()
                if Path(f"/proc/{pid}").exists() and pid_inside(pid)[1:] == [own]
            }
            assert found == {kind.uid}

            # What is replaced outside is replaced inside.
            replace(mnt, sets[1])
            assert inside.do(f"cat {at}/plain")[0] != 0
            replace(mnt, sets[0])

            # An unmount is each side's own.
            assert (inside.do(f"umount {at}")[0] == 0) == kind.unmounts
            assert (mnt / "plain").read_text() == "plain\n"
            assert not (mnt / ".env").exists()
            mount.close()
            detach(mnt)
            if not kind.unmounts:
                assert inside.do(f"cat {at}/plain") == (0, "plain")
                assert inside.do(f"cat {at}/.env")[0] != 0
                (left,) = leftovers()
                assert [holder.kind for holder in left.holders] == ["namespace"]


def test_ls_of_root_inside_alone(sets: tuple[Path, Path], lower: Path, mnt: Path) -> None:
    """It shows the mount, which the kernel tells everyone, and not what it tells root outside."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from fusebpf.cli import run; run(['ls'])"
    )
    with nothing_left(), attach(sets[0], lower, mnt):
        done = subprocess.run(
            [*AS_USER, *UNSHARE, sys.executable, "-c", script], capture_output=True, text=True
        )
        assert done.stderr == ""
        _head, line = done.stdout.splitlines()
        assert line.split()[:3] == [str(mnt), str(lower), "active"]
        assert "boxed" not in line
