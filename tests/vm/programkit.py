# SPDX-License-Identifier: MIT
"""Whole programs on a mount and on a bare twin: same input, same status, output and tree.

FUSEBPF_STRESS_SECONDS, set by `make test-long`, is how long a load runs; it also makes every
program run on tmpfs, ext4 and xfs. Without it loads are short, on ext4 alone.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.differential.lowers import lower
from tests.differential.observe import RULES, Rules, Token, tree
from tests.vm import kernelkit as kit
from tests.vm.limits import SLOWNESS, need_file_system

SECONDS = int(os.environ.get("FUSEBPF_STRESS_SECONDS") or "0")
DATA = Path(__file__).with_name("program_data")

# Emulated programs are slow: what CI runs takes about two minutes on one lower file system
LOWERS = ("tmpfs", "ext4", "xfs") if SECONDS else ("ext4",)
# Of these only xfs shares blocks between files
REFLINK = ("tmpfs", "ext4", "xfs") if SECONDS else ("xfs",)
long_only = pytest.mark.skipif(
    not SECONDS, reason="takes too long when emulated: FUSEBPF_STRESS_SECONDS=10, make test-long"
)

# Where every side sees itself, so that paths in outputs and files are the same
HERE = Path("/tmp/fusebpf-here")
_ENTER = 'mount --bind "$1" "$2" && cd "$2" && shift 2 && exec "$@"'
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": f"{HERE}/home",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "DATA": str(DATA),
    "PYTHONDONTWRITEBYTECODE": "1",  # compiled files hold the time of their sources
}

OLD_NS = 951_782_400_123_456_789  # 2000-02-29, which observe.py takes for set, not for the clock's


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    status: int
    output: str
    errors: str


def _waiting(pid: int) -> str:
    """What a process and its children do in the kernel, while they are there."""
    process = Path("/proc", str(pid))
    said = ""
    with suppress(OSError):
        name, stack = (process / "comm").read_text(), (process / "stack").read_text()
        said = f"{pid} {name}{stack}"
        for child in (process / f"task/{pid}/children").read_text().split():
            said += _waiting(int(child))
    return said


def side(where: Path, script: str, timeout: float = 280) -> Done:
    """Run a bash script in `where`, which it sees at HERE; it ends at the first error.

    Raises:
        subprocess.TimeoutExpired: it ran longer than `timeout` seconds of the stock kernel; its
            `stderr` says what its processes were doing.
    """
    # Processes of its own: none stays behind, and their numbers are the same on both sides
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    enter = ["sh", "-c", _ENTER, "sh", str(where), str(HERE)]
    with subprocess.Popen(
        [*apart, *enter, "bash", "-euo", "pipefail", "-c", script],
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            texts = process.communicate(timeout=timeout * SLOWNESS)
        except subprocess.TimeoutExpired as error:
            error.stderr = (error.stderr or b"") + _waiting(process.pid).encode()
            raise
        finally:
            process.kill()
    return Done(process.returncode, *(os.fsdecode(text) for text in texts))


class Pair:
    """A bare directory and a mount, both empty at first, on one file system."""

    def __init__(self, kind: str, bare: Path, lower: Path, mount: Path) -> None:
        self.rules: Rules = RULES[kind]
        self.bare, self.lower, self.mount = bare, lower, mount
        self.sides = (bare, mount)

    def run(self, script: str, noise: str = "(?!)") -> Done:
        """Run a script on both sides at once; it must succeed, with the same output.

        What matches the pattern `noise` (times, process ids) is left out of the outputs.
        """
        with ThreadPoolExecutor(2) as pool:
            bare, mount = pool.map(lambda where: side(where, script), self.sides)
        assert bare.status == 0, f"the bare directory's own status: {bare}"
        for name in ("status", "output", "errors"):
            texts = [re.sub(noise, "", str(getattr(done, name))) for done in (bare, mount)]
            assert texts[0] == texts[1], f"{name} on the mount: {mount}"
        return mount

    def compare(self, skip: str = "(?!)", loose: str = "(?!)") -> None:
        """The trees of both sides are alike, through the mount and below it.

        Names that match `skip` are left out; of those that match `loose`, size and content are
        compared only with what lies below.
        """
        found = _differences(*(self._tree(base, skip, loose) for base in self.sides))
        if found:
            pytest.fail(found, pytrace=False)
        self.compare_below(skip)

    def compare_below(self, skip: str = "(?!)") -> None:
        """The mount's tree is as it is below."""
        # Looking at the mount moves access times below it, which are last
        through, below = (
            {name: token[:-1] for name, token in self._tree(base, skip).items()}
            for base in (self.mount, self.lower)
        )
        if found := _differences(through, below):
            pytest.fail(found, pytrace=False)

    def _tree(self, base: Path, skip: str, loose: str = "(?!)") -> dict[str, Token]:
        found: dict[str, Token] = {}
        for name, attributes, content, xattrs in tree(str(base), self.rules):
            assert isinstance(name, str)
            assert isinstance(attributes, tuple)
            if re.search(skip, name):
                continue
            mode, *who, size, blksize, blocks, times = attributes
            # How a disk's directory grows depends on the order in which parallel jobs made files
            grown = stat.S_ISDIR(int(str(mode), 8)) and not self.rules.blocks
            if grown or re.search(loose, name):
                size = blocks = content = None
            found[name] = (mode, *who, size, blksize, blocks, content, xattrs, *times[1:], times[0])
        return found


