# SPDX-License-Identifier: MIT
"""Examples that show another tree than the one below, and what filters reach of the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fusebpf
from fusebpf.filters import transitions
from fusebpf.runtime import Mount
from tests.vm.outcomes import failing
from tests.vm.programkit import long_only

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@contextmanager
def shown(top: Path, files: dict[str, str], filters: Path, **config: int) -> Iterator[Mount]:
    """A mount at top/mnt of files at top/lower, which users can reach."""
    for directory in (top, *top.parents):
        if directory != Path("/"):
            directory.chmod(0o755)
    for name, text in files.items():
        path = top / "lower" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o666)
    (top / "lower").chmod(0o777)
    (top / "mnt").mkdir()
    with fusebpf.attach(filters, top / "lower", top / "mnt", config=config) as mount:
        yield mount


def as_user(uid: int, code: str, directory: Path) -> str:
    """What a Python program of a user prints."""
    command = [sys.executable, "-I", "-S", "-c", f"import os\n{code}"]
    return subprocess.run(
        command, cwd=directory, user=uid, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_masked_files_are_empty_whatever_reads_them(tmp_path: Path) -> None:
    mnt, lower = tmp_path / "mnt", tmp_path / "lower"
    files = {".env": "KEY=1\n", "app/.env.local": "KEY=2\n", "app/main": "print()\n"}
    (lower / "venv/.env").mkdir(parents=True)
    with shown(tmp_path, files, EXAMPLES / "masked_env.py"):
        assert sorted(os.listdir(mnt / "app")) == [".env.local", "main"]
        sink = os.open(tmp_path / "sink", os.O_CREAT | os.O_WRONLY)
        for name in (".env", "app/.env.local"):
            path = mnt / name
            assert path.stat().st_size == 0
            assert path.read_bytes() == b""
            assert subprocess.run(["cat", path], capture_output=True, check=True).stdout == b""
            fd = os.open(path, os.O_RDONLY)
            assert os.lseek(fd, 0, os.SEEK_END) == 0
            assert os.sendfile(sink, fd, 0, 100) == 0
            os.close(fd)
            copy = tmp_path / "copy"
            subprocess.run(["cp", path, copy], check=True)
            assert copy.read_bytes() == b""
            for change in (
                lambda path=path: path.write_text("x"),
                lambda path=path: os.truncate(path, 0),
                lambda path=path: os.open(path, os.O_RDWR),
                lambda path=path: os.open(path, os.O_RDONLY | os.O_TRUNC),
            ):
                assert failing(change) == "EACCES"
            for change in (
                lambda path=path: path.rename(mnt / "moved"),
                lambda path=path: os.link(path, mnt / "linked"),
                lambda path=path: path.unlink(),
                lambda path=path: (mnt / "app/main").rename(path),
                lambda path=path: path.with_name(".env.new").write_text("x"),
            ):
                assert failing(change) == "EPERM"
        (mnt / "venv/.env/new").write_text("made")
        assert (mnt / "venv/.env/new").read_text() == "made"
        assert (mnt / "app/main").read_text() == "print()\n"
        (mnt / "app/main").write_text("pass\n")
    assert (lower / ".env").read_text() == "KEY=1\n"
    assert (lower / "app/.env.local").read_text() == "KEY=2\n"


def test_suffixes_are_mapped_both_ways(tmp_path: Path) -> None:
    mnt, lower = tmp_path / "mnt", tmp_path / "lower"
    files = {"page.mdx": "page", "plain": "plain", "old.txt": "old", "dir/in.mdx": "in"}
    with shown(tmp_path, files, EXAMPLES / "as_text.py"):
        assert sorted(os.listdir(mnt)) == ["dir", "page.txt", "plain"]
        assert [entry.name for entry in os.scandir(mnt / "dir")] == ["in.txt"]
        for name in os.listdir(mnt):
            assert (mnt / name).exists()
        assert (mnt / "page.txt").read_text() == "page"
        assert failing(lambda: (mnt / "page.mdx").read_text()) == "ENOENT"
        assert failing(lambda: (mnt / "old.txt").read_text()) == "ENOENT"
        (mnt / "page.txt").write_text("changed")
        for action in (
            lambda: (mnt / "new.txt").write_text("x"),
            lambda: (mnt / "plain").rename(mnt / "new.mdx"),
            lambda: os.symlink("x", mnt / "new.txt"),
        ):
            assert failing(action) == "EPERM"
        (mnt / "dir/in.txt").unlink()
    assert (lower / "page.mdx").read_text() == "changed"
    assert sorted(os.listdir(lower)) == ["dir", "old.txt", "page.mdx", "plain"]
    assert os.listdir(lower / "dir") == []


@long_only
def test_names_are_found_in_any_case(tmp_path: Path) -> None:
    mnt = tmp_path / "mnt"
    files = {"readme": "read me", "Lost": "lost", "src/main.c": "main", "src/main.H": "header"}
    with shown(tmp_path, files, EXAMPLES / "any_case.py"):
        assert (mnt / "README").read_text() == "read me"
        assert (mnt / "SRC/Main.C").read_text() == "main"
        assert sorted(os.listdir(mnt)) == ["readme", "src"]
        assert os.listdir(mnt / "Src") == ["main.c"]
        assert failing(lambda: (mnt / "Lost").read_text()) == "ENOENT"
        assert failing(lambda: (mnt / "NEW").write_text("x")) == "EPERM"
        assert failing(lambda: (mnt / "Src").mkdir()) == "EEXIST"
        (mnt / "ReadMe").write_text("changed")
        (mnt / "new").write_text("new")
        assert (mnt / "New").read_text() == "new"
    assert sorted(os.listdir(tmp_path / "lower")) == ["Lost", "new", "readme", "src"]
    assert (tmp_path / "lower/readme").read_text() == "changed"


@long_only
def test_a_user_writes_no_more_than_the_quota(tmp_path: Path) -> None:
    mnt = tmp_path / "mnt"
    fill = (
        "import errno\n"
        "fd = os.open('file', os.O_WRONLY)\n"
        "try:\n"
        "    for done in range(20):\n"
        "        os.pwrite(fd, bytes(4096), 0)\n"
        "    print('all')\n"
        "except OSError as error:\n"
        "    print(done, errno.errorcode[error.errno])\n"
    )
    left = "s = os.statvfs('.')\nprint(s.f_blocks * s.f_frsize, s.f_bavail * s.f_frsize)"
    with shown(tmp_path, {"file": "", "copy": ""}, EXAMPLES / "quota.py", limit=65536) as mount:
        assert as_user(1000, left, mnt) == "65536 65536"
        assert as_user(1000, fill, mnt) == "16 EDQUOT"
        assert as_user(1000, left, mnt) == "65536 0"
        assert mount.maps["written"][1000] == 65536
        assert as_user(1001, fill.replace("20", "10"), mnt) == "all"
        assert as_user(1001, left, mnt) == f"65536 {6 * 4096}"
        assert (mnt / "file").stat().st_size == 4096  # all of it in place
        mount.maps["written"][1000] = 0
        assert as_user(1000, left, mnt) == "65536 65536"
        copy = "import subprocess\nprint(subprocess.run(['cp', 'file', 'copy']).returncode)"
        assert as_user(1000, copy, mnt) == "0"
        assert mount.maps["written"][1000] == 4096  # copying is writing


@long_only
def test_everyone_sees_their_own_entries(tmp_path: Path) -> None:
    mnt = tmp_path / "mnt"
    files = {name: name for name in ("anna", "bert", "common")}
    see = "print(*sorted(os.listdir('.')), *(n for n in ('anna', 'bert') if os.path.exists(n)))"
    with shown(tmp_path, files, EXAMPLES / "own_files.py") as mount:
        owners = mount.maps["owners"]
        assert as_user(1000, see, mnt) == "anna bert common anna bert"
        owners[(b"anna",)], owners[(b"bert",)] = 1000, 1001
        for _ in range(2):  # what one user was told is not told the next
            assert as_user(1000, see, mnt) == "anna common anna"
            assert as_user(1001, see, mnt) == "bert common bert"
            assert as_user(1002, see, mnt) == "common"
            assert as_user(0, see, mnt) == "anna bert common anna bert"
        code = "import errno\ntry:\n    os.rename('common', 'bert')\nexcept OSError as e:\n    "
        assert as_user(1000, f"{code}print(errno.errorcode[e.errno])", mnt) == "ENOENT"


KERNEL_SIDE = """
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

