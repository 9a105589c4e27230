# SPDX-License-Identifier: MIT
"""What filters share with user space, on a mount: config values, events, dataclasses in maps."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import fusebpf
from fusebpf.errors import UsageError
from tests.vm.attach_objects import fusebpf as command_line

SOURCE = """
from dataclasses import dataclass
from fusebpf import *
from fusebpf.constants import EACCES, ENOENT
from fusebpf.types import bytes64, s32, u32, u64

filters = FilterSet("shared")
limit = filters.config("limit", u32, 100, least=1, most=1000)

@dataclass
class Who:
    uid: u32
    name: bytes64

@dataclass
class Use:
    opens: u64
    last: s32

@dataclass
class Made:
    uid: u32
    name: bytes64

uses = filters.hash("uses", key=Who, value=Use, max_entries=64)
opens = filters.array("opens", value=u64, max_entries=1)
made = filters.events("made", Made)

@filters.lookup.pre
def looked(ctx: Context, name: Name):
    return -ENOENT if name.glob("*.s[a-c]cret*") or "hidden" in name else CONTINUE

@filters.create.pre
def created(ctx: Context, req: CreateIn, name: Name):
    made.emit(Made(uid=ctx.uid, name=name))
    uses[Who(ctx.uid, name)].opens += 1

@filters.open.pre
def opened(ctx: Context, req: OpenIn):
    opens[0] += 1
    if opens[0] > limit:
        return -EACCES
"""


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    filters, lower, mnt = tmp_path / "shared.py", tmp_path / "lower", tmp_path / "mnt"
    filters.write_text(SOURCE)
    lower.mkdir()
    mnt.mkdir()
    (lower / "file").write_text("x")
    return filters, lower, mnt


def test_config_values_are_in_force(places: tuple[Path, Path, Path]) -> None:
    filters, lower, mnt = places
    with fusebpf.attach(filters, lower, mnt, config={"limit": 2}):
        for _ in range(2):
            (mnt / "file").read_text()
        with pytest.raises(PermissionError):
            (mnt / "file").read_text()
    with pytest.raises(UsageError, match="limit=0 is not from 1 to 1000"):
        fusebpf.attach(filters, lower, mnt, config={"limit": 0})
    assert not os.path.ismount(mnt)


def test_an_object_takes_config_values_on_the_command_line(
    places: tuple[Path, Path, Path],
) -> None:
    filters, lower, mnt = places
    target = filters.with_suffix(".o")
    assert command_line("compile", filters, "-o", target).returncode == 0
    assert command_line("attach", target, lower, mnt, "--set", "limit=1").returncode == 0
    try:
        (mnt / "file").read_text()
        with pytest.raises(OSError) as caught:
            (mnt / "file").read_text()
        assert caught.value.errno == errno.EACCES
    finally:
        fusebpf.detach(mnt, lazy=True)
    done = command_line("attach", target, lower, mnt, "--set", "limits=1")
    assert done.returncode == 2
    assert "no config value 'limits'" in done.stderr


def test_events_and_records_reach_user_space(places: tuple[Path, Path, Path]) -> None:
    filters, lower, mnt = places
    with fusebpf.attach(filters, lower, mnt) as mount:
        for name in ("one", "two"):
            (mnt / name).write_text("x")
        found = mount.events["made"].read(timeout=10)
        assert [(event.uid, event.name) for event in found] == [(0, b"one"), (0, b"two")]
        assert mount.maps["uses"][0, "two"].opens == 1
        assert mount.events["made"].dropped == 0
        with fusebpf.mounts.open(mnt) as again:  # found from the kernel alone
            (mnt / "three").write_text("x")
            assert [event.name for event in again.events["made"].read(10)] == [b"three"]
            assert {key.name for key in again.maps["uses"]} == {b"one", b"two", b"three"}


def test_globs_and_searches_on_a_mount(places: tuple[Path, Path, Path]) -> None:
    filters, lower, mnt = places
    names = ("a.secret", "b.sxcret", "unhiddenly", "c.sacret.txt", "plain")
    for name in names:
        (lower / name).write_text(name)
    with fusebpf.attach(filters, lower, mnt):
        seen = [name for name in names if (mnt / name).exists()]
    assert seen == ["a.secret", "b.sxcret", "plain"]


LINKS = """
from fusebpf import *
from fusebpf.constants import EBADMSG, EPERM

filters = FilterSet("links")

@filters.symlink.pre
def inside(ctx: Context, name: Name, path: Buffer):
    if path == ".." or path.endswith("/..") or path.glob("/*key") or path[-1] == 0x7E:
        return -EPERM
    if path.startswith("old/"):
        path[:] = path[4:]
    return POSTFILTER

@filters.symlink.post
def made(ctx: Context, name: Name, path: Buffer):
    if len(path) != 5 and len(path) < 4095:
        return -EBADMSG
"""


def test_the_target_of_a_link_is_its_text_alone(places: tuple[Path, Path, Path]) -> None:
    filters, lower, mnt = places
    filters.write_text(LINKS)
    longest = "d/" * 2047 + "e"
    with fusebpf.attach(filters, lower, mnt):
        for target in ("..", "./..", "/etc/key", "file~"):
            with pytest.raises(PermissionError):
                (mnt / "link").symlink_to(target)
        for number, target in enumerate(("five5", "old/five5", longest)):
            (mnt / f"link{number}").symlink_to(target)
    made = [os.readlink(lower / f"link{number}") for number in range(3)]
    assert made == ["five5", "five5", longest]
