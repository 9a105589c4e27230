# SPDX-License-Identifier: MIT
"""Many things at once, and what is kept while filters change under it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import math
import os
import random
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fusebpf.runtime import sysbpf
from fusebpf.runtime.libbpf import Object
from tests.vm import kernelkit as kit
from tests.vm.kernelkit import code_of
from tests.vm.racing import SECONDS

BEFORE_S, AFTER_S = 1.2, 0.4
"""How long a mount lives at most until its filters are torn off, and how long then."""

# What a path operation may give while its objects are moved about; ESTALE only after two retries
EXPECTED = {
    errno.ENOENT,
    errno.EPERM,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EINVAL,
    errno.EXDEV,
    errno.ESTALE,
    errno.EBUSY,
}


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    directory = tmp_path / "lower"
    for name in ("a", "b", "tagged/sub"):
        (directory / name).mkdir(parents=True)
    (directory / "tagged/inner").write_text("inner\n")
    (directory / "tagged/sub/deep").write_text("deep\n")
    (directory / "hidden").write_text("secret\n")
    return directory


def replace(f: kit.Filters, other: Object) -> None:
    """Put other programs behind the link of `f`."""
    libbpf = ctypes.CDLL("libbpf.so.1")
    libbpf.bpf_link__update_map.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    assert libbpf.bpf_link__update_map(f.link._pointer, other.maps["ops"]._pointer) == 0


def spare_of(f: kit.Filters, members: tuple[str, ...]) -> Object:
    """The same programs loaded once more, to put in the place of those of `f`."""
    spare = kit.open_ops(members, f.name)
    try:
        spare.load()
    except BaseException:
        spare.close()
        raise
    return spare


def configure(opened: Object, cell: str, value: int) -> None:
    key = struct.pack("=I", kit.CONFIG[cell])
    sysbpf.map_update(opened.maps["config"].fd, key, struct.pack("=q", value))


def test_kept_directories_take_the_new_filters(lower: Path, mnt: Path) -> None:
    """A descriptor or working directory never continues under a tag of filters that are gone."""
    members = ("lookup_prefilter", "open_prefilter", "readdir_prefilter")
    with kit.filtered(lower, mnt, *members) as f:
        f.set(tag=7)
        kept = os.open(mnt / "tagged/sub", os.O_RDONLY | os.O_DIRECTORY)
        inner = os.open(mnt / "tagged/inner", os.O_PATH)
        same = kit.open_ops(members, f.name)
        other = kit.open_ops(members, f.name)
        none = kit.open_ops(("open_prefilter",), f.name)
        try:
            for opened in (same, other, none):
                opened.load()
            configure(same, "CFG_TAG", 7)
            replace(f, same)
            os.close(os.open("deep", os.O_RDONLY, dir_fd=kept))
            os.close(os.open(f"/proc/self/fd/{inner}", os.O_RDONLY))
            os.listdir(kept)

            configure(other, "CFG_TAG", 8)
            replace(f, other)
            for call in (
                lambda: os.open("deep", os.O_RDONLY, dir_fd=kept),
                lambda: os.open("new", os.O_CREAT | os.O_RDWR, dir_fd=kept),
                lambda: os.stat("deep", dir_fd=kept),
                lambda: os.listdir(kept),
                lambda: os.open(f"/proc/self/fd/{inner}", os.O_RDONLY),
            ):
                assert code_of(call) == errno.ESTALE
            assert (mnt / "tagged/sub/deep").read_text() == "deep\n"

            replace(f, none)
            assert code_of(lambda: os.stat("deep", dir_fd=kept)) == errno.ESTALE
            assert (mnt / "tagged/sub/deep").read_text() == "deep\n"
            assert not (lower / "tagged/sub/new").exists()
        finally:
            for opened in (same, other, none):
                opened.close()
            os.close(kept)
            os.close(inner)


class Crowd:
    """Threads that run until the time is over; what one of them raised fails the test."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.end = time.monotonic() + seconds
        self.threads: list[threading.Thread] = []
        self.problems: list[str] = []

    def add(self, body: Callable[[random.Random], None]) -> None:
        def run(seed: int) -> None:
            source = random.Random(seed)
            while time.monotonic() < self.end and not self.problems:
                try:
                    body(source)
                except OSError as error:
                    if error.errno not in EXPECTED:
                        self.problems.append(f"{body.__name__}: {error!r}")
                except BaseException as error:
                    self.problems.append(f"{body.__name__}: {error!r}")

        self.threads.append(threading.Thread(target=run, args=(len(self.threads),)))

    def run(self) -> None:
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()
        assert not self.problems