filters = FilterSet("side")
asked = filters.array("asked", value=u64, max_entries=2)
rules = filters.automaton("rules", states=64)


@filters.lookup.pre
def found(ctx: Context, name: Name):
    if name == "kept":
        asked[0] += 1
        ctx.keep_answer(3_600_000_000_000)
    elif name == "asked":
        asked[1] += 1
    elif name == "inside":
        ctx.tag = 1
    return -ENOENT if rules.walk(name) & 1 else CONTINUE


@filters.rename.pre
def moved(ctx: Context, req: Rename2In, old: Name, new: Name):
    return -EXDEV if ctx.tag != ctx.tag2 else CONTINUE


@filters.removexattr.post
def removed(ctx: Context, name: Name):
    if ctx.error_in == -ENODATA:
        ctx.clear_error()


def change(entry: Dirent) -> None:
    if entry.name == "odd":
        entry.type = 10
    elif entry.name.startswith("long-"):
        entry.name = entry.name[5:]
    elif entry.name == "tight":
        entry.name = "too long a name"
    elif rules.walk(entry.name) & 1:
        entry.drop()


@filters.readdir.post
def listed(ctx: Context, req: ReadIn, out: ReadOut, entries: Dirents):
    for entry in entries:
        change(entry)
"""


def test_what_filters_reach_of_the_kernel(tmp_path: Path) -> None:
    mnt, path = tmp_path / "mnt", tmp_path / "side.py"
    path.write_text(KERNEL_SIDE)
    files = {n: n for n in ("kept", "asked", "inside/a", "outside/b", "odd", "long-x", "tight")}
    with shown(tmp_path, files, path) as mount:
        for _ in range(4):
            (mnt / "kept").stat()
            (mnt / "asked").stat()
        assert mount.maps["asked"][0] == 1
        assert mount.maps["asked"][1] >= 4
        assert failing(lambda: (mnt / "inside/a").rename(mnt / "outside/a")) == "EXDEV"
        assert failing(lambda: (mnt / "outside/b").rename(mnt / "inside/b")) == "EXDEV"
        (mnt / "inside/a").rename(mnt / "inside/c")
        os.removexattr(mnt / "kept", "user.none")
        assert failing(lambda: os.removexattr(tmp_path / "lower/kept", "user.none")) == "ENODATA"
        with os.scandir(mnt) as entries:
            links = {entry.name: entry.is_symlink() for entry in entries}
        assert failing(lambda: (mnt / "tight").stat()) == ""
        rows = transitions(["ti*", "ke?t"])
        for state in range(len(rows) - 1, -1, -1):
            mount.maps["rules"][state] = rows[state]
        assert failing(lambda: (mnt / "tight").stat()) == "ENOENT"
        assert "kept" not in os.listdir(mnt)
        assert "asked" in os.listdir(mnt)
        assert links == dict.fromkeys(("kept", "asked", "inside", "outside", "x"), False) | {
            "odd": True
        }


TAGS = """
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *

setting, reading = FilterSet("setting"), FilterSet("reading")
seen = setting.array("seen", value=u64, max_entries=5)


def count(ctx: Context, name: Name) -> None:
    for i in range(len(name)):
        for _ in range(4):
            if ctx.tag < 2**40:
                ctx.tag += 16


@setting.lookup.pre
def sets(ctx: Context, name: Name):
    if name == "marked":
        seen[0] = ctx.tag
        ctx.tag = 8
        ctx.tag |= 1
        ctx.tag |= 2
        count(ctx, name)
        seen[4] = ctx.tag
    elif name == "below":
        seen[0] = ctx.tag
        ctx.tag += 1
        seen[4] = ctx.tag


@reading.lookup.pre
def reads(ctx: Context, name: Name):
    if name == "marked" or name == "below" or name == "plain":
        seen[1] = ctx.tag
        return POSTFILTER


@reading.lookup.post
def reads_again(ctx: Context, name: Name, out: EntryOut, entries: Buffer):
    seen[2] = ctx.tag


@reading.open.pre
def opens(ctx: Context, req: OpenIn):
    seen[3] = ctx.tag


filters = FilterSet("tags", setting, reading)
"""


def test_a_tag_is_read_back_by_the_filter_that_set_it(tmp_path: Path) -> None:
    """What is joined behind it reads the directory's, as it would alone."""
    mnt, path = tmp_path / "mnt", tmp_path / "tags.py"
    path.write_text(TAGS)
    with shown(tmp_path, {"marked/below": "b", "marked/plain": "p", "plain": "p"}, path) as mount:
        marked = 11 + len("marked") * 4 * 16

        def seen(name: str) -> list[int]:
            # Counted from a look-up of its own.
            for index in range(5):
                mount.maps["seen"][index] = 99
            if name == "marked":
                (mnt / name).stat()
            else:
                (mnt / name).read_text()
            return [mount.maps["seen"][index] for index in range(5)]

        assert seen("marked") == [0, 0, 0, 99, marked]
        assert seen("plain") == [99, 0, 0, 0, 99]
        assert seen("marked/below") == [marked, marked, marked, marked + 1, marked + 1]
        assert seen("marked/plain") == [0, marked, marked, marked, marked]
