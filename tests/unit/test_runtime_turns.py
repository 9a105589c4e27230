# SPDX-License-Identifier: MIT
"""Commands that come to one mount point at once: none takes off more than it saw."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fusebpf.errors import FusebpfError, UsageError
from fusebpf.runtime import daemons, features, fsmount, mounting, turns
from fusebpf.runtime.mountinfo import MountEntry, at
from fusebpf.runtime.turns import turn
from tests.unit.runtime_objects import needs_root


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(daemons, "DIRECTORY", tmp_path / "run")
    return tmp_path / "run"


def begun(place: Path) -> tuple[threading.Thread, threading.Event]:
    """A thread that wants a turn; whether it has it."""
    has = threading.Event()

    def work() -> None:
        with turn(place):
            has.set()

    thread = threading.Thread(target=work)
    thread.start()
    return thread, has


def test_one_waits_for_the_other(directory: Path) -> None:
    with turn(Path("/mnt/a")):
        thread, has = begun(Path("/mnt/a"))
        other, at_another_place = begun(Path("/mnt/b"))
        assert at_another_place.wait(10)
        assert not has.wait(0.1)
    assert has.wait(10)
    thread.join()
    other.join()
    assert (directory / "lock").stat().st_mode & 0o777 == 0o600


def test_a_child_that_is_forked_in_a_turn_does_not_keep_it() -> None:
    reading, writing = os.pipe()
    with turn(Path("/mnt/a")):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until this process has had its second turn
            os._exit(0)
    os.close(reading)
    with turn(Path("/mnt/a")):
        os.close(writing)
    os.waitpid(child, 0)


def test_who_waits_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.2)
    with turn(Path("/mnt/a")):
        with pytest.raises(FusebpfError, match="another command at /mnt/a does not end"):
            turn(Path("/mnt/a")).__enter__()
        with turn(Path("/mnt/a"), wait=False):
            pass
        # What did not have its turn has ended nobody else's.
        with pytest.raises(FusebpfError):
            turn(Path("/mnt/a")).__enter__()


def test_nobody_waits_where_no_lock_can_be(directory: Path) -> None:
    directory.write_text("in the way")
    with turn(Path("/mnt/a")), turn(Path("/mnt/a")):
        pass


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two mounts, one over the other; the upper one counts as ours."""
    place = tmp_path / "mnt"
    place.mkdir()
    monkeypatch.setattr(MountEntry, "is_fuse_bpf", property(lambda entry: entry.source == "ours"))
    for source in ("beneath", "ours"):
        with fsmount.FsContext("tmpfs") as context:
            context.set_string("source", source)
            fd = context.mount()
        fsmount.move_mount(fd, place)
        os.close(fd)
    yield place
    while at(place) is not None:
        fsmount.umount(place, lazy=True)


def source(place: Path) -> str:
    entry = at(place)
    return "" if entry is None else entry.source


@needs_root
def test_of_two_that_detach_at_once_the_second_takes_off_nothing(
    mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    umount, both = fsmount.umount, threading.Barrier(2)

    def slow(place: Path, lazy: bool = False) -> None:
        with suppress(threading.BrokenBarrierError):  # the other waits for its turn
            both.wait(1)
        umount(place, lazy)

    monkeypatch.setattr(fsmount, "umount", slow)
    refused: list[UsageError] = []

    def detach() -> None:
        try:
            mounting.detach(mounted)
        except UsageError as error:
            refused.append(error)

    threads = [threading.Thread(target=detach) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source(mounted) == "beneath"
    (error,) = refused
    assert "a mount of type tmpfs, not a fuse-bpf mount" in error.message


@needs_root
def test_what_is_taken_off_lazily_is_the_mount_that_was_looked_at(
    mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though umount(8), which waits for nobody, comes in between."""
    asked = features.require_root

    def require_root(what: str) -> None:
        asked(what)
        fsmount.umount(mounted, lazy=True)

    monkeypatch.setattr(features, "require_root", require_root)
    with pytest.raises(fsmount.MountError) as caught:
        mounting.detach(mounted, lazy=True)
    assert caught.value.errno == errno.EINVAL
    assert source(mounted) == "beneath"