def test_changes_above_and_below(lower: Path, mnt: Path) -> None:
    """Both sides create, rename and remove the same few names."""

    def name(source: random.Random, base: Path) -> Path:
        return base / source.choice("ab") / source.choice("uvwx")

    def churn(base: Path) -> Callable[[random.Random], None]:
        def body(source: random.Random) -> None:
            step = source.randrange(6)
            if step == 0:
                name(source, base).write_text("x")
            elif step == 1:
                os.rename(name(source, base), name(source, base))
            elif step == 2:
                os.unlink(name(source, base))
            elif step == 3:
                name(source, base).mkdir()
            elif step == 4:
                name(source, base).rmdir()
            else:
                os.link(name(source, base), name(source, base))

        body.__name__ = f"churn {base.name}"
        return body

    def look(source: random.Random) -> None:
        for directory in ("a", "b"):
            for found in os.scandir(mnt / directory):
                if found.is_file():
                    Path(found.path).read_text()
        assert not (mnt / "hidden").exists()
        assert "hidden" not in os.listdir(mnt)

    with kit.filtered(lower, mnt, "lookup_prefilter", "readdir_postfilter") as f:
        f.set(hide=1, drop=1)
        crowd = Crowd()
        for _ in range(2):
            crowd.add(churn(mnt))
            crowd.add(churn(lower))
            crowd.add(look)
        crowd.run()


def test_filters_come_and_go(lower: Path, mnt: Path) -> None:
    """Replaced all the time: hidden is hidden at every moment, by the old or the new set."""
    members = ("lookup_prefilter", "lookup_postfilter", "open_prefilter", "release_prefilter")
    with kit.filtered(lower, mnt, *members) as f:
        f.set(hide=1)
        with contextlib.closing(spare_of(f, members)) as spare:
            configure(spare, "CFG_HIDE", 1)
            turn = [spare, f.object]

            def swap(_source: random.Random) -> None:
                replace(f, turn[0])
                turn.reverse()

            def look(_source: random.Random) -> None:
                assert code_of(lambda: os.stat(mnt / "hidden")) == errno.ENOENT
                assert (mnt / "tagged/inner").read_text() == "inner\n"

            def change(source: random.Random) -> None:
                made, moved = mnt / "a/made", mnt / "b/moved"
                text = str(source.random())
                for step in (
                    lambda: made.write_text(text),
                    lambda: os.rename(made, moved),
                    lambda: os.listdir(mnt / "b"),
                ):
                    assert code_of(step) == 0
                assert (lower / "b/moved").read_text() == moved.read_text() == text
                assert code_of(lambda: os.unlink(moved)) == 0

            crowd = Crowd()
            crowd.add(swap)
            crowd.add(look)
            crowd.add(look)
            crowd.add(change)
            crowd.run()


def test_torn_away_in_the_middle(lower: Path, mnt: Path) -> None:
    """A mount, load and replacement on it, the link torn off at some moment; and again."""
    source = random.Random(len(os.fspath(mnt)))
    end = time.monotonic() + SECONDS
    rounds = 0
    while not rounds or time.monotonic() < end:
        tear_away(lower, mnt, source.random())
        rounds += 1
    print(f"torn off {rounds} times")


def tear_away(lower: Path, mnt: Path, moment: float) -> None:
    members = ("lookup_prefilter", "open_prefilter", "release_prefilter")
    with kit.filtered(lower, mnt, *members) as f, contextlib.closing(spare_of(f, members)) as spare:
        f.set(hide=1)
        configure(spare, "CFG_HIDE", 1)
        turn = [spare, f.object]
        crowd = Crowd(math.inf)
        tearing = time.monotonic() + BEFORE_S * moment
        dead = threading.Event()

        def gives(step: Callable[[], object], before: int, after: int) -> None:
            """Whatever was asked after the tearing gives `after`; what it overtook, either."""
            late = dead.is_set()
            code = code_of(step)
            assert code in ((after,) if late else (before, after)), errno.errorcode.get(code)

        def look(_source: random.Random) -> None:
            gives(lambda: os.stat(mnt / "hidden"), errno.ENOENT, errno.EIO)
            gives((mnt / "tagged/inner").read_text, 0, errno.EIO)
            gives(lambda: os.listdir(mnt / "tagged"), 0, errno.EIO)

        def change(source: random.Random) -> None:
            gives(lambda: (mnt / "a/made").write_text(str(source.random())), 0, errno.EIO)
            gives(lambda: os.rename(mnt / "a/made", mnt / "b/moved"), 0, errno.EIO)

        def swap(_source: random.Random) -> None:
            late = dead.is_set()
            code = kit.link_update(f, turn[0])
            assert code in ((-errno.ENOLINK,) if late else (0, -errno.ENOLINK)), code
            turn.reverse()

        def tear(_source: random.Random) -> None:
            if not dead.is_set() and time.monotonic() > tearing:
                sysbpf.link_detach(f.link.fd)
                dead.set()
                crowd.end = time.monotonic() + AFTER_S
            time.sleep(0.01)

        for body in (look, look, change, swap, tear):
            crowd.add(body)
        crowd.run()
        for body in (look, change, swap):
            body(random.Random(0))