def _differences(bare: dict[str, Token], other: dict[str, Token]) -> str:
    names = sorted(bare.keys() | other.keys())
    found = [name for name in names if bare.get(name) != other.get(name)]
    lines = [f"{name}:\n  {bare.get(name)}\n  {other.get(name)}" for name in found[:10]]
    return "\n".join([f"{len(found)} files differ", *lines]) if found else ""


@contextmanager
def fresh_pair(kind: str, place: Path) -> Iterator[Pair]:
    """A pair with an empty home on the file system of this kind at `place`."""
    with tempfile.TemporaryDirectory(dir=place) as directory:
        Path(directory).chmod(0o755)
        bare, below, mount = (Path(directory, name) for name in ("bare", "lower", "mount"))
        for path in (bare, below, mount):
            path.mkdir()
        for path in (bare, below):
            (path / "home").mkdir()
        HERE.mkdir(exist_ok=True)
        with kit.mounted(below, mount):
            yield Pair(kind, bare, below, mount)


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """A file system for all tests of a module that take this kind."""
    need_file_system(request.param)
    with lower(request.param) as directory:
        yield request.param, directory


@pytest.fixture
def pair(place: tuple[str, Path]) -> Iterator[Pair]:
    with fresh_pair(*place) as made:
        yield made


def on(kinds: tuple[str, ...]) -> pytest.MarkDecorator:
    """Run a test that takes `pair` on lower file systems of these kinds."""
    return pytest.mark.parametrize("place", kinds, indirect=True, scope="module")


def plant(base: Path) -> None:
    """Make a tree with one of everything that a copying program must keep, last changed in 2000."""
    (base / "deep" / "er" / ("n" * 255)).mkdir(parents=True)
    (base / "empty").write_bytes(b"")
    (base / "text").write_text("one\ntwo\n" * 3000)
    (base / "program").write_text("#!/bin/sh\necho hello\n")
    (base / "odd \n näme\\").write_text("odd")
    (base / "large").write_bytes(struct.pack("=262144I", *range(262144)))
    with (base / "sparse").open("wb") as file:
        file.seek(3 << 20)
        file.write(b"middle" * 1000)
        file.truncate(8 << 20)
    os.link(base / "text", base / "deep" / "text again")
    os.symlink("text", base / "link")
    os.symlink("/nowhere/at all", base / "dangling")
    os.mkfifo(base / "fifo")
    os.mknod(base / "device", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    (base / "access").write_text("by list")
    (base / "shared").mkdir()
    subprocess.run(["setfacl", "-m", "u:1000:rw,g:2000:r,m::rw", base / "access"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:1000:rwx,m::rwx", base / "shared"], check=True)
    (base / "shared" / "inherited").write_text("x")
    os.setxattr(base / "text", "user.one", b"1\0\xff")
    os.setxattr(base / "text", "trusted.two", b"2")
    os.setxattr(base / "deep", "user.dir", b"d" * 200)
    os.setxattr(base / "link", "trusted.link", b"l", follow_symlinks=False)
    for number, name in enumerate(["empty", "large", "fifo", "dangling", "shared"]):
        os.chown(base / name, 1000 + number, 2000 + number, follow_symlinks=False)
    modes = {"program": 0o6755, "empty": 0, "shared": 0o3775, "large": 0o440, "deep": 0o1700}
    for name, mode in modes.items():
        (base / name).chmod(mode)
    subprocess.run(["setcap", "cap_net_raw+ep", base / "program"], check=True)
    for directory, names, files in os.walk(base, topdown=False):
        for name in names + files:
            os.utime(Path(directory, name), ns=(OLD_NS, OLD_NS + 1), follow_symlinks=False)
    os.utime(base, ns=(OLD_NS, OLD_NS))
