# SPDX-License-Identifier: MIT
"""mount(8), umount(8) and fstab(5) with the type fuse_bpf.

mount(8) itself is asked where it has a part in it: a start of Python takes seconds in a guest. The
rest is asked of the helper in this process.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf import mounthelper
from fusebpf.build import build_file
from fusebpf.runtime import features, mountinfo, mounts
from tests.vm.attach_objects import nothing_left

HELPER = Path("/sbin/mount.fuse_bpf")
FSTAB = Path("/etc/fstab")

# Hides the name that the set has; both sets count in one map.
FILTERS = """from fusebpf import Context, FilterSet, Name
from fusebpf.constants import ENOENT
from fusebpf.types import u64

filters = FilterSet("SET")
hits = filters.array("hits", value=u64, max_entries=1)
strict = filters.config("strict", bool, True)

@filters.lookup.pre
def hide(ctx: Context, name: Name):
    if strict and name == "SET":
        hits[0] += 1
        return -ENOENT
"""


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    """The script that an installation has, for this interpreter and this tree."""
    assert not HELPER.exists()
    root = Path(__file__).resolve().parents[2]
    HELPER.write_text(
        f"#!/bin/sh\ncd {shlex.quote(str(root))} &&"
        f' exec {shlex.quote(sys.executable)} -m fusebpf.mounthelper "$@"\n'
    )
    HELPER.chmod(0o755)
    yield
    HELPER.unlink()


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Objects of the sets `one` and `two`, each of which hides its own name."""
    directory = tmp_path_factory.mktemp("mounting")
    found = {}
    for name in ("one", "two"):
        (directory / f"{name}.py").write_text(FILTERS.replace("SET", name))
        found[name] = directory / f"{name}.bpf.o"
        found[name].write_bytes(build_file(directory / f"{name}.py").data)
        found[name].chmod(0o644)
    return found


@pytest.fixture
def lower(lower: Path) -> Path:
    for name in ("one", "two"):
        (lower / name).write_text("content\n")
    return lower


@pytest.fixture
def fstab() -> Iterator[Path]:
    """The table of this machine, put back at the end."""
    before = FSTAB.read_text() if FSTAB.exists() else None
    yield FSTAB
    if before is None:
        FSTAB.unlink(missing_ok=True)
    else:
        FSTAB.write_text(before)


