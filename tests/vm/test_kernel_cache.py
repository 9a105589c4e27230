# SPDX-License-Identifier: MIT
"""Answers of a lookup filter that hold for a time: they are not asked for again."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf.runtime import sysbpf
from tests.vm import hookkit
from tests.vm import kernelkit as kit
from tests.vm.limits import eventually

PRE, POST = "lookup_prefilter", "lookup_postfilter"
HOUR = 3600 * 10**9


@pytest.fixture
def lower(lower: Path) -> Path:
    (lower / "dir/sub").mkdir()
    (lower / "dir/sub/file").write_text("content\n")
    (lower / "secret").write_text("secret\n")
    return lower


@pytest.fixture
def hooks(lower: Path, mnt: Path) -> Iterator[hookkit.Hooks]:
    with hookkit.hooked(lower, mnt, PRE, POST) as attached:
        yield attached


def asked(hooks: hookkit.Hooks) -> int:
    return int(hooks.look(PRE).count)


def test_without_validity_every_walk_asks(hooks: hookkit.Hooks, mnt: Path) -> None:
    for number in range(1, 6):
        os.stat(mnt / "dir/sub/file")
        assert asked(hooks) == 3 * number


@pytest.mark.parametrize("by", ["prefilter", "postfilter", "nanoseconds"])
def test_a_valid_answer_is_not_asked_again(hooks: hookkit.Hooks, mnt: Path, by: str) -> None:
    if by == "prefilter":
        hooks.steer(PRE, valid_ns=HOUR)
    elif by == "postfilter":
        hooks.steer(PRE, verdict=kit.POSTFILTER)
        hooks.steer(POST, entry_out__entry_valid=3600)
    else:
        hooks.steer(PRE, verdict=kit.POSTFILTER)
        hooks.steer(POST, entry_out__entry_valid_nsec=999_999_999)
    os.stat(mnt / "dir/sub/file")
    first = asked(hooks)
    assert first == 3
    for _ in range(10):
        os.stat(mnt / "dir/sub/file")
    assert asked(hooks) == first


def test_an_answer_runs_out(hooks: hookkit.Hooks, mnt: Path) -> None:
    hooks.steer(PRE, valid_ns=50_000_000)
    os.stat(mnt / "file")
    begin = time.monotonic()
    assert eventually(lambda: (os.stat(mnt / "file"), asked(hooks) > 1)[1])
    assert time.monotonic() - begin < 20


def test_a_name_that_is_free_is_remembered(hooks: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    hooks.steer(PRE, valid_ns=HOUR)
    for _ in range(5):
        assert not (mnt / "none").exists()
    assert asked(hooks) == 1
    # The lower check stays: what appears below is seen
    (lower / "none").write_text("now\n")
    assert (mnt / "none").read_text() == "now\n"
    (lower / "none").unlink()
    assert not (mnt / "none").exists()
    (mnt / "none").write_text("made\n")
    assert (lower / "none").read_text() == "made\n"


def test_a_refusal_is_remembered(hooks: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    hooks.steer(PRE, verdict=-errno.ENOENT, valid_ns=HOUR)
    for _ in range(5):
        assert not (mnt / "secret").exists()
    assert asked(hooks) == 1
    # Nothing can be made under that name, nor moved onto it
    (lower / "open").write_text("x")
    hooks.steer(PRE)
    target = mnt / "secret"
    for call in (
        lambda: os.open(target, os.O_CREAT | os.O_RDWR),
        lambda: os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR),
        lambda: os.mkdir(target),
        lambda: os.mkfifo(target),
        lambda: os.symlink("x", target),
        lambda: os.link(mnt / "open", target),
        lambda: os.rename(mnt / "open", target),
        lambda: os.unlink(target),
        lambda: os.rmdir(target),
        lambda: os.readlink(target),
    ):
        with pytest.raises(FileNotFoundError):
            call()
    assert (lower / "secret").read_text() == "secret\n"
    assert (lower / "open").read_text() == "x"


def test_other_refusals_are_not_remembered(hooks: hookkit.Hooks, mnt: Path) -> None:
    hooks.steer(PRE, verdict=-errno.EACCES, valid_ns=HOUR)
    for number in range(1, 4):
        with pytest.raises(PermissionError):
            os.stat(mnt / "secret")
        assert asked(hooks) == number


def test_replacing_forgets_every_answer(hooks: hookkit.Hooks, mnt: Path) -> None:
    """So does an update with the set that is there: that is how to forget."""
    hooks.steer(PRE, verdict=-errno.ENOENT, valid_ns=HOUR)
    assert not (mnt / "secret").exists()
    hooks.steer(PRE, valid_ns=HOUR)
    os.stat(mnt / "file")
    assert not (mnt / "secret").exists()
    before = asked(hooks)
    assert kit.link_update(hooks, hooks.object) == 0
    assert (mnt / "secret").exists()
    os.stat(mnt / "file")
    assert asked(hooks) == before + 2
    following = hookkit.open_more(hooks, (PRE,))
    try:
        following.steer(PRE, verdict=-errno.ENOENT, valid_ns=HOUR)
        assert (mnt / "secret").exists()
        assert kit.link_update(hooks, following.object) == 0
        for name in ("secret", "file", "dir/sub/file"):
            assert not (mnt / name).exists()
        count = asked(following)
        assert not (mnt / "file").exists()
        assert asked(following) == count
        following.reset()
    finally:
        following.object.close()


def test_a_new_name_is_another_question(hooks: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    hooks.steer(PRE, valid_ns=HOUR)
    os.stat(mnt / "file")
    os.rename(mnt / "file", mnt / "moved")
    before = asked(hooks)
    os.stat(mnt / "moved")
    assert asked(hooks) > before
    hooks.steer(PRE, verdict=-errno.ENOENT, valid_ns=HOUR)
    assert not (mnt / "moved").exists()
    assert (lower / "moved").exists()


def test_lower_changes_are_seen(hooks: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    hooks.steer(PRE, valid_ns=HOUR)
    assert (mnt / "dir/sub/file").exists()
    (lower / "dir/sub/file").unlink()
    assert not (mnt / "dir/sub/file").exists()
    (lower / "dir").rename(lower / "away")
    assert not (mnt / "dir").exists()
    (lower / "file").chmod(0o600)
    assert os.stat(mnt / "file").st_mode & 0o777 == 0o600


def test_torn_away_filters_leave_no_answer(hooks: hookkit.Hooks, mnt: Path) -> None:
    """What they said for an hour is over: closed, also for names that were free or hidden."""
    hooks.steer(PRE, valid_ns=HOUR)
    os.stat(mnt / "dir/sub/file")
    assert not (mnt / "none").exists()
    hooks.steer(PRE, verdict=-errno.ENOENT, valid_ns=HOUR)
    assert not (mnt / "secret").exists()
    sysbpf.link_detach(hooks.link.fd)
    for name in ("dir/sub/file", "file", "none", "secret"):
        with pytest.raises(OSError) as caught:
            os.stat(mnt / name)
        assert caught.value.errno == errno.EIO, name
