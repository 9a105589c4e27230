# SPDX-License-Identifier: MIT
"""Names and mounts that change while they are used: nothing is lost, mixed up or left behind.

Each race states what its processes may see; FUSEBPF_RACE_SECONDS is the time of each.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from errno import EBUSY, EEXIST, EINVAL, ENOENT, ENOTEMPTY, ESTALE
from pathlib import Path
from random import Random

import pytest

from fusebpf.runtime import mountinfo, sysbpf
from fusebpf.runtime.fsmount import umount
from tests.vm import kernelkit as kit
from tests.vm.limits import eventually
from tests.vm.racing import Body, Racers

AT_FDCWD = -100
RENAME_EXCHANGE = 2


@pytest.fixture(params=["tmpfs", "ext4"])
def lower(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A lower directory whose parent is on the file system too, so that it can be renamed."""
    place = tmp_path / "place"
    place.mkdir()
    if request.param == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "none", place], check=True)
    else:
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(128 << 20)
        subprocess.run(["modprobe", "loop"], check=False)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, place], check=True)
    (place / "lower").mkdir()
    yield place / "lower"
    umount(place)


@pytest.fixture
def mnt(tmp_path: Path, lower: Path) -> Iterator[Path]:
    """Where to mount; at the end all that a mount had is given back."""
    directory = tmp_path / "mnt"
    directory.mkdir()
    before = kit.slab_objects()
    links = len(list(sysbpf.ids(sysbpf.LINK_GET_NEXT_ID)))
    yield directory
    assert mountinfo.at(directory) is None, "a race left its mount behind"

    def settled() -> bool:
        now = kit.slab_objects()
        return (
            all(now[slab] <= before[slab] for slab in ("inode", "op"))
            and len(list(sysbpf.ids(sysbpf.LINK_GET_NEXT_ID))) <= links
        )

    assert eventually(settled), (before, kit.slab_objects())


def exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    paths = (os.fsencode(one), os.fsencode(other))
    if libc.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one))


@pytest.mark.parametrize("side", ["above", "below"])
def test_rename_against_lookup(lower: Path, mnt: Path, side: str) -> None:
    """One file wanders, two change places: each has always one name and its own content."""
    for name in ("d", "e"):
        (lower / name).mkdir()
    (lower / "d/token").write_text("token")
    (lower / "left").write_text("left..")
    (lower / "right").write_text("right.")
    places = [f"{directory}/{name}" for directory in "de" for name in ("token", "x", "y")]

    with kit.mounted(lower, mnt):
        where = mnt if side == "above" else lower

        def wander(source: Random) -> None:
            os.rename(where / source.choice(places), where / source.choice(places))

        def swap(_source: Random) -> None:
            exchange(where / "left", where / "right")

        def look(source: Random) -> None:
            assert (mnt / source.choice(places)).read_text() == "token"

        def look_at_both(source: Random) -> None:
            name = source.choice(("left", "right"))
            assert (mnt / name).read_text() in ("left..", "right.")
            assert os.stat(mnt / name).st_nlink == 1

        racers = Racers()
        racers.add("wander", wander, {ENOENT})
        racers.add("swap", swap)
        racers.add("look", look, {ENOENT})
        racers.add("look again", look, {ENOENT})
        racers.add("look at both", look_at_both)
        racers.run()

        for tree in (mnt, lower):
            assert [(tree / p).read_text() for p in places if (tree / p).exists()] == ["token"]
            assert {(tree / n).read_text() for n in ("left", "right")} == {"left..", "right."}


@pytest.mark.parametrize("side", ["above", "below"])
def test_unlink_against_open(lower: Path, mnt: Path, side: str) -> None:
    """A file that was opened is whole, also after its name is gone."""
    content = "whole " * 2000

    with kit.mounted(lower, mnt):
        where = mnt if side == "above" else lower

        def make(source: Random) -> None:
            fresh = where / f"fresh.{os.getpid()}"
            fresh.write_text(content)
            os.rename(fresh, where / source.choice("abc"))

        def remove(source: Random) -> None:
            os.unlink(where / source.choice("abc"))

        def read(source: Random) -> None:
            with (mnt / source.choice("abc")).open() as file:
                first = file.read(100)
                assert os.fstat(file.fileno()).st_nlink in (0, 1)
                assert os.fstat(file.fileno()).st_size == len(content)
                assert first + file.read() == content

        racers = Racers()
        racers.add("make", make)
        racers.add("remove", remove, {ENOENT})
        racers.add("read", read, {ENOENT})
        racers.add("read again", read, {ENOENT})
        racers.run()

        assert sorted(os.listdir(mnt)) == sorted(os.listdir(lower))
        assert set(os.listdir(mnt)) <= set("abc")
        for path in mnt.iterdir():
            assert path.read_text() == content


def test_umount_against_io(lower: Path, mnt: Path) -> None:
    """A descriptor reads what it wrote, whether its mount is still to be seen or not."""
    for number in range(3):
        (lower / f"file.{number}").write_bytes(bytes(4096))

    def turn(source: Random) -> None:
        kit.make_mount(lower, mnt)
        (mnt / "file.0").stat()
        umount(mnt, lazy=source.random() < 0.5)

    def busy(_source: Random) -> None:
        with suppress(OSError):
            umount(mnt)  # often EBUSY, and then it is taken off by force
        if mountinfo.at(mnt) is not None:
            umount(mnt, lazy=True)

    def use(number: int) -> Body:
        def body(source: Random) -> None:
            fd = os.open(mnt / f"file.{number}", os.O_RDWR)
            try:
                for _ in range(8):
                    data = source.randbytes(512)
                    at = source.randrange(8) * 512
                    assert os.pwrite(fd, data, at) == 512
                    assert os.pread(fd, 512, at) == data
                    assert os.fstat(fd).st_size == 4096
                os.fsync(fd)
            finally:
                os.close(fd)
            assert data in (lower / f"file.{number}").read_bytes()

        return body

    racers = Racers()
    racers.add("mount and umount", turn, {EBUSY, EINVAL, ENOENT})
    racers.add("umount", busy, {EINVAL})
    for number in range(3):
        racers.add(f"use {number}", use(number), {ENOENT})
    racers.run()
    while mountinfo.at(mnt) is not None:
        umount(mnt)
    assert sorted(os.listdir(lower)) == ["file.0", "file.1", "file.2"]
    assert {(lower / f"file.{n}").stat().st_size for n in range(3)} == {4096}