def run(*command: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def helped(*arguments: str | Path) -> int:
    return mounthelper.main(list(map(str, arguments)))


def visible(mnt: Path) -> list[str]:
    return [name for name in ("one", "two") if (mnt / name).exists()]


def options(mnt: Path) -> set[str]:
    entry = mountinfo.at(mnt)
    assert entry is not None
    return set(entry.options)


@pytest.mark.usefixtures("installed")
def test_a_line_of_fstab(objects: dict[str, Path], lower: Path, mnt: Path, fstab: Path) -> None:
    line = f"{lower} {mnt} fuse_bpf filter=FILTER,ro,nosuid,noauto 0 0\n"
    fstab.write_text(line.replace("FILTER", str(objects["one"])))
    with nothing_left():
        assert run("mount", mnt) == (0, "", "")
        assert mounts.status(mnt).filter_set == "one"
        assert visible(mnt) == ["two"]
        assert options(mnt) >= {"ro", "nosuid"}
        with pytest.raises(OSError, match="Read-only file system"):
            (mnt / "file").write_text("changed")
        # Again, from the table alone: the object is read anew.
        fstab.write_text(line.replace("FILTER", str(objects["two"])))
        told = f"mount.fuse_bpf: {mnt} has the filters of OBJECT now, where others were in force\n"
        code, out, err = run("mount", "-o", "remount", mnt)
        assert (code, out, err) == (0, "", told.replace("OBJECT", str(objects["two"])))
        assert visible(mnt) == ["one"]
        # Other options alone: with both places named, else the table's filters come, too.
        fstab.write_text(line.replace("FILTER", str(objects["one"])))
        both = ("mount", "-t", "fuse_bpf", "-o", "remount,rw", lower, mnt)
        assert run(*both) == (0, "", "")
        assert visible(mnt) == ["one"]
        assert not options(mnt) & {"ro", "nosuid"}
        code, out, err = run("mount", "-o", "remount,rw", mnt)
        assert (code, out, err) == (0, "", told.replace("OBJECT", str(objects["one"])))
        assert visible(mnt) == ["two"]
        assert run("umount", mnt) == (0, "", "")


@pytest.mark.usefixtures("installed")
def test_user_comes_with_what_mount_derives_from_it(
    objects: dict[str, Path], lower: Path, mnt: Path, fstab: Path
) -> None:
    for text, expected in (
        ("user", {"noexec", "nosuid", "nodev"}),
        ("user,exec", {"nosuid", "nodev"}),
    ):
        fstab.write_text(f"{lower} {mnt} fuse_bpf filter={objects['one']},{text},noauto 0 0\n")
        with nothing_left():
            assert run("mount", mnt) == (0, "", "")
            assert options(mnt) & {"noexec", "nosuid", "nodev"} == expected
            assert run("umount", mnt) == (0, "", "")
        assert list(mnt.iterdir()) == []


@pytest.mark.usefixtures("installed")
def test_mount_without_a_table(objects: dict[str, Path], lower: Path, mnt: Path) -> None:
    """mount(8) hands the options in force back at a remount, those of the kernel included."""
    begin = ("mount", "-t", "fuse_bpf", lower, mnt, "-o")
    with nothing_left():
        code, out, err = run(*begin, f"filter={objects['one']},allow_othr")
        assert (code, out) == (1, "")
        assert "unknown mount option 'allow_othr'" in err
        assert mountinfo.at(mnt) is None
        assert helped(lower, mnt, "-o", f"rw,nodev,filter={objects['one']}") == 0
        # The kernel's own type is fuse, whose helper of mount(8) is another's.
        named = ("-t", "fuse_bpf") if features.require().in_kernel else ()
        assert run("mount", *named, "-o", "remount,ro", mnt) == (0, "", "")
        assert options(mnt) >= {"ro", "nodev"}
        assert visible(mnt) == ["two"], "the filters stay where none are named"
        with (mnt / "file").open() as kept:
            assert run("umount", mnt)[0] != 0, "in use"
            assert run("umount", "-l", mnt) == (0, "", "")
            assert mountinfo.at(mnt) is None
            assert kept.read() == "content\n"


def test_remount_with_other_filters(objects: dict[str, Path], lower: Path, mnt: Path) -> None:
    with nothing_left():
        assert helped(lower, mnt, "-o", f"filter={objects['one']}") == 0
        assert visible(mnt) == ["two"]
        with mounts.open(mnt) as found:
            hits = found.maps["hits"][0]
        assert hits > 0
        with (mnt / "file").open() as kept:
            assert helped(lower, mnt, "-o", f"remount,nodev,filter={objects['two']}") == 0
            assert kept.read() == "content\n"
        assert visible(mnt) == ["one"]
        assert "nodev" in options(mnt)
        with mounts.open(mnt) as found:
            assert found.maps["hits"][0] > hits, "the map is kept"
        # A config value, and the defaults of what is not named.
        assert helped(lower, mnt, "-o", f"remount,filter={objects['two']},set=strict=off") == 0
        assert not options(mnt) & {"ro", "nodev"}
        assert visible(mnt) == ["one", "two"]
        (mnt / "file").write_text("changed")
        assert run("umount", mnt)[0] == 0


def test_refused_mount_leaves_nothing(
    objects: dict[str, Path], lower: Path, mnt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = f"filter={objects['one']}"
    with nothing_left():
        for text, status, said in (
            (f"{good},allow_other", 1, "unknown mount option 'allow_other'"),
            (f"filtr={objects['one']}", 1, "did you mean 'filter='?"),
            ("ro", 1, "option filter= is missing"),
            (f"{good},set=limit=3", 1, "has no config value 'limit'"),
            (f"{good},set=strict=often", 1, "set=strict=often: 'often' is no number"),
            (f"filter={lower}/file", 32, "is no object"),
            ("filter=/nonexistent.bpf.o", 32, "cannot open the filters /nonexistent.bpf.o"),
        ):
            assert helped(lower, mnt, "-o", text) == status
            out, err = capsys.readouterr()
            assert out == ""
            assert said in err
            assert "help: " in err
            assert mountinfo.at(mnt) is None
        assert helped("-f", lower, mnt, "-o", good) == 0
        assert mountinfo.at(mnt) is None, "fake"
        os.chown(objects["one"], 1, 1)
        try:
            assert helped(lower, mnt, "-o", good) == 32
        finally:
            os.chown(objects["one"], 0, 0)
        assert "can be changed by others than root" in capsys.readouterr().err
        assert mountinfo.at(mnt) is None


def test_refused_remount_changes_nothing(
    objects: dict[str, Path], lower: Path, mnt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with nothing_left():
        assert helped(lower, mnt, "-o", f"filter={objects['one']},nosuid") == 0
        before = options(mnt)
        for text, status, said in (
            (f"ro,suid,filter={objects['two']},set=limit=3", 1, "has no config value 'limit'"),
            (f"ro,filter={lower}/file", 32, "is no object"),
            ("set=strict=off", 1, "set= is of no use without filter="),
            ("ro,root_bpf=other", 1, "option root_bpf cannot be changed"),
            ("ro,allow_other", 1, "unknown mount option"),
        ):
            assert helped(lower, mnt, "-o", f"remount,{text}") == status
            assert said in capsys.readouterr().err
            assert options(mnt) == before, text
            assert visible(mnt) == ["two"]
        with (mnt / "file").open("a"):
            assert helped(lower, mnt, "-o", f"remount,ro,filter={objects['two']}") == 32
            assert f"fuser -vm {mnt}" in capsys.readouterr().err
        assert options(mnt) == before
        assert visible(mnt) == ["two"]
        assert run("umount", mnt)[0] == 0
        assert helped(lower, mnt, "-o", f"remount,filter={objects['two']}") == 1
        assert "is not a fuse-bpf mount" in capsys.readouterr().err
