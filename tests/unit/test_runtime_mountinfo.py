# SPDX-License-Identifier: MIT
"""Reading mountinfo."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusebpf.runtime import mountinfo

SAMPLE = (
    b"22 27 0:20 / /proc rw,relatime shared:5 - proc proc rw\n"
    b"40 27 0:50 / /mnt/a\\040b\\134c rw,nosuid - fuse_bpf /srv/lower rw,root_bpf=f0a1,link_id=17\n"
    b"41 27 0:51 / /mnt/x rw shared:1 master:2 - fuse_bpf none rw,root_bpf=f0a2,link_id=18,dead\n"
    b"42 27 0:52 / /mnt/y rw - fuse /dev/fuse rw,user_id=0\n"
    b"43 27 0:53 / /mnt/\xe9 rw - fuse_bpf /srv rw\n"
    b"44 27 0:54 / /mnt/k rw - fuse none rw,user_id=0,group_id=0,no_daemon\n"
    b"45 27 0:55 / /mnt/l rw - fuse none rw,user_id=0,group_id=0,root_bpf=f0a3,link_id=19\n"
    b"garbage\n"
)


def test_fields_and_escapes() -> None:
    entries = list(mountinfo.parse(SAMPLE))
    assert [entry.mount_id for entry in entries] == [22, *range(40, 46)]
    ours = entries[1]
    assert str(ours.mount_point) == "/mnt/a b\\c"
    assert (ours.fs_type, ours.source, ours.link_id, ours.dead) == (
        "fuse_bpf",
        "/srv/lower",
        17,
        False,
    )
    assert ours.options == ("rw", "nosuid")
    assert entries[2].dead
    assert [entry.is_fuse_bpf for entry in entries] == [False, True, True, False, True, True, True]
    assert entries[4].link_id is None


def test_options_of_other_file_systems() -> None:
    """Not every one escapes what it shows; an escaped comma ends no option."""
    line = b"46 27 0:56 / /mnt/z rw - cifs //srv/a\\777 rw,domain=\\400,user=a\\054dead\n"
    (entry,) = mountinfo.parse(line)
    assert entry.source == r"//srv/a\777"
    assert entry.super_options == {"rw": "", "domain": r"\400", "user": "a,dead"}


def test_mount_at_a_path(tmp_path: Path) -> None:
    proc = mountinfo.at("/proc")
    assert proc is not None
    assert proc.fs_type == "proc"
    assert mountinfo.at("/proc/self") is None
    assert mountinfo.at(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        mountinfo.at(tmp_path / "absent")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        mountinfo.at(tmp_path / "loop")


def test_nothing_is_asked_of_a_mount_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever serves it may hang: its root is reached, also by a link, and never looked at."""
    asked: list[str] = []
    for name in ("stat", "lstat"):
        call = getattr(os, name)

        def noted(path: str, *rest: object, _call: object = call, **named: object) -> object:
            asked.append(os.fspath(path))
            return _call(path, *rest, **named)  # type: ignore[operator]

        monkeypatch.setattr(os, name, noted)
    (tmp_path / "link").symlink_to("/proc")
    for path in ("/proc", "/proc/", tmp_path / "link"):
        found = mountinfo.at(path)
        assert found is not None
        assert found.mount_point == Path("/proc")
    assert "/proc" not in asked


def test_a_relative_path_is_what_lies_over_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/proc/self")
    found = mountinfo.at("..")
    assert found is not None
    assert found.mount_point == Path("/proc")
    assert mountinfo.at(".") is None
    monkeypatch.chdir("/proc")
    assert mountinfo.at(".") == found
    assert mountinfo.at("self") is None


def test_a_whole_path_needs_no_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a shell that stands in what was removed, or in a mount that was taken off."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    proc = mountinfo.at("/proc")
    assert proc is not None
    assert proc.fs_type == "proc"
    with pytest.raises(FileNotFoundError):
        mountinfo.at("anything")