def test_lower_directories_renamed_and_removed(lower: Path, mnt: Path) -> None:
    """Also the mount's own root: it stays what is mounted, wherever it goes."""
    (lower / "a").mkdir()
    (lower / "a/inner").write_text("inner")
    (lower / "fixed").write_text("fixed")
    away = lower.with_name("away")
    moved = {ENOENT, ESTALE}

    with kit.mounted(lower, mnt):
        root = os.open(lower, os.O_PATH)

        def move_root(_source: Random) -> None:
            os.rename(lower, away)
            os.rename(away, lower)

        def move(_source: Random) -> None:
            os.rename("a", "b", src_dir_fd=root, dst_dir_fd=root)
            os.rename("b", "a", src_dir_fd=root, dst_dir_fd=root)

        def remove(_source: Random) -> None:
            with suppress(FileExistsError):  # somebody's file was in it the last time
                os.mkdir("gone", dir_fd=root)
                os.mkdir("gone/deep", dir_fd=root)
            shutil.rmtree("gone", dir_fd=root)

        def look(source: Random) -> None:
            assert (mnt / "fixed").read_text() == "fixed"
            assert {"fixed"} <= set(os.listdir(mnt))

        def look_inside(source: Random) -> None:
            assert (mnt / source.choice("ab") / "inner").read_text() == "inner"

        def use_what_goes(source: Random) -> None:
            fd = os.open(mnt / "gone", os.O_RDONLY | os.O_DIRECTORY)
            try:
                assert set(os.listdir(fd)) <= {"deep", "mine"}
                os.close(os.open("mine", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
                os.unlink("mine", dir_fd=fd)
            finally:
                os.close(fd)

        racers = Racers()
        racers.add("move the root", move_root)
        racers.add("move", move)
        racers.add("remove", remove, {ENOTEMPTY})
        racers.add("look", look)
        racers.add("look inside", look_inside, moved)
        racers.add("use what goes", use_what_goes, moved)
        racers.run()

        os.close(root)
        shutil.rmtree(lower)
        assert os.listdir(mnt) == []
        with pytest.raises(FileNotFoundError):
            (mnt / "new").touch()
        with pytest.raises(FileNotFoundError):
            (mnt / "new").mkdir()


def test_create_against_rmdir_below(lower: Path, mnt: Path) -> None:
    """A file that was made keeps its directory; none is lost in one that goes."""

    with kit.mounted(lower, mnt):

        def come_and_go(_source: Random) -> None:
            (lower / "d").mkdir()
            (lower / "d").rmdir()

        def go(_source: Random) -> None:
            (lower / "d").rmdir()

        def create(source: Random) -> None:
            name = f"d/{os.getpid()}"
            text = str(source.random())
            with (mnt / name).open("x") as file:
                file.write(text)
            assert (lower / name).read_text() == text
            assert (mnt / name).read_text() == text
            os.unlink(mnt / name)
            assert not (lower / name).exists()

        def make(source: Random) -> None:
            name = f"d/sub.{os.getpid()}"
            os.mkdir(mnt / name)
            assert (lower / name).is_dir()
            os.rmdir(mnt / name)

        racers = Racers()
        racers.add("come and go", come_and_go, {EEXIST, ENOTEMPTY, ENOENT})
        racers.add("go", go, {ENOENT, ENOTEMPTY})
        for number in range(2):
            racers.add(f"create {number}", create, {ENOENT, ESTALE})
        racers.add("make", make, {ENOENT, ESTALE})
        racers.run()
        assert [p for p in (mnt / "d").glob("*") if (mnt / "d").exists()] == []


def test_readdir_against_rename(lower: Path, mnt: Path) -> None:
    """Above and below: a name that nobody touches is listed once, whatever moves beside it."""
    stable = {f"stable.{number:03}" for number in range(60)}
    for name in stable:
        (lower / name).touch()
    for name in ("up", "down"):
        (lower / f"{name}.0").touch()

    with kit.mounted(lower, mnt):

        def rename(base: Path, name: str) -> Body:
            def body(source: Random) -> None:
                one, other = source.sample(range(4), 2)
                os.rename(base / f"{name}.{one}", base / f"{name}.{other}")

            return body

        def read(source: Random) -> None:
            with kit.Dirents(mnt, source.choice((120, 400, 4096))) as directory:
                names = directory.all()
            found = [name for name in names if name in stable]
            assert len(found) == len(stable), sorted(stable - set(found))
            assert set(found) == stable
            others = set(names) - stable - {".", ".."}
            assert all(name[:-2] in ("up", "down") for name in others)

        racers = Racers()
        racers.add("rename above", rename(mnt, "up"), {ENOENT})
        racers.add("rename below", rename(lower, "down"), {ENOENT})
        racers.add("read", read)
        racers.add("read again", read)
        racers.run()
        assert sorted(os.listdir(mnt)) == sorted(os.listdir(lower))
        assert len(os.listdir(mnt)) == len(stable) + 2
